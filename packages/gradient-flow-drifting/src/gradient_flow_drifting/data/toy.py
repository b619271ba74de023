"""Two-dimensional distributions with exact samplers, standardised by fixed constants.

The constants are closed forms of each recipe's moments, so a draw has mean zero and unit average variance by
construction and not by the accident of a sample.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .distribution import Geometry, Labelled, Modes, require_count, require_label

ToyName = Literal["8gaussians", "25grid", "moons", "checkerboard", "swissroll", "pinwheel", "two_spirals", "ring"]


class _Recipe(NamedTuple):
    draw: Callable[[Tensor, torch.Generator], Tensor]  # of the number of each point's part: mode, cell, arm, half
    parts: int
    mean: tuple[float, float]
    variance: float
    centres: Tensor | None = None
    deviation: float = 0.0


@dataclass(frozen=True)
class Toy:
    """A distribution in the plane, by name.

    `8gaussians`: radius 5, variance 0.1. `25grid`: 5 × 5, spacing 2, σ = 0.05. `moons`: two half circles, noise 0.1.
    `checkerboard`: eight filled cells of 4 × 4. `swissroll`: one and a half turns from radius 1.5π to 4.5π, noise 1.
    `pinwheel`: five arms, radial deviation 0.3, tangential 0.1, rate of the twist 0.25 (Johnson et al. 2016).
    `two_spirals`: 540° each, opposite, noise 0.1, with the uniform spread of a sixth that FFJORD's set has (Grathwohl
    et al. 2019). `ring`: a circle of radius one, noise 0.1. The parts of a set (modes, cells, arms, half circles,
    spirals) are its classes; `swissroll` and `ring` have none.

    Attributes:
        name: Which one.

    Raises:
        ValueError: If there is none of that name.

    Example:
        >>> toy = Toy("8gaussians")
        >>> toy.sample(3, torch.Generator().manual_seed(0)).shape
        torch.Size([3, 2])
        >>> len(toy.modes.centres)
        8
    """

    name: ToyName = "8gaussians"

    def __post_init__(self) -> None:
        if self.name not in _RECIPES:
            raise ValueError(f"no toy is called {self.name!r}: there are {', '.join(_RECIPES)}")

    @property
    def dimension(self) -> int:
        """Two."""
        return 2

    @property
    def geometry(self) -> Geometry:
        """The plane."""
        return "euclidean"

    @property
    def location(self) -> Float[Tensor, " 2"]:
        """Zero: the standardised units are the units of the set."""
        return torch.zeros(2)

    @property
    def scale(self) -> float:
        """One, for the same reason."""
        return 1.0

    @property
    def modes(self) -> Modes | None:
        """Centres and 3σ radius, standardised, of `8gaussians` and `25grid`."""
        recipe = _RECIPES[self.name]
        if recipe.centres is None:
            return None
        unit = math.sqrt(recipe.variance)
        return Modes((recipe.centres - torch.tensor(recipe.mean)) / unit, 3 * recipe.deviation / unit)

    @property
    def size(self) -> None:
        """None: every draw is fresh."""
        return None

    @property
    def image_shape(self) -> None:
        """None: no images."""
        return None

    def sample(self, count: int, generator: torch.Generator) -> Float[Tensor, "count 2"]:
        """Draw independent points, mean zero and unit average variance.

        Args:
            count: How many.
            generator: Where the randomness comes from, on the CPU.

        Returns:
            The points.

        Raises:
            ValueError: If `count` is below one.
        """
        return self.sample_labelled(count, generator)[0]

    @property
    def classes(self) -> int:
        """How many parts the set has, where it is more than one."""
        parts = _RECIPES[self.name].parts
        return parts if parts > 1 else 0

    def sample_labelled(
        self, count: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "count 2"], Int[Tensor, " count"]]:
        """Draw independent points with the number of the part that each is of.

        Args:
            count: How many.
            generator: Where the randomness comes from, on the CPU.

        Returns:
            Points and labels.

        Raises:
            ValueError: If `count` is below one.
        """
        require_count(count)
        labels = torch.randint(_RECIPES[self.name].parts, (count,), generator=generator)
        return self._points(labels, generator), labels

    def sample_class(self, label: int, count: int, generator: torch.Generator) -> Float[Tensor, "count 2"]:
        """Draw independent points of one part.

        Args:
            label: Its number.
            count: How many.
            generator: Where the randomness comes from, on the CPU.

        Returns:
            The points.

        Raises:
            ValueError: If `count` is below one or there is no such part.
        """
        require_count(count)
        require_label(label, self.classes)
        return self._points(torch.full((count,), label), generator)

    def held_out(self) -> tuple[Labelled, Labelled]:
        """The sampler itself: every draw is fresh."""
        return self, self

    def _points(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        recipe = _RECIPES[self.name]
        return (recipe.draw(labels, generator) - torch.tensor(recipe.mean)) / math.sqrt(recipe.variance)


def _mixture(centres: Tensor, deviation: float) -> Callable[[Tensor, torch.Generator], Tensor]:
    def draw(mode: Tensor, generator: torch.Generator) -> Tensor:
        return centres[mode] + deviation * torch.randn(len(mode), 2, generator=generator)

    return draw


def _moons(half: Tensor, generator: torch.Generator) -> Tensor:
    angle = math.pi * torch.rand(len(half), generator=generator)
    upper = torch.stack([angle.cos(), angle.sin()], 1)
    lower = torch.stack([1 - angle.cos(), 0.5 - angle.sin()], 1)
    return torch.where(half[:, None] == 0, upper, lower) + 0.1 * torch.randn(len(half), 2, generator=generator)


def _checkerboard(cell: Tensor, generator: torch.Generator) -> Tensor:
    column = cell // 2
    row = 2 * (cell % 2) + column % 2
    return torch.stack([column, row], 1) + torch.rand(len(cell), 2, generator=generator) - 2


def _swissroll(part: Tensor, generator: torch.Generator) -> Tensor:
    angle = 1.5 * math.pi * (1 + 2 * torch.rand(len(part), generator=generator))
    spiral = angle[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    return spiral + torch.randn(len(part), 2, generator=generator)


def _pinwheel(arm: Tensor, generator: torch.Generator) -> Tensor:
    count = len(arm)
    along = 1 + 0.3 * torch.randn(count, generator=generator)
    across = 0.1 * torch.randn(count, generator=generator)
    twist = arm * (2 * math.pi / 5) + 0.25 * along.exp()
    cosine, sine = twist.cos(), twist.sin()
    return 2 * torch.stack([along * cosine + across * sine, across * cosine - along * sine], 1)


def _two_spirals(which: Tensor, generator: torch.Generator) -> Tensor:
    count = len(which)
    angle = 3 * math.pi * torch.rand(count, generator=generator).sqrt()
    spiral = (
        angle[:, None] * torch.stack([-angle.cos(), angle.sin()], 1) + torch.rand(count, 2, generator=generator) / 2
    )
    return (1 - 2 * which[:, None]) * spiral / 3 + 0.1 * torch.randn(count, 2, generator=generator)


def _ring(part: Tensor, generator: torch.Generator) -> Tensor:
    angle = 2 * math.pi * torch.rand(len(part), generator=generator)
    return torch.stack([angle.cos(), angle.sin()], 1) + 0.1 * torch.randn(len(part), 2, generator=generator)


_ANGLES = torch.arange(8) * (math.pi / 4)
_CIRCLE = 5 * torch.stack([_ANGLES.cos(), _ANGLES.sin()], 1)
_GRID = torch.cartesian_prod(2 * torch.arange(-2.0, 3.0), 2 * torch.arange(-2.0, 3.0))
_MOONS_VARIANCE = (0.75 + (0.5 - 4 / math.pi**2) + (2 / math.pi - 0.25) ** 2) / 2 + 0.1**2
_SWISSROLL_MEAN = (2.0, 2 / (3 * math.pi))
_SWISSROLL_VARIANCE = (9.75 * math.pi**2 - _SWISSROLL_MEAN[0] ** 2 - _SWISSROLL_MEAN[1] ** 2) / 2 + 1
# of an arm 1 + 0.3² + 0.1² in all directions together, four times for the factor 2, half for one coordinate
_PINWHEEL_VARIANCE = 4 * (1 + 0.3**2 + 0.1**2) / 2
# the square of the angle, its product with the mean 1/4 of the spread, the square of the spread; a third of it; noise
_SPIRAL_PRODUCT = (4 / (3 * math.pi) + 2 - 8 / (9 * math.pi**2)) / 2
_SPIRALS_VARIANCE = (9 * math.pi**2 / 2 + _SPIRAL_PRODUCT + 1 / 6) / 18 + 0.1**2

_RECIPES: dict[str, _Recipe] = {
    "8gaussians": _Recipe(_mixture(_CIRCLE, math.sqrt(0.1)), 8, (0.0, 0.0), 12.6, _CIRCLE, math.sqrt(0.1)),
    "25grid": _Recipe(_mixture(_GRID, 0.05), 25, (0.0, 0.0), 8.0025, _GRID, 0.05),
    "moons": _Recipe(_moons, 2, (0.5, 0.25), _MOONS_VARIANCE),
    "checkerboard": _Recipe(_checkerboard, 8, (0.0, 0.0), 4 / 3),
    "swissroll": _Recipe(_swissroll, 1, _SWISSROLL_MEAN, _SWISSROLL_VARIANCE),
    "pinwheel": _Recipe(_pinwheel, 5, (0.0, 0.0), _PINWHEEL_VARIANCE),
    "two_spirals": _Recipe(_two_spirals, 2, (0.0, 0.0), _SPIRALS_VARIANCE),
    "ring": _Recipe(_ring, 1, (0.0, 0.0), 0.5 + 0.1**2),
}
assert set(_RECIPES) == set(get_args(ToyName))
