"""The one-step generator: a multilayer perceptron from latents to points."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from papertrio_shared.checkpoint import CheckpointError, load_weights, save_weights
from papertrio_shared.run import config_to_dict, dict_to_config
from papertrio_shared.seed import generator as seeded
from torch import Tensor, nn
from torch.nn.functional import normalize

Space = Literal["euclidean", "sphere", "torus"]
_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU, "gelu": nn.GELU}


@dataclass(frozen=True)
class GeneratorConfig:
    """Shape of the perceptron.

    Attributes:
        width: Units of a hidden layer.
        depth: Number of hidden layers.
        activation: What follows each of them.
    """

    width: int = 256
    depth: int = 3
    activation: Literal["relu", "silu", "gelu"] = "relu"

    def __post_init__(self) -> None:
        for name in ("width", "depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"generator {name} = {getattr(self, name)}: give at least 1")

    def build(
        self,
        *,
        dimension: int,
        geometry: Space = "euclidean",
        location: Float[Tensor, " d"] | None = None,
        scale: float = 1.0,
    ) -> "Generator":
        """The network; for the arguments see `Generator`."""
        return Generator(self, dimension=dimension, geometry=geometry, location=location, scale=scale)


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
    if count < 1:
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
    if count < 1:
        raise ValueError(f"count = {count}: ask for at least one point")
    seed = int(torch.randint(2**31, (1,), generator=generator))
    half_step = 2.0**-31  # the sequence may contain 0
    uniform = torch.quasirandom.SobolEngine(dimension, scramble=True, seed=seed).draw(count, dtype=torch.float64)
    signed = 2 * uniform.clamp(half_step, 1 - half_step) - 1
    if geometry == "torus":
        return (torch.pi * signed).float()
    normal = math.sqrt(2) * torch.erfinv(signed)
    return (normalize(normal, dim=-1) if geometry == "sphere" else normal).float()


class Generator(nn.Module):
    """One evaluation of a perceptron takes a latent to a sample.

    Latents are standard normal in Euclidean space and uniform on the sphere; there the output is projected on it. On
    the torus they are uniform angles; the perceptron sees their cosines and sines and says how far each is turned.

    Args:
        config: Shape of the perceptron.
        dimension: Number of coordinates of latents and points.
        geometry: The space of the points.
        location, scale: Take a point of the network to the units of the data: `location + scale · point`.

    Example:
        >>> Generator(GeneratorConfig(width=8), dimension=2).sample(5, seed=0).shape
        torch.Size([5, 2])
    """

    location: Tensor
    scale: Tensor

    def __init__(
        self,
        config: GeneratorConfig,
        *,
        dimension: int,
        geometry: Space = "euclidean",
        location: Float[Tensor, " d"] | None = None,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.config, self.dimension, self.geometry = config, dimension, geometry
        layers: list[nn.Module] = []
        units = 2 * dimension if geometry == "torus" else dimension
        for _ in range(config.depth):
            layers += [nn.Linear(units, config.width), _ACTIVATIONS[config.activation]()]
            units = config.width
        self.layers = nn.Sequential(*layers, nn.Linear(units, dimension))
        self.register_buffer("location", torch.zeros(dimension) if location is None else location.clone())
        self.register_buffer("scale", torch.tensor(float(scale)))

    def forward(self, latents: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Points, standardised, for latents."""
        if self.geometry == "torus":
            turned = latents + self.layers(torch.cat([latents.cos(), latents.sin()], dim=-1)).float()
            return torch.remainder(turned + torch.pi, 2 * torch.pi) - torch.pi
        points = self.layers(latents)
        if self.geometry == "sphere":
            return normalize(points.float(), dim=-1)  # in half precision it would miss the sphere
        return points

    def latents(self, count: int, generator: torch.Generator) -> Float[Tensor, "count d"]:
        """Draw latents on the CPU; see `latents`."""
        return latents(count, dimension=self.dimension, geometry=self.geometry, generator=generator)

    @torch.no_grad()
    def sample(self, count: int, *, seed: int = 0, chunk: int = 65_536) -> Float[Tensor, "count d"]:
        """Draw samples in the units of the data.

        Args:
            count: How many.
            seed: The same seed gives the same samples.
            chunk: Largest number evaluated at once.

        Returns:
            The samples, on the CPU.

        Raises:
            ValueError: If `count` is below one.
        """
        latents = self.latents(count, seeded(seed, "latents")).to(self.location.device)
        points = torch.cat([self(part) for part in latents.split(chunk)])
        return (self.location + self.scale * points).cpu()


def save_generator(path: str | Path, generator: Generator) -> None:
    """Write a generator into one safetensors file with the config that rebuilds it.

    Args:
        path: The file.
        generator: What to write.

    Raises:
        OSError: If the file cannot be written.
    """
    shape = {"dimension": generator.dimension, "geometry": generator.geometry}
    save_weights(path, generator.state_dict(), {"generator": config_to_dict(generator.config), **shape})


def load_generator(path: str | Path) -> Generator:
    """Read what `save_generator` wrote.

    Args:
        path: The file.

    Returns:
        The generator, on the CPU.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file is damaged, or its weights do not match its config.
    """
    tensors, config = load_weights(path)
    try:
        shape = dict_to_config(config["generator"], GeneratorConfig)
        generator = Generator(shape, dimension=config["dimension"], geometry=config["geometry"])
        generator.load_state_dict(tensors)
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: holds no generator of this package: write it anew by training") from error
    return generator.eval()
