"""The runs behind the tables of qkd-cil."""

from pathlib import Path

import pytest

from benchmarks.qkd_cil.paper import ALL, main, options_of

CHOSEN = {"cifar100-small": {"qkd": {"0.05": 0.7, "0.15": 0.9}, "gate-mlp": {"0.001": 0.9, "0.01": 0.8}}}


@pytest.mark.parametrize(
    ("method", "number", "before", "after"),
    [
        ("qkd", "", ["--schedule.learning-rate", "0.15"], ["learner:qkd"]),
        ("qkd", "0.4", ["--schedule.learning-rate", "0.4"], ["learner:qkd"]),
        (
            "gate-mlp",
            "",
            ["--schedule.learning-rate", "0.15"],
            ["learner:qkd-mlp", "--learner.routing-learning-rate", "0.001"],
        ),
        ("gate-uniform", "", ["--schedule.learning-rate", "0.15"], ["learner:qkd-uniform"]),
        ("ease", "", [], ["learner:ease"]),
        ("simple-cil", "", [], ["learner:simple-cil"]),
    ],
)
def test_each_method_is_run_at_the_number_it_did_best_with(
    method: str, number: str, before: list[str], after: list[str]
) -> None:
    assert options_of("cifar100-small", method, CHOSEN, number=number) == (before, after)


def test_every_method_tries_as_many_numbers_or_none() -> None:
    assert {len(each.tried) for each in ALL.values()} == {0, 4}


def test_runs_are_made_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(tmp_path), "--set", "digits-b0-inc2", "--methods", "simple-cil", "--seeds", "1993", "--smoke"]
    assert main(words) == 0
    assert capsys.readouterr().out.startswith("digits-b0-inc2_simple-cil, seed 1993: ")
    assert main(words) == 0
    assert capsys.readouterr().out == ""


def test_what_goes_wrong_is_told_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--set", "cifar100-small=nowhere.npz", "--methods", "simple-cil", "--seeds", "1"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: cifar100-small_simple-cil, seed 1: data nowhere.npz: no such file")
    assert len(said.splitlines()) == 1
