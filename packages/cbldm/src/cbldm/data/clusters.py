"""The library of nanoparticle geometries, each with bonds of length one."""

import csv
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from itertools import combinations_with_replacement
from typing import Literal, get_args

import numpy as np
from ase import Atoms
from ase.cluster import Decahedron, Icosahedron, Octahedron
from ase.cluster.cubic import BodyCenteredCubic, FaceCenteredCubic, SimpleCubic
from ase.lattice.hexagonal import HexagonalClosedPacked
from jaxtyping import Float
from scipy.spatial.distance import pdist

StructureType = Literal[
    "SC", "FCC", "BCC", "HCP", "Ico", "Dec", "Oct", "TOct", "Cuboct", "Marks", "Ino", "Stack", "Twin"
]
"""The first seven are those of DeepStruc; then truncated octahedra, cuboctahedra, Marks and Ino decahedra, close-packed
layers with faults, and fcc with one twin plane."""
LibraryName = Literal["deepstruc", "extended"]

MIN_ATOMS = 5
MAX_ATOMS = 256

_SURFACES = [(1, 0, 0), (1, 1, 0), (1, 1, 1)]
_CUBIC = {
    "SC": (SimpleCubic, 1.0),
    "FCC": (FaceCenteredCubic, math.sqrt(2)),
    "BCC": (BodyCenteredCubic, 2 / math.sqrt(3)),
}
_LARGEST_SIZE = 12
_LARGEST_HCP_SIZE = 15


@dataclass(frozen=True, eq=False, repr=False)
class Geometry:
    """A cluster without element and scale.

    Attributes:
        type: Structure type.
        parameters: Arguments of ASE's constructor: layers along 100, 110, 111 (SC, FCC, BCC), size (HCP),
            shells (Ico), p q r (Dec), length (Oct).
        positions: Cartesian coordinates in units of the lattice's bond.
        variant: What else was done to it, in words: how it was cut, what was taken away, added or moved.
        parent: For a cluster made from another of its library, that one's place there, before its own.
    """

    type: StructureType
    parameters: tuple[int, ...]
    positions: Float[np.ndarray, "atoms 3"]
    variant: str = ""
    parent: int | None = None

    def __repr__(self) -> str:
        """What it is, in a line."""
        return f"<{self.label}: {self.atom_count} atoms>"

    @property
    def label(self) -> str:
        """Type, parameters and variant, as `FCC 4 6 6` or `Dec 3 2 1, 2 vacancies`."""
        plain = " ".join([self.type, *map(str, self.parameters)])
        return f"{plain}, {self.variant}" if self.variant else plain

    @property
    def atom_count(self) -> int:
        """Number of atoms."""
        return len(self.positions)

    @property
    def shape(self) -> Float[np.ndarray, " pairs"]:
        """Sorted pair distances in units of the shortest, which is what a geometry is but for mirror images."""
        distances = np.sort(pdist(self.positions))
        return distances / distances[0]


def build_geometry(kind: StructureType, parameters: tuple[int, ...]) -> Geometry:
    """Build one cluster with ASE.

    Args:
        kind: Structure type.
        parameters: Arguments of ASE's constructor (see `Geometry`).

    Returns:
        The geometry, its bond being one (√2 for the lattice constant of FCC, Ico, Dec and Oct, c = 1.633 a for HCP).

    Raises:
        ValueError: If the type is unknown, or ASE cannot build a cluster with these parameters.

    >>> build_geometry("Ico", (3,)).atom_count
    55
    """
    try:
        positions = _build(kind, parameters).positions
    except (ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"cluster {kind} {parameters}: ASE cannot build it ({reason}); change the parameters"
        ) from error
    return Geometry(kind, parameters, positions - positions.mean(axis=0))


def _build(kind: StructureType, parameters: tuple[int, ...]) -> Atoms:
    # The symbol only satisfies ASE: with the lattice constant given, no coordinate depends on it.
    match kind:
        case "SC" | "FCC" | "BCC":
            constructor, lattice_constant = _CUBIC[kind]
            return constructor("Au", surfaces=_SURFACES, layers=parameters, latticeconstant=lattice_constant)
        case "HCP":
            return HexagonalClosedPacked("Au", size=parameters, latticeconstant=(1.0, 1.633))
        case "Ico":
            return Icosahedron("Au", *parameters, latticeconstant=math.sqrt(2))
        case "Dec" | "Marks" | "Ino":
            return Decahedron("Au", *parameters, latticeconstant=math.sqrt(2))
        case "Oct" | "TOct" | "Cuboct":
            return Octahedron("Au", *parameters, latticeconstant=math.sqrt(2))
        case _:
            known = [each for each in get_args(StructureType) if each not in ("Stack", "Twin")]
            raise ValueError(f"{kind} is none of {', '.join(known)}")


