"""Particles that follow the flow reach the data."""

import math
from typing import Any

import pytest
import torch
from gradient_flow_drifting import (
    Annealed,
    Gaussian,
    Laplace,
    SinkhornDrift,
    Sphere,
    Torus,
    VonMisesFisher,
    drift,
    energy,
    flow_particles,
    mixed,
)
from gradient_flow_drifting.geometry import space_of
from gradient_flow_drifting.models import latents
from papertrio_shared.seed import generator as seeded
from torch import Tensor

MODES = torch.tensor([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])


def three_modes(n: int) -> Tensor:
    return MODES[torch.randint(3, (n,))] + 0.2 * torch.randn(n, 2)


@pytest.mark.parametrize("divergence", ["kl_qp", "kl_pq", mixed({"kl_pq": 1.0, "chi2_qp": 0.5})])
def test_all_modes_are_reached(divergence: str) -> None:
    y = three_modes(600)
    particles = flow_particles(torch.randn(300, 2), y, divergence=divergence, steps=200)
    distance, mode = torch.cdist(particles, MODES).min(dim=1)
    assert float((distance < 0.6).float().mean()) > 0.95
    assert all(60 < int((mode == k).sum()) < 140 for k in range(3))


def test_on_the_sphere() -> None:
    sphere = Sphere()
    y = sphere.projx(torch.tensor([0.0, 0.0, 1.0]) + 0.2 * torch.randn(400, 3))
    x0 = sphere.projx(torch.randn(100, 3))
    for options in ({"kernel": VonMisesFisher((50.0, 5.0, 0.5))}, {"manifold": sphere}):
        particles = flow_particles(x0, y, steps=100, **options)  # type: ignore[arg-type]
        assert sphere.check_point_on_manifold(particles)
        assert float(particles[:, 2].min()) > float(y[:, 2].min()) - 0.05
        assert abs(float(particles[:, 2].mean() - y[:, 2].mean())) < 0.03


def test_on_the_torus() -> None:
    y = Torus().projx(math.pi + 0.3 * torch.randn(300, 2))  # across the seam
    x0 = math.pi * (2 * torch.rand(100, 2) - 1)
    particles = flow_particles(x0, y, manifold=Torus(), steps=40)
    assert float(particles.abs().max()) <= math.pi + 1e-6
    way = Torus().logmap(torch.full((2,), math.pi), particles)
    assert float(way.norm(dim=1).max()) < 1.5
    assert float(way.mean(0).norm()) < 0.1
    assert float(way.std(0).mean()) == pytest.approx(0.3, rel=0.25)


def test_a_schedule_reaches_what_the_fine_scale_alone_does_not() -> None:
    y = 6 * torch.tensor([[1.0, 0.0], [-1.0, 0.0]]).repeat(50, 1) + 0.1 * torch.randn(100, 2)
    x0 = torch.tensor([6.0, 0.0]) + 0.1 * torch.randn(60, 2)

    def left(**options: object) -> float:
        particles = flow_particles(x0, y, steps=150, self_terms="leave_one_out", max_step=None, **options)  # type: ignore[arg-type]
        return float((particles[:, 0] < 0).float().mean())

    assert left(kernel=Gaussian(0.2)) == 0  # a wrong share of well-separated modes stays
    assert 0.35 < left(kernel=Gaussian(0.2), schedule=Annealed.between(8.0, 0.2, until=0.8)) < 0.65


@pytest.mark.parametrize("divergence", ["kl_qp", "mixed", "mmd2", mixed({"js": 1.0, "mmd2": 0.1})])
def test_search_along_the_energy_never_climbs(divergence: str) -> None:
    """With a step far too long, which the fixed rule takes and climbs by."""
    x0, y = 2 * torch.randn(24, 2, dtype=torch.float64), three_modes(30).double()
    options = {"kernel": Gaussian((0.6, 1.2)), "divergence": divergence, "field": "exact", "log_weight_limit": 2.0}
    options |= {"steps": 10, "snapshots": 11, "step_size": 64.0, "max_step": None, "draws": 8}

    def energies(way: torch.Tensor) -> torch.Tensor:
        shared = {"kernel": options["kernel"], "divergence": divergence, "log_weight_limit": 2.0, "draws": 512}
        generators = (torch.Generator().manual_seed(1) for _ in way)
        values = [energy(x, y, generator=g, **shared) for x, g in zip(way, generators, strict=True)]  # type: ignore[arg-type]
        return torch.stack(values) @ torch.tensor([0.36, 1.44], dtype=torch.float64) / 2

    searched = energies(
        flow_particles(x0, y, step_rule="backtracking", generator=torch.Generator().manual_seed(0), **options)  # type: ignore[arg-type]
    )
    assert bool((searched.diff() < 0.02 * searched[0]).all())  # but for the noise of the draws of a step
    assert float(searched[-1]) < 0.5 * float(searched[0])
    fixed = energies(flow_particles(x0, y, generator=torch.Generator().manual_seed(0), **options))  # type: ignore[arg-type]
    assert float(fixed[-1]) > float(searched[-1])


