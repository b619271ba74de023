"""Two-dimensional distributions with exact samplers, standardised by fixed constants.

The constants are closed forms of each recipe's moments, so a draw has mean zero and unit average variance by
construction and not by the accident of a sample.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from .distribution import Distribution, Geometry, Modes, require_count

ToyName = Literal["8gaussians", "25grid", "moons", "checkerboard", "swissroll", "pinwheel", "two_spirals", "ring"]


class _Recipe(NamedTuple):
    draw: Callable[[int, torch.Generator], Tensor]
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
    et al. 2019). `ring`: a circle of radius one, noise 0.1.

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
        require_count(count)
        recipe = _RECIPES[self.name]
        return (recipe.draw(count, generator) - torch.tensor(recipe.mean)) / math.sqrt(recipe.variance)

    def held_out(self) -> tuple[Distribution, Distribution]:
        """The sampler itself: every draw is fresh."""
        return self, self


def _mixture(centres: Tensor, deviation: float) -> Callable[[int, torch.Generator], Tensor]:
    def draw(count: int, generator: torch.Generator) -> Tensor:
        which = torch.randint(len(centres), (count,), generator=generator)
        return centres[which] + deviation * torch.randn(count, 2, generator=generator)

    return draw


def _moons(count: int, generator: torch.Generator) -> Tensor:
    angle = math.pi * torch.rand(count, generator=generator)
    upper = torch.rand(count, 1, generator=generator) < 0.5
    outer = torch.stack([angle.cos(), angle.sin()], 1)
    inner = torch.stack([1 - angle.cos(), 0.5 - angle.sin()], 1)
    return torch.where(upper, outer, inner) + 0.1 * torch.randn(count, 2, generator=generator)


def _checkerboard(count: int, generator: torch.Generator) -> Tensor:
    column = torch.randint(4, (count,), generator=generator)
    row = 2 * torch.randint(2, (count,), generator=generator) + column % 2
    return torch.stack([column, row], 1) + torch.rand(count, 2, generator=generator) - 2


def _swissroll(count: int, generator: torch.Generator) -> Tensor:
    angle = 1.5 * math.pi * (1 + 2 * torch.rand(count, generator=generator))
    spiral = angle[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    return spiral + torch.randn(count, 2, generator=generator)


def _pinwheel(count: int, generator: torch.Generator) -> Tensor:
    arm = torch.randint(5, (count,), generator=generator) * (2 * math.pi / 5)
    along = 1 + 0.3 * torch.randn(count, generator=generator)
    across = 0.1 * torch.randn(count, generator=generator)
    twist = arm + 0.25 * along.exp()
    cosine, sine = twist.cos(), twist.sin()
    return 2 * torch.stack([along * cosine + across * sine, across * cosine - along * sine], 1)


def _two_spirals(count: int, generator: torch.Generator) -> Tensor:
    angle = 3 * math.pi * torch.rand(count, generator=generator).sqrt()
    spiral = (
        angle[:, None] * torch.stack([-angle.cos(), angle.sin()], 1) + torch.rand(count, 2, generator=generator) / 2
    )
    side = 2 * torch.randint(2, (count, 1), generator=generator) - 1
    return side * spiral / 3 + 0.1 * torch.randn(count, 2, generator=generator)


def _ring(count: int, generator: torch.Generator) -> Tensor:
    angle = 2 * math.pi * torch.rand(count, generator=generator)
    return torch.stack([angle.cos(), angle.sin()], 1) + 0.1 * torch.randn(count, 2, generator=generator)


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
    "8gaussians": _Recipe(_mixture(_CIRCLE, math.sqrt(0.1)), (0.0, 0.0), 12.6, _CIRCLE, math.sqrt(0.1)),
    "25grid": _Recipe(_mixture(_GRID, 0.05), (0.0, 0.0), 8.0025, _GRID, 0.05),
    "moons": _Recipe(_moons, (0.5, 0.25), _MOONS_VARIANCE),
    "checkerboard": _Recipe(_checkerboard, (0.0, 0.0), 4 / 3),
    "swissroll": _Recipe(_swissroll, _SWISSROLL_MEAN, _SWISSROLL_VARIANCE),
    "pinwheel": _Recipe(_pinwheel, (0.0, 0.0), _PINWHEEL_VARIANCE),
    "two_spirals": _Recipe(_two_spirals, (0.0, 0.0), _SPIRALS_VARIANCE),
    "ring": _Recipe(_ring, (0.0, 0.0), 0.5 + 0.1**2),
}
assert set(_RECIPES) == set(get_args(ToyName))
