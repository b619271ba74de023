"""The crystal that a cluster was cut from: sites on which it may go on, and the moves that keep its shape simple."""

import math
import re
from functools import lru_cache
from itertools import combinations, product

import numpy as np
from ase.cluster import Decahedron, Icosahedron
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from . import cuts
from .clusters import Geometry, StructureType

REACH = 16.0
"""Radius of the crystals, in bonds: rods of the libraries and what they may grow to lie within."""
FAR = 0.3
"""How far an atom may lie from its site, in bonds: surfaces relax and particles are strained by less."""
_CLOSE = 0.02
_OFF_CENTRE = 6.0
"""How far the origin of a library's crystal may lie from a cluster's middle, in bonds."""
_HALF_LAYERS = 20
CUT_FROM: dict[str, StructureType] = {"Oct": "FCC", "TOct": "FCC", "Cuboct": "FCC", "Marks": "Dec", "Ino": "Dec"}
"""Types that are shapes of another type's crystal."""


class Crystal:
    """Sites with bonds of length one.

    Attributes:
        points: The sites, about the origin.
        shifts: Short translations that take the crystal to itself.
        normals: Directions across which it grows in layers.
        tree: Its sites by place.
    """

    def __init__(
        self,
        points: Float[np.ndarray, "sites 3"],
        shifts: Float[np.ndarray, "shifts 3"],
        normals: Float[np.ndarray, "directions 3"],
    ) -> None:
        self.points, self.shifts, self.normals = points, shifts, normals
        self.tree = cKDTree(points)


def crystal_of(geometry: Geometry) -> Crystal:
    """The crystal of a library's geometry.

    Args:
        geometry: One of `cbldm.data.clusters.library`.

    Returns:
        The crystal, oriented as the library cuts from it.

    >>> from cbldm.data.clusters import build_geometry
    >>> len(crystal_of(build_geometry("Ico", (3,))).normals)
    62
    """
    stacked = re.match(r"layers ([ABC]+)", geometry.variant)
    return _crystal(CUT_FROM.get(geometry.type, geometry.type), stacked[1] if stacked else "")


def sites_of(geometry: Geometry, crystal: Crystal) -> Int[np.ndarray, " atoms"] | None:
    """Which sites of its crystal a geometry occupies.

    Args:
        geometry: The cluster.
        crystal: As `crystal_of` gives it.

    Returns:
        The site of each atom, or None where some atom lies farther than 0.3 bonds from any.

    >>> from cbldm.data.clusters import build_geometry
    >>> cluster = build_geometry("FCC", (1, 2, 2))
    >>> len(set(sites_of(cluster, crystal_of(cluster)).tolist()))
    13
    """
    near = crystal.points[np.linalg.norm(crystal.points, axis=1) < _OFF_CENTRE]
    for turn in _turns():
        x = geometry.positions @ turn.T
        middle = x[np.argmin(np.linalg.norm(x, axis=1))]
        moves = near[np.argsort(np.linalg.norm(near - middle, axis=1), kind="stable")] - middle
        probes = x[np.linspace(0, len(x) - 1, min(6, len(x))).astype(int)]
        off, _ = crystal.tree.query(probes + moves[:, None], distance_upper_bound=FAR)
        fits = np.flatnonzero(np.isfinite(off).all(axis=1))
        best: tuple[float, np.ndarray | None] = (FAR, None)
        for k in fits[np.argsort(off[fits].max(axis=1), kind="stable")]:
            far, sites = crystal.tree.query(x + moves[k], distance_upper_bound=FAR)
            if far.max() < best[0] and len(np.unique(sites)) == len(x):
                best = (float(far.max()), sites)
            if best[0] < _CLOSE:
                break
        if best[1] is not None:
            return best[1]
    return None


def _turns() -> list[np.ndarray]:
    """Turns about the axis of layers by 30°, and mirrored: constructors differ in these."""
    angles = np.radians(30 * np.arange(6))
    turns = [np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1.0]]) for a in angles]
    return [*turns, *(turn @ np.diag([1.0, -1.0, 1.0]) for turn in turns)]


@lru_cache(maxsize=64)
def _crystal(kind: str, sequence: str) -> Crystal:
    around = np.radians(60 * np.arange(6))
    plane = np.column_stack([np.cos(around), np.sin(around), np.zeros(6)])
    up = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
    if sequence:
        return Crystal(_within(cuts.layers(_continued(sequence), REACH)), plane, _normals(cuts.STACKED))
    match kind:
        case "HCP":
            points = cuts.layers(("AB" * _HALF_LAYERS) + "A", REACH)
            return Crystal(points, np.concatenate([plane, 2 * cuts.LAYER * up]), _normals(cuts.HEXAGONAL))
        case "Dec":
            large = Decahedron("Au", 9, 26, 0, math.sqrt(2)).positions
            return Crystal(_within(large - large.mean(axis=0)), up, _decahedral())
        case "Ico":
            large = Icosahedron("Au", 9, math.sqrt(2)).positions
            return Crystal(_within(large - large.mean(axis=0)), np.zeros((0, 3)), _icosahedral())
        case _:
            points = cuts.cubic(kind, REACH)
            length = np.linalg.norm(points, axis=1)
            return Crystal(points, points[(length > 0.1) & (length < 1.5)], _normals(cuts.CUBIC[:3]))


def _within(points: Float[np.ndarray, "sites 3"]) -> Float[np.ndarray, "sites 3"]:
    return points[np.linalg.norm(points, axis=1) <= REACH]


def _normals(facets: tuple[cuts.Facets, ...]) -> Float[np.ndarray, "directions 3"]:
    return np.concatenate([each.normals for each in facets])


def _continued(sequence: str) -> str:
    """The sequence with as many layers more as fill the crystal, stacked as fcc beyond both ends."""
    stacked = list(sequence)
    while len(stacked) < 2 * _HALF_LAYERS:
        stacked.append(min({*"ABC"} - {*stacked[-2:]}))
        stacked.insert(0, min({*"ABC"} - {*stacked[:2]}))
    return "".join(stacked)


def _decahedral() -> Float[np.ndarray, "directions 3"]:
    """Across {100} around the axis, across the {111} caps, and along it."""
    cap = math.radians(90) - math.asin(1 / math.sqrt(3))
    tilted = [
        (math.cos(t) * math.cos(a), math.cos(t) * math.sin(a), math.sin(t))
        for a, t in product(np.radians(36 * np.arange(10)), (0.0, cap, -cap))
    ]
    return np.array([*tilted, (0.0, 0.0, 1.0), (0.0, 0.0, -1.0)])


def _icosahedral() -> Float[np.ndarray, "directions 3"]:
    """Along all five-, two- and three-fold axes."""
    corners = Icosahedron("Au", 2, math.sqrt(2)).positions
    corners = corners - corners.mean(axis=0)
    corners = corners[np.linalg.norm(corners, axis=1) > 0.5]
    corners /= np.linalg.norm(corners, axis=1, keepdims=True)
    beside = np.abs(corners @ corners.T - 1 / math.sqrt(5)) < 0.1
    edges = [corners[a] + corners[b] for a, b in combinations(range(12), 2) if beside[a, b]]
    faces = [
        corners[a] + corners[b] + corners[c]
        for a, b, c in combinations(range(12), 3)
        if beside[a, b] and beside[b, c] and beside[a, c]
    ]
    found = np.concatenate([corners, edges, faces])
    return found / np.linalg.norm(found, axis=1, keepdims=True)
