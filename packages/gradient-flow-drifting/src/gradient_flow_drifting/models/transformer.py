"""A one-step generator of images or latents of images: a transformer over patches."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import rms_norm, scaled_dot_product_attention, silu

from .one_step import Condition, OneStep


@dataclass(frozen=True)
class TransformerConfig:
    """Shape of the transformer; the sizes of Peebles and Xie (2023): S 384, 12, 6; B 768, 12, 12; L 1024, 24, 16.

    Attributes:
        image: Channels, height and width of a point.
        patch: Side of the patch that is one token.
        width, depth, heads: Of the blocks.
        registers: Learnt tokens beside the patches that carry the conditions into attention.
        condition: What the network is told beside the latent.
    """

    image: tuple[int, int, int] = (4, 32, 32)
    patch: int = 2
    width: int = 384
    depth: int = 12
    heads: int = 6
    registers: int = 16
    condition: Condition = "class_and_guidance"

    def __post_init__(self) -> None:
        for name in ("patch", "width", "depth", "heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"generator {name} = {getattr(self, name)}: give at least 1")
        if self.registers < 0:
            raise ValueError(f"generator registers = {self.registers}: give zero or more")
        if min(self.image) < 1 or self.image[1] % self.patch or self.image[2] % self.patch:
            raise ValueError(
                f"generator image = {self.image}: height and width must be multiples of patch = {self.patch}"
            )
        if self.width % (4 * self.heads):
            raise ValueError(f"generator width = {self.width}: give a multiple of 4 · heads = {4 * self.heads}")

    def build(self, **shape: Any) -> "TransformerGenerator":
        """The network; for the arguments see `OneStep`."""
        return TransformerGenerator(self, **shape)


class TransformerGenerator(OneStep):
    """Patches of noise become patches of the image.

    As the Drifting Model's (Deng et al. 2026, A.2): conditions by adaLN-zero (Peebles and Xie 2023) and by register
    tokens, SwiGLU, RMS normalisation of tokens, queries and keys. Places are told by fixed sines and cosines, not by
    rotation, and the noise is Gaussian alone, without their discrete style tokens.

    Args:
        config: Shape of the transformer.
        shape: See `OneStep`.

    Example:
        >>> config = TransformerConfig(image=(1, 8, 8), width=16, depth=1, heads=2, condition="class")
        >>> TransformerGenerator(config, dimension=64, classes=10).sample(5, labels=3).shape
        torch.Size([5, 64])

    Raises:
        ValueError: If the points are not images of that shape.
    """

    places: Tensor

    def __init__(self, config: TransformerConfig, **shape: Any) -> None:
        super().__init__(config, **shape)
        channels, height, width = config.image
        if self.dimension != channels * height * width or self.geometry != "euclidean":
            raise ValueError(f"generator image = {config.image}: a point of the data has {self.dimension} coordinates")
        patch = channels * config.patch**2
        self.start = nn.Linear(patch, config.width)
        rows, columns = height // config.patch, width // config.patch
        self.register_buffer("places", _waves(rows, columns, config.width), persistent=False)
        self.registers = nn.Parameter(0.02 * torch.randn(config.registers, config.width))
        told = max(self.classes + self.guided, 1)
        self.embedding = nn.Sequential(nn.Linear(told, config.width), nn.SiLU(), nn.Linear(config.width, config.width))
        self.blocks = nn.ModuleList(_Block(config.width, config.heads) for _ in range(config.depth))
        self.end = nn.Linear(config.width, patch)

    def forward(
        self,
        latents: Float[Tensor, "n d"],
        labels: Int[Tensor, " n"] | None = None,
        guidance: Float[Tensor, " n"] | None = None,
    ) -> Float[Tensor, "n d"]:
        """Points, standardised, for latents and, where the network has conditions, classes and strengths."""
        (channels, height, width), side = self.config.image, self.config.patch
        image = latents.reshape(-1, channels, height // side, side, width // side, side)
        tokens = self.start(image.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)) + self.places
        told = self.conditions(labels, guidance)
        context = self.embedding(latents.new_zeros(len(latents), 1) if told is None else told)
        tokens = torch.cat([self.registers + context[:, None], tokens], 1)
        for block in self.blocks:
            tokens = block(tokens, context)
        patches = self.end(rms_norm(tokens[:, self.config.registers :], tokens.shape[-1:]))
        patches = patches.reshape(-1, height // side, width // side, channels, side, side)
        return patches.permute(0, 3, 1, 4, 2, 5).reshape(len(latents), -1)


class _Block(nn.Module):
    """Attention and SwiGLU, each shifted, scaled and gated by the conditions; at the start it adds nothing."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, inner = heads, 8 * width // 3 // 8 * 8
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * inner), nn.Linear(inner, width)
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, tokens: Float[Tensor, "n t w"], context: Float[Tensor, "n w"]) -> Float[Tensor, "n t w"]:
        """One block."""
        shift, scale, gate, shift2, scale2, gate2 = self.modulation(silu(context))[:, None].chunk(6, -1)
        q, k, v = self.qkv(_normal(tokens) * (1 + scale) + shift).unflatten(-1, (3, self.heads, -1)).unbind(2)
        seen = scaled_dot_product_attention(_normal(q).transpose(1, 2), _normal(k).transpose(1, 2), v.transpose(1, 2))
        tokens = tokens + gate * self.out(seen.transpose(1, 2).flatten(2))
        a, b = self.up(_normal(tokens) * (1 + scale2) + shift2).chunk(2, -1)
        return tokens + gate2 * self.down(silu(a) * b)


def _normal(x: Tensor) -> Tensor:
    return rms_norm(x, x.shape[-1:])


def _waves(rows: int, columns: int, width: int) -> Float[Tensor, "places width"]:
    """Sines and cosines of row and column at geometrically falling frequencies."""
    frequency = torch.exp(-math.log(10_000) * torch.arange(width // 4) / (width // 4))
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    angles = [each.flatten()[:, None] * frequency for each in (row, column)]
    return torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], 1)
