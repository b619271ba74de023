"""Files of one's own structures, and what is wrong with them."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write
from cbldm.data.structure import closest_pair, read_structure

GOOD = "3\na comment\nAu 0 0 0\nAu 2.9 0 0\nPt 0 2.9 0\n"


def test_a_good_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "cluster.xyz"
    path.write_text(GOOD)
    atoms = read_structure(path)
    assert atoms.get_chemical_symbols() == ["Au", "Au", "Pt"]
    assert atoms.positions[1].tolist() == [2.9, 0, 0]


def test_what_ase_writes_is_read(tmp_path: Path) -> None:
    atoms = Atoms("CuAu", positions=[[0, 0, 0], [1.9, 1.9, 0]])
    for name in ("plain.xyz", "extended.xyz", "cluster.pdb"):
        write(tmp_path / name, atoms, format={"plain.xyz": "xyz", "extended.xyz": "extxyz"}.get(name))
        read = read_structure(tmp_path / name)
        assert read.get_chemical_symbols() == ["Cu", "Au"]
        assert np.abs(read.positions - atoms.positions).max() < 1e-3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"bad.xyz, line 1: '' is no number of atoms"),
        ("<html>\n", r"bad.xyz, line 1: '<html>' is no number of atoms"),
        ("3\nc\nAu 0 0 0\n", r"bad.xyz, line 3: the file ends before its 3 atoms"),
        ("2\nc\nAu 0 0 0\nAu 2 0\n", r"bad.xyz, line 4: 'Au 2 0' is no symbol with x, y and z"),
        ("2\nc\nAu 0 0 0\nAu 2 0 zero\n", r"bad.xyz, line 4: 'Au 2 0 zero' is no symbol"),
        ("2\nc\nAu 0 0 0\nAu 2 nan 0\n", r"bad.xyz, line 4: 'Au 2 nan 0' is no symbol"),
        ("2\nc\nAu 0 0 0\nQq 2 0 0\n", r"bad.xyz, line 4: unknown element 'Qq'"),
        ("2\nc\nAu 0 0 0\nAU 2 0 0\n", r"bad.xyz, line 4: unknown element 'AU': did you mean Au\?"),
        ("2\nc\nAu 0 0 0\nX 2 0 0\n", r"bad.xyz, line 4: unknown element 'X'"),
        ("2\nc\n79 0 0 0\n79 2 0 0\n", r"bad.xyz, line 3: unknown element '79'"),
        ("2\nc\nAu 0 0 0\nAu 2 0 0\nAu 4 0 0\n", r"bad.xyz, line 5: 'Au 4 0 0' after the 2 atoms of line 1; remove"),
        ("2\nc\nAu 0 0 0\nAu 2 0 0\n2\nc\nAu 0 0 0\nAu 0 0 0\n", r"bad.xyz, atoms 1 and 2: two atoms 0 Å apart"),
        ("1\nc\nAu 0 0 0\n", r"bad.xyz: number of atoms 1, so there is no distance; give"),
        ("3\nc\nAu 0 0 0\nAu 2.9 0 0\nAu 0 0 0\n", r"bad.xyz, lines 3 and 5: two atoms 0 Å apart; remove one"),
        ("3\nc\nAu 0 0 0\nAu 2.9 0 0\nAu 2.9 0.2 0\n", r"bad.xyz, lines 4 and 5: two atoms 0.2 Å apart"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.xyz"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_structure(path)
    assert "\n" not in str(caught.value)


def test_other_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none.xyz: no such file; give a structure"):
        read_structure(tmp_path / "none.xyz")
    (tmp_path / "binary.xyz").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ValueError, match=r"binary.xyz: it is no text"):
        read_structure(tmp_path / "binary.xyz")
    with pytest.raises(ValueError, match=r"it is a folder; name a structure in it"):
        read_structure(tmp_path)
    (tmp_path / "curve.gr").write_text("1 2\n")
    with pytest.raises(ValueError, match=r"curve.gr: no format of structures that ASE knows; give an .xyz file"):
        read_structure(tmp_path / "curve.gr")
    (tmp_path / "odd.cif").write_text("no crystal")
    with pytest.raises(ValueError, match=r"odd.cif: ASE cannot read it \("):
        read_structure(tmp_path / "odd.cif")
    write(tmp_path / "crystal.cif", bulk("Au", cubic=True))
    with pytest.raises(ValueError, match=r"crystal.cif: it is a crystal, repeated in space; cut a cluster"):
        read_structure(tmp_path / "crystal.cif")


@pytest.mark.parametrize(
    "content",
    [
        ("\ufeff" + GOOD).encode(),
        GOOD.replace("\n", "\r\n").encode(),
        GOOD.replace("a comment", "Größe").encode("latin-1"),
    ],
    ids=["byte-order mark", "CRLF", "Latin-1"],
)
def test_text_of_other_editors_is_read(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "cluster.xyz").write_bytes(content)
    assert read_structure(tmp_path / "cluster.xyz").positions[2].tolist() == [0, 2.9, 0]


def test_closest_pair() -> None:
    assert closest_pair(np.array([[0.0, 0, 0], [2, 0, 0]])) is None
    assert closest_pair(np.array([[0.0, 0, 0], [2, 0, 0], [0, 0, 0.3]])) == (0, 2, pytest.approx(0.3))


def test_columns_in_an_order_of_their_own_are_left_to_ase(tmp_path: Path) -> None:
    path = tmp_path / "cluster.xyz"
    path.write_text("2\nProperties=pos:R:3:species:S:1\n0 0 0 Au\n2.9 0 0 Au\n")
    assert read_structure(path).positions[1].tolist() == [2.9, 0, 0]
