"""What a data set offers: exact draws, its geometry and, where it has them, its modes."""

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

Geometry = Literal["euclidean", "sphere"]


@dataclass(frozen=True)
class Modes:
    """The modes of a mixture of equal shares.

    Attributes:
        centres: Where they lie, in the units of the draws.
        radius: Three standard deviations of one component: within it a draw counts as of high quality.
    """

    centres: Float[Tensor, "modes d"]
    radius: float


class Distribution(Protocol):
    """A source of real points.

    Draws have mean zero and unit average variance (on the sphere: unit norm); `location + scale · draw` is the point
    in the units of the source.
    """

    @property
    def dimension(self) -> int:
        """Number of coordinates."""
        ...

    @property
    def geometry(self) -> Geometry:
        """The space the points lie in."""
        ...

    @property
    def modes(self) -> Modes | None:
        """The modes, where they are known."""
        ...

    @property
    def location(self) -> Float[Tensor, " d"]:
        """What standardising subtracted."""
        ...

    @property
    def scale(self) -> float:
        """What standardising divided by."""
        ...

    @property
    def size(self) -> int | None:
        """How many points there are to draw from; None where every draw is fresh."""
        ...

    def sample(self, count: int, generator: torch.Generator) -> Float[Tensor, "count d"]:
        """Draw independent points."""
        ...

    def held_out(self) -> "tuple[Distribution, Distribution]":
        """The same distribution twice, to measure against and for the floor: no row is in two of the three."""
        ...


def require_count(count: int) -> None:
    """Refuse to draw fewer than one point.

    Args:
        count: How many points are asked for.

    Raises:
        ValueError: If it is below one.
    """
    if count < 1:
        raise ValueError(f"count = {count}: ask for at least one point")
