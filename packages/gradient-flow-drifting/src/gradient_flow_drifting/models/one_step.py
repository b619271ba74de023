"""What every one-step generator has: latents, conditions, the units of the data, and how samples are drawn."""

import math
from collections.abc import Sequence
from numbers import Integral
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from papertrio_shared.seed import generator as seeded
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot

Space = Literal["euclidean", "sphere", "torus"]
Condition = Literal["none", "class", "class_and_guidance"]


def latents(count: int, *, dimension: int, geometry: Space, generator: torch.Generator) -> Float[Tensor, "count d"]:
    """Draw what a generator starts from: standard normal in Euclidean space, uniform on the sphere and the torus.

    Args:
        count: How many.
        dimension: Number of coordinates.
        geometry: The space.
        generator: Where the randomness comes from, on the CPU.

    Returns:
        The latents.

    Raises:
        ValueError: If `count` is below one.

    Example:
        >>> latents(2, dimension=3, geometry="sphere", generator=torch.Generator()).norm(dim=1)
        tensor([1., 1.])
    """
    if not isinstance(count, Integral) or count < 1:
        raise ValueError(f"count = {count}: ask for at least one point")
    if geometry == "torus":
        return 2 * torch.pi * torch.rand(count, dimension, generator=generator) - torch.pi
    normal = torch.randn(count, dimension, generator=generator)
    return normalize(normal, dim=-1) if geometry == "sphere" else normal


def even_latents(
    count: int, *, dimension: int, geometry: Space, generator: torch.Generator
) -> Float[Tensor, "count d"]:
    """Latents of the same law as those of `latents` that fill their space more evenly than independent ones.

    A scrambled Sobol sequence, on the torus as it is, else through the normal quantile. Means over powers of two
    converge faster than those over random draws.

    Args:
        count: How many.
        dimension: Number of coordinates.
        geometry: The space.
        generator: Source of the scrambling, on the CPU.

    Returns:
        The latents.

    Raises:
        ValueError: If `count` is below one.

    Example:
        >>> points = even_latents(4096, dimension=2, geometry="euclidean", generator=torch.Generator())
        >>> bool(points.mean(0).norm() < 1e-3)
        True
    """
    if not isinstance(count, Integral) or count < 1:
        raise ValueError(f"count = {count}: ask for at least one point")
    seed = int(torch.randint(2**31, (1,), generator=generator))
    half_step = 2.0**-31  # the sequence may contain 0
    uniform = torch.quasirandom.SobolEngine(dimension, scramble=True, seed=seed).draw(count, dtype=torch.float64)
    signed = 2 * uniform.clamp(half_step, 1 - half_step) - 1
    if geometry == "torus":
        return (torch.pi * signed).float()
    normal = math.sqrt(2) * torch.erfinv(signed)
    return (normalize(normal, dim=-1) if geometry == "sphere" else normal).float()


