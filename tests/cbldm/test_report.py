"""What is written of a search and of a fit."""

import csv
import html
import html.parser
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read
from cbldm import Recovery, SimulationSettings, fit, read_gr, recover, rw, simulate
from cbldm.data.clusters import build_geometry
from cbldm.findings import caveats, fit_verdict, table, verdict
from cbldm.report import COLUMNS, FIT_FILES, RECOVERY_FILES, record, write_candidates, write_fit, write_recovery
from cbldm.sphere import Sphere
from matplotlib.image import imread
from scipy.spatial.distance import pdist

TRUTH = build_geometry("Ico", (2,))
ATOMS = Atoms("Pt13", positions=2.81 * TRUTH.positions)
SETTINGS = SimulationSettings(qmin=0.9, qmax=22.0, qdamp=0.03, noise=0.01)


@pytest.fixture(scope="module")
def result() -> Recovery:
    return recover(
        simulate(ATOMS, SETTINGS, name="a<b>.gr"), element="Pt", candidates=4, max_atoms=25, shape="held", model="none"
    )


@pytest.fixture(scope="module")
def folder(result: Recovery, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("recovered")
    write_recovery(out, result)
    return out


def test_every_file_is_one_that_the_command_owns(folder: Path, result: Recovery) -> None:
    names = [path.name for path in folder.iterdir()]
    assert len(names) == 4 + 4 * 4 + 3 * sum(each.relaxed is not None for each in result)
    assert all(any(Path(name).match(pattern) for pattern in RECOVERY_FILES) for name in names)


def test_the_table(folder: Path, result: Recovery) -> None:
    with (folder / "candidates.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert tuple(rows[0]) == COLUMNS
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"]
    for row, each in zip(rows, result, strict=True):
        assert " ".join([row["type"], row["parameters"]]) == each.label
        assert int(row["atoms"]) == len(each.atoms)
        assert float(row["rw"]) == pytest.approx(each.rw, abs=1e-5)
        assert float(row["dilation"]) == pytest.approx(each.fit.parameters.dilation, rel=1e-5)
        assert float(row["biso_error_angstrom2"]) == pytest.approx(each.fit.errors.biso, rel=1e-5)
        assert float(row["bond_length_angstrom"]) == pytest.approx(each.bond_length, abs=1e-5)
        assert int(row["free_parameters"]) == len(each.fit.free)


def test_the_table_has_each_figure_in_its_column(result: Recovery, tmp_path: Path) -> None:
    write_candidates(tmp_path / "c.csv", [replace(result[0], rw_delta2_zero=0.777)])
    with (tmp_path / "c.csv").open() as lines:
        (row,) = csv.DictReader(lines)
    assert float(row["rw_delta2_zero"]) == 0.777
    assert float(row["score"]) == pytest.approx(result[0].score, abs=1e-3)


def test_the_structures(folder: Path, result: Recovery) -> None:
    for number, each in enumerate(result, 1):
        atoms = read(folder / f"rank_{number:02d}.xyz")
        assert atoms.get_chemical_symbols() == each.atoms.get_chemical_symbols()
        assert np.abs(atoms.positions - each.atoms.positions).max() < 1e-8


def test_the_fit_is_a_curve_that_can_be_read(folder: Path, result: Recovery) -> None:
    curve = read_gr(folder / "rank_01.gr")
    assert np.array_equal(curve.r, result.target.r)
    assert rw(result.target.g, curve.g) == pytest.approx(result[0].rw, abs=1e-12)
    assert (curve.qmin, curve.qmax, curve.metadata["structure"]) == (0.9, 22.0, "Ico 2")


def test_the_picture(folder: Path) -> None:
    pixels = imread(folder / "fit.png")
    assert pixels.shape[0] > 400
    assert pixels[..., :3].std() > 0.05


class Page(html.parser.HTMLParser):
    """What a page loads, and the text of its parts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.rows = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.rows += tag == "tr"
        self.loaded += [value or "" for key, value in attrs if key in ("src", "href", "srcset", "action")]


def test_the_page_stands_alone(folder: Path, result: Recovery) -> None:
    text = (folder / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.loaded == []
    assert not re.search(r"https?://|@import|url\(|fetch\(|import\(", text)
    assert page.rows == 1 + len(result)
    assert "a&lt;b&gt;.gr" in text
    assert "a<b>" not in text
    for sentence in caveats(result):
        assert html.escape(sentence) in text
    data = json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.S)[1])
    assert [len(entry["kinds"]) for entry in data["entries"]] == [len(each.atoms) for each in result]
    shown = np.array(data["r"])
    assert (shown[0], shown[-1]) == (2.0, 20.0)
    measured = np.array(data["measured"])
    for state, figure in zip(data["entries"][0]["states"], (result[0].rw, result[0].relaxed.rw), strict=True):
        assert rw(measured, np.array(state["calculated"])) == pytest.approx(figure, abs=2e-3)
        assert len(state["positions"]) == 13


def test_the_terminal_table(result: Recovery) -> None:
    lines = table(result, rows=2).splitlines()
    assert [line.split()[:3] for line in lines[1:3]] == [["1", "Ico", "2"], ["2", *result[1].label.split()[:2]]]
    assert lines[-1].strip() == "and 2 more"
    assert len(table(result).splitlines()) == 5
    longer = table([replace(result[0], label="HCP 1 4 4, 14 added"), result[1]]).splitlines()
    assert len({len(line) for line in longer}) == 1


def test_what_a_prompt_shows_is_short(result: Recovery) -> None:
    """Not the arrays, which fill a notebook and a terminal."""
    lines = repr(result).splitlines()
    assert lines[0] == f"{result.target.name}, {result.searched} structures searched:"
    assert lines[1] == f"  1  {result[0]!r}"
    assert repr(result[0]).startswith("<Ico 2: 13 atoms, bond 2.9")
    assert repr(result[0].geometry) == "<Ico 2: 13 atoms>"
    curve = simulate(ATOMS, SETTINGS)
    assert repr(curve) == "<simulated: 3000 points from 0 to 29.99 Å, qmin 0.9, qmax 22, qdamp 0.03, qbroad 0>"
    assert repr(fit(ATOMS, curve, label="a.xyz")).startswith("<a.xyz: 13 atoms, bond 2.9")


def test_the_verdict_says_when_nothing_explains_the_curve(result: Recovery) -> None:
    assert verdict(result).startswith(f"Best of {result.searched} structures: Ico 2 with 13 atoms")
    assert "more than a good measurement's noise" not in verdict(result)
    wave = simulate(ATOMS, SETTINGS)
    wave.g[:] = np.sin(1.3 * wave.r)
    assert verdict(recover(wave, element="Pt", candidates=2, max_atoms=15, model="none")).startswith(
        "Outside what I know: none of the"
    )


def test_the_words_change_at_their_thresholds(result: Recovery) -> None:
    def words(rw: float) -> str:
        best = replace(result[0], fit=replace(result[0].fit, rw=rw))
        return verdict(replace(result, candidates=(best,)))

    assert "more than a good measurement's noise" not in words(0.149)
    assert "more than a good measurement's noise" in words(0.151)
    assert "may be larger" not in words(0.151)
    result = replace(result, max_atoms=len(result[0].atoms))
    assert "It is as large as any that were searched (up to 13 atoms): the particle may be larger" in words(0.151)
    assert "may be larger" not in words(0.149)
    assert words(0.499).startswith("Best of")
    assert words(0.501).startswith("Outside what I know: none of the")


def test_a_larger_sphere_is_told_with_what_to_do(result: Recovery) -> None:
    sphere = Sphere("fcc", 27.66, 729, replace(result[0].fit, rw=0.157), at_limit=False)
    found = replace(result, sphere=sphere)
    assert (
        "A sphere cut from fcc, 27.7 Å across (some 729 atoms), fits better, with Rw = 0.157: the particle is larger "
        "than any that were searched (up to 25 atoms); search again with --max-atoms 256."
    ) in verdict(found)
    assert record(found, {})["larger_sphere"] == {
        "lattice": "fcc",
        "diameter_angstrom": 27.66,
        "atoms": 729,
        "rw": 0.157,
    }
    assert record(result, {})["larger_sphere"] is None
    searched = replace(found, max_atoms=256)
    assert "clusters of your own may have up to 2000 (--library FOLDER)." in verdict(searched)
    bulk = replace(searched, sphere=replace(sphere, diameter=60.0, atoms=7000, at_limit=True))
    assert "60.0 Å or more across" in verdict(bulk)
    assert "(up to 256 atoms); refine a crystal cut by a sphere, as PDFgui does." in verdict(bulk)
    lost = replace(bulk, candidates=(replace(result[0], fit=replace(result[0].fit, rw=0.6)),))
    assert verdict(lost).startswith("Outside what I know")
    assert "A sphere cut from fcc" in verdict(lost)
    assert "probably no particle of one metal" not in verdict(lost)


def test_the_verdict_says_when_the_bond_met_its_limit(result: Recovery) -> None:
    assert "at the limit" not in verdict(result)
    short = recover(simulate(ATOMS, SETTINGS), element="Pt", bond=3.2, candidates=2, max_atoms=15, model="none")
    assert "at the limit of what was searched (2.94 to 3.46 Å): try another --element or --bond" in verdict(short)


def test_the_verdict_names_what_the_curve_cannot_tell_apart() -> None:
    noisy = simulate(ATOMS, SimulationSettings(qmin=0.9, qmax=22.0, qdamp=0.03, noise=0.07, seed=2))
    result = recover(noisy, element="Pt", candidates=20, max_atoms=30, shape="held", model="none")
    assert len(result.plausible) > 1
    assert f"hardly chooses among {len(result.plausible)} structures. Atoms: " in verdict(result)
    assert "more than a good measurement's noise" in verdict(result)


def test_structures_for_other_programs(folder: Path, result: Recovery) -> None:
    """The crystallographic file has the distances and nothing of the images; PDFgui's has coordinates and U."""
    for number, each in enumerate(result, 1):
        wanted = np.sort(pdist(each.atoms.positions))
        crystal = read(folder / f"rank_{number:02d}.cif")
        assert crystal.get_chemical_symbols() == each.atoms.get_chemical_symbols()
        assert np.abs(np.sort(pdist(crystal.positions)) - wanted).max() < 1e-5
        assert crystal.cell.lengths().min() > wanted.max() + 30
        lines = (folder / f"rank_{number:02d}.stru").read_text().splitlines()
        edge = float(lines[5].split()[1].rstrip(","))
        assert lines[7].split()[-1] == str(len(each.atoms))
        atoms = lines[lines.index("atoms") + 1 :]
        positions = edge * np.array([[float(x) for x in line.split()[1:4]] for line in atoms[::6]])
        assert np.abs(np.sort(pdist(positions)) - wanted).max() < 1e-5
        u = [float(x) for x in atoms[2].split()]
        assert u == pytest.approx([each.fit.parameters.biso / (8 * np.pi**2)] * 3, abs=1e-7)
        assert float(lines[3].split()[1].rstrip(",")) == pytest.approx(each.fit.parameters.delta2, abs=1e-5)


def test_moved_atoms_are_written_beside_them(folder: Path, result: Recovery) -> None:
    moved = read(folder / "rank_01_moved.xyz")
    assert np.abs(moved.positions - result[0].relaxed.atoms.positions).max() < 1e-8


def test_the_record(folder: Path, result: Recovery) -> None:
    found = json.loads((folder / "recovery.json").read_text())
    assert found["in_scope"] is True
    assert (found["best"]["label"], found["best"]["atoms"], found["searched"]) == ("Ico 2", 13, result.searched)
    assert found["atom_count"]["13"] == pytest.approx(result.atom_count[13], abs=1e-5)
    assert found["structure_type"]["Ico"] == pytest.approx(result.structure_type["Ico"], abs=1e-5)


def test_a_notebook_shows_the_page_in_a_frame(folder: Path, result: Recovery) -> None:
    shown = result._repr_html_()
    page = html.unescape(re.search(r'srcdoc="([^"]*)"', shown)[1])
    assert page == (folder / "report.html").read_text(encoding="utf-8")
    found = fit(ATOMS, simulate(ATOMS, SETTINGS), label="mine.xyz")
    assert "mine.xyz, 13 atoms: Rw = " in html.unescape(found._repr_html_())


def test_a_fit_is_written(tmp_path: Path) -> None:
    found = fit(ATOMS, simulate(ATOMS, SETTINGS), label="mine.xyz")
    write_fit(tmp_path, found)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FIT_FILES)
    assert np.abs(read(tmp_path / "refined.xyz").positions - found.atoms.positions).max() < 1e-8
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert Page(text).rows == 2
    assert "mine.xyz, 13 atoms: Rw = " in text
    assert re.search(r"Biso \(Å²\) 0\.\d{4} ± 0\.\d{4}", fit_verdict(found))
