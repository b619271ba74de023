"""Methods: what they search, what a model adds, and what its draws are worth when they are none."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from cbldm import simulate
from cbldm.data.clusters import build_geometry, library
from cbldm.draws import FromDraws
from cbldm.evaluation.cases import INSTRUMENT, Case
from cbldm.evaluation.judge import judge
from cbldm.evaluation.measures import figures
from cbldm.evaluation.methods import METHODS, Question, build_method, row_names, trained_split
from cbldm.evaluation.run import EvaluateConfig, evaluate, read_answers
from cbldm.proposals import FromLibrary
from cbldm.sample import Samples
from papertrio_shared.checkpoint import load_weights, save_weights

TRUTH = build_geometry("Dec", (2, 3, 0))
BOND = 2.8
QUESTION = Question("Au", 2.75)
CASE = Case("Dec 2 3 0 at 2.80", "Dec 2 3 0", "Au", 2.75, TRUTH, BOND, INSTRUMENT)
KNOWN = [each for each in library(max_atoms=25) if each.label != TRUTH.label]


def drawn(*structures: np.ndarray) -> Samples:
    """What a model with a head for the number of atoms might have drawn."""
    atoms = tuple(Atoms(f"Au{len(each)}", positions=each) for each in structures)
    return Samples(atoms, (0.0,) * len(atoms), np.array([0.0] * 19 + [0.75, 0.25]), {"Dec": 0.7, "FCC": 0.3}, 0)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that draws the truth, shaken, and three clusters that are none."""
    random = np.random.default_rng(0)
    whole = BOND * TRUTH.positions
    close = np.concatenate([whole, whole[:1] + 0.01])
    samples = drawn(whole + 0.02 * random.normal(size=whole.shape), close, whole[:1], whole[:0])
    monkeypatch.setattr("cbldm.draws.sample", lambda *_, **__: samples)
    monkeypatch.setattr("cbldm.evaluation.methods.load_profile", lambda path: path)
    monkeypatch.setattr(sys.modules["cbldm.recover"], "REFINED_AT_LEAST", 8)


@pytest.mark.usefixtures("model")
def test_a_model_adds_what_the_library_lacks() -> None:
    gr = CASE.curve()
    answers = {
        name: build_method(name, FromLibrary(KNOWN), Path("weights")).answer(gr, QUESTION, count=4, seed=0)
        for name in ("retrieval", "model", "both")
    }
    assert {name: each.recovery.searched for name, each in answers.items()} == {
        "retrieval": len(KNOWN),
        "model": 4,
        "both": len(KNOWN) + 4,
    }
    found = {
        name: {"true_atoms": 19, "true_type": "Dec", "true_bond": 2.8, **judge(each, CASE)}
        for name, each in answers.items()
    }
    told = {name: figures({**each, "seconds": 1.0, "cpu_seconds": 1.0}) for name, each in found.items()}
    assert {name: each["success_10"] for name, each in told.items()} == {"retrieval": 0, "model": 1, "both": 1}
    assert {each["source"] for each in found["model"]["candidates"]} == {"model"}
    assert found["model"]["candidates"][0]["type"] == "Dec"
    assert found["both"]["candidates"][0]["source"] == "model"
    assert told["both"]["head_likeliest"] == 1
    assert told["both"]["head_confidence"] == 0.75
    assert "head" not in found["retrieval"]


@pytest.mark.usefixtures("model")
def test_draws_that_are_no_structures_are_an_answer_without_a_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cbldm.draws.sample", lambda *_, **__: drawn(np.zeros((3, 3))))
    answer = build_method("model", FromLibrary(KNOWN), Path("weights")).answer(CASE.curve(), QUESTION, count=4, seed=0)
    assert answer.recovery is None
    record = {"true_atoms": 19, "true_type": "Dec", "true_bond": 2.8, "seconds": 1.0, "cpu_seconds": 1.0}
    found = figures({**record, **judge(answer, CASE)})
    assert found["n_exact"] == found["success_10"] == found["n_likeliest"] == found["scope_right"] == 0
    assert found["rw_10"] is None
    assert found["head_likeliest"] == 1


def test_usable_draws() -> None:
    assert [len(atoms) for atoms, _ in FromDraws(drawn(np.eye(3), np.zeros((2, 3)), np.eye(3)[:1])).usable] == [3]


@pytest.mark.usefixtures("model")  # which refines fewer
def test_residuals_before_the_refinement_are_those_of_the_debye_sum() -> None:
    gr = simulate(CASE.truth, INSTRUMENT)
    answer = build_method("retrieval", FromLibrary([*KNOWN, TRUTH])).answer(gr, Question("Au", BOND), count=1, seed=0)
    first = judge(answer, CASE)["candidates"][0]
    assert answer.recovery is not None
    assert answer.recovery[0].start.dilation == pytest.approx(1)
    assert first["rw_proposed"] < 1e-6  # the true Biso and scale, at the true bond
    assert first["bond_proposed"] == pytest.approx(first["bond"], rel=1e-6)
    assert first["mae"] < 1e-6


def test_rows() -> None:
    assert row_names(["retrieval"], []) == {"retrieval": None}
    two = [Path("a/weights.safetensors").parent, Path("b.safetensors")]
    assert list(row_names(METHODS, two))[:3] == ["retrieval", "model a", "model b"]
    with pytest.raises(ValueError, match="method both: it asks a model; give its --weights"):
        row_names(["retrieval", "both"], [])
    with pytest.raises(ValueError, match="weights: two are called a; rename one"):
        row_names(["model"], [Path("x/a"), Path("y/a")])
    with pytest.raises(ValueError, match="method 'guess': no such method"):
        build_method("guess", FromLibrary(KNOWN))
    with pytest.raises(ValueError, match="method both: it asks a model"):
        build_method("both", FromLibrary(KNOWN))


def test_what_was_held_out_is_read_beside_the_weights(tmp_path: Path) -> None:
    assert trained_split(tmp_path) is None
    for data, said in (({"split": "geometry"}, "geometry"), ({"split": None}, "nothing"), ({}, None)):
        (tmp_path / "config.json").write_text(json.dumps({"data": data}))
        assert trained_split(tmp_path) == trained_split(tmp_path / "weights.safetensors") == said


@pytest.mark.slow
def test_trained_weights_in_every_method(tmp_path: Path) -> None:
    from cbldm.presets import PRESETS
    from cbldm.train import train

    weights = train(PRESETS["robust-smoke"], tmp_path / "smoke")
    config = EvaluateConfig(split="random", methods=METHODS, weights=(weights,), clusters=1, candidates=4, max_atoms=15)
    records = evaluate(config, tmp_path / "run")
    assert [each["method"] for each in records] == list(METHODS)
    asked = [each for each in records if not each["method"].startswith("retrieval")]
    assert all(sum(each["head"].values()) == pytest.approx(1, abs=0.02) for each in asked)
    assert len(read_answers(tmp_path / "run")) == len(METHODS)
    tensors, kept = load_weights(weights / "weights.safetensors")
    save_weights(weights / "weights.safetensors", {name: 2 * each for name, each in tensors.items()}, kept)
    with pytest.raises(ValueError, match="are no longer those it was begun with; give another --out"):
        evaluate(config, tmp_path / "run")