def test_cross_fitted_halves_see_each_other_alone() -> None:
    x0, y = torch.randn(21, 2), three_modes(50)
    options = {"kernel": Gaussian(0.5), "max_step": None}
    moved = flow_particles(
        x0,
        y,
        steps=1,
        negatives="cross_fit",
        generator=torch.Generator().manual_seed(5),
        **options,  # type: ignore[arg-type]
    )
    halves = torch.randperm(21, generator=torch.Generator().manual_seed(5)).tensor_split(2)
    for half, other in (halves, halves[::-1]):
        step = drift(x0[half], positives=y, negatives=x0[other], **options)  # type: ignore[arg-type]
        assert torch.equal(moved[half], x0[half] + step.velocity)
    start, data = torch.randn(300, 2), three_modes(600)
    kernel, seeded = Gaussian((0.4, 0.8, 1.6)), torch.Generator().manual_seed(0)
    particles = flow_particles(start, data, steps=200, negatives="cross_fit", kernel=kernel, generator=seeded)
    distance, mode = torch.cdist(particles, MODES).min(dim=1)
    assert float((distance < 0.7).float().mean()) > 0.9
    assert all(60 < int((mode == k).sum()) < 140 for k in range(3))


def test_a_model_collapsed_between_two_data_stays() -> None:
    """q = δ₀ against p = ½ (δ₋ₐ + δₐ) is a fixed point by symmetry, of every divergence, though not the data."""
    x0, y = torch.zeros(8, 1), torch.tensor([[-1.0], [1.0]])
    for divergence in ("kl_qp", "kl_pq", "chi2_qp", "js", "mmd2", "mixed"):
        assert not flow_particles(x0, y, kernel=Gaussian((0.3, 1.0)), divergence=divergence, steps=5).any()
    moved = flow_particles(x0 + 1e-3 * torch.randn(8, 1), y, kernel=Gaussian((0.3, 1.0)), steps=150)
    assert float(moved.abs().min()) > 0.5  # it is not stable


def test_snapshots_are_the_flow_at_equal_distances() -> None:
    x0, y = torch.randn(20, 2), three_modes(50)
    options = {"kernel": Gaussian(0.5), "self_terms": "leave_one_out", "divergence": "kl_pq", "step_size": 0.5}
    frames = flow_particles(x0, y, steps=6, snapshots=4, **options)  # type: ignore[arg-type]
    assert torch.equal(frames[0], x0)
    for k in (1, 2, 3):
        assert torch.equal(frames[k], flow_particles(x0, y, steps=2 * k, **options))  # type: ignore[arg-type]
    by_hand = x0
    for _ in range(2):
        step = drift(
            by_hand,
            positives=y,
            negatives=by_hand,
            kernel=Gaussian(0.5),
            self_terms="leave_one_out",
            divergence="kl_pq",
        )
        by_hand = by_hand + 0.5 * step.velocity
    assert torch.equal(frames[1], by_hand)


@pytest.mark.parametrize("count", [3, 10, 17])
def test_few_data_give_a_bandwidth_too(count: int) -> None:
    x, y = torch.randn(20, 2), three_modes(count)
    before, after = (torch.cdist(each, y).min(dim=1).values.mean() for each in (x, flow_particles(x, y, steps=50)))
    assert after < 0.8 * before


def test_particles_of_the_data_stay() -> None:
    y = three_modes(40)
    assert torch.equal(flow_particles(y, y, kernel=Gaussian(0.3), steps=5), y)


