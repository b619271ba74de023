"""The conditional prior p(z|G, N) over latent tokens."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .denoiser import step_waves
from .gaussian import Gaussian

_COUNT_WIDTH = 64


class TokenPrior(nn.Module):
    """A perceptron from a curve's summary and the number of atoms to a diagonal Gaussian.

    Args:
        summary: Numbers in the summary.
        tokens: Latent tokens.
        channels: Numbers in each.
    """

    def __init__(self, *, summary: int, tokens: int, channels: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.read = nn.Sequential(
            nn.Linear(summary + _COUNT_WIDTH, summary),
            nn.GELU(),
            nn.Linear(summary, summary),
            nn.GELU(),
            nn.Linear(summary, 2 * tokens * channels),
        )

    def forward(self, summary: Float[Tensor, "batch summary"], atom_count: Int[Tensor, " batch"]) -> Gaussian:
        """The Gaussian of each curve for a cluster of so many atoms."""
        both = torch.cat([summary, step_waves(atom_count, _COUNT_WIDTH)], 1)
        return Gaussian.of(self.read(both).unflatten(1, (self.tokens, -1)))
