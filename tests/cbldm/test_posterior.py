"""Weights, distributions made of them, and whether they are right as often as they say.

`posterior_curves.json` holds what `recover` found for curves of particles that are not quite those of the library:
each candidate's score, type and size, best first, beside the truth. A slow test makes some of them again.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from cbldm import PairDistribution, SimulationSettings, recover, simulate
from cbldm.data.clusters import Geometry, library
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


CURVES = json.loads((Path(__file__).parent / "posterior_curves.json").read_text())


def difficult_curve(number: int) -> tuple[Geometry, PairDistribution]:
    """A cluster of the library with its atoms displaced, its surface drawn in and some of it missing, measured with
    noise and a background by an instrument whose qdamp is not told."""
    rng = np.random.default_rng(1000 + number)
    geometries = library(max_atoms=100)
    kinds = sorted({each.type for each in geometries})
    kind = kinds[rng.integers(len(kinds))]
    pool = [each for each in geometries if each.type == kind and each.atom_count >= 13]
    truth = pool[rng.integers(len(pool))]
    x = 2.775 * rng.uniform(0.95, 1.05) * truth.positions
    hard = rng.uniform()
    x = x + 0.3 * hard * rng.normal(size=x.shape) * rng.uniform()
    distance = np.linalg.norm(x - x.mean(0), axis=1)
    x = x * (1 + rng.uniform(-0.05, 0.03) * hard * (distance / distance.max()) ** 2)[:, None]
    missing = int(rng.uniform() * 0.15 * hard * len(x))
    x = np.delete(x, rng.choice(len(x), missing, replace=False), axis=0)
    qdamp = rng.uniform(0.02, 0.06)
    settings = SimulationSettings(
        qmin=rng.uniform(0.6, 1.2),
        qmax=rng.uniform(18, 26),
        qdamp=qdamp,
        biso=rng.uniform(0.3, 1.2),
        delta2=rng.uniform(0, 4),
        scale=rng.uniform(0.4, 1.2),
        noise=rng.uniform(0, 0.04),
        seed=number,
    )
    made = simulate(Atoms(f"Pt{len(x)}", positions=x), settings)
    wave = np.sin(made.r * rng.uniform(0.3, 1.2) + rng.uniform(0, 6)) * np.exp(-made.r / 15)
    g = made.g + hard * 0.06 * np.abs(made.g).max() * wave
    return truth, PairDistribution(made.r, g, qmin=made.qmin, qmax=made.qmax)


def answers(key: str, *, temperature: float) -> Iterator[tuple[float, bool, float]]:
    """Probability of the likeliest outcome of each curve, whether it is right, and the probability of the truth."""
    outcomes = {"type": "types", "atoms": "sizes"}[key]
    for each in CURVES:
        weights = posterior_weights(np.array(each["scores"]), temperature=temperature).tolist()
        found = Distribution(list(zip(each[outcomes], weights, strict=True)))
        best = found.most_likely
        yield found[best], best == each[key], max(found.get(each[key], 0.0), 1e-3)


@pytest.mark.parametrize("key", ["type", "atoms"])
def test_weights_are_right_as_often_as_they_say(key: str) -> None:
    """Within two standard deviations of the count of right answers, were the probabilities true."""
    said, right, _ = (np.array(each) for each in zip(*answers(key, temperature=TEMPERATURE), strict=True))
    assert len(CURVES) > 40
    assert abs(said.sum() - right.sum()) < 2 * np.sqrt((said * (1 - said)).sum())
    unsure = said < np.median(said)
    spread = np.sqrt((said[unsure] * (1 - said[unsure])).sum())
    assert abs(said[unsure].sum() - right[unsure].sum()) < 2 * spread


def test_the_temperature_is_the_likeliest() -> None:
    def likelihood(temperature: float) -> float:
        return sum(np.log(truth) for _, _, truth in answers("atoms", temperature=temperature))

    assert likelihood(TEMPERATURE) == max(likelihood(each) for each in (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 20.0))


def test_a_credible_set_holds_the_truth() -> None:
    held = [
        each["type"]
        in Distribution(
            list(zip(each["types"], posterior_weights(np.array(each["scores"])).tolist(), strict=True))
        ).credible(0.9)
        for each in CURVES
    ]
    assert np.mean(held) >= 0.85


@pytest.mark.slow
@pytest.mark.parametrize("number", [each["number"] for each in CURVES[:4]])
def test_the_stored_scores_are_those_of_the_search(number: int) -> None:
    stored = next(each for each in CURVES if each["number"] == number)
    truth, curve = difficult_curve(number)
    assert (truth.type, truth.atom_count) == (stored["type"], stored["atoms"])
    result = recover(curve, element="Pt", candidates=20, max_atoms=100, positions="held", shape="held", model="none")
    assert [each.type for each in result[:3]] == stored["types"][:3]
    assert [each.score for each in result] == pytest.approx(stored["scores"], abs=0.5)