def test_bad_input_is_named() -> None:
    x, y = torch.randn(5, 2), torch.randn(30, 2)
    far = {"kernel": Gaussian(0.1), "divergence": "chi2_qp", "log_weight_limit": None, "max_step": None}
    searched = {"step_rule": "backtracking", "field": "exact", "kernel": Gaussian(0.5)}
    cases = [
        (x, y, {"steps": 0}, "steps: a whole number, at least 1, is needed, found 0"),
        (x, y, {"step_size": 0.0}, "step_size: must be above 0, found 0.0"),
        (x, y, {"snapshots": 502}, r"snapshots: between 2 and steps \+ 1 = 501 are possible, found 502"),
        (x * torch.nan, y, {}, "x0: 5 of 5 points have a NaN"),
        (x, y[:0], {}, "y: the cloud is empty"),
        (x, y[:, :1], {}, "y: 2 coordinates are needed as in x, found 1"),
        (x, y[:2], {}, "y: a bandwidth is chosen from at least three points, found 2"),
        (x, y.double(), {}, "y: torch.float32 is needed as in x, found torch.float64"),
        (x, y[:1].repeat(9, 1), {}, "y: all 9 points coincide, which tells no bandwidth"),
        (x, y, {"divergence": "kl"}, 'divergence: "kl" is unknown; did you mean "kl_qp"'),
        (x, y, {"negatives": "other"}, 'negatives: "same" or "cross_fit" is needed, found "other"'),
        (x[:1], y, {"negatives": "cross_fit"}, "x0: cross-fitting needs at least two particles, found 1"),
        (x, y, {"negatives": "cross_fit", "self_terms": "leave_one_out"}, "self_terms: a half of the particles is not"),
        (x, y, {"step_rule": "exact"}, 'step_rule: "fixed" or "backtracking" is needed, found "exact"'),
        (x, y, {"step_rule": "backtracking"}, 'the gradient of an energy .* found "density"; there the energy is only'),
        (x, y, searched | {"field": SinkhornDrift()}, "step_rule: only the .* found SinkhornDrift; there"),
        (x, y, searched | {"negatives": "cross_fit"}, "step_rule: the energy is that of all particles"),
        (x, y, searched | {"self_terms": "leave_one_out"}, "self_terms: the energy of kl_qp has no pairs to leave out"),
        (x, y, searched | {"kernel": Laplace(0.5), "divergence": "mmd2"}, 'is the gradient of no energy; take "score"'),
        (
            x,
            y,
            {"field": "exact", "kernel": Laplace(0.5)},
            'field: "exact" is for the Gaussian kernel; Laplace has only',
        ),
        (
            x,
            y,
            {"field": SinkhornDrift(), "schedule": Annealed(1.0, 1.0)},
            "schedule: SinkhornDrift has its own scales",
        ),
        (x, y, {"schedule": 0.5}, r"schedule: a function of the share done is needed, Annealed\(...\) say, found 0.5"),
        (x, y, {"kernel": Gaussian}, "kernel: a kernel is needed, .* found <class"),
        (x, y, {"kernel": Gaussian(0.5), "manifold": Sphere}, r"manifold: an object is needed, Sphere\(\) say, found"),
        (x, y, {"kernel": "gaussian"}, "kernel: a kernel is needed, .* found 'gaussian'"),
        (
            x,
            y,
            {"kernel": Gaussian(0.5), "schedule": lambda _: -1.0},
            "bandwidth: must be positive and finite, found -1",
        ),
        (x + 1e3, y, far, "step_size: particles are not finite after step 1"),
    ]
    for start, data, options, message in cases:
        with pytest.raises(ValueError, match=message):
            flow_particles(start, data, **options)


def test_particles_of_the_torus_go_the_short_way_to_a_bunch_at_the_seam() -> None:
    stream = seeded(0, "torus")
    start = latents(60, dimension=2, geometry="torus", generator=stream)
    bunch = Torus().projx(torch.pi + 0.2 * torch.randn(80, 2, generator=stream))
    found = flow_particles(start, bunch, steps=40, manifold=space_of("torus"), self_terms="leave_one_out")
    seam = torch.full((2,), torch.pi)
    assert found.abs().max() <= torch.pi
    assert float((found < 0).float().mean()) == pytest.approx(0.5, abs=0.15)  # on both sides of it
    assert float(Torus().dist(found, seam).mean()) == pytest.approx(float(Torus().dist(bunch, seam).mean()), rel=0.3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 2.5}, "steps: a whole number, at least 1, is needed, found 2.5"),
        ({"step_size": math.inf}, "step_size: a finite number is needed, found inf"),
        ({"snapshots": "3"}, "snapshots: a whole number, at least 2, is needed, found '3'"),
        ({"field": None}, "field: .* is needed, found None"),
        ({"field": SinkhornDrift}, "field: .* is needed, found <class"),
    ],
)
def test_what_is_no_number_or_field_is_told(options: dict[str, Any], message: str) -> None:
    x = torch.randn(6, 2)
    with pytest.raises(ValueError, match=message):
        flow_particles(x, x + 1, **{"steps": 2, **options})
