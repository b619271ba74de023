"""The library of geometries against the list it must be, and against its own enumeration."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from cbldm.data.clusters import build_geometry, enumerate_geometries, library
from scipy.spatial.distance import pdist


def test_counts_by_type() -> None:
    counts = Counter(geometry.type for geometry in library())
    assert counts == {"SC": 22, "FCC": 10, "BCC": 24, "HCP": 189, "Ico": 3, "Dec": 78, "Oct": 5}


@pytest.mark.parametrize(("max_atoms", "count"), [(100, 156), (200, 278), (256, 331)])
def test_counts_by_size(max_atoms: int, count: int) -> None:
    geometries = library(max_atoms=max_atoms)
    assert len(geometries) == count
    assert all(5 <= geometry.atom_count <= max_atoms for geometry in geometries)


def test_library_is_the_published_list(data_folder: Path) -> None:
    with (data_folder / "pdf" / "library_331.csv").open() as lines:
        expected = [(row["type"], row["parameters"], int(row["atoms"])) for row in csv.DictReader(lines)]
    found = [(each.type, " ".join(map(str, each.parameters)), each.atom_count) for each in library()]
    assert found == expected


def test_no_two_geometries_have_one_shape() -> None:
    shapes: dict[int, list[np.ndarray]] = {}
    for geometry in library():
        for other in shapes.setdefault(geometry.atom_count, []):
            assert not np.allclose(geometry.shape, other, rtol=0, atol=1e-6), geometry.label
        shapes[geometry.atom_count].append(geometry.shape)


def test_the_list_is_what_enumeration_finds() -> None:
    listed = [geometry.label for geometry in library(max_atoms=30)]
    assert [geometry.label for geometry in enumerate_geometries(max_atoms=30)] == listed


@pytest.mark.slow
def test_the_whole_list_is_what_enumeration_finds() -> None:
    assert [each.label for each in enumerate_geometries()] == [each.label for each in library()]


@pytest.mark.parametrize(
    ("kind", "parameters", "atoms", "shortest"),
    [
        ("SC", (2, 2, 2), 25, 1.0),
        ("FCC", (2, 2, 2), 19, 1.0),
        ("BCC", (1, 1, 3), 9, 1.0),
        ("HCP", (2, 2, 2), 16, 1.0),
        ("Ico", (3,), 55, 1.0),  # centre to vertex; an edge is 1.0515
        ("Oct", (4,), 44, 1.0),
    ],
)
def test_bond_is_one(kind: str, parameters: tuple[int, ...], atoms: int, shortest: float) -> None:
    geometry = build_geometry(kind, parameters)
    assert geometry.atom_count == atoms
    assert pdist(geometry.positions).min() == pytest.approx(shortest, abs=2e-4)
    assert np.abs(geometry.positions.mean(axis=0)).max() < 1e-12


def test_magic_numbers() -> None:
    """Mackay icosahedra have (10 n³ − 15 n² + 11 n − 3) / 3 atoms in n shells, octahedra n (2 n² + 1) / 3 of edge n."""
    for shells in range(1, 6):
        assert build_geometry("Ico", (shells,)).atom_count == (10 * shells**3 - 15 * shells**2 + 11 * shells - 3) // 3
        assert build_geometry("Oct", (shells,)).atom_count == shells * (2 * shells**2 + 1) // 3


def test_errors() -> None:
    with pytest.raises(ValueError, match="library robust: no such library; take deepstruc or extended"):
        library("robust")
    with pytest.raises(ValueError, match="max_atoms 300: the library deepstruc has 5 to 256 atoms"):
        library(max_atoms=300)
    with pytest.raises(ValueError, match="Cube is none of SC, FCC"):
        build_geometry("Cube", (1,))
    with pytest.raises(ValueError, match=r"cluster Dec \(0, 1, 0\): ASE cannot build it"):
        build_geometry("Dec", (0, 1, 0))
