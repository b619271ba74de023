"""Weights, and distributions made of them."""

import numpy as np
import pytest
from cbldm.posterior import TEMPERATURE, Distribution, posterior_weights
from hypothesis import given
from hypothesis import strategies as st

SCORES = st.lists(st.floats(-2000, 2000), min_size=1, max_size=30)


@given(SCORES)
def test_weights_sum_to_one_and_fall_with_the_score(scores: list[float]) -> None:
    weights = posterior_weights(np.array(scores))
    assert weights.sum() == pytest.approx(1)
    assert (np.diff(weights[np.argsort(scores)]) <= 0).all()


@given(SCORES, st.floats(-1e4, 1e4))
def test_only_differences_of_scores_count(scores: list[float], shift: float) -> None:
    first, second = (posterior_weights(np.array(scores) + each) for each in (0.0, shift))
    assert first == pytest.approx(second, abs=1e-9)


def test_a_higher_temperature_is_less_sure() -> None:
    scores = np.array([0.0, 5.0])
    assert posterior_weights(scores, temperature=1)[0] > posterior_weights(scores)[0] > 0.5
    assert posterior_weights(scores)[1] == pytest.approx(1 / (1 + np.exp(5 / (2 * TEMPERATURE))))


@given(st.lists(st.tuples(st.integers(5, 256), st.floats(0, 1)), min_size=1), st.floats(0.05, 0.99))
def test_a_credible_set_is_the_smallest(weights: list[tuple[int, float]], level: float) -> None:
    if not sum(weight for _, weight in weights) > 0:
        return
    found = Distribution(weights)
    assert sum(found.values()) == pytest.approx(1)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    chosen = found.credible(level)
    assert sum(found[each] for each in chosen) >= level - 1e-9
    assert len(chosen) == 1 or sum(found[each] for each in chosen[:-1]) < level
    assert chosen[0] == found.most_likely


def test_weights_of_one_outcome_add_up() -> None:
    found = Distribution([("Ico", 1.0), ("Dec", 1.0), ("Ico", 2.0)])
    assert dict(found) == {"Ico": 0.75, "Dec": 0.25}
    assert repr(found) == "{Ico: 0.75, Dec: 0.25}"
    with pytest.raises(KeyError):
        found["FCC"]


@pytest.mark.parametrize("weights", [[], [("a", 0.0)], [("a", -1.0), ("b", 2.0)], [("a", float("nan"))]])
def test_what_is_no_distribution(weights: list[tuple[str, float]]) -> None:
    with pytest.raises(ValueError, match="no distribution"):
        Distribution(weights)
