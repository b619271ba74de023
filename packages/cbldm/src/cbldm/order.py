"""An order of atoms in which a place means the same in every cluster, so that clusters alike have matrices alike."""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from .data.clusters import Geometry

_CUBIC = ("SC", "FCC", "BCC", "Oct", "TOct", "Cuboct")
"""Types whose three axes are alike."""
_ROUNDING = 1e-3
"""Differences of axes below this, in bonds, are none."""
_THINNEST = 0.15
"""A layer one atom thick counts as so thick, in bonds."""
_TURNS = (0.8191725133961645, 0.6710436067037893, 0.5497004779019703)
"""Steps of the even sequence in three dimensions: 1/g, 1/g², 1/g³ with g⁴ = g + 1."""


@lru_cache(maxsize=512)
def places(count: int) -> Float[np.ndarray, "count 3"]:
    """Points that fill the unit ball evenly, from the middle outwards: where the places of a cluster are.

    The k-th of them has for every number of them the same direction.

    Args:
        count: How many.

    Returns:
        Their coordinates.

    >>> bool((np.linalg.norm(places(20), axis=1) < 1).all())
    True
    """
    k = np.arange(count)
    turns = (0.5 + k * np.array(_TURNS)[:, None]) % 1
    radius, height, angle = ((k + 0.5) / count) ** (1 / 3), 2 * turns[1] - 1, 2 * np.pi * turns[2]
    across = np.sqrt(1 - height**2)
    return np.stack([radius * across * np.cos(angle), radius * across * np.sin(angle), radius * height], axis=1)


@lru_cache(maxsize=4)
def all_places(atoms: int) -> Float[Tensor, "counts atoms 3"]:
    """The places for each number of atoms, as a table.

    Args:
        atoms: Largest number.

    Returns:
        Coordinates by number of atoms from 0 and place, zero beyond the last.
    """
    table = torch.zeros(atoms + 1, atoms, 3)
    for count in range(1, atoms + 1):
        table[count, :count] = torch.from_numpy(places(count)).float()
    return table


def canonical_positions(geometry: Geometry) -> Float[np.ndarray, "atoms 3"]:
    r"""Coordinates in canonical order: each atom at the place of the ball to which it is moved with the least work.

    The cluster, each axis in units of its own spread, is mapped to `places` such that
    $\sum_k \lVert x_k / s - p_k \rVert^2$ is least (optimal transport between two sets of points), so that clusters of
    like shape have their atoms in like order. The axes are those in which the library builds each type; where they
    are alike the longest comes first, and of two directions the one in which the cluster has its tail.

    Args:
        geometry: The cluster.

    Returns:
        Coordinates about the centre, in the units of the geometry.

    >>> from cbldm.data.clusters import build_geometry
    >>> canonical_positions(build_geometry("Ico", (2,))).shape
    (13, 3)
    """
    x = geometry.positions - geometry.positions.mean(axis=0)
    if geometry.type in _CUBIC:
        x = x[:, np.argsort(-np.round(x.std(axis=0) / _ROUNDING), kind="stable")]
    x = x * np.where((x**3).sum(axis=0) < -_ROUNDING, -1, 1)
    goal = places(len(x)) / np.maximum(places(len(x)).std(axis=0), 1e-9)
    seen = x / (x.std(axis=0) + _THINNEST)
    work = ((goal[:, None] - seen[None]) ** 2).sum(axis=2)
    return x[linear_sum_assignment(work)[1]]
