"""Tables and pictures of made-up answers, of those without a candidate too."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cbldm.evaluation.run import EvaluateConfig
from cbldm.evaluation.tables import write_evaluation
from cbldm.sample import SHIPPED_WEIGHTS


def answer(method: str, case: str, *, rw: float = 0.1, found: bool = True, **more: Any) -> dict[str, Any]:
    """A record with one candidate, or none."""
    candidate = {
        "label": "Ico 3",
        "type": "Ico",
        "source": "library",
        "atoms": 55,
        "weight": 1.0,
        "family": 1,
        "bond": 2.8,
        "bond_proposed": 2.8,
        "rw_proposed": rw,
        "rw_scaled": rw,
        "rw_refined": rw,
        "rw": rw,
        "rw_moved": None,
    }
    told = {"rmsd": 0.01, "mae": 0.005, "missing": 0, "extra": 0} if "true_atoms" in more else {}
    return {
        "method": method,
        "case": case,
        "group": case,
        "seconds": 2.0,
        "cpu_seconds": 1.0,
        "diversity": 0.0,
        "in_scope": found,
        "atom_count": {"55": 1.0} if found else {},
        "inside": True,
        **more,
        "candidates": [{**candidate, **told}] if found else [],
    }


TRUTH = {"true_atoms": 55, "true_type": "Ico", "true_bond": 2.8}


def test_a_method_that_finds_nothing_has_its_row(tmp_path: Path) -> None:
    records = [answer("retrieval", str(k), **TRUTH) for k in range(12)]
    records += [answer("model", str(k), found=False, **TRUTH) for k in range(12)]
    text = write_evaluation(records, EvaluateConfig(methods=("retrieval", "model")), tmp_path)
    rows = [line for line in text.splitlines() if line.startswith("| model ")]
    assert rows[0] == "| model | 0 % | – | 0 % | 0 % (0 to 0) | 0 % (0 to 0) | 0 % |"
    assert "| retrieval less model | success@10 | +100 % | +100 % to +100 % | yes |" in text
    assert "| retrieval less model | best Rw of ten |" not in text  # of a method that has none
    assert (tmp_path / "calibration.png").stat().st_size > 1000
    numbers = json.loads((tmp_path / "table.json").read_text())
    assert numbers["methods"]["retrieval"]["rw_refined_10"] == {"median": 0.1, "low": 0.1, "high": 0.1}


def test_a_few_clusters_are_no_evidence(tmp_path: Path) -> None:
    records = [answer(name, str(k), found=name == "a", **TRUTH) for k in range(9) for name in ("a", "b")]
    assert "| a less b | success@10 | +100 % | +100 % to +100 % | no |" in write_evaluation(
        records, EvaluateConfig(), tmp_path
    )


def test_measured_curves_are_told_one_by_one_beside_retrieval(tmp_path: Path) -> None:
    records = [answer("retrieval", "pt.gr", rw=0.3), answer("model", "pt.gr", rw=0.27)]
    records += [answer("model", "keggin.gr", rw=0.9, inside=False), answer("retrieval", "keggin.gr", inside=False)]
    text = write_evaluation(records, EvaluateConfig(split="experimental"), tmp_path)
    assert "1 measured curves, and 1 that no particle of one metal explains" in text
    assert "| pt.gr | model | Ico 3 | 55 | 0.270 | 0.90 |" in text
    assert "| keggin.gr |" not in text
    assert "success" not in text
    assert {path.name for path in tmp_path.glob("*.png")} == {"rw.png"}


@pytest.mark.parametrize("split", ["geometry", "random"])
def test_the_text_says_what_is_searched(split: str, tmp_path: Path) -> None:
    config = EvaluateConfig(split=split, weights=(tmp_path / "w.safetensors",))  # type: ignore[arg-type]
    text = write_evaluation([answer("retrieval", "x", **TRUTH)], config, tmp_path)
    said = {
        "geometry": "`deepstruc` without what is kin to one held out",
        "random": "`deepstruc`, which has each of them",
    }
    assert said[split] in text
    assert "What the weights w.safetensors were trained with is not known." in text
    for other in (replace(config, weights=(SHIPPED_WEIGHTS,)), replace(config, weights=(), methods=("model",))):
        text = write_evaluation([answer("model", "x", **TRUTH)], other, tmp_path)
        assert "The weights that come with the package were trained with geometry held out." in text
