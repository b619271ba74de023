"""Distributions on the sphere with exact samplers."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from .distribution import Geometry, Labelled, Modes, require_count, require_label


@dataclass(frozen=True)
class SphereMixture:
    """Six von Mises–Fisher components of equal share on the axes of the sphere S², which are its classes.

    Attributes:
        kappa: Concentration of each; near its centre a component has the deviation 1/√κ, in radians.

    Raises:
        ValueError: If `kappa` is not positive.

    Example:
        >>> SphereMixture().sample(4, torch.Generator().manual_seed(0)).norm(dim=1).allclose(torch.ones(4))
        True
    """

    kappa: float = 50.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.kappa) and self.kappa > 0):
            raise ValueError(f"kappa = {self.kappa}: give a positive number")

    @property
    def dimension(self) -> int:
        """Three, of the space around the sphere."""
        return 3

    @property
    def geometry(self) -> Geometry:
        """The sphere."""
        return "sphere"

    @property
    def location(self) -> Float[Tensor, " 3"]:
        """Zero: points on the sphere are not standardised."""
        return torch.zeros(3)

    @property
    def scale(self) -> float:
        """One, for the same reason."""
        return 1.0

    @property
    def modes(self) -> Modes:
        """The axes, and 3/√κ as an angle."""
        return Modes(torch.cat([torch.eye(3), -torch.eye(3)]), 3 / math.sqrt(self.kappa))

    @property
    def size(self) -> None:
        """None: every draw is fresh."""
        return None

    @property
    def image_shape(self) -> None:
        """None: no images."""
        return None

    def sample(self, count: int, generator: torch.Generator) -> Float[Tensor, "count 3"]:
        r"""Draw independent points of unit norm.

        On S² the cosine to the centre has the distribution function
        $F(w) = (e^{\kappa w} - e^{-\kappa}) / (e^{\kappa} - e^{-\kappa})$, which is inverted in closed form.

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
        """Six, one for each component."""
        return 6

    def sample_labelled(
        self, count: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "count 3"], Int[Tensor, " count"]]:
        """Draw independent points with the number of the component that each is of.

        Args:
            count: How many.
            generator: Where the randomness comes from, on the CPU.

        Returns:
            Points and labels, which are the rows of `modes.centres`.

        Raises:
            ValueError: If `count` is below one.
        """
        require_count(count)
        labels = torch.randint(6, (count,), generator=generator)
        return self._points(labels, generator), labels

    def sample_class(self, label: int, count: int, generator: torch.Generator) -> Float[Tensor, "count 3"]:
        """Draw independent points of one component.

        Args:
            label: Its number.
            count: How many.
            generator: Where the randomness comes from, on the CPU.

        Returns:
            The points.

        Raises:
            ValueError: If `count` is below one or there is no such component.
        """
        require_count(count)
        require_label(label, self.classes)
        return self._points(torch.full((count,), label), generator)

    def held_out(self) -> tuple[Labelled, Labelled]:
        """The sampler itself: every draw is fresh."""
        return self, self

    def _points(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        centre, count = self.modes.centres[labels], len(labels)
        uniform = torch.rand(count, 1, generator=generator, dtype=torch.float64)
        floor = math.exp(-2 * self.kappa)
        cosine = (1 + torch.log(uniform + (1 - uniform) * floor) / self.kappa).clamp(-1, 1).float()
        around = torch.randn(count, 3, generator=generator)
        tangent = normalize(around - (around * centre).sum(1, keepdim=True) * centre, dim=1)
        return normalize(cosine * centre + (1 - cosine**2).clamp(min=0).sqrt() * tangent, dim=1)
