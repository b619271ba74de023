"""The runs behind the tables of qkd-cil."""

from pathlib import Path

import pytest

from benchmarks.qkd_cil.paper import METHODS, main, options_of

CHOSEN = {"cifar100-small": {"qkd": {"0.05": 0.7, "0.15": 0.9}, "finetune": {"0.05": 0.9, "0.15": 0.8}}}


@pytest.mark.parametrize(
    ("method", "number", "words"),
    [
        ("qkd", "", ("--schedule.learning-rate", "0.15")),
        ("qkd", "0.4", ("--schedule.learning-rate", "0.4")),
        ("joint", "", ("--schedule.learning-rate", "0.05")),
        ("ease", "", ()),
        ("simple-cil", "", ()),
    ],
)
def test_each_method_is_run_at_the_rate_it_did_best_with(method: str, number: str, words: tuple[str, ...]) -> None:
    assert options_of("cifar100-small", method, CHOSEN, number=number) == words


def test_every_method_tries_as_many_rates_or_one_more_beyond_the_range() -> None:
    tried = [each.tried for each in METHODS.values() if each.tried]
    assert {len(each) for each in tried} == {4, 5}
    usual = METHODS["finetune"].tried
    assert all(usual in (each[:4], each[1:]) for each in tried if len(each) == 5)
    assert all(list(each) == sorted(each, key=float) for each in tried)


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
