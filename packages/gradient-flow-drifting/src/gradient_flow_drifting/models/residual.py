"""A one-step generator of small images: residual blocks of a perceptron."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn

from .one_step import Condition, OneStep


@dataclass(frozen=True)
class ResidualConfig:
    """Shape of the network.

    Attributes:
        width: Units of the stream that blocks add to.
        depth: Number of blocks.
        latents: Coordinates of a latent.
        condition: What the network is told beside the latent.
    """

    width: int = 256
    depth: int = 3
    latents: int = 32
    condition: Condition = "none"

    def __post_init__(self) -> None:
        for name in ("width", "depth", "latents"):
            if getattr(self, name) < 1:
                raise ValueError(f"generator {name} = {getattr(self, name)}: give at least 1")

    def build(self, **shape: Any) -> "ResidualGenerator":
        """The network; for the arguments see `OneStep`."""
        return ResidualGenerator(self, **shape)


class ResidualGenerator(OneStep):
    """Each block adds to a stream what a perceptron makes of it and of the conditions.

    Args:
        config: Shape of the network.
        shape: See `OneStep`.

    Example:
        >>> config = ResidualConfig(width=8, condition="class_and_guidance")
        >>> ResidualGenerator(config, dimension=64, classes=10).sample(5, labels=3, guidance=1.5).shape
        torch.Size([5, 64])

    Raises:
        ValueError: If the points do not lie in Euclidean space.
    """

    def __init__(self, config: ResidualConfig, **shape: Any) -> None:
        super().__init__(config, latent_dimension=config.latents, **shape)
        if self.geometry != "euclidean":
            raise ValueError(f"generator: images lie in Euclidean space, the data on the {self.geometry}")
        width = config.width
        self.start = nn.Linear(config.latents, width)
        if self.classes:
            self.embedding = nn.Linear(self.classes + self.guided, width, bias=False)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))
            for _ in range(config.depth)
        )
        self.end = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, self.dimension))

    def forward(
        self,
        latents: Float[Tensor, "n z"],
        labels: Int[Tensor, " n"] | None = None,
        guidance: Float[Tensor, " n"] | None = None,
    ) -> Float[Tensor, "n d"]:
        """Points, standardised, for latents and, where the network has conditions, classes and strengths."""
        told = self.conditions(labels, guidance)
        stream, context = self.start(latents), 0.0 if told is None else self.embedding(told)
        stream = stream + context
        for block in self.blocks:
            stream = stream + block(stream + context)
        return self.end(stream)
