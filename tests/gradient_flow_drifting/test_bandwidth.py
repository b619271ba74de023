"""The bandwidth by effective sample size."""

import math

import pytest
import torch
from gradient_flow_drifting import Annealed, Gaussian, Sphere, Torus, choose_bandwidth, kde_score, mixed, multiscale
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize("d", [1, 2, 16, 64])
@pytest.mark.parametrize("target", [4.0, 16.0, 100.0])
def test_the_median_point_sees_as_many(d: int, target: float) -> None:
    y = torch.randn(400, d, dtype=torch.float64)  # few enough that all are looked at from all
    h = choose_bandwidth(y, effective_sample_size=target)
    log_sum = [kde_score(y, y, bandwidth=width, self_terms="leave_one_out").log_density for width in (h, h / 2**0.5)]
    volume = 0.5 * d * torch.log(torch.tensor(4 * torch.pi * h**2, dtype=torch.float64))
    seen = 399 * torch.exp(2 * log_sum[0] - log_sum[1] + volume)
    assert float(seen.median()) == pytest.approx(target, rel=1e-3)


def test_of_many_points_some_are_enough() -> None:
    y = torch.randn(10_000, 2)
    assert choose_bandwidth(y) == pytest.approx(choose_bandwidth(y[: 2 * 2048].view(2048, 2, 2)[:, 0]), rel=0.1)


@given(st.floats(1e-3, 1e3), st.integers(0, 1000))
def test_it_scales_with_the_data(scale: float, seed: int) -> None:
    y = torch.randn(60, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert choose_bandwidth(scale * y + 5) == pytest.approx(scale * choose_bandwidth(y), rel=1e-5)


@pytest.mark.parametrize("manifold", [Sphere(), Torus()])
def test_on_a_manifold_its_distance_counts(manifold: Sphere | Torus) -> None:
    y = manifold.projx(2 * torch.randn(120, 3, dtype=torch.float64))
    h = choose_bandwidth(y, effective_sample_size=10.0, manifold=manifold)
    square = manifold.dist(y[:, None].expand(-1, 120, -1), y.expand(120, -1, -1)).square()
    terms = torch.softmax(-square / (2 * h**2) - torch.diag(torch.full((120,), torch.inf)).nan_to_num(0, torch.inf), 1)
    assert float((1 / terms.square().sum(1)).median()) == pytest.approx(10, rel=1e-3)
    turned = y + 2 * math.pi if isinstance(manifold, Torus) else y[:, [2, 0, 1]]
    assert choose_bandwidth(turned, effective_sample_size=10.0, manifold=manifold) == pytest.approx(h, rel=1e-6)


def test_scales_and_schedules() -> None:
    assert multiscale(0.5) == (0.5, 1.0, 2.0)
    assert multiscale(0.5, count=1) == (0.5,)
    assert multiscale(0.2, count=2, ratio=10.0) == pytest.approx((0.2, 2.0))
    falling = Annealed(2.0, 3.0)
    assert [falling(t) for t in (0.0, 0.5, 1.0)] == pytest.approx([2.0, 2 * math.exp(-1.5), 2 * math.exp(-3)])
    assert Annealed((2.0, 8.0), 3.0, least=1.0)(1.0) == (1.0, 1.0)
    assert Annealed((2.0, 8.0), math.log(2))(1.0) == pytest.approx((1.0, 4.0))
    assert Annealed.between(1.0, 0.05, until=0.8)(0.4) == pytest.approx(math.sqrt(0.05))
    assert Annealed.between(1.0, 0.05, until=0.8)(0.9) == 0.05


def test_bad_input_is_named() -> None:
    y = torch.randn(10, 2)
    cases = [
        (y[:2], {}, "y: a bandwidth is chosen from at least three points, found 2"),
        (torch.ones(50, 2), {}, "y: all 50 points coincide"),
        (y * torch.nan, {}, "y: 10 of 10 points have a NaN"),
        (y, {"effective_sample_size": 9.0}, "effective_sample_size: above 1 and below 9 is needed, found 9.0"),
        (y, {"effective_sample_size": 1.0}, "effective_sample_size: above 1"),
    ]
    for cloud, options, message in cases:
        with pytest.raises(ValueError, match=message):
            choose_bandwidth(cloud, **options)
    calls = [
        (
            lambda: choose_bandwidth(y, manifold="sphere"),
            r"manifold: Sphere\(\), Torus\(\) or another .* found 'sphere'",
        ),  # type: ignore[arg-type]
        (lambda: choose_bandwidth(y, manifold=Sphere()), "y: points off the sphere; project them with projx first"),
        (lambda: multiscale(0.0), "h: must be positive and finite, found 0.0"),
        (lambda: multiscale(1.0, ratio=-2.0), "ratio: must be positive and finite, found -2.0"),
        (lambda: multiscale(1.0, count=0), "count: a whole number, at least 1, is needed, found 0"),
        (lambda: Annealed(0.0, 1.0), "start: must be positive and finite, found 0.0"),
        (lambda: Annealed(1.0, -1.0), "rate: a finite number ≥ 0 is needed, found -1.0"),
        (lambda: Annealed(1.0, 1.0, least=math.nan), "least: a finite number ≥ 0 is needed, found nan"),
        (lambda: Annealed.between(1.0, 2.0), "end: at most the start, 1.0, is needed, found 2.0"),
        (lambda: Annealed.between(1.0, 0.5, until=0.0), "until: above 0 and up to 1 is needed, found 0.0"),
    ]
    for call, message in calls:
        with pytest.raises(ValueError, match=message):
            call()


def test_what_is_no_number_is_told() -> None:
    y = torch.randn(9, 2)
    for make, message in (
        (lambda: Annealed(1.0, "a"), "rate: a finite number ≥ 0 is needed, found 'a'"),
        (lambda: Annealed(((0.1,),), 1.0), "start: a number or a sequence of them is needed"),
        (lambda: Gaussian([[0.1]]), "bandwidth: a number or a sequence of them is needed"),
        (lambda: Gaussian(["a"]), "bandwidth: a number or a sequence of them is needed"),
        (lambda: mixed({"kl_qp": "a"}), "weights: the weight of kl_qp must be positive and finite, found 'a'"),
        (lambda: multiscale(0.1, count=1.5), "count: a whole number, at least 1, is needed, found 1.5"),
        (lambda: choose_bandwidth(y, effective_sample_size="a"), "effective_sample_size: a finite number is needed"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