def enumerate_geometries(max_atoms: int = MAX_ATOMS) -> Iterator[Geometry]:
    """Every cluster of 5 to `max_atoms` atoms that the constructors give, the first of each shape.

    Sizes go up to 12 (15 for HCP), in the order SC, FCC, BCC, HCP, Ico, Dec, Oct. Two clusters have one shape if
    their sorted pair distances, in units of the shortest, agree within 1e-6.

    Args:
        max_atoms: Largest number of atoms.

    Yields:
        The geometries. All 331 take seconds to find, so `library` reads their parameters from a list.

    >>> [geometry.label for geometry in enumerate_geometries(max_atoms=6)]
    ['HCP 1 1 3', 'Dec 1 5 0', 'Dec 1 6 0', 'Oct 2']
    """
    seen: dict[int, list[np.ndarray]] = {}
    for geometry in _constructible(max_atoms):
        if geometry.atom_count < MIN_ATOMS:
            continue
        shape = geometry.shape
        alike = seen.setdefault(geometry.atom_count, [])
        if not any(np.allclose(shape, other, rtol=0, atol=1e-6) for other in alike):
            alike.append(shape)
            yield geometry


def _constructible(max_atoms: int) -> Iterator[Geometry]:
    sizes = range(1, _LARGEST_SIZE + 1)
    for cubic in ("SC", "FCC", "BCC"):
        for h in sizes:
            for k in range(h, _LARGEST_SIZE + 1):
                series = _until_too_large(cubic, [(h, k, last) for last in range(k, _LARGEST_SIZE + 1)], max_atoms)
                if not series:
                    break
                yield from series
    for size in combinations_with_replacement(range(1, _LARGEST_HCP_SIZE + 1), 3):
        if 2 * math.prod(size) <= max_atoms:
            yield build_geometry("HCP", size)
    yield from _until_too_large("Ico", [(shells,) for shells in sizes], max_atoms)
    for p in sizes:
        for q in sizes:
            series = _until_too_large("Dec", [(p, q, r) for r in range(_LARGEST_SIZE + 1)], max_atoms)
            if not series:
                break
            yield from series
    yield from _until_too_large("Oct", [(length,) for length in sizes], max_atoms)


def _until_too_large(kind: StructureType, series: Iterable[tuple[int, ...]], max_atoms: int) -> list[Geometry]:
    # A larger parameter never removes an atom, so the first cluster that is too large ends its series.
    kept: list[Geometry] = []
    for parameters in series:
        geometry = build_geometry(kind, parameters)
        if geometry.atom_count > max_atoms:
            break
        kept.append(geometry)
    return kept


def library(name: LibraryName = "deepstruc", *, max_atoms: int = MAX_ATOMS) -> tuple[Geometry, ...]:
    """The geometries of a library, built once a process.

    `deepstruc` has the 331 monometallic clusters of 5 to 256 atoms that DeepStruc's constructors give (Kjær et al.,
    Digital Discovery 2023, 2, 69): 22 SC, 10 FCC, 24 BCC, 189 HCP, 3 Ico, 78 Dec, 5 Oct. `extended` has these and tens
    of thousands more (see `cbldm.data.extended`): truncated octahedra, cuboctahedra, Marks and Ino decahedra, Wulff
    shapes, balls and rods, close-packed layers with faults and twins, and all of them with vacancies, ad-atoms,
    relaxed surfaces and strain. It is made at the first call, which takes a minute or two, and kept in the user's
    cache.

    Args:
        name: Which library.
        max_atoms: Leave larger clusters out.

    Returns:
        The geometries, `deepstruc` in the order of `enumerate_geometries`.

    Raises:
        ValueError: If the library is unknown, or `max_atoms` is outside of what it has.

    >>> len(library()), len(library(max_atoms=100))
    (331, 156)
    """
    if name not in get_args(LibraryName):
        raise ValueError(f"library {name}: no such library; take {' or '.join(get_args(LibraryName))}")
    if not MIN_ATOMS <= max_atoms <= MAX_ATOMS:
        raise ValueError(
            f"max_atoms {max_atoms}: the library {name} has {MIN_ATOMS} to {MAX_ATOMS} atoms; take one of these"
        )
    if name == "deepstruc":
        return smaller(_deepstruc(), max_atoms)
    from .extended import kept_library  # built from what stands here

    return smaller(kept_library(), max_atoms)


def smaller(geometries: Sequence[Geometry], max_atoms: int) -> tuple[Geometry, ...]:
    """The geometries up to a size.

    Args:
        geometries: A library.
        max_atoms: Largest number of atoms.

    Returns:
        Those, in order; where a parent is left out the first of its children stands for it.

    >>> len(smaller(library(), 100))
    156
    """
    return _smaller(tuple(geometries), max_atoms)


@lru_cache(maxsize=4)
def _smaller(geometries: tuple[Geometry, ...], max_atoms: int) -> tuple[Geometry, ...]:
    if all(each.atom_count <= max_atoms for each in geometries):
        return geometries
    first: dict[int, int] = {}
    kept: list[Geometry] = []
    for place, geometry in enumerate(geometries):
        if geometry.atom_count <= max_atoms:
            head = first.setdefault(place if geometry.parent is None else geometry.parent, len(kept))
            kept.append(replace(geometry, parent=None if head == len(kept) else head))
    return tuple(kept)


@lru_cache(maxsize=1)
def _deepstruc() -> tuple[Geometry, ...]:
    listed = (files("cbldm.data") / "deepstruc.csv").read_text(encoding="utf-8").splitlines()
    return tuple(
        build_geometry(row["type"], tuple(map(int, row["parameters"].split())))  # type: ignore[arg-type]
        for row in csv.DictReader(listed)
    )
