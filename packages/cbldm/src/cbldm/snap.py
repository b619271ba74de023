"""A drawn structure laid on the sites of a crystal: where each atom is nearly right, all are right then.

How it is turned is found from three atoms near its middle: whichever sites of the crystal are as far from one another
may be theirs. The best of these frames are followed: atoms are given their sites, and the structure is turned and moved
to lie on them, from the middle outwards, since a turn that is a little off is far off only far out, and then until no
atom changes its site.
"""

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from .carve import crystal_for
from .data.clusters import Geometry, StructureType
from .data.crystals import Crystal
from .superposition import bases, superposed

_TOLERANCE = 0.25
"""By how much distances between three atoms may differ from those of the sites that they are to lie on, in bonds."""
_ARM = 1.6
"""How far from the first of the three the others may lie, in bonds."""
_ORIGIN = 1.1
"""How far from the middle of a crystal of several parts the site of the first may lie, in bonds."""
_PARTS: tuple[StructureType, ...] = ("Ico", "Dec", "Twin")
"""Crystals whose sites are not alike."""
_GROWTH = 1.0
"""By how much farther out atoms are given sites at each turn, in bonds."""
_PROBES = 20
"""Atoms by which frames are judged, those nearest to the first."""
_FOLLOWED = 4
"""Frames that are followed, the best."""
_TURNS = 30
_FARTHEST = 0.3
"""Root mean square distance from their sites up to which atoms tell them, in bonds: in a crystal any place is some 0.4
from one, and rough draws would leave holes all over it, which may fit well and are no particle's."""
_NEAR = 1.5
"""Sites that an atom may be given lie nearer than this, in bonds."""


def snap(kind: StructureType, positions: Float[np.ndarray, "atoms 3"]) -> Geometry | None:
    """The cluster of a crystal that a structure is nearest to.

    Args:
        kind: Structure type, whose crystal it is laid on.
        positions: Coordinates, in bonds.

    Returns:
        The cluster, as many atoms on sites; None where they lie too far from any, or in a chain.

    >>> from cbldm.data.clusters import build_geometry
    >>> rough = build_geometry("Ico", (2,)).positions + np.random.default_rng(0).normal(0, 0.05, (13, 3))
    >>> bool(np.allclose(snap("Ico", rough).shape, build_geometry("Ico", (2,)).shape))
    True
    """
    crystal, variant = crystal_for(kind)
    x = positions - positions.mean(axis=0)
    best: tuple[float, np.ndarray] | None = None
    away = np.linalg.norm(x - x[np.linalg.norm(x, axis=1).argmin()], axis=1)
    origins = crystal.points[np.argsort(np.linalg.norm(crystal.points, axis=1), kind="stable")]
    origins = origins[np.linalg.norm(origins, axis=1) < _ORIGIN] if kind in _PARTS else origins[:1]
    for turn, shift in _frames(x, away, crystal, origins):
        found = _followed(x, away, x @ turn + shift, crystal)
        if found is not None and (best is None or found[0] < best[0]):
            best = found
    if best is None or best[0] > _FARTHEST:
        return None
    placed = crystal.points[np.sort(best[1])]
    return Geometry(kind, (len(positions),), placed - placed.mean(axis=0), variant)


def _frames(
    x: np.ndarray, away: np.ndarray, crystal: Crystal, origins: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Turns, with a reflection or without, and shifts that bring three atoms onto sites; the most promising."""
    order = np.argsort(away, kind="stable")
    a, others = x[order[0]], [k for k in order[1:_PROBES] if away[k] < _ARM]
    across = [(b, c) for b in others for c in others if _across(x[b] - a, x[c] - a)]
    if not across:
        return []
    b, c = (x[k] for k in max(across, key=lambda pair: away[pair[0]] + away[pair[1]]))
    ab, ac, bc = (float(np.linalg.norm(each)) for each in (b - a, c - a, c - b))
    mine, found = bases((b - a)[None], (c - a)[None])[0], []
    for origin in origins:
        arms = crystal.points[crystal.tree.query_ball_point(origin, _ARM + _TOLERANCE)] - origin
        reach = np.linalg.norm(arms, axis=1)
        first, second = (arms[(np.abs(reach - each) < _TOLERANCE) & (reach > 0)] for each in (ab, ac))
        i, j = np.nonzero(np.abs(cdist(first, second) - bc) < _TOLERANCE)
        theirs = bases(first[i], second[j])
        for reflected in (1.0, -1.0):
            turns = mine @ (theirs * np.array([1.0, 1.0, reflected])).mT
            found.append((turns, origin - a @ turns))
    turns, shifts = (np.concatenate(each) for each in zip(*found, strict=True))
    off = crystal.tree.query(x[order[:_PROBES]] @ turns + shifts[:, None])[0]
    best = np.argsort(np.square(off).mean(axis=1), kind="stable")[:_FOLLOWED]
    return [(turns[k], shifts[k]) for k in best]


def _across(one: np.ndarray, other: np.ndarray) -> bool:
    return abs(one @ other) < 0.8 * float(np.linalg.norm(one) * np.linalg.norm(other))


def _followed(x: np.ndarray, away: np.ndarray, laid: np.ndarray, crystal: Crystal) -> tuple[float, np.ndarray] | None:
    """Give sites and turn, from the middle outwards, until the sites stay."""
    reach, before = _ARM, np.zeros(0)
    for _ in range(_TURNS):
        inside = away < reach
        sites = crystal.tree.query(laid[inside])[1]
        if np.array_equal(sites, before):
            break
        laid = superposed(x, x[inside], crystal.points[sites])
        reach, before = reach + _GROWTH, sites
    around = np.unique(np.concatenate(crystal.tree.query_ball_point(laid, _NEAR)).astype(int))
    if len(around) < len(x):
        return None
    cost = cdist(laid, crystal.points[around], "sqeuclidean")
    atoms, chosen = linear_sum_assignment(cost)  # no two on one site
    return float(np.sqrt(cost[atoms, chosen].mean())), around[chosen]
