"""Means and intervals against closed forms."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from papertrio_shared.metrics import RunningMean, bootstrap_interval, mean_interval

NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30)


@given(NUMBERS)
def test_running_mean_is_the_mean(values: list[float]) -> None:
    mean = RunningMean()
    for value in values:
        mean.update(value)
    assert mean.value == pytest.approx(np.mean(values), abs=1e-6)


def test_running_mean_weighs_and_starts_as_nan() -> None:
    mean = RunningMean()
    assert math.isnan(mean.value)
    mean.update(2.0, weight=1)
    mean.update(5.0, weight=2)
    assert mean.value == 4.0


def test_interval_of_two_values_has_the_closed_form() -> None:
    # With n = 2, s/√2 = |a − b|/2, and t₁'s 97.5 % quantile is tan(0.475 π).
    result = mean_interval([1.0, 3.0])
    assert result.value == 2.0
    assert result.high - result.value == pytest.approx(math.tan(0.475 * math.pi))
    assert result.value - result.low == pytest.approx(result.high - result.value)


def test_one_seed_has_no_finite_interval() -> None:
    assert mean_interval([4.0]) == (4.0, -np.inf, np.inf)


def test_intervals_cover_the_true_mean_as_often_as_they_say() -> None:
    generator = np.random.default_rng(0)
    samples = generator.normal(size=(2000, 5))
    student = np.mean([(lambda i: i.low <= 0 <= i.high)(mean_interval(list(row))) for row in samples])
    assert abs(student - 0.95) < 0.02
    wide = generator.exponential(size=(200, 60))
    covered = np.mean(
        [(lambda i: i.low <= 1 <= i.high)(bootstrap_interval(row, resamples=499, seed=1)) for row in wide]
    )
    assert 0.88 < covered <= 1


def test_paired_differences_leave_zero_out() -> None:
    generator = np.random.default_rng(1)
    cases = generator.normal(scale=10, size=40)
    better, worse = cases + 1 + generator.normal(scale=0.1, size=40), cases
    assert bootstrap_interval(better - worse).low > 0
    assert bootstrap_interval(better).low < 0


def test_equal_values_and_other_statistics() -> None:
    assert bootstrap_interval([2.0, 2.0, 2.0]) == bootstrap_interval([2.0]) == (2.0, 2.0, 2.0)
    skewed = np.r_[np.zeros(60), np.full(41, 100.0)]
    assert bootstrap_interval(skewed, np.median).value == 0.0


@pytest.mark.parametrize("function", [mean_interval, bootstrap_interval])
def test_bad_input_is_told(function) -> None:
    with pytest.raises(ValueError, match="at least one number"):
        function([])
    with pytest.raises(ValueError, match=r"confidence is 1\.5"):
        function([1.0, 2.0], confidence=1.5)
