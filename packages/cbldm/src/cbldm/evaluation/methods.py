"""What answers a curve: searches of what may be searched, of a model's draws, or of both."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ..data.clusters import Geometry
from ..data.gr import PairDistribution
from ..proposals import FromLibrary, Proposer
from ..rank import Recovery
from ..recover import Positions, recover

METHODS = ("retrieval",)


class Question(NamedTuple):
    """What a method is told beside the curve.

    Attributes:
        element: Symbol of the metal.
        bond: Where its search of bond lengths starts, Å.
    """

    element: str
    bond: float


class Method(Protocol):
    """A way from a curve to ranked candidates."""

    @property
    def name(self) -> str:
        """What it is called in tables."""

    def answer(self, gr: PairDistribution, question: Question, *, count: int, seed: int) -> Recovery:
        """Candidates for a curve, best first, with a distribution over numbers of atoms."""


@dataclass(frozen=True, eq=False)
class SearchMethod:
    """`recover` with sources of its own.

    Attributes:
        name: What it is called in tables.
        proposers: Where candidates come from.
        positions: Whether the atoms of the best are moved in the end.
    """

    name: str
    proposers: Sequence[Proposer]
    positions: Positions = "held"

    def answer(self, gr: PairDistribution, question: Question, *, count: int, seed: int) -> Recovery:
        """Search the sources."""
        return recover(
            gr,
            element=question.element,
            bond=question.bond,
            candidates=count,
            seed=seed,
            positions=self.positions,
            library=None,
            proposers=self.proposers,
        )


def build_method(name: str, searched: Sequence[Geometry], positions: Positions) -> Method:
    """A method by its name.

    Args:
        name: One of `METHODS`.
        searched: The geometries that may be searched.
        positions: Whether the atoms of the best are moved in the end.

    Returns:
        The method.

    Raises:
        ValueError: If there is no such method.
    """
    match name:
        case "retrieval":
            return SearchMethod(name, [FromLibrary(searched)], positions)
        case _:
            raise ValueError(f"method {name!r}: no such method; take some of {', '.join(METHODS)}")
