"""What a data set offers: exact draws, its geometry and, where it has them, its modes and classes."""

from dataclasses import dataclass
from numbers import Integral
from typing import Literal, Protocol, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

Geometry = Literal["euclidean", "sphere", "torus"]


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

    Draws have mean zero and unit average variance (on the sphere: unit norm; on the torus: angles in radians);
    `location + scale · draw` is the point in the units of the source.
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

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """Channels, height and width where a point is an image, whose values in source units are 0 to 1; else None."""
        ...

    def sample(self, count: int, generator: torch.Generator) -> Float[Tensor, "count d"]:
        """Draw independent points."""
        ...

    def held_out(self) -> "tuple[Distribution, Distribution]":
        """The same distribution twice, to measure against and for the floor: no row is in two of the three."""
        ...


class Labelled(Distribution, Protocol):
    """A source whose points belong to classes; `labelled` tells whether a distribution is one."""

    @property
    def classes(self) -> int:
        """How many; labels run from zero. Zero where the points have no labels."""
        ...

    def sample_labelled(
        self, count: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "count d"], Int[Tensor, " count"]]:
        """Draw independent points with their labels."""
        ...

    def sample_class(self, label: int, count: int, generator: torch.Generator) -> Float[Tensor, "count d"]:
        """Draw independent points of one class."""
        ...

    def held_out(self) -> "tuple[Labelled, Labelled]":
        """As of any distribution, with labels."""
        ...


def labelled(distribution: Distribution) -> Labelled:
    """The same distribution, known to have labels.

    Args:
        distribution: The data.

    Returns:
        The distribution itself.

    Raises:
        ValueError: If its points have no labels.

    Example:
        >>> from gradient_flow_drifting.data import Toy
        >>> labelled(Toy("8gaussians")).classes
        8
        >>> labelled(Toy("swissroll"))
        Traceback (most recent call last):
        ValueError: Toy(name='swissroll') has no labels: class conditions need a data set with labels
    """
    if not getattr(distribution, "classes", 0):
        raise ValueError(f"{distribution} has no labels: class conditions need a data set with labels")
    return cast(Labelled, distribution)


def require_label(label: int, classes: int) -> None:
    """Refuse a class that a source does not have.

    Args:
        label: The class asked for.
        classes: How many there are.

    Raises:
        ValueError: If there is none of that label.
    """
    if not isinstance(label, Integral) or not 0 <= label < classes:
        there_are = f"labels are 0 to {classes - 1}" if classes else "the data set has no labels"
        raise ValueError(f"label = {label}: there is no such class: {there_are}")


def require_count(count: int) -> None:
    """Refuse to draw fewer than one point.

    Args:
        count: How many points are asked for.

    Raises:
        ValueError: If it is below one.
    """
    if not isinstance(count, Integral) or count < 1:
        raise ValueError(f"count = {count}: ask for at least one point")
