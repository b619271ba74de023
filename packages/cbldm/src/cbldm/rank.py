"""The order of candidates: by how well each fits, less what its free parameters buy (`metrics.penalised_score`)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, overload

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist

from .data.clusters import Geometry
from .posterior import Distribution, posterior_weights
from .refine import Parameters, RefinedStructure
from .relax import Relaxed
from .target import Target

if TYPE_CHECKING:
    from .sphere import Sphere

BEGINNING = Parameters()
SAME_STRUCTURE = 0.02
"""Root mean square difference of the sorted distances up to which two structures are one, Å."""

SAME_CURVE = 0.1
"""Difference of two fits, as an Rw of one against the other, up to which candidates are one family."""
_SHOWN = 8
"""Candidates that are named where a result is printed."""
SCOPE_RW = 0.5
"""Rw above which the best candidate is no explanation: a quarter of the sum of squares is then left over. Measured
curves of monometallic particles lie at 0.27 and 0.30, others and noise above 0.65 whatever bond is searched."""
SCOPE_BISO = 5.0
"""Biso above which it is none either, Å²: atoms that stray by a quarter of an Å, a tenth of a bond, are a liquid's
(Lindemann 1910). The measured particles have 0.6 and 1.3."""
MORE_THAN_NOISE = 0.15
"""Rw above which the misfit is told to be the structure's: a good measurement's noise leaves less."""
_AT_LIMIT = 0.002
"""Distance of a dilation from the end of its range at which it is told to have met it."""


@dataclass(frozen=True, eq=False, repr=False)
class Candidate(RefinedStructure):
    """A structure that may explain the curve.

    Attributes:
        type: Structure type, or `"own"`.
        source: Where it comes from: `"library"`, `"own"`, a model's name, or `"reshaped"`.
        weight: Its share of the posterior, among all that were refined.
        family: Number of its family, from 1: candidates whose fits are nearly one curve.
        start: Where its refinement began, at what was proposed.
        geometry: What it is at a bond of one, where it lies on the sites of a crystal and may be reshaped.
        moves: How many moves made it from what was proposed (`cbldm.reshape`); its score pays for each.
        relaxed: The structure after its atoms have moved, where that was asked for.
    """

    type: str
    source: str
    weight: float = 0.0
    family: int = 0
    start: Parameters = BEGINNING
    geometry: Geometry | None = None
    moves: int = 0
    relaxed: Relaxed | None = None

    @property
    def parameters(self) -> str:
        """What the label says beside the type."""
        return self.label.removeprefix(self.type).strip()


@dataclass(frozen=True, eq=False, repr=False)
class Recovery(Sequence[Candidate]):
    """The candidates for a curve, best first.

    Attributes:
        candidates: Ranked structures.
        target: The points they were fitted to.
        element: Symbol that the atoms were given.
        bond: Bond length at dilation 1, Å.
        dilations: Range of the dilation.
        searched: Number of structures that were tried.
        seed: Seed of what was drawn at random.
        atom_count: How likely each number of atoms is, were one of the structures that were refined the true one.
        structure_type: How likely each structure type is, likewise.
        max_atoms: Largest cluster that was tried, one's own left out.
        sphere: Of a crystal, larger than that, where one fits better than all candidates.
    """

    candidates: tuple[Candidate, ...]
    target: Target
    element: str
    bond: float
    dilations: tuple[float, float]
    searched: int
    seed: int
    atom_count: Distribution[int]
    structure_type: Distribution[str]
    max_atoms: int
    sphere: "Sphere | None" = None

    @overload
    def __getitem__(self, index: int) -> Candidate: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Candidate, ...]: ...

    def __getitem__(self, index: int | slice) -> Candidate | tuple[Candidate, ...]:
        return self.candidates[index]

    def __len__(self) -> int:
        return len(self.candidates)

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self.candidates)

    @property
    def in_scope(self) -> bool:
        """Whether a candidate explains the curve at all; judged from the curve, whatever its header names.

        One that does has an Rw up to 0.5, atoms that stay at their places, and a bond inside the range of the search
        where there is more misfit than noise.
        """
        best = self.candidates[0]
        lost = self.at_limit and best.rw > MORE_THAN_NOISE
        return best.rw <= SCOPE_RW and not self.molten and not lost

    @property
    def molten(self) -> bool:
        """Whether the atoms of the best candidate stray as in a liquid."""
        return self.candidates[0].fit.parameters.biso > SCOPE_BISO

    @property
    def at_limit(self) -> bool:
        """Whether the bond of the best candidate is at an end of the range that was searched."""
        low, high = self.dilations
        return not low + _AT_LIMIT < self.candidates[0].fit.parameters.dilation < high - _AT_LIMIT

    @property
    def plausible(self) -> tuple[Candidate, ...]:
        """The fewest candidates that together have nine tenths of the weight of all that are kept."""
        share = np.cumsum([each.weight for each in self.candidates])
        return self.candidates[: int(np.searchsorted(share, 0.9 * share[-1] - 1e-12)) + 1]

    def __repr__(self) -> str:
        """The curve and the first candidates, a line for each."""
        shown = [f"{number:3d}  {each!r}" for number, each in enumerate(self.candidates[:_SHOWN], 1)]
        more = [f"     and {len(self) - _SHOWN} more"] if len(self) > _SHOWN else []
        return "\n".join([f"{self.target.name}, {self.searched} structures searched:", *shown, *more])

    def _repr_html_(self) -> str:
        """The report, as a notebook shows it."""
        from .page import notebook_frame, recovery_page

        return notebook_frame(recovery_page(self))


def rank(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Order candidates by score, leave out those that repeat a better one, weigh the rest and find their families.

    Args:
        candidates: Refined structures in any order.

    Returns:
        Best first; of structures with the same distances (within 0.02 Å) only the one made by fewest moves, and of
        these the best. Mirror images have the same distances and the same G.
    """
    kept = _distinct(candidates)
    weights = posterior_weights(np.array([each.score for each in kept]))
    marked = zip(kept, weights.tolist(), families(kept), strict=True)
    return [replace(each, weight=weight, family=family) for each, weight, family in marked]


def families(candidates: Sequence[RefinedStructure], *, alike: float = SAME_CURVE) -> list[int]:
    """Gather structures whose fits the curve can hardly tell apart, by complete linkage of their calculated G.

    Args:
        candidates: Refined structures, best first.
        alike: Largest difference of two fits in a family, relative to the better one.

    Returns:
        Number of each one's family; families are numbered from 1 by their best member.
    """
    if len(candidates) < 2:
        return [1] * len(candidates)
    curves = np.stack([each.fit.g / max(float(np.linalg.norm(each.fit.g)), 1e-300) for each in candidates])
    found = fcluster(linkage(pdist(curves), method="complete"), alike, criterion="distance").tolist()
    order = {family: number for number, family in enumerate(dict.fromkeys(found), 1)}
    return [order[family] for family in found]


def _distinct(candidates: Sequence[Candidate]) -> list[Candidate]:
    kept: list[Candidate] = []
    seen: dict[int, list[np.ndarray]] = {}
    for candidate in sorted(candidates, key=lambda each: (each.moves, each.score)):
        distances = np.sort(pdist(candidate.atoms.positions))
        alike = seen.setdefault(len(candidate.atoms), [])
        if all(np.sqrt(np.square(distances - other).mean()) > SAME_STRUCTURE for other in alike):
            alike.append(distances)
            kept.append(candidate)
    return sorted(kept, key=lambda each: each.score)
