"""Timing, tables and the registry of benchmarks."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from workspace.layout import PACKAGES, ROOT

from benchmarks.run import discover, markdown
from benchmarks.tables import table
from benchmarks.timing import compare, machine


def _write(folder: Path, preset: str, seed: int, content: dict[str, object]) -> None:
    path = folder / preset / str(seed)
    path.mkdir(parents=True)
    (path / "result.json").write_text(json.dumps(content))
    (path / "environment.json").write_text(json.dumps({"commit": "abc", "device": "cpu", "threads": 4}))


def test_a_table_gives_mean_and_interval_over_seeds(tmp_path: Path) -> None:
    for seed, value in enumerate([1.0, 3.0]):
        _write(tmp_path, "a", seed, {"w2": {"value": value}, "name": "x"})
    _write(tmp_path, "b", 0, {"w2": {"value": 5.0}, "name": "y"})
    lines = table(tmp_path, "result.json", {"W₂": "w2.value", "kind": "name"}).splitlines()
    assert lines[2:4] == ["| a | 0, 1 | 2 ± 13 | x |", "| b | 0 | 5 | y |"]
    assert lines[-1].endswith("commit abc; device cpu; threads 4; python None")


def test_a_table_reads_the_best_row_of_a_csv(tmp_path: Path) -> None:
    (tmp_path / "pt" / "0").mkdir(parents=True)
    (tmp_path / "pt" / "0" / "candidates.csv").write_text("rank,rw\n1,0.25\n2,0.5\n")
    assert "| pt | 0 | 0.25 |" in table(tmp_path, "candidates.csv", {"Rw": "rw"})


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no finished run"):
        table(tmp_path, "result.json", {"a": "a"})
    _write(tmp_path, "a", 0, {"x": 1})
    with pytest.raises(ValueError, match=r"no result\.json has the figure 'y': it has x"):
        table(tmp_path, "result.json", {"y": "y"})


def test_timings_are_taken_in_turns() -> None:
    order: list[str] = []

    def slow() -> None:
        order.append("slow")
        time.sleep(0.02)

    timings = compare({"slow": slow, "fast": lambda: order.append("fast")}, repeats=3, warmup=1)
    assert order == ["slow", "fast"] * 4
    assert timings["slow"].low >= 0.02 > timings["fast"].median
    assert machine()["torch"]


def test_every_package_has_a_benchmark_with_a_title() -> None:
    found = discover()
    assert {each.package for each in found} == set(PACKAGES)
    assert [each.name for each in found if not each.function.__doc__] == []
    assert len({(each.package, each.name, each.device) for each in found}) == len(found)


def test_rows_become_a_table_with_the_machine_below() -> None:
    text = markdown("Speed", [{"n": 3, "ms": 0.12345}, {"n": 4}], {"cores": 4})
    assert text == "# Speed\n\n| n | ms |\n| --- | --- |\n| 3 | 0.123 |\n| 4 |  |\n\nMeasured on: cores 4\n"


def test_an_unknown_benchmark_is_one_line() -> None:
    command = [sys.executable, "-m", "benchmarks.run", "--name", "nothing"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: no such benchmark: there are ")
