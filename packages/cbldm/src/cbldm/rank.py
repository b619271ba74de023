"""The order of candidates: by how well each fits, less what its free parameters buy (`metrics.penalised_score`)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from scipy.spatial.distance import pdist

from .data.clusters import Geometry
from .refine import RefinedStructure
from .target import Target

SAME_STRUCTURE = 0.02
"""Root mean square difference of the sorted distances up to which two structures are one, Å."""


PLAUSIBLE = 10.0
"""Difference of scores within which a candidate is told with the best: exp(-10/2) is odds of 150 to 1, were the errors
what the score takes them for."""


@dataclass(frozen=True, eq=False)
class Candidate(RefinedStructure):
    """A structure of the library that may explain the curve.

    Attributes:
        geometry: Where in the library it came from.
    """

    geometry: Geometry


@dataclass(frozen=True, eq=False)
class Recovery(Sequence[Candidate]):
    """The candidates for a curve, best first.

    Attributes:
        candidates: Ranked structures.
        target: The points they were fitted to.
        element: Symbol that the atoms were given.
        bond: Bond length at dilation 1, Å.
        dilations: Range of the dilation.
        searched: Number of geometries that were tried.
        seed: Seed of what was drawn at random.
    """

    candidates: tuple[Candidate, ...]
    target: Target
    element: str
    bond: float
    dilations: tuple[float, float]
    searched: int
    seed: int

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
    def plausible(self) -> tuple[Candidate, ...]:
        """Candidates whose score is within 10 of the best: the data hardly choose among them."""
        return tuple(each for each in self.candidates if each.score <= self.candidates[0].score + PLAUSIBLE)


def rank(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Order candidates by score and leave out those that repeat a better one.

    Args:
        candidates: Refined structures in any order.

    Returns:
        Best first; of structures with the same distances (within 0.02 Å) only the best. Mirror images have the same
        distances and the same G.
    """
    kept: list[Candidate] = []
    seen: dict[int, list[np.ndarray]] = {}
    for candidate in sorted(candidates, key=lambda each: each.score):
        distances = np.sort(pdist(candidate.atoms.positions))
        alike = seen.setdefault(len(candidate.atoms), [])
        if all(np.sqrt(np.square(distances - other).mean()) > SAME_STRUCTURE for other in alike):
            alike.append(distances)
            kept.append(candidate)
    return kept
