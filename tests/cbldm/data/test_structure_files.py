"""Clusters in boxes: what is written for PDFgui and crystallographic programs is read back."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write
from cbldm.data.structure import read_structure
from cbldm.data.structure_files import read_stru, without_box, write_structure
from scipy.spatial.distance import pdist

X = np.random.default_rng(0).uniform(-6, 6, (12, 3)) * [3.0, 1, 1]
ATOMS = Atoms("Pt8Ni4", positions=X[np.argsort(X[:, 0])] + 50)


@pytest.mark.parametrize("kind", ["xyz", "cif", "stru"])
def test_a_cluster_comes_back(kind: str, tmp_path: Path) -> None:
    write_structure(tmp_path / "a", ATOMS, biso=0.6, delta2=2.0, comment="12 atoms")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read_structure(tmp_path / f"a.{kind}")
    assert not found.pbc.any()
    assert found.get_chemical_symbols() == ATOMS.get_chemical_symbols()
    assert np.abs(pdist(found.positions) - pdist(ATOMS.positions)).max() < 1e-5


@pytest.mark.parametrize("kind", ["xyz", "cif", "stru"])
def test_diffpy_structure_reads_it(kind: str, tmp_path: Path) -> None:
    structure = pytest.importorskip("diffpy.structure", reason="diffpy.structure is not installed: make peers")
    write_structure(tmp_path / "a", ATOMS, biso=0.6, delta2=2.0)
    found = structure.loadStructure(str(tmp_path / f"a.{kind}"))
    assert [atom.element for atom in found] == ATOMS.get_chemical_symbols()
    assert np.abs(pdist(found.xyz_cartn) - pdist(ATOMS.positions)).max() < 1e-5
    assert {atom.occupancy for atom in found} == {1.0}
    if kind == "stru":
        assert found.pdffit["delta2"] == pytest.approx(2.0)
    if kind != "xyz":  # which has no displacements
        assert [atom.Uisoequiv for atom in found] == pytest.approx([0.6 / (8 * np.pi**2)] * len(ATOMS), rel=1e-5)


def test_what_diffpy_structure_writes_is_read(tmp_path: Path) -> None:
    structure = pytest.importorskip("diffpy.structure", reason="diffpy.structure is not installed: make peers")
    write_structure(tmp_path / "a", ATOMS, biso=0.6)
    structure.loadStructure(str(tmp_path / "a.stru")).write(str(tmp_path / "b.stru"), "pdffit")
    assert np.abs(pdist(read_structure(tmp_path / "b.stru").positions) - pdist(ATOMS.positions)).max() < 1e-5


def test_a_cluster_across_the_border_of_its_box_is_put_together() -> None:
    cell = np.array([[60.0, 0, 0], [10, 50, 0], [0, 8, 55]])
    boxed = Atoms(ATOMS.symbols, positions=ATOMS.positions, cell=cell, pbc=True)
    boxed.wrap()
    assert np.abs(pdist(boxed.positions) - pdist(X)).max() > 20
    found = without_box(boxed)
    assert found is not None
    assert np.abs(pdist(found.positions) - pdist(ATOMS.positions)).max() < 1e-9


@pytest.mark.parametrize(
    "atoms", [bulk("Au", cubic=True), bulk("Au") * (9, 9, 1), Atoms("Au", cell=[9, 9, 0], pbc=[True, True, False])]
)
def test_a_crystal_is_none(atoms: Atoms, tmp_path: Path) -> None:
    assert without_box(atoms) is None
    write(tmp_path / "crystal.xyz", atoms, format="extxyz")
    with pytest.raises(ValueError, match=r"crystal.xyz: it is a crystal, repeated in space; cut a cluster from it"):
        read_structure(tmp_path / "crystal.xyz")


@pytest.mark.parametrize(
    "text", ["", "atoms\n", "cell 1, 2\natoms\nPT 0 0 0 1\n", "cell 9,9,9,90,90,90\natoms\nPT 0 0\n"]
)
def test_what_is_no_stru_file_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"a.stru: no .stru file of PDFfit; export it anew, or give an .xyz file"):
        read_stru(text, "a.stru")
