"""Weights, distributions made of them, and whether they are right as often as they say.

`posterior_curves.json` holds what `recover` found for curves with noise of particles that are not quite those of the
library (`benchmarks/cbldm/posterior.py`): each candidate's score, type and size, best first, beside the truth. A slow
test makes some of them again.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from cbldm.data.crystals import CUT_FROM
from cbldm.posterior import TEMPERATURE, Distribution, posterior_weights
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.cbldm.posterior import KEPT, found_for, sureness

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


CURVES = json.loads(KEPT.read_text())
TUNED, CHECKED = (
    [each for each in CURVES if each["number"] % 2 == 0],
    [each for each in CURVES if each["number"] % 2],
)
"""T was found on the first."""


def outcomes(curve: dict[str, Any], key: str) -> tuple[Any, list[Any]]:
    """The true one and the candidates'; of types the crystal, as an octahedron less an atom may be named FCC."""
    if key == "atoms":
        return curve["atoms"], curve["sizes"]
    crystal, *found = [CUT_FROM.get(each, each) for each in (curve["type"], *curve["types"])]
    return crystal, found


def said_of(curve: dict[str, Any], key: str, temperature: float) -> Distribution:
    weights = posterior_weights(np.array(curve["scores"]), temperature=temperature).tolist()
    return Distribution(list(zip(outcomes(curve, key)[1], weights, strict=True)))


def answers(
    curves: Sequence[dict[str, Any]], key: str, *, temperature: float = TEMPERATURE
) -> Iterator[tuple[float, bool, float]]:
    """Probability of the likeliest outcome of each curve, whether it is right, and the probability of the truth."""
    for each in curves:
        found, truth = said_of(each, key, temperature), outcomes(each, key)[0]
        best = found.most_likely
        yield found[best], best == truth, max(found.get(truth, 0.0), 1e-3)


@pytest.mark.parametrize(
    ("key", "curves"),
    [("type", CHECKED), ("atoms", CHECKED), ("atoms", CURVES)],
    ids=["types checked", "numbers checked", "all numbers"],
)
def test_weights_are_right_as_often_as_they_say(key: str, curves: list[dict[str, Any]]) -> None:
    """Within two standard deviations of the count of right answers, were the probabilities true."""
    said, right, _ = (np.array(each) for each in zip(*answers(curves, key), strict=True))
    assert abs(said.sum() - right.sum()) < 2 * np.sqrt((said * (1 - said)).sum())
    unsure = said < np.median(said)
    spread = np.sqrt((said[unsure] * (1 - said[unsure])).sum())
    assert abs(said[unsure].sum() - right[unsure].sum()) < 2 * spread


def test_how_sure_the_likeliest_number_is_and_how_often_right() -> None:
    """What the README says, as the benchmark prints it."""
    assert sureness(CURVES) == pytest.approx((0.49, 0.42), abs=0.005)


def test_half_the_temperature_would_say_too_much() -> None:
    """So the test above can fail."""
    said, right, _ = (
        np.array(each) for each in zip(*answers(CURVES, "atoms", temperature=TEMPERATURE / 2), strict=True)
    )
    assert said.sum() - right.sum() > 2 * np.sqrt((said * (1 - said)).sum())


def test_the_temperature_is_the_likeliest() -> None:
    def likelihood(temperature: float) -> float:
        return sum(np.log(truth) for _, _, truth in answers(TUNED, "atoms", temperature=temperature))

    assert likelihood(TEMPERATURE) == max(likelihood(each) for each in (1.0, 2.0, 4.0, 8.0, 16.0, 32.0))


@pytest.mark.parametrize(("key", "share"), [("type", 0.98), ("atoms", 0.65)])
def test_how_often_a_credible_set_holds_the_truth(key: str, share: float) -> None:
    """Nine tenths are aimed at; a size that no candidate has is in no set."""
    held = [outcomes(each, key)[0] in said_of(each, key, TEMPERATURE).credible(0.9) for each in CURVES]
    assert np.mean(held) == pytest.approx(share, abs=0.005)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(4))
def test_the_stored_scores_are_those_of_the_search(number: int) -> None:
    stored, found = CURVES[number], found_for(number)
    assert [found[key] for key in ("number", "type", "atoms")] == [stored[key] for key in ("number", "type", "atoms")]
    assert found["sizes"][0] == stored["sizes"][0]
    assert found["scores"] == pytest.approx(stored["scores"], abs=0.5)