class OneStep(nn.Module):
    """One evaluation takes a latent, where there are conditions with a class and a strength of guidance, to a sample.

    A generator is a subclass with a `forward` from latents, labels and strengths to standardised points.

    Args:
        config: What the network is; its `condition` says what else than latents it is told.
        dimension: Number of coordinates of the points.
        geometry: The space of the points.
        location, scale: Take a point of the network to the units of the data: `location + scale · point`.
        classes: Number of classes of the data.
        latent_dimension: Number of coordinates of the latents; that of the points where None.

    Attributes:
        classes: Number of classes the network is told of; zero where it has no condition.
        guided: Whether it is told a strength of guidance.

    Raises:
        ValueError: If there is a condition and there are no classes.
    """

    location: Tensor
    scale: Tensor

    def __init__(
        self,
        config: Any,
        *,
        dimension: int,
        geometry: Space = "euclidean",
        location: Float[Tensor, " d"] | None = None,
        scale: float = 1.0,
        classes: int = 0,
        latent_dimension: int | None = None,
    ) -> None:
        super().__init__()
        if config.condition != "none" and classes < 1:
            raise ValueError(
                f"generator.condition = {config.condition}: the data has no labels: give some, or set it to none"
            )
        self.config, self.dimension, self.geometry = config, dimension, geometry
        self.latent_dimension = dimension if latent_dimension is None else latent_dimension
        self.classes = 0 if config.condition == "none" else classes
        self.guided = config.condition == "class_and_guidance"
        self.register_buffer("location", torch.zeros(dimension) if location is None else location.clone())
        self.register_buffer("scale", torch.tensor(float(scale)))

    def latents(self, count: int, generator: torch.Generator) -> Float[Tensor, "count d"]:
        """Draw latents on the CPU; see `latents`."""
        return latents(count, dimension=self.latent_dimension, geometry=self.geometry, generator=generator)

    def conditions(
        self, labels: Int[Tensor, " n"] | None, guidance: Float[Tensor, " n"] | None
    ) -> Float[Tensor, "n c"] | None:
        """What the network is told: the class as a unit vector, then the logarithm of the strength of guidance.

        Args:
            labels: Classes; needed where the network has them.
            guidance: Strengths; none means 1.

        Returns:
            None where the network has no condition.
        """
        if not self.classes:
            return None
        assert labels is not None
        told = one_hot(labels, self.classes).to(self.scale.dtype)
        if not self.guided:
            return told
        strength = torch.zeros(len(labels), 1, device=told.device) if guidance is None else guidance.log()[:, None]
        return torch.cat([told, strength.to(told)], 1)

    @torch.no_grad()
    def sample(
        self,
        count: int,
        *,
        seed: int = 0,
        labels: int | Sequence[int] | Int[Tensor, " count"] | None = None,
        guidance: float | None = None,
        chunk: int = 65_536,
    ) -> Float[Tensor, "count d"]:
        """Draw samples in the units of the data.

        Args:
            count: How many.
            seed: The same seed gives the same samples.
            labels: One class for all, or one for each; drawn at random, each class as likely, where None.
            guidance: Strength, from 1 (none) to the largest of the training; 1 where None.
            chunk: Largest number evaluated at once.

        Returns:
            The samples, on the CPU.

        Raises:
            ValueError: If `count` is below one, a label is no class, or the generator does not take what is given.
        """
        latents, device = self.latents(count, seeded(seed, "latents")), self.location.device
        told = self.told(count, seed=seed, labels=labels, guidance=guidance)
        parts = [
            latents.split(chunk),
            *([None] * len(latents.split(chunk)) if t is None else t.split(chunk) for t in told),
        ]
        points = torch.cat(
            [self(*(None if each is None else each.to(device) for each in part)) for part in zip(*parts, strict=True)]
        )
        return (self.location + self.scale * points.float()).cpu()

    def told(
        self,
        count: int,
        *,
        seed: int = 0,
        labels: int | Sequence[int] | Int[Tensor, " count"] | None = None,
        guidance: float | None = None,
    ) -> tuple[Int[Tensor, " count"] | None, Float[Tensor, " count"] | None]:
        """Labels and strengths that `sample` takes for its arguments.

        Args:
            count: How many samples.
            seed: Of the labels, where none are given.
            labels, guidance: As of `sample`.

        Returns:
            Labels and strengths, None where the generator takes none.

        Raises:
            ValueError: If a label is no class, or the generator does not take what is given.
        """
        strengths = None
        if guidance is not None:
            if not self.guided:
                raise ValueError(f"guidance = {guidance}: this generator was trained without: leave it out")
            if not (math.isfinite(guidance) and guidance >= 1):
                raise ValueError(f"guidance = {guidance}: give a number from 1, which is none")
            strengths = torch.full((count,), float(guidance))
        if not self.classes:
            if labels is not None:
                raise ValueError("labels: this generator was trained without classes: leave them out")
            return None, None
        if labels is None:
            return torch.randint(self.classes, (count,), generator=seeded(seed, "labels")), strengths
        chosen = torch.as_tensor(labels, dtype=torch.int64).cpu()
        chosen = chosen.expand(count) if chosen.ndim == 0 else chosen
        if chosen.shape != (count,):
            raise ValueError(f"labels: one, or {count} of them are needed, found the shape {tuple(chosen.shape)}")
        if bool(((chosen < 0) | (chosen >= self.classes)).any()):
            wrong = int(chosen[(chosen < 0) | (chosen >= self.classes)][0])
            raise ValueError(f"labels: there is no class {wrong}: labels are 0 to {self.classes - 1}")
        return chosen, strengths
