"""Many curves: a folder for each, a summary, errors that do not stop the others, and a kill that costs one curve."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ase import Atoms
from cbldm import SimulationSettings, simulate, write_gr
from cbldm.__main__ import main
from cbldm.data.clusters import build_geometry
from cbldm.series import SUMMARY, curves_of

Capsys = pytest.CaptureFixture[str]
SHORT = [
    "--element",
    "Pt",
    "--candidates",
    "2",
    "--max-atoms",
    "14",
    "--positions",
    "held",
    "--shape",
    "held",
    "--model",
    "none",
]
CLUSTERS = {"a": ("Ico", (2,)), "b": ("Oct", (2,)), "c": ("Dec", (2, 1, 0))}


@pytest.fixture
def curves(tmp_path: Path) -> Path:
    folder = tmp_path / "curves"
    folder.mkdir()
    for name, cluster in CLUSTERS.items():
        positions = 2.8 * build_geometry(*cluster).positions
        curve = simulate(Atoms(f"Pt{len(positions)}", positions=positions), SimulationSettings(rstep=0.03, noise=0.01))
        write_gr(folder / f"{name}.gr", curve)
    return folder


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "summary.csv").open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def test_a_folder_is_a_series(curves: Path, tmp_path: Path, capsys: Capsys) -> None:
    out = tmp_path / "out"
    assert main(["recover", str(curves), *SHORT, "--out", str(out)]) == 0
    rows = rows_of(out)
    assert tuple(rows[0]) == SUMMARY
    assert [row["curve"] for row in rows] == ["a.gr", "b.gr", "c.gr"]
    assert [row["best"] for row in rows] == ["Ico 2", "Oct 2", "Dec 2 1 0"]
    assert [row["likeliest_atoms"] for row in rows] == ["13", "6", "7"]
    assert {row["in_scope"] for row in rows} == {"yes"}
    for name in CLUSTERS:
        assert (out / name / "report.html").exists()
        assert f'href="{name}/report.html"' in (out / "summary.html").read_text(encoding="utf-8")
    printed = capsys.readouterr().out
    assert "2/3  b.gr: Oct 2, 6 atoms, Rw 0.0" in printed

    before = (out / "a" / "report.html").stat().st_mtime_ns
    assert main(["recover", str(curves), *SHORT, "--out", str(out)]) == 0  # nothing is done again
    assert capsys.readouterr().out.count("(done before)") == 3
    assert (out / "a" / "report.html").stat().st_mtime_ns == before
    assert rows_of(out) == rows

    assert main(["recover", str(curves), *SHORT, "--out", str(out), "--delta2", "zero"]) == 0  # but what is asked anew
    assert "(done before)" not in capsys.readouterr().out


def test_a_bad_curve_does_not_stop_the_others(curves: Path, tmp_path: Path, capsys: Capsys) -> None:
    (curves / "b.gr").write_text("this is no curve\n")
    out = tmp_path / "out"
    files = [str(curves / f"{name}.gr") for name in "abc"]
    assert main(["recover", *files, *SHORT, "--out", str(out)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: 1 of 3 curves failed, the first with: b.gr: no rows of numbers in it")
    assert captured.err.count("\n") == 1
    assert [bool(row["error"]) for row in rows_of(out)] == [False, True, False]
    assert sorted(path.name for path in out.iterdir()) == ["a", "c", "summary.csv", "summary.html"]


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def started(curves: Path, words: list[str], out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "cbldm", "recover", str(curves), *words, "--out", str(out)]
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)


def test_a_killed_series_goes_on_to_the_same_bits(curves: Path, tmp_path: Path, capsys: Capsys) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    process = started(curves, SHORT, out)
    deadline = time.monotonic() + 250
    while not (out / "a" / "recovery.json").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (out / "a" / "recovery.json").exists()
    for name in CLUSTERS:  # a folder is there whole or not at all
        assert not (out / name).exists() or (out / name / "report.html").exists()
    before = (out / "a" / "report.html").stat().st_mtime_ns
    assert main(["recover", str(curves), *SHORT, "--out", str(out)]) == 0
    assert "1/3  a.gr: Ico 2, 13 atoms, Rw 0." in capsys.readouterr().out
    assert (out / "a" / "report.html").stat().st_mtime_ns == before
    assert [row["best"] for row in rows_of(out)] == ["Ico 2", "Oct 2", "Dec 2 1 0"]
    assert sorted(path.name for path in out.iterdir()) == ["a", "b", "c", "summary.csv", "summary.html"]
    assert main(["recover", str(curves), *SHORT, "--out", str(whole)]) == 0
    assert contents(out) == contents(whole)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_kills_at_random_times_change_no_bit(curves: Path, tmp_path: Path) -> None:
    """With draws, shapes and moved atoms, as by default."""
    out, whole = tmp_path / "out", tmp_path / "whole"
    words = ["--element", "Pt", "--candidates", "4", "--max-atoms", "20"]
    begin = time.monotonic()
    assert started(curves, words, whole).wait() == 0
    length, chance = time.monotonic() - begin, random.Random(0)
    ended = []
    for _ in range(5):
        process = started(curves, words, out)
        try:
            process.wait(chance.uniform(0.3, 0.9) * length)
        except subprocess.TimeoutExpired:
            process.kill()
        ended.append(process.wait())
    assert -signal.SIGKILL in ended
    assert started(curves, words, out).wait() == 0
    assert contents(out) == contents(whole)
    assert sorted(path.name for path in out.iterdir()) == ["a", "b", "c", "summary.csv", "summary.html"]


def test_a_damaged_record_is_made_again(curves: Path, tmp_path: Path, capsys: Capsys) -> None:
    out = tmp_path / "out"
    files = [str(curves / "b.gr"), str(curves / "c.gr")]
    assert main(["recover", *files, *SHORT, "--out", str(out)]) == 0
    for damage in ("{", "[]", '{"request": 1}'):
        (out / "b" / "recovery.json").write_text(damage)
        capsys.readouterr()
        assert main(["recover", *files, *SHORT, "--out", str(out)]) == 0
        assert capsys.readouterr().out.count("(done before)") == 1
        assert json.loads((out / "b" / "recovery.json").read_text())["best"]["label"] == "Oct 2"


def test_which_curves(curves: Path, tmp_path: Path) -> None:
    (curves / "notes.txt").write_text("no curve")
    (curves / "D.GR").write_text("")
    assert [path.name for path in curves_of([curves])] == ["D.GR", "a.gr", "b.gr", "c.gr"]
    assert curves_of([curves / "b.gr", curves / "a.gr"]) == [curves / "b.gr", curves / "a.gr"]
    with pytest.raises(FileNotFoundError, match=r"none.gr: no such file or folder; give a .gr file"):
        curves_of([curves / "none.gr"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty: the folder holds no .gr file; name the curves"):
        curves_of([tmp_path / "empty"])
    with pytest.raises(ValueError, match="a: two curves of this name would be written to one folder; rename one"):
        curves_of([curves, curves / "a.gr"])


def test_no_curve_at_all(capsys: Capsys) -> None:
    assert main(["recover"]) == 2
    assert capsys.readouterr().err == "error: no curve is named; give a .gr file, several, or a folder of them\n"
