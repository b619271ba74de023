"""The commands, as they are typed."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read, write
from cbldm import PairDistribution, SimulationSettings, read_gr, recover, simulate, write_gr
from cbldm.__main__ import main
from cbldm.calibrate import STANDARDS
from cbldm.data.clusters import build_geometry
from cbldm.scattering.crystal import crystal_pair_distribution, shells_of

KINDS = ("xyz", "cif", "stru")
Capsys = pytest.CaptureFixture[str]
ATOMS = Atoms("Pt13", positions=2.81 * build_geometry("Ico", (2,)).positions)


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    path = tmp_path / "measured.gr"
    write_gr(path, simulate(ATOMS, SimulationSettings(qmin=0.9, qmax=22.0, qdamp=0.03, noise=0.01)))
    return path


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    path = tmp_path / "cluster.xyz"
    write(path, ATOMS, format="xyz")
    return path


def failure(capsys: Capsys, *words: str | Path) -> str:
    """The one line that a command fails with."""
    assert main([str(word) for word in words]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_recover(measured: Path, tmp_path: Path, capsys: Capsys) -> None:
    out = tmp_path / "out"
    words = [str(measured), "--element", "Pt", "--candidates", "3", "--max-atoms", "20", "--out", str(out)]
    assert main(["recover", *words]) == 0
    names = {path.name for path in out.iterdir()}
    structures = {f"rank_0{k}{moved}.{kind}" for k in (1, 2, 3) for moved in ("", "_moved") for kind in KINDS}
    fits = {f"rank_0{k}.gr" for k in (1, 2, 3)}
    assert names == {"candidates.csv", "recovery.json", "fit.png", "report.html"} | structures | fits
    printed = capsys.readouterr().out
    assert re.search(r"^ +1 +Ico 2 +13 ", printed, re.M)
    assert str(out / "report.html") in printed
    assert main(["recover", *words[:4], "1", *words[5:]]) == 0  # again, and fewer
    assert len(list(out.glob("rank_*.xyz"))) == 2


def test_settings_are_flat_options(measured: Path, tmp_path: Path, capsys: Capsys) -> None:
    short = ["--candidates", "1", "--max-atoms", "15", "--out", str(tmp_path / "out")]
    fit_range = ["--rmin", "1.8", "--rmax", "15", "--qmin", "1", "--qmax", "20", "--qdamp", "0.05"]
    assert main(["recover", str(measured), *short, *fit_range, "--delta2", "zero", "--bond", "2.8"]) == 0
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "fitted from 1.8 to 15 Å, qmin 1, qmax 20, qdamp 0.05 Å⁻¹" in text
    capsys.readouterr()


def test_fit(measured: Path, cluster: Path, tmp_path: Path, capsys: Capsys) -> None:
    assert main(["fit", str(cluster), str(measured), "--out", str(tmp_path / "fit")]) == 0
    printed = capsys.readouterr().out
    assert re.match(r"cluster.xyz, 13 atoms: Rw = 0\.0\d+; scale \d\.\d+ ± 0\.\d+, dilation 1\.00", printed)
    assert read(tmp_path / "fit" / "refined.xyz").get_chemical_symbols() == ["Pt"] * 13


def test_fit_takes_the_radiation_of_the_file(tmp_path: Path, capsys: Capsys) -> None:
    atoms = ATOMS.copy()
    atoms.symbols[:4] = "Ti"  # whose scattering length is negative
    write(tmp_path / "mixed.xyz", atoms, format="xyz")
    write_gr(tmp_path / "n.gr", simulate(atoms, SimulationSettings(qmin=0.9, qmax=22.0, radiation="neutron")))
    words = ["fit", str(tmp_path / "mixed.xyz"), str(tmp_path / "n.gr"), "--out", str(tmp_path / "fit")]
    assert main(words) == 0
    assert "Rw = 0.000;" in capsys.readouterr().out
    assert main([*words, "--radiation", "xray"]) == 0
    assert "Rw = 0.000;" not in capsys.readouterr().out


def test_fit_writes_the_script_of_the_same_fit(measured: Path, cluster: Path, tmp_path: Path, capsys: Capsys) -> None:
    out = tmp_path / "fit"
    assert main(["fit", str(cluster), str(measured), "--out", str(out), "--qdamp-refinement", "refine"]) == 0
    assert f"DiffPy-CMI: {out / 'fit_diffpy.py'}" in capsys.readouterr().out
    assert np.abs(read(out / "start.xyz").positions - ATOMS.positions).max() < 1e-8
    curve = read_gr(out / "measured.gr")
    assert (curve.r[0], curve.r[-1], curve.qmin, curve.qmax) == (2.0, 20.0, 0.9, 22.0)


def test_a_library_of_ones_own(measured: Path, tmp_path: Path, capsys: Capsys) -> None:
    (tmp_path / "mine").mkdir()
    write(tmp_path / "mine" / "mine.xyz", ATOMS, format="xyz")
    words = [str(measured), "--candidates", "1", "--max-atoms", "12", "--out", str(tmp_path / "out")]
    assert main(["recover", *words, "--library", str(tmp_path / "mine")]) == 0
    assert re.search(r"^ +1 +mine.xyz +13 ", capsys.readouterr().out, re.M)
    assert "no such library" in failure(capsys, "recover", *words, "--library", tmp_path / "none")
    (tmp_path / "mine" / "bad.xyz").write_text("2\n\nPt 0 0 0\nPt 0 0 0.1\n")
    assert "bad.xyz, lines 3 and 4: two atoms 0.1 Å apart" in failure(
        capsys, "recover", *words, "--library", tmp_path / "mine"
    )


def test_calibrate(tmp_path: Path, capsys: Capsys) -> None:
    r = 0.02 * np.arange(50, 1500)
    edge, sites = STANDARDS["Ni"]
    made = {"edge": edge, "biso": {"Ni": 0.4}, "qmax": 24.0, "qdamp": 0.039, "qbroad": 0.01}
    g = crystal_pair_distribution(shells_of(sites, 15), r, **made)
    write_gr(tmp_path / "ni.gr", PairDistribution(r, g, qmin=0.0, qmax=24.0))
    assert main(["calibrate", str(tmp_path / "ni.gr"), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "cbldm recover measured.gr --qdamp 0.0390 --qbroad 0.0100" in printed
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["calibration.json", "fit.png"]
    found = json.loads((tmp_path / "out" / "calibration.json").read_text())
    assert found["refined"]["qdamp"]["value"] == pytest.approx(0.039, abs=1e-4)
    words = ["calibrate", tmp_path / "ni.gr", "--standard", "Si", "--out", tmp_path / "none"]
    assert "so this is another substance; give its --standard" in failure(capsys, *words)
    assert not (tmp_path / "none").exists()


def test_simulate(cluster: Path, tmp_path: Path, capsys: Capsys) -> None:
    out = tmp_path / "new" / "cluster.gr"
    assert main(["simulate", str(cluster), "-o", str(out), "--qmax", "22", "--rmax", "15", "--biso", "0.7"]) == 0
    assert "1500 points from 0 to 14.99 Å" in capsys.readouterr().out
    curve = read_gr(out)
    expected = simulate(ATOMS, SimulationSettings(qmax=22.0, rmax=15.0, biso=0.7))
    assert np.abs(curve.g - expected.g).max() < 1e-8
    assert (curve.qmax, curve.qdamp, curve.metadata["biso"]) == (22.0, 0.04, "0.7")


def test_demo(tmp_path: Path, capsys: Capsys) -> None:
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out), "--smoke"]) == 0
    printed = capsys.readouterr().out
    assert "Dec 4 2 0, 85 atoms" in printed
    assert "found at rank 1" in printed
    for name in ("simulated.gr", "true.xyz", "rank_01.xyz", "candidates.csv", "fit.png", "report.html"):
        assert (out / name).stat().st_size > 100
    assert str(out / "fit.png") in printed
    assert "cbldm recover measured.gr" in printed


def test_bad_input_is_one_line(measured: Path, cluster: Path, tmp_path: Path, capsys: Capsys) -> None:
    out = ["--out", tmp_path / "out"]
    assert "no such file" in failure(capsys, "recover", tmp_path / "none.gr", *out)
    assert "candidates 0: give how many" in failure(capsys, "recover", measured, "--candidates", "0", *out)
    assert "unknown element 'Xq'" in failure(capsys, "recover", measured, "--element", "Xq", *out)
    assert "max_atoms 400: the library deepstruc has 5 to 256" in failure(
        capsys, "recover", measured, "--max-atoms", "400", *out
    )
    none = failure(capsys, "recover", measured, "--library", cluster, *out)
    assert none.startswith(f"error: {cluster}: no such library; name one (")
    assert "too short to decide" in failure(capsys, "recover", measured, "--rmin", "27", "--rmax", "60", *out)
    assert "none.xyz: no such file" in failure(capsys, "fit", tmp_path / "none.xyz", measured, *out)
    cluster.write_text("2\nc\nPt 0 0 0\nPt 0 0 0\n")
    assert "cluster.xyz, lines 3 and 4: two atoms 0 Å apart" in failure(capsys, "fit", cluster, measured, *out)
    cluster.write_text("2\nc\nPt 0 0 0\nPt 0 0 x\n")
    assert "cluster.xyz, line 4: 'Pt 0 0 x' is no symbol" in failure(
        capsys, "simulate", cluster, "-o", tmp_path / "out" / "c.gr"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cluster.xyz", "measured.gr"]


def test_a_header_without_limits_is_asked_for_them(tmp_path: Path, capsys: Capsys) -> None:
    curve = simulate(ATOMS, SimulationSettings(qmin=0.9, qmax=22.0))
    bare = tmp_path / "bare.gr"
    np.savetxt(bare, np.column_stack([curve.r, curve.g]))
    out = ["--out", tmp_path / "out", "--candidates", "1", "--max-atoms", "15"]
    assert "--element" in failure(capsys, "recover", bare, *out)
    assert "--qmax" in failure(capsys, "recover", bare, "--element", "Pt", *out)
    assert "--qmin" in failure(capsys, "recover", bare, "--element", "Pt", "--qmax", "22", *out)
    assert main(["recover", str(bare), "--element", "Pt", "--qmax", "22", "--qmin", "0.9", *map(str, out)]) == 0


def test_where_it_cannot_write(measured: Path, cluster: Path, tmp_path: Path, capsys: Capsys) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    assert "it holds notes.txt" in failure(capsys, "recover", measured, "--element", "Pt", "--out", tmp_path / "mine")
    assert "it is a file" in failure(capsys, "fit", cluster, measured, "--out", measured)
    assert "cannot be written" in failure(capsys, "demo", "--out", measured / "below")
    for command in (["recover", measured.parent], ["train", "robust-smoke"], ["evaluate"]):
        told = failure(capsys, *command, "--out", cluster / "below")
        assert told == f"error: {cluster / 'below'}: it cannot be written (not a directory); give another --out\n"
    parts = failure(capsys, "library", "extended", "-o", cluster / "below.h5")
    assert parts.startswith(f"error: {cluster / 'below.h5.parts'}")
    assert "it cannot be written (not a directory)" in parts
    assert "cannot be written" in failure(capsys, "simulate", cluster, "-o", measured / "below.gr")
    structure = cluster.read_text()
    assert "cluster.xyz: it is the structure itself" in failure(capsys, "simulate", cluster, "-o", cluster)
    assert "it is a folder; name a file" in failure(capsys, "simulate", cluster, "-o", tmp_path)
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"
    assert cluster.read_text() == structure


def test_an_interrupt_leaves_nothing(
    measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cbldm.report.plot_fit", interrupted)
    out = tmp_path / "out"
    assert main(["recover", str(measured), "--max-atoms", "15", "--candidates", "1", "--out", str(out)]) == 130
    assert [path.name for path in tmp_path.iterdir()] == ["measured.gr"]
    assert "interrupted" in capsys.readouterr().err


def test_the_program_interface_is_the_command(measured: Path, tmp_path: Path, capsys: Capsys) -> None:
    result = recover(read_gr(measured), element="Pt", candidates=2, seed=0, max_atoms=20)
    assert (
        main(["recover", str(measured), "--candidates", "2", "--max-atoms", "20", "--out", str(tmp_path / "out")]) == 0
    )
    atoms = read(tmp_path / "out" / "rank_01.xyz")
    assert np.abs(atoms.positions - result[0].atoms.positions).max() < 1e-8
    capsys.readouterr()
