"""The distances of a cluster, sorted and merged, as the terms of a Debye sum."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.distance import cdist, pdist
from torch import Tensor

from .data.structure import CLOSEST, closest_pair
from .scattering.form_factors import Radiation, amplitudes

MERGE_WIDTH = 1e-3
"""Distances nearer than this are one term at their mean, Å: (q·h)²/24 is at most 3e-5 of a term at 25 Å⁻¹."""


@dataclass(frozen=True, eq=False)
class PairGroup:
    """The pairs of two elements.

    Attributes:
        elements: Their symbols.
        distances: Distinct distances, Å.
        counts: How many pairs have each.
    """

    elements: tuple[str, str]
    distances: Float[Tensor, " distinct"]
    counts: Float[Tensor, " distinct"]


@dataclass(frozen=True, eq=False)
class Pairs:
    """All pairs of a cluster.

    Attributes:
        groups: One for each two elements.
        composition: Number of atoms by element.
    """

    groups: tuple[PairGroup, ...]
    composition: dict[str, int]

    @property
    def atom_count(self) -> int:
        """Number of atoms."""
        return sum(self.composition.values())

    @property
    def dmin(self) -> float:
        """Shortest distance, Å."""
        return min(float(group.distances[0]) for group in self.groups)

    @property
    def dmax(self) -> float:
        """Longest distance, Å."""
        return max(float(group.distances[-1]) for group in self.groups)

    def weights(self, q: Float[Tensor, " nq"], radiation: Radiation = "xray") -> list[Float[Tensor, " nq"]]:
        r"""Weight of each group's pairs in F(q): $2 f_a f_b / (N \langle f \rangle^2)$, for one element 2/N."""
        if len(self.composition) == 1:
            return [torch.full_like(q, 2 / self.atom_count)]
        f = dict(zip(self.composition, amplitudes(list(self.composition), q, radiation), strict=True))
        mean = sum((count * f[element] for element, count in self.composition.items()), torch.zeros_like(q))
        return [2 * f[a] * f[b] * self.atom_count / mean**2 for a, b in (group.elements for group in self.groups)]

    @property
    def bond_length(self) -> float:
        """Mean of the distances up to 1.1 times the shortest: the bond, Å."""
        near = [group.distances <= 1.1 * self.dmin for group in self.groups]
        total = sum(float((g.counts * g.distances)[n].sum()) for g, n in zip(self.groups, near, strict=True))
        return total / sum(float(g.counts[n].sum()) for g, n in zip(self.groups, near, strict=True))


def pairs_of(positions: Float[np.ndarray, "atoms 3"], elements: str | Sequence[str]) -> Pairs:
    """Gather the distances of a cluster.

    Args:
        positions: Cartesian coordinates, Å.
        elements: Symbol of every atom, or one for all.

    Returns:
        Its pairs, element by element.

    Raises:
        ValueError: If there are fewer than two atoms, a coordinate is not finite, or two atoms stand at one place.

    >>> pairs_of(np.array([[0.0, 0, 0], [2, 0, 0], [4, 0, 0]]), "Pt").groups[0].counts.tolist()
    [2.0, 1.0]
    """
    symbols = np.array([elements] * len(positions) if isinstance(elements, str) else list(elements))
    if len(positions) < 2:
        raise ValueError(f"cluster of {len(positions)} atoms: it has no distance; give at least two atoms")
    if not np.isfinite(positions).all():
        atom = int(np.argwhere(~np.isfinite(positions).all(axis=1))[0, 0]) + 1
        raise ValueError(f"atom {atom}: its coordinates are not finite; correct them")
    kinds = list(dict.fromkeys(symbols.tolist()))
    groups = []
    for a, b in combinations_with_replacement(kinds, 2):
        first, second = positions[symbols == a], positions[symbols == b]
        distances = np.sort(pdist(first) if a == b else cdist(first, second).ravel())
        if distances.size:
            if distances[0] < CLOSEST and (pair := closest_pair(positions)):
                i, j, gap = pair
                raise ValueError(f"atoms {i + 1} and {j + 1}: {gap:.3g} Å apart; remove one of them")
            groups.append(PairGroup((a, b), *_merge(distances)))
    return Pairs(tuple(groups), {kind: int((symbols == kind).sum()) for kind in kinds})


def _merge(distances: Float[np.ndarray, " pairs"]) -> tuple[Float[Tensor, " distinct"], Float[Tensor, " distinct"]]:
    cell = np.floor(distances / MERGE_WIDTH + 0.5)
    _, where, counts = np.unique(cell, return_inverse=True, return_counts=True)
    means = np.bincount(where, weights=distances) / counts
    return torch.from_numpy(means), torch.from_numpy(counts.astype(float))
