"""The bandwidth by effective sample size."""

import pytest
import torch
from gradient_flow_drifting import choose_bandwidth, kde_score
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
