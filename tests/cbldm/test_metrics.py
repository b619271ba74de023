"""Rw and its penalty."""

import math

import numpy as np
import pytest
from cbldm.metrics import penalised_score, rw
from hypothesis import given
from hypothesis import strategies as st


@given(st.floats(0.01, 100), st.floats(-2, 2))
def test_rw_is_a_ratio(unit: float, factor: float) -> None:
    g = np.sin(np.linspace(2, 20, 50))
    assert rw(unit * g, unit * factor * g) == pytest.approx(abs(1 - factor), abs=1e-12)


def test_rw_of_nothing_is_one() -> None:
    assert rw(np.array([1.0, -2.0]), np.zeros(2)) == 1.0


def test_rw_errors() -> None:
    with pytest.raises(ValueError, match=r"curves of \(2,\) and \(3,\) points"):
        rw(np.ones(2), np.ones(3))
    with pytest.raises(ValueError, match="curves of"):
        rw(np.ones(0), np.ones(0))
    with pytest.raises(ValueError, match="observed curve is zero everywhere"):
        rw(np.zeros(2), np.ones(2))


@given(st.floats(20, 400), st.integers(1, 5))
def test_a_parameter_must_lower_the_squares_by_its_price(n: float, k: int) -> None:
    price = n ** (-1 / n)  # of the sum of squares, so its root of Rw
    fewer = penalised_score(0.3, free_parameters=k, independent_points=n)
    paid = penalised_score(0.3 * math.sqrt(price) * 0.999, free_parameters=k + 1, independent_points=n)
    unpaid = penalised_score(0.3 * math.sqrt(price) * 1.001, free_parameters=k + 1, independent_points=n)
    assert paid < fewer < unpaid


def test_a_perfect_fit_has_a_score() -> None:
    assert math.isfinite(penalised_score(0.0, free_parameters=3, independent_points=100))
