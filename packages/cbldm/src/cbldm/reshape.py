"""Search around a cluster on the sites of its crystal: atoms, layers and shells come and go where that lowers Rw.

No list of shapes limits it: what a library has not, its neighbours may be turned into. Every move has a price, twice
the logarithm of the number of moves it was chosen from (the length of saying which, in the unit of
`metrics.penalised_score`), so that noise is not explained by rough surfaces.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from .data.clusters import Geometry
from .data.crystals import crystal_of, sites_of
from .landscape import Landscape, Move, State
from .pairs import pairs_of
from .refine import DILATIONS, Fit, Model, Parameters, refine
from .scattering.form_factors import Radiation
from .target import Target

FEWEST = 4
"""Atoms that are left at least."""
EFFORT = 0.8e9
"""Numbers that a search reads at most, under a second of one core; it is counted, as a clock would not give the same
result twice."""
_ROUNDS = 5
"""Times that dilation and Biso are refined anew for the shape found."""
_BRANCHES = 16
"""Moves that are followed although they do not pay at once, the best of all."""
_BRANCH_LENGTH = 30
_SINGLES = 4
"""Of the moves followed so, at most how many add one atom, and how many remove one."""
_SWAPPED = (40, 80)
"""Atoms, and sites, tried for a swap: those whose own move costs least."""
_SAME_LAYER = 0.08
"""Heights of one layer differ by less, in bonds."""
_EXACT = 1e-5
"""Rw that leaves nothing to explain."""
_NONE = np.zeros(0, dtype=int)


@dataclass(frozen=True, eq=False)
class Reshaped:
    """What a search found.

    Attributes:
        positions: Coordinates about the middle, in units of the bond at dilation 1.
        fit: Its refinement; the score pays for the moves.
        moves: How many were made.
        price: What they cost, in units of the score.
        added: Atoms more than before, in places that were empty.
        removed: Places that are empty now.
    """

    positions: Float[np.ndarray, "atoms 3"]
    fit: Fit
    moves: int
    price: float
    added: int
    removed: int


def reshape(
    geometry: Geometry,
    target: Target,
    start: Parameters,
    *,
    bond: float,
    max_atoms: int,
    dilations: tuple[float, float] = DILATIONS,
    radiation: Radiation = "xray",
    effort: float = EFFORT,
) -> Reshaped | None:
    """Change the shape of a cluster while that pays.

    The best of all single atoms added or removed, layers and shells added or removed, and the cluster united or
    intersected with itself moved on by a period, is taken as long as Rw falls by more than its price; then swaps of two
    atoms; then moves that pay only with what follows them. Dilation and Biso (and delta2, where it is not zero) are
    refined again for what was found, and so on.

    Args:
        geometry: Where to begin.
        target: Measured points.
        start: Its refined parameters.
        bond: Bond length at dilation 1, Å.
        max_atoms: Largest cluster.
        dilations: Limits of the dilation.
        radiation: What was scattered.
        effort: How long to search, in numbers read.

    Returns:
        The best cluster; None where the geometry lies on no known crystal, or no move pays.

    >>> from ase import Atoms
    >>> from cbldm import simulate
    >>> from cbldm.data.clusters import build_geometry
    >>> from cbldm.target import select_target
    >>> wanted, begun = build_geometry("FCC", (1, 2, 2)), build_geometry("Oct", (2,))
    >>> target = select_target(simulate(Atoms("Pt13", positions=2.8 * wanted.positions)))
    >>> found = reshape(begun, target, Parameters(), bond=2.8, max_atoms=20)
    >>> len(found.positions), round(found.fit.rw, 4)
    (13, 0.0)
    """
    crystal = crystal_of(geometry)
    first = sites_of(geometry, crystal)
    if first is None or len(first) > max_atoms:
        return None
    search = _Search(target.independent_points, max_atoms, effort)
    free = ("scale", "dilation", "biso", *(["delta2"] if start.delta2 else []))
    occupied, parameters, best = first, start, None
    for _ in range(_ROUNDS):
        landscape = Landscape(crystal, occupied, target, parameters, bond)
        state, path = search(landscape)
        if not path.moves:
            break
        occupied = landscape.sites[state.atoms]
        positions = crystal.points[occupied] - crystal.points[occupied].mean(axis=0)
        model = Model(pairs_of(bond * positions, "X"), target, max_dilation=dilations[1], radiation=radiation)
        fit = refine(model, target, parameters, free=free, dilations=dilations)
        moves, price = (path.moves + best.moves, path.price + best.price) if best else (path.moves, path.price)
        fit = replace(fit, score=fit.score + price)
        if best is not None and fit.score >= best.fit.score:
            break
        added, removed = np.setdiff1d(occupied, first), np.setdiff1d(first, occupied)
        best, parameters = Reshaped(positions, fit, moves, price, len(added), len(removed)), fit.parameters
        if fit.weighted_rw < _EXACT or search.effort <= 0:
            break
    return best


class _Path(NamedTuple):
    """How many moves were made, and what they cost."""

    moves: int = 0
    price: float = 0.0

    def after(self, other: "_Path") -> "_Path":
        return _Path(self.moves + other.moves, self.price + other.price)


class _Search:
    """Moves that pay, one after another, until none is left or the effort is spent."""

    def __init__(self, points: float, max_atoms: int, effort: float) -> None:
        self.points, self.max_atoms, self.effort = points, max_atoms, effort

    def __call__(self, landscape: Landscape) -> tuple[State, _Path]:
        """The best cluster that was found, and how."""
        state, rw, path = self._descend(landscape, landscape.start, math.inf)
        while rw > _EXACT and self.effort > 0:
            found = self._branch(landscape, state, rw)
            if found is None:
                break
            state, rw, path = found[0], found[1], found[2].after(path)
        return state, path

    def _branch(self, landscape: Landscape, state: State, rw: float) -> tuple[State, float, _Path] | None:
        judged, choices = self._judged(landscape, state, singles=_SINGLES)
        first = _Path(1, 2 * math.log(choices))
        for _, move in sorted(judged, key=lambda each: each[0])[:_BRANCHES]:
            if self.effort <= 0:
                break
            found, least, more = self._descend(landscape, landscape.moved(state, move), _BRANCH_LENGTH)
            path = more.after(first)
            if self._pays(path, rw, least):
                return found, least, path
        return None

    def _descend(self, landscape: Landscape, state: State, most: float) -> tuple[State, float, _Path]:
        rw, path = float(landscape.rw(state.g)), _Path()
        while path.moves < most and rw > _EXACT and self.effort > 0:
            judged, choices = self._judged(landscape, state)
            least, move = min(judged, key=lambda each: each[0], default=(math.inf, None))
            step = _Path(1, 2 * math.log(max(choices, 1)))
            if not self._pays(step, rw, least):
                least, move, choices = self._swap(landscape, state)
                step = _Path(1, 2 * math.log(max(choices, 1)))
            if move is None or not self._pays(step, rw, least):
                break
            state, rw, path = landscape.moved(state, move), least, step.after(path)
            self.effort -= state.gain.size * (len(move.added) + len(move.removed))
        return state, rw, path

    def _pays(self, path: _Path, before: float, after: float) -> bool:
        return after < before * math.exp(-path.price / (2 * self.points))

    def _judged(self, landscape: Landscape, state: State, singles: int = 1) -> tuple[list[tuple[float, Move]], int]:
        """Rw after each move, of single atoms only after the best that come and go; and how many there were."""
        coordination = landscape.coordination(state)
        atoms = state.atoms
        free = np.flatnonzero(~state.occupied & (coordination > 0))
        judged, choices = [], 0
        if len(free) and len(atoms) < self.max_atoms:
            rw = landscape.rw(state.g + state.gain[free])
            choices += len(free)
            judged += [(float(rw[k]), Move(free[[k]], _NONE)) for k in np.argsort(rw, kind="stable")[:singles]]
        if len(atoms) > FEWEST:
            rw = landscape.rw(state.g - state.gain[atoms])
            choices += len(atoms)
            judged += [(float(rw[k]), Move(_NONE, atoms[[k]])) for k in np.argsort(rw, kind="stable")[:singles]]
        seen: dict[tuple[bytes, bytes], Move] = {}
        for move in _large_moves(landscape, state.occupied, coordination):
            count = len(atoms) + len(move.added) - len(move.removed)
            key = (move.added.tobytes(), move.removed.tobytes())
            if FEWEST <= count <= self.max_atoms and count != len(atoms) and key not in seen:
                seen[key] = move
                changed = len(move.added) + len(move.removed)
                self.effort -= changed * changed * len(state.g)
        judged += zip(landscape.rw_after(state, [*seen.values()]).tolist(), seen.values(), strict=True)
        self.effort -= 2 * len(atoms) * len(state.g) + 1e5
        return judged, choices + len(seen)

    def _swap(self, landscape: Landscape, state: State) -> tuple[float, Move | None, int]:
        """The best of the moves of one atom to another place, and how many there were."""
        atoms = state.atoms
        free = np.flatnonzero(~state.occupied & (landscape.coordination(state) > 0))
        if not len(free) or len(atoms) <= FEWEST:
            return math.inf, None, 0
        removed = atoms[np.argsort(landscape.rw(state.g - state.gain[atoms]), kind="stable")[: _SWAPPED[0]]]
        added = free[np.argsort(landscape.rw(state.g + state.gain[free]), kind="stable")[: _SWAPPED[1]]]
        rw = landscape.rw_swapped(state, added, removed)
        self.effort -= rw.size * len(state.g)
        i, j = divmod(int(rw.argmin()), rw.shape[1])
        return float(rw[i, j]), Move(added[[j]], removed[[i]]), len(atoms) * len(free)


def _large_moves(
    landscape: Landscape, occupied: Bool[np.ndarray, " sites"], coordination: Int[np.ndarray, " sites"]
) -> Iterator[Move]:
    """Layers, shells and periods that come or go at once; some are empty, some the same."""
    atoms, free = np.flatnonzero(occupied), np.flatnonzero(~occupied & (coordination > 0))
    for to in landscape.shifts:
        moved = to[atoms]
        if (moved >= 0).all():
            yield Move(moved[~occupied[moved]], _NONE)
            yield Move(_NONE, np.setdiff1d(atoms, moved))
    for least in range(2, 10):
        yield Move(free[coordination[free] >= least], _NONE)
        yield Move(_NONE, atoms[coordination[atoms] < least])
    for height in landscape.heights:
        top = height[atoms].max()
        below = height[atoms][height[atoms] < top - _SAME_LAYER]
        yield Move(_NONE, atoms[height[atoms] > top - _SAME_LAYER])
        if len(below):
            yield Move(_NONE, atoms[height[atoms] > below.max() - _SAME_LAYER])
        above = free[height[free] > top + _SAME_LAYER]
        layers = [free[np.abs(height[free] - top) < _SAME_LAYER]]
        if len(above):
            layers.append(above[height[above] < height[above].min() + _SAME_LAYER])
        for layer in layers:
            for least in range(1, 7):
                yield Move(layer[coordination[layer] >= least], _NONE)
