"""Layers of transformers, as torch has them."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def self_attention(width: int, heads: int, depth: int) -> nn.TransformerEncoder:
    """Layers in which tokens see each other, normalised before each part.

    Args:
        width: Of a token.
        heads: Of the attention.
        depth: How many layers.

    Returns:
        A module of tokens (batch, tokens, width).
    """
    layer = nn.TransformerEncoderLayer(
        width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, depth, norm=nn.LayerNorm(width), enable_nested_tensor=False)


class Readout(nn.Module):
    """Learnt queries that look at tokens: from any number of tokens to a fixed number of vectors.

    Args:
        width: Of a token.
        heads: Of the attention.
        count: How many vectors.
        out: Numbers in each.
    """

    def __init__(self, width: int, heads: int, count: int, out: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(count, width) / width**0.5)
        self.look = nn.MultiheadAttention(width, heads, batch_first=True)
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, out))

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch count out"]:
        """Vectors from tokens."""
        queries = self.queries.expand(len(tokens), -1, -1)
        found, _ = self.look(queries, tokens, tokens, need_weights=False)
        return self.out(queries + found)
