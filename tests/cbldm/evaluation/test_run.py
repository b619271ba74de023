"""Runs of an evaluation: from a split to its tables, cut off and gone on with, refused."""

import csv
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from cbldm.__main__ import main
from cbldm.data.clusters import library
from cbldm.data.kinship import kin_of
from cbldm.data.splits import split_library
from cbldm.evaluation.run import ANSWERS, EvaluateConfig, evaluate, read_answers, searchable
from cbldm.evaluation.tables import write_evaluation

SMALL = EvaluateConfig(clusters=3, candidates=4, max_atoms=40)
WORDS = ["--clusters", "3", "--candidates", "4", "--max-atoms", "40"]


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    """Fewer structures are refined than for a user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["cbldm.recover"], "REFINED_AT_LEAST", 8)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluation") / "run"
    evaluate(SMALL, folder)
    return folder


def without_times(records: list[dict]) -> list[dict]:
    return [{key: value for key, value in each.items() if "seconds" not in key} for each in records]


def test_an_answer_holds_what_the_tables_need(run: Path) -> None:
    records = list(read_answers(run).values())
    assert len(records) == 3
    for record in records:
        assert record["method"] == "retrieval"
        assert record["seconds"] > 0
        assert sum(record["atom_count"].values()) == pytest.approx(1, abs=1e-2)
        for each in record["candidates"]:
            assert each["rw_proposed"] >= each["rw_scaled"] - 1e-6
            assert each["rw_scaled"] >= each["rw_refined"] - 1e-6
            assert each["source"] == "library"
            assert each["missing"] - each["extra"] == record["true_atoms"] - each["atoms"]


def test_what_is_tested_is_not_searched(run: Path) -> None:
    known = library(max_atoms=40)
    split = split_library("geometry", known)
    tested = [known[int(k)] for k in split.test.places]
    allowed = [each for each, may in zip(known, searchable(SMALL, run), strict=True) if may]
    assert not kin_of(allowed, tested).any()
    labels = {each["label"] for record in read_answers(run).values() for each in record["candidates"]}
    assert not labels & {each.label for each in tested}


def test_on_the_random_split_retrieval_knows_each_cluster(tmp_path: Path) -> None:
    records = evaluate(replace(SMALL, split="random", clusters=2), tmp_path / "run")
    for record in records:
        assert record["candidates"][0]["label"] == record["group"]
        assert record["candidates"][0]["mae"] < 0.01
        assert record["candidates"][0]["bond"] == pytest.approx(record["true_bond"], rel=1e-3)


def test_a_run_that_was_cut_off_goes_on_to_the_same_answers(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    evaluate(replace(SMALL, clusters=1), folder)  # the first of the three or another: it is kept where it is one
    lines = (run / ANSWERS).read_text().splitlines()
    (folder / ANSWERS).write_text(lines[0] + "\n" + lines[1][: len(lines[1]) // 2])
    found = evaluate(SMALL, folder)
    assert without_times(found) == without_times(list(read_answers(run).values()))
    assert (folder / ANSWERS).read_text().startswith(lines[0] + "\n")
    before = (folder / ANSWERS).read_text()
    evaluate(SMALL, folder)
    assert (folder / ANSWERS).read_text() == before


QUICK = """
import sys
from cbldm.__main__ import main
sys.modules["cbldm.recover"].REFINED_AT_LEAST = 8
sys.exit(main(sys.argv[1:]))
"""


def ended_by(kill: signal.Signals, command: list[str], folder: Path, wait: float = 0.0) -> None:
    """Begin or go on, until a while after the next answer; no process of it is left then."""
    process = subprocess.Popen(
        [*command, str(folder)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # what runs in the background is deaf to it
    )
    known = len(read_answers(folder))
    while process.poll() is None and len(read_answers(folder)) == known:
        time.sleep(0.02)
    time.sleep(wait)
    process.send_signal(kill)
    _, said = process.communicate(timeout=60)  # until no process has these pipes any more
    assert len(read_answers(folder)) > known
    assert said.strip() in ("", "cbldm: interrupted")


def test_a_killed_process_leaves_its_answers_behind(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    ended_by(signal.SIGKILL, [sys.executable, "-c", QUICK, "evaluate", *WORDS, "--out"], folder)
    assert without_times(evaluate(SMALL, folder)) == without_times(list(read_answers(run).values()))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_kills_at_random_times_change_no_answer_and_leave_no_process(tmp_path: Path, jobs: str) -> None:
    folder, whole, chance = tmp_path / "run", tmp_path / "whole", random.Random(0)
    words = ["--clusters", "7", "--bonds", "6", "--candidates", "4", "--max-atoms", "40", "--jobs", jobs, "--out"]
    command = [sys.executable, "-c", QUICK, "evaluate", *words]
    for kill in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
        ended_by(kill, command, folder, chance.uniform(0, 0.5))
    for each in (folder, whole):
        subprocess.run([*command, str(each)], check=True, capture_output=True)
    first, second = (sorted(without_times(list(read_answers(each).values())), key=str) for each in (folder, whole))
    assert first == second


def test_tables_and_pictures_are_written(run: Path, tmp_path: Path) -> None:
    records = evaluate(SMALL, run)
    text = write_evaluation(records, SMALL, tmp_path / "report", table=tmp_path / "tables" / "geometry.md")
    assert (tmp_path / "tables" / "geometry.md").read_text() == text
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        *("report.md", "table.md", "table.json", "curves.csv"),
        *("rw.png", "atoms.png", "success.png", "calibration.png"),
    }
    numbers = json.loads((tmp_path / "report" / "table.json").read_text())
    assert numbers["methods"]["retrieval"]["curves"] == 3
    rows = list(csv.DictReader((tmp_path / "report" / "curves.csv").open()))
    shares = [float(row["success_10"]) for row in rows]
    assert np.mean(shares) == pytest.approx(numbers["methods"]["retrieval"]["success_10"])
    widths = [line.count("|") for line in text.splitlines() if line.startswith("|")]
    assert widths[0::3] == widths[1::3] == widths[2::3]


def test_the_command(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", *WORDS, "--out", str(run)]) == 0
    said = capsys.readouterr().out
    assert "## What is found" in said
    assert said.strip().splitlines()[-1] == f"report: {run / 'report.md'}"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--split", "geometri"], "geometri"),
        (["--methods", "guess"], "method 'guess': no such method; take some of retrieval"),
        (["--methods"], "no method is named; give one or more of retrieval"),
        (["--methods", "model", "--weights", "nowhere"], "nowhere: no such weights; give a file of them"),
        (["--methods", "model", "--weights", __file__], "not a whole safetensors file"),
        (["--table", "."], ".: it is a folder; name a file in it with --table"),
        (["--clusters", "0"], "clusters 0: give a number of 1 or more"),
        (["--bonds", "0"], "bonds 0: give how many"),
        (["--candidates", "0"], "candidates 0: give a number"),
        (["--jobs", "0"], "jobs 0: give a number"),
        (["--noise", "-0.1"], "noise -0.1: give a fraction below 1"),
        (["--noise", "0.1", "--split", "instrument"], "none with the splits instrument and experimental"),
        (["--max-atoms", "4"], "max_atoms 4"),
        (["--split", "experimental"], "give the folder of the measured curves as --curves"),
        (["--split", "experimental", "--curves", "nowhere"], "no such file; give the folder of measured curves"),
    ],
)
def test_what_cannot_be_evaluated(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--max-atoms", "40", "--out", str(tmp_path / "run"), *words]) == 2
    said = capsys.readouterr().err.strip()
    assert message in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_folder_of_something_else_is_refused(run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="it holds something else; give a new folder as --out"):
        evaluate(SMALL, tmp_path)
    with pytest.raises(ValueError, match="holds a run with seed 0, not 1; give another --out"):
        evaluate(replace(SMALL, seed=1), run)


def test_answers_that_fail_are_told_and_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("no luck\ntoday")

    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("cbldm.evaluation.methods.recover", fail)
        with pytest.raises(ValueError, match=r"1 of 1 answers failed, the first by retrieval on .*: no luck today"):
            evaluate(replace(SMALL, clusters=1), folder)
    assert read_answers(folder) == {}
    assert len(evaluate(replace(SMALL, clusters=1), folder)) == 1


@pytest.mark.slow
def test_processes_answer_as_this_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["cbldm.recover"], "REFINED_AT_LEAST", 60)
    config = replace(SMALL, split="random", max_atoms=12, clusters=2)
    one, two = evaluate(config, tmp_path / "one"), evaluate(config, tmp_path / "two", jobs=2)
    assert without_times(one) == without_times(two)
