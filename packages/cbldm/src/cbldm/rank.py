"""The order of candidates: by how well each fits, less what its free parameters buy (`metrics.penalised_score`)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import pdist

from .data.clusters import Geometry
from .refine import RefinedStructure

SAME_STRUCTURE = 0.02
"""Root mean square difference of the sorted distances up to which two structures are one, Å."""


@dataclass(frozen=True, eq=False)
class Candidate(RefinedStructure):
    """A structure of the library that may explain the curve.

    Attributes:
        geometry: Where in the library it came from.
    """

    geometry: Geometry


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
