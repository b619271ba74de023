"""The one-step generator of points: a multilayer perceptron."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from .one_step import Condition, OneStep

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU, "gelu": nn.GELU}


@dataclass(frozen=True)
class GeneratorConfig:
    """Shape of the perceptron.

    Attributes:
        width: Units of a hidden layer.
        depth: Number of hidden layers.
        activation: What follows each of them.
        condition: What the network is told beside the latent.
    """

    width: int = 256
    depth: int = 3
    activation: Literal["relu", "silu", "gelu"] = "relu"
    condition: Condition = "none"

    def __post_init__(self) -> None:
        for name in ("width", "depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"generator {name} = {getattr(self, name)}: give at least 1")

    def build(self, **shape: Any) -> "Generator":
        """The network; for the arguments see `OneStep`."""
        return Generator(self, **shape)


class Generator(OneStep):
    """One evaluation of a perceptron takes a latent to a sample.

    Latents are standard normal in Euclidean space and uniform on the sphere; there the output is projected on it. On
    the torus they are uniform angles; the perceptron sees their cosines and sines and says how far each is turned.
    Conditions are added to the first hidden layer.

    Args:
        config: Shape of the perceptron.
        shape: See `OneStep`.

    Example:
        >>> Generator(GeneratorConfig(width=8), dimension=2).sample(5, seed=0).shape
        torch.Size([5, 2])
    """

    def __init__(self, config: GeneratorConfig, **shape: Any) -> None:
        super().__init__(config, **shape)
        layers: list[nn.Module] = []
        units = 2 * self.dimension if self.geometry == "torus" else self.dimension
        for _ in range(config.depth):
            layers += [nn.Linear(units, config.width), _ACTIVATIONS[config.activation]()]
            units = config.width
        self.layers = nn.Sequential(*layers, nn.Linear(units, self.dimension))
        if self.classes:
            self.embedding = nn.Linear(self.classes + self.guided, config.width, bias=False)

    def forward(
        self,
        latents: Float[Tensor, "n d"],
        labels: Int[Tensor, " n"] | None = None,
        guidance: Float[Tensor, " n"] | None = None,
    ) -> Float[Tensor, "n d"]:
        """Points, standardised, for latents and, where the network has conditions, classes and strengths."""
        told = self.conditions(labels, guidance)
        if self.geometry == "torus":
            turned = latents + self._perceptron(torch.cat([latents.cos(), latents.sin()], dim=-1), told).float()
            return torch.remainder(turned + torch.pi, 2 * torch.pi) - torch.pi
        points = self._perceptron(latents, told)
        if self.geometry == "sphere":
            return normalize(points.float(), dim=-1)  # in half precision it would miss the sphere
        return points

    def _perceptron(self, x: Tensor, told: Tensor | None) -> Tensor:
        if told is None:
            return self.layers(x)
        return self.layers[1:](self.layers[0](x) + self.embedding(told))
