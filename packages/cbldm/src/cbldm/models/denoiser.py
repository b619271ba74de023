"""The network that denoises latent tokens, looking at the tokens of a curve."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


def step_waves(t: Int[Tensor, " batch"], width: int) -> Float[Tensor, "batch width"]:
    """Sines and cosines of a step, wave lengths in geometric progression (Vaswani et al. 2017, Sec. 3.5).

    >>> step_waves(torch.tensor([0]), 4)
    tensor([[0., 0., 1., 1.]])
    """
    rates = torch.exp(-math.log(10_000.0) * torch.arange(width // 2, device=t.device) / (width // 2))
    phases = t[:, None].float() * rates
    return torch.cat([phases.sin(), phases.cos()], 1)


class TokenDenoiser(nn.Module):
    """Layers in which latent tokens see each other and the curve; the step moves the input of each.

    Args:
        tokens: Latent tokens.
        channels: Numbers in each.
        width: Of a token, that of the curve's.
        depth: Layers.
        heads: Of the attention.
        atoms: Largest number of atoms.
    """

    def __init__(self, *, tokens: int, channels: int, width: int, depth: int, heads: int, atoms: int) -> None:
        super().__init__()
        self.width = width
        self.into = nn.Linear(channels, width)
        self.place = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.count = nn.Embedding(atoms + 1, width)
        self.step = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.layers = nn.ModuleList(
            nn.TransformerDecoderLayer(
                width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(depth)
        )
        self.moves = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, channels))

    def forward(
        self,
        z: Float[Tensor, "batch tokens channels"],
        t: Int[Tensor, " batch"],
        *,
        atom_count: Int[Tensor, " batch"],
        condition: Float[Tensor, "batch seen width"],
    ) -> Float[Tensor, "batch tokens channels"]:
        """The prediction for each latent at its step."""
        step = self.step(step_waves(t, self.width)) + self.count(atom_count)
        x = self.into(z) + self.place
        for layer, move in zip(self.layers, self.moves, strict=True):
            x = layer(x + move(step)[:, None], condition)
        return self.out(x)
