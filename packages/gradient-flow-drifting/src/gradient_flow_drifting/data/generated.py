"""Generated latents of images, of the shape that the real ones have: to see a large recipe run."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .distribution import Geometry, Modes, require_count, require_label


@dataclass(frozen=True)
class GeneratedLatents:
    """Classes of Gaussian noise around smooth class means, as many numbers as an autoencoder's latents have.

    Attributes:
        image: Channels, height and width; those of ImageNet at 256 × 256 behind an autoencoder of factor 8.
        classes: How many.
        points: How many are drawn to measure with.

    Example:
        >>> GeneratedLatents((4, 8, 8), classes=3).sample_labelled(2, torch.Generator().manual_seed(0))[0].shape
        torch.Size([2, 256])
    """

    image: tuple[int, int, int] = (4, 32, 32)
    classes: int = 1000
    points: int = 64

    def __post_init__(self) -> None:
        if min(self.image) < 1 or self.classes < 1 or self.points < 6:
            raise ValueError(f"data: {self}: give positive sides and classes, and at least 6 points")

    @property
    def dimension(self) -> int:
        """Numbers of a point."""
        return self.image[0] * self.image[1] * self.image[2]

    @property
    def geometry(self) -> Geometry:
        """Euclidean space."""
        return "euclidean"

    @property
    def modes(self) -> Modes | None:
        """Not told."""
        return None

    @property
    def location(self) -> Float[Tensor, " d"]:
        """Zero: the means of the classes are centred."""
        return torch.zeros(self.dimension)

    @property
    def scale(self) -> float:
        """One: half of the variance is the classes', half the noise's."""
        return 1.0

    @property
    def size(self) -> int:
        """How many are drawn to measure with; every draw is fresh."""
        return self.points

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """None: a latent is no picture."""
        return None

    def sample(self, count: int, generator: torch.Generator) -> Float[Tensor, "count d"]:
        """Draw points of any class."""
        return self.sample_labelled(count, generator)[0]

    def sample_labelled(
        self, count: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "count d"], Int[Tensor, " count"]]:
        """Draw points with their labels."""
        require_count(count)
        labels = torch.randint(self.classes, (count,), generator=generator)
        return self._around(labels, generator), labels

    def sample_class(self, label: int, count: int, generator: torch.Generator) -> Float[Tensor, "count d"]:
        """Draw points of one class."""
        require_count(count)
        require_label(label, self.classes)
        return self._around(torch.full((count,), label), generator)

    def held_out(self) -> "tuple[GeneratedLatents, GeneratedLatents]":
        """Itself twice."""
        return replace(self), replace(self)

    def _around(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(len(labels), self.dimension, generator=generator)
        return (self._means[labels] + noise) * 0.5**0.5

    @cached_property
    def _means(self) -> Tensor:
        coarse = torch.randn(self.classes, self.image[0], 2, 2, generator=torch.Generator().manual_seed(1993))
        smooth = torch.nn.functional.interpolate(coarse, size=self.image[1:]).flatten(1)
        return (smooth - smooth.mean(0)) / max(float(smooth.std(0, correction=0).mean()), 1e-6)
