"""Figures of made-up answers whose values are known, and the bootstrap of pairs of methods."""

from typing import Any

import numpy as np
import pytest
from cbldm.evaluation.measures import by_method, close, compare_methods, figures, interval, spread, summary


def candidate(atoms: int = 55, mae: float = 0.02, rw: float = 0.1, **more: Any) -> dict[str, Any]:
    """A candidate of a record."""
    base = {
        "atoms": atoms,
        "type": "Ico",
        "family": 1,
        "bond": 2.8,
        "bond_proposed": 2.9,
        "rw_proposed": 4 * rw,
        "rw_scaled": 3 * rw,
        "rw_refined": 2 * rw,
        "rw": rw,
        "rw_moved": None,
        "rmsd": 2 * mae,
        "mae": mae,
        "missing": 0,
        "extra": 0,
    }
    return {**base, **more}


def record(*candidates: dict[str, Any], method: str = "a", case: str = "x", group: str = "g", **more: Any) -> dict:
    """An answer for a curve of 55 atoms."""
    base = {
        "method": method,
        "case": case,
        "group": group,
        "true_atoms": 55,
        "true_type": "Ico",
        "true_bond": 2.8,
        "seconds": 4.0,
        "cpu_seconds": 3.0,
        "in_scope": True,
        "atom_count": {"55": 0.6, "54": 0.35, "13": 0.05},
        "diversity": 0.5,
        "candidates": list(candidates),
    }
    return {**base, **more}


def test_figures_of_an_answer() -> None:
    wrong, near = candidate(54, 0.3, 0.05, missing=5, type="Dec"), candidate(55, 0.09, 0.2, missing=1)
    found = figures(record(wrong, near))
    expected = {
        "n_exact": 0.0,
        "n_exact_10": 1.0,
        "n_error": 1,
        "success_1": 0.0,
        "success_10": 1.0,
        "rw_1": 0.05,
        "rw_10": 0.05,
        "rw_refined_10": 0.1,
        "rw_moved_10": None,
        "mae_1": 0.3,
        "mae_10": 0.09,
        "rmsd_10": 0.18,
        "coverage": 1 - 1 / 55,
        "type_exact": 0.0,
        "sizes": 2.0,
        "types": 2.0,
        "bond_error": 0.0,
        "n_likeliest": 1.0,
        "n_confidence": 0.6,
        "n_held": 1.0,
        "n_held_size": 2.0,
        "n_true_chance": 0.6,
        "seconds_per_candidate": 1.5,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert found["bond_error_proposed"] == pytest.approx(0.1 / 2.8)


def test_only_the_first_ten_count_and_close_needs_both() -> None:
    late = [candidate(54, 0.5) for _ in range(10)] + [candidate()]
    assert figures(record(*late))["success_10"] == 0
    assert figures(record(*late[1:]))["success_10"] == 1
    assert not close(candidate(54, 0.0), 55)
    assert not close(candidate(55, 0.1), 55)
    assert close(candidate(55, 0.5, mae_moved=0.05), 55, "_moved")


def test_an_answer_without_a_candidate_has_found_nothing() -> None:
    found = figures(record())
    assert found["success_10"] == found["n_exact"] == found["coverage"] == 0
    assert found["rw_10"] is None


def test_a_measured_curve_has_residuals_alone() -> None:
    answer = record(candidate())
    for name in ("true_atoms", "true_type", "true_bond"):
        del answer[name]
    found = figures(answer)
    assert found["rw_refined_10"] == 0.2
    assert "success_1" not in found


def test_of_a_curve_outside_only_the_scope_is_judged() -> None:
    inside, outside = record(candidate()), record(candidate(rw=0.9), inside=False, case="keggin")
    assert figures(outside)["scope_right"] == 0
    assert figures({**outside, "in_scope": False})["scope_right"] == 1
    assert "rw_1" not in figures(outside)
    found = summary([inside, outside])
    assert found["scope_right"] == 0.5
    assert found["rw_1"] == pytest.approx((0.1, 0.1, 0.1))


def test_a_summary_has_means_of_shares_and_spreads_of_the_rest() -> None:
    answers = [record(candidate(rw=rw), case=str(k)) for k, rw in enumerate([0.1, 0.2, 0.3, 0.4, 0.5])]
    answers[0]["candidates"][0]["atoms"] = 54
    found = summary(answers)
    assert found["n_exact"] == pytest.approx(0.8)
    assert found["rw_1"] == pytest.approx((0.3, 0.2, 0.4))
    assert found["rw_moved_1"] is None
    assert spread([None]) is None


def test_methods_are_compared_pair_by_pair_over_geometries() -> None:
    answers = []
    for k in range(40):
        case, group = str(k), f"g{k % 20}"
        answers.append(record(candidate(), method="better", case=case, group=group))
        missed = candidate(54, 0.5, 0.4) if k % 20 < 10 else candidate()
        answers.append(record(missed, method="worse", case=case, group=group))
        answers.append(record(candidate(), method="same", case=case, group=group))
    found = {(each.first, each.second, each.figure): each for each in compare_methods(answers)}
    assert len(found) == 9
    better = found["better", "worse", "success_10"]
    assert better.difference.value == pytest.approx(0.5)
    assert better.groups == 20
    assert better.counts
    assert not found["better", "same", "success_10"].counts
    # Twenty geometries, half of them 1 and half 0: the standard deviation of the mean is 0.5 / sqrt(20).
    width = better.difference.high - better.difference.low
    assert width == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(20), rel=0.15)
    assert found["better", "worse", "rw_refined_10"].difference.value == pytest.approx(-0.3)


def test_more_curves_of_one_geometry_are_no_more_evidence() -> None:
    def answers(curves: int) -> list[dict[str, Any]]:
        return [
            record(candidate(55 if k % 2 else 54), case=f"{k} {turn}", group=str(k))
            for k in range(10)
            for turn in range(curves)
        ]

    assert interval(answers(1), "n_exact") == pytest.approx(interval(answers(5), "n_exact"))


def test_what_only_one_method_answered_is_left_out() -> None:
    answers = [record(candidate(), method="a", case="1"), record(candidate(), method="b", case="2")]
    assert compare_methods(answers) == []
    assert list(by_method(answers)) == ["a", "b"]
