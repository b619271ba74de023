"""Particles that follow the flow reach the data."""

import pytest
import torch
from gradient_flow_drifting import Gaussian, Sphere, Torus, VonMisesFisher, drift, flow_particles, mixed
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
    cases = [
        (x, y, {"steps": 0}, "steps: at least one is needed, found 0"),
        (x, y, {"step_size": 0.0}, "step_size: must be positive, found 0.0"),
        (x, y, {"snapshots": 1}, r"snapshots: between 2 and steps \+ 1 = 501 are possible, found 1"),
        (x * torch.nan, y, {}, "x0: 5 of 5 points have a NaN"),
        (x, y[:0], {}, "y: the cloud is empty"),
        (x, y[:, :1], {}, "y: 2 coordinates are needed as in x, found 1"),
        (x, y[:2], {}, "y: a bandwidth is chosen from at least three points, found 2"),
        (x, y.double(), {}, "y: torch.float32 is needed as in x, found torch.float64"),
        (x, y[:1].repeat(9, 1), {}, "y: all 9 points coincide, which tells no bandwidth"),
        (x, y, {"divergence": "kl"}, 'divergence: "kl" is unknown; did you mean "kl_qp"'),
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
