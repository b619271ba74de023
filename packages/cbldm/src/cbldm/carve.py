"""What a model draws, cut anew from a crystal: of the draw's size and axes, with every atom on a site.

A drawn structure is right about how large and how long a particle is before it is right about any atom (where it is
nearly, `cbldm.snap` makes it so). Cut from a crystal it is a place where a search for shapes (`cbldm.reshape`) can
begin.
"""

from itertools import permutations

import numpy as np
from jaxtyping import Float

from .data.clusters import Geometry, StructureType
from .data.crystals import Crystal, crystal_of

_HALF_BONDS = ((0.0, 0.0, 0.0), (0.5, 0.0, 0.0), (0.0, 0.5, 0.0), (0.0, 0.0, 0.5))
_TWIN = "ABCBA"
_THINNEST = 0.35
"""Least radius of gyration along an axis, in bonds: that of a plane of atoms would be nothing."""


def axes_of(positions: Float[np.ndarray, "atoms 3"]) -> Float[np.ndarray, "3"]:
    """Radii of gyration along the principal axes, the longest first.

    Args:
        positions: Coordinates, in any unit.

    Returns:
        The radii, in that unit.

    >>> axes_of(np.array([[1.0, 0, 0], [-1, 0, 0], [0, 2, 0], [0, -2, 0]])).round(3).tolist()
    [1.414, 0.707, 0.0]
    """
    moved = positions - positions.mean(axis=0)
    values = np.linalg.eigvalsh(moved.T @ moved / len(moved))
    return np.sqrt(np.maximum(values[::-1], 0))


def crystal_for(kind: StructureType) -> tuple[Crystal, str]:
    """The crystal that clusters of a type are cut from.

    Args:
        kind: Structure type; a twin has its plane in the middle.

    Returns:
        The crystal, and what a cluster cut from it is called beside its type: of layers it says which.

    >>> crystal_for("FCC")[1], crystal_for("Twin")[1]
    ('drawn', 'layers ABCBA, drawn')
    """
    variant = f"layers {_TWIN}, drawn" if kind == "Twin" else "drawn"
    return crystal_of(Geometry(kind, (), np.zeros((1, 3)), variant)), variant


def carve(kind: StructureType, atom_count: int, axes: Float[np.ndarray, "3"], *, centres: int = 2) -> list[Geometry]:
    """Ellipsoids of a number of atoms, cut from the crystal of a type, their axes along the crystal's in every order.

    Args:
        kind: Structure type.
        atom_count: Number of atoms.
        axes: Radii of gyration, in bonds.
        centres: How many points of the crystal to cut about: an atom first, then points half a bond from it.

    Returns:
        The clusters, no two of the same sites.

    >>> [each.atom_count for each in carve("Ico", 13, np.ones(3), centres=1)]
    [13]
    """
    crystal, variant = crystal_for(kind)
    points = crystal.points
    origin = points[np.linalg.norm(points, axis=1).argmin()]
    lengths = np.maximum(axes, _THINNEST)
    near = points[np.linalg.norm(points - origin, axis=1) < 4 * lengths.max() + 2]
    found: dict[bytes, Geometry] = {}
    for half in _HALF_BONDS[:centres]:
        for order in sorted({*permutations(lengths.tolist())}):
            gauge = np.linalg.norm((near - origin - half) / np.array(order), axis=1)
            kept = np.sort(np.argsort(gauge, kind="stable")[:atom_count])
            positions = near[kept] - near[kept].mean(axis=0)
            found.setdefault(kept.tobytes(), Geometry(kind, (atom_count,), positions, variant))
    return list(found.values())
