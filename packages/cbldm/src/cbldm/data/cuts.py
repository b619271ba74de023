r"""Clusters cut from a crystal, from close-packed layers with faults, or from a large multiply twinned particle.

A shape is a gauge: a function that grows outwards from a centre, such as $\max_f |n_f \cdot x| / \gamma_f$ over facets
with surface energies γ (Wulff 1901; Herring 1951), or a distance. The cluster is all atoms up to some value of it, and
only values are taken at which no facet or shell is half done. Centres are points of high symmetry, as others would
leave one atom at a time.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import permutations, product
from typing import NamedTuple

import numpy as np
from ase.cluster import Decahedron, Icosahedron
from jaxtyping import Float

REACH = 9.0
"""Radius of the crystal that is cut, in bonds."""
LAYER = math.sqrt(2 / 3)
"""Distance of close-packed layers."""
LAYERS = 25
"""Layers that reach as far, an odd number with A in the middle of ABAB…"""
WHOLE = {"Ico": 5.0, "Dec": 5.5}
"""Radius of the ball that is within the large particles which are cut, in bonds."""

Points = Float[np.ndarray, "atoms 3"]
Gauge = Callable[[Points], Float[np.ndarray, " atoms"]]


class Facets(NamedTuple):
    """Facets of one kind: their name, and their outward normals (opposite ones by themselves)."""

    name: str
    normals: Float[np.ndarray, "facets 3"]


class Lattice(NamedTuple):
    """A crystal with bonds of length one.

    Attributes:
        points: Its atoms within `REACH`.
        centres: Points of high symmetry, by name.
        facets: Kinds of facets, the usual ones first.
        axes: Directions along which a particle may be long or flat.
    """

    points: Points
    centres: dict[str, tuple[float, float, float]]
    facets: tuple[Facets, ...]
    axes: dict[str, tuple[float, float, float]]


_CUBIC: dict[str, tuple[float, list[tuple[float, float, float]], dict[str, tuple[float, float, float]]]] = {
    "SC": (
        1.0,
        [(0, 0, 0)],
        {"atom": (0, 0, 0), "cube": (0.5, 0.5, 0.5), "face": (0.5, 0.5, 0), "bond": (0.5, 0, 0)},
    ),
    "FCC": (
        math.sqrt(2),
        [(0, 0, 0), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)],
        {"atom": (0, 0, 0), "octahedron": (0.5, 0, 0), "tetrahedron": (0.25, 0.25, 0.25), "bond": (0.25, 0.25, 0)},
    ),
    "BCC": (
        2 / math.sqrt(3),
        [(0, 0, 0), (0.5, 0.5, 0.5)],
        {"atom": (0, 0, 0), "face": (0.5, 0.5, 0), "bond": (0.25, 0.25, 0.25), "tetrahedron": (0.5, 0.25, 0)},
    ),
}
"""Lattice constant, atoms of the cubic cell and points of high symmetry, the latter two in lattice constants."""


@cache
def lattice(kind: str) -> Lattice:
    """A cubic or hexagonal crystal.

    Args:
        kind: `SC`, `FCC`, `BCC` or `HCP`.

    Returns:
        The crystal.

    >>> len(lattice("FCC").points) > 4000
    True
    """
    if kind == "HCP":
        middle = (0.0, 1 / math.sqrt(3), LAYER / 2)
        centres = {
            "atom": (0.0, 0.0, 0.0),
            "bond": (0.5, 0.0, 0.0),
            "octahedron": middle,
            "triangle": (0.0, 1 / math.sqrt(3), 0.0),
            "bipyramid": (0.5, 0.5 / math.sqrt(3), 0.0),
            "slant": (0.0, -0.5 / math.sqrt(3), LAYER / 2),
        }
        return Lattice(layers(("AB" * LAYERS)[:LAYERS]), centres, HEXAGONAL, AXES)
    a, _, centres = _CUBIC[kind]
    scaled = {name: (a * x, a * y, a * z) for name, (x, y, z) in centres.items()}
    return Lattice(cubic(kind), scaled, CUBIC, {"100": (0, 0, 1), "110": (1, 1, 0), "111": (1, 1, 1)})


def cubic(kind: str, reach: float = REACH) -> Points:
    """A cubic crystal.

    Args:
        kind: `SC`, `FCC` or `BCC`.
        reach: How far from the origin it goes, in bonds.

    Returns:
        The atoms.

    >>> len(cubic("SC", 1.0))
    7
    """
    a, basis, _ = _CUBIC[kind]
    cells = math.ceil(reach / a) + 1
    corners = np.array(list(product(range(-cells, cells + 1), repeat=3)), dtype=float)
    points = (a * (corners[:, None] + np.array(basis))).reshape(-1, 3)
    return points[np.linalg.norm(points, axis=1) <= reach]


def layers(sequence: str, reach: float = REACH) -> Points:
    """Close-packed layers stacked as told, the middle one in the plane z = 0.

    Args:
        sequence: A, B or C for each layer.
        reach: How far from the origin they go, in bonds.

    Returns:
        The atoms.

    >>> len(layers("ABC"))
    871
    """
    cells = np.arange(-math.ceil(2 * reach) - 4, math.ceil(2 * reach) + 5)
    i, j = (axis.ravel() for axis in np.meshgrid(cells, cells))
    plane = np.stack([i + j / 2, j * math.sqrt(3) / 2], axis=1)
    shift = np.array([0.5, 0.5 / math.sqrt(3)])
    stacked = [
        np.column_stack([plane + "ABC".index(letter) * shift, np.full(len(plane), (k - len(sequence) // 2) * LAYER)])
        for k, letter in enumerate(sequence)
    ]
    points = np.concatenate(stacked)
    return points[np.linalg.norm(points, axis=1) <= reach]


@cache
def twinned(kind: str) -> Points:
    """A large icosahedron or decahedron (five-fold axis along z) to cut from, bonds of length one."""
    ico = kind == "Ico"
    built = Icosahedron("Au", 7, math.sqrt(2)) if ico else Decahedron("Au", 9, 12, 0, math.sqrt(2))
    return built.positions - built.positions.mean(axis=0)


def faceted(facets: Sequence[Facets], energies: Sequence[float]) -> Gauge:
    """The gauge of a Wulff shape.

    Args:
        facets: Kinds of facets.
        energies: Their surface energies, in any unit.

    Returns:
        The gauge.
    """
    normals = np.concatenate([each.normals / energy for each, energy in zip(facets, energies, strict=True)])
    return lambda x: (x @ normals.T).max(axis=1)


def ball(x: Points) -> Float[np.ndarray, " atoms"]:
    """The gauge of a ball."""
    return np.linalg.norm(x, axis=1)


def stretched(gauge: Gauge, axis: Sequence[float], aspect: float) -> Gauge:
    """The gauge of a shape made `aspect` times as long along an axis.

    Args:
        gauge: The gauge of the shape.
        axis: The direction.
        aspect: The factor; below one the shape is flat.

    Returns:
        The gauge.
    """
    along = np.asarray(axis, dtype=float) / np.linalg.norm(axis)
    return lambda x: gauge(x + np.outer(x @ along, along) * (1 / aspect - 1))


def cut(
    points: Points, centre: Sequence[float], gauge: Gauge, wanted: int, *, fewest: int, most: int, reach: float = REACH
) -> Points | None:
    """The cluster whose number of atoms is nearest to what is wanted, no facet or shell of it half done.

    Args:
        points: Atoms of the crystal.
        centre: Where the gauge is zero.
        gauge: The shape.
        wanted: Number of atoms to come near to.
        fewest, most: Least and greatest number of atoms.
        reach: How far from the origin the crystal is whole.

    Returns:
        Its atoms, or None where the shape has no such cluster or leaves the crystal.

    >>> len(cut(lattice("FCC").points, (0, 0, 0), ball, 15, fewest=5, most=256))
    13
    """
    value = gauge(points - np.asarray(centre))
    near = np.argsort(value, kind="stable")[: most + 1]
    ends = np.flatnonzero(np.diff(value[near]) > 1e-6) + 1
    ends = ends[(ends >= fewest) & (ends <= most)]
    if not len(ends):
        return None
    kept = points[near[: ends[np.abs(ends - wanted).argmin()]]]
    return None if np.linalg.norm(kept, axis=1).max() > reach - 1 else kept


def _unit(directions: Iterable[Sequence[float]]) -> np.ndarray:
    rows = np.unique(np.array(list(directions), dtype=float), axis=0)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _cubic(name: str) -> Facets:
    index = [int(digit) for digit in name]
    signs = product((1, -1), repeat=3)
    return Facets(name, _unit(np.multiply(p, s).tolist() for s in signs for p in permutations(index)))


def _hexagonal(name: str, tilt: float, first: float) -> Facets:
    """Six directions in the plane from the angle `first` on, tilted up and down from it; angles in degrees."""
    around = np.radians(first + 60 * np.arange(6))
    up = math.radians(tilt)
    rows = [
        (math.cos(up) * math.cos(phi), math.cos(up) * math.sin(phi), sign * math.sin(up))
        for phi in around
        for sign in (1, -1)
    ]
    return Facets(name, _unit(np.round(rows, 12).tolist()))


def _half(facets: Facets, sign: int) -> Facets:
    return Facets(f"{facets.name}{'+-'[sign < 0]}", facets.normals[np.sign(facets.normals.prod(axis=1)) == sign])


CUBIC = (_cubic("111"), _cubic("100"), _cubic("110"), _cubic("311"))
TETRAHEDRAL = (_half(CUBIC[0], 1), _half(CUBIC[0], -1), CUBIC[1])
"""With the two halves of {111} apart: tetrahedra and truncated tetrahedra."""
AXES = {"c": (0.0, 0.0, 1.0), "a": (1.0, 0.0, 0.0), "b": (0.0, 1.0, 0.0)}
HEXAGONAL = (
    Facets("0001", np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])),
    _hexagonal("10-11", math.degrees(math.atan(math.sqrt(3) / (4 * LAYER))), 30),
    _hexagonal("10-10", 0, 30),
    _hexagonal("11-20", 0, 0),
)
STACKED = (
    HEXAGONAL[0],
    _hexagonal("111", math.degrees(math.asin(1 / 3)), 30),
    _hexagonal("100", math.degrees(math.asin(1 / math.sqrt(3))), 30),
    HEXAGONAL[3],
)
"""Of layers with faults: the facets that fcc has above and below them, as in a twin."""
