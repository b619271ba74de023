r"""Rw of every cluster on the sites of a crystal, as a quadratic form that one atom more or less changes by a vector.

At a given bond, displacement and instrument a pair at the distance d adds a fixed curve to G. Its components along the
few directions that the instrument can tell apart, $\varphi(d)$, are computed once for each distance between sites.
Then $g = \sum_{i<j} \varphi(d_{ij})$ is all that a cluster needs, $V_s = \sum_j \varphi(d_{sj})$ is what an atom on the
site s adds to it, and

$$ R_w^2 = 1 - \frac{\langle g_\mathrm{obs}, g \rangle^2}{\lVert g_\mathrm{obs} \rVert^2 \lVert g \rVert^2} $$

at the best scale, in which N cancels. A thousand moves are judged in milliseconds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from .data.crystals import Crystal
from .refine import Parameters
from .target import SineTransform, Target

MARGIN = 2.05
"""How far beyond the atoms sites are looked at, in bonds."""
_BIN = 0.004
"""Distances nearer than this are taken as one, at their mean, Å."""
_NEIGHBOURS = 1.2
"""Neighbours are nearer than this, in bonds."""
_SAME_PLACE = 0.05
_WIDTHS = 16.0
"""Clusters whose widths round up to the same multiple of this share a transform, Å."""


class Move(NamedTuple):
    """Sites that are filled and sites that are emptied."""

    added: Int[np.ndarray, " some"]
    removed: Int[np.ndarray, " others"]


@dataclass(frozen=True, eq=False)
class State:
    """A cluster on the sites of a landscape.

    Attributes:
        occupied: Which sites hold an atom.
        gain: What an atom on each site adds to g, or takes with it.
        g: Components of the cluster's curve, but for its scale.
    """

    occupied: Bool[np.ndarray, " sites"]
    gain: Float[np.ndarray, "sites components"]
    g: Float[np.ndarray, " components"]

    @property
    def atoms(self) -> Int[np.ndarray, " atoms"]:
        """The occupied sites."""
        return np.flatnonzero(self.occupied)


class Landscape:
    """The sites around a cluster, and what their pairs add to the curve.

    Args:
        crystal: Where the sites come from.
        occupied: Sites of the cluster, by their number in the crystal.
        target: Measured points.
        parameters: Dilation, Biso and delta2 of the pairs.
        bond: Bond length at dilation 1, Å.

    Attributes:
        sites: Number of each site in the crystal.
        points: Where they lie, in bonds.
        beside: Which are neighbours.
        shifts: For each translation of the crystal the site that each site goes to, −1 where that lies outside.
        heights: Height of each site along each direction of growth, in bonds.
        start: The cluster that was given.
    """

    def __init__(
        self, crystal: Crystal, occupied: Int[np.ndarray, " atoms"], target: Target, parameters: Parameters, bond: float
    ) -> None:
        off, _ = cKDTree(crystal.points[occupied]).query(crystal.points, distance_upper_bound=MARGIN)
        self.sites = np.flatnonzero(np.isfinite(off))
        self.points = crystal.points[self.sites]
        length = bond * parameters.dilation
        distances = length * cdist(self.points, self.points)
        self.beside = csr_matrix((distances < _NEIGHBOURS * length) & (distances > 0), dtype=np.int64)
        self._place, means = _binned(distances)
        q, projection, self._observed, self._total = _instrument(target, _WIDTHS * math.ceil(means.max() / _WIDTHS))
        u = parameters.biso / (8 * math.pi**2)
        width = np.maximum(1 - parameters.delta2 / means**2 + (target.qbroad * means) ** 2, 0)
        f = np.sin(np.outer(means, q)) / means[:, None] * np.exp(-u * np.outer(width, q**2))
        self._pair = np.vstack([np.zeros(projection.shape[1]), f @ projection])
        tree = cKDTree(self.points)
        self.shifts = []
        for shift in crystal.shifts:
            off, to = tree.query(self.points + shift, distance_upper_bound=_SAME_PLACE)
            self.shifts.append(np.where(np.isfinite(off), to, -1))
        self.heights = crystal.normals @ self.points.T
        self.start = self.state(np.searchsorted(self.sites, np.sort(occupied)))

    def state(self, atoms: Int[np.ndarray, " atoms"]) -> State:
        """A cluster, from its sites."""
        occupied = np.zeros(len(self.sites), dtype=bool)
        occupied[atoms] = True
        kinds = len(self._pair)
        far = (kinds * np.arange(len(self.sites))[:, None] + self._place[:, atoms]).ravel()
        gain = np.bincount(far, minlength=kinds * len(self.sites)).reshape(-1, kinds) @ self._pair
        return State(occupied, gain, gain[atoms].sum(axis=0) / 2)

    def moved(self, state: State, move: Move) -> State:
        """The cluster after a move."""
        occupied, gain = state.occupied.copy(), state.gain.copy()
        occupied[move.added], occupied[move.removed] = True, False
        for site in move.removed:
            gain -= self._pair[self._place[site]]
        for site in move.added:
            gain += self._pair[self._place[site]]
        return State(occupied, gain, self._after(state, move))

    def rw(self, g: Float[np.ndarray, "*clusters components"]) -> Float[np.ndarray, "*clusters"]:
        """Rw at the best scale above 0, as the points are weighted."""
        return self._rw(g @ self._observed, np.square(g).sum(-1))

    def _rw(self, overlap: np.ndarray, size: np.ndarray) -> np.ndarray:
        return np.sqrt(np.maximum(1 - np.maximum(overlap, 0) ** 2 / (self._total * size + 1e-300), 0))

    def rw_after(self, state: State, moves: Sequence[Move]) -> Float[np.ndarray, " moves"]:
        """Rw after each of some moves."""
        if not moves:
            return np.zeros(0)
        return self.rw(np.stack([self._after(state, move) for move in moves]))

    def rw_swapped(
        self, state: State, added: Int[np.ndarray, " some"], removed: Int[np.ndarray, " others"]
    ) -> Float[np.ndarray, "others some"]:
        """Rw after one atom goes from any of the removed sites to any of the added ones."""
        left, more = state.g - state.gain[removed], state.gain[added]
        place = self._place[removed[:, None], added]  # g is left + more − the pair of both sites
        seen = self._pair @ self._observed
        overlap = (left @ self._observed)[:, None] + more @ self._observed - seen[place]
        cross = np.take_along_axis(left @ self._pair.T, place, 1) + np.take_along_axis(self._pair @ more.T, place, 0)
        square = np.square(left).sum(1)[:, None] + np.square(more).sum(1) + np.square(self._pair).sum(1)[place]
        size = square + 2 * (left @ more.T - cross)
        return self._rw(overlap, size)

    def coordination(self, state: State) -> Int[np.ndarray, " sites"]:
        """Number of neighbours that each site has in the cluster."""
        return self.beside @ state.occupied

    def _after(self, state: State, move: Move) -> Float[np.ndarray, " components"]:
        added, removed = move
        g = state.g - state.gain[removed].sum(axis=0) + state.gain[added].sum(axis=0)
        for one, other, share in ((removed, removed, 0.5), (added, added, 0.5), (added, removed, -1.0)):
            if len(one) and len(other):
                g = g + share * self._between(one, other)
        return g

    def _between(
        self, one: Int[np.ndarray, " some"], other: Int[np.ndarray, " others"]
    ) -> Float[np.ndarray, " components"]:
        """Sum over the pairs of two sets of sites; where many have one distance they are counted first."""
        place = self._place[one[:, None], other].ravel()
        if len(place) < len(self._pair):
            return self._pair[place].sum(axis=0)
        return np.bincount(place, minlength=len(self._pair)) @ self._pair


def _binned(
    distances: Float[np.ndarray, "sites sites"],
) -> tuple[Int[np.ndarray, "sites sites"], Float[np.ndarray, " distinct"]]:
    """Number of each pair's distance, 0 for a site and itself, and the distances from number 1 on, Å."""
    cell = np.rint(distances / _BIN).astype(np.int32)
    np.fill_diagonal(cell, 0)
    counts = np.bincount(cell.ravel())
    counts[0] = 0
    used = np.flatnonzero(counts)
    number = np.zeros(len(counts), dtype=np.int32)
    number[used] = np.arange(1, len(used) + 1)
    return number[cell], np.bincount(cell.ravel(), distances.ravel())[used] / counts[used]


@lru_cache(maxsize=16)
def _instrument(target: Target, dmax: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Nodes of q, and what `SineTransform.components` says."""
    transform = SineTransform(target, dmax)
    return transform.q.numpy(), *transform.components()
