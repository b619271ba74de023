"""What a measured curve tells a network: tokens of G(r), of its limits and of the instrument."""

from typing import NamedTuple, Self

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .attention import self_attention

CENTRES = {"qmin": 0.8, "qmax": 23.0, "qdamp": 0.04, "rmax": 30.0, "log_scale": 0.0}
WIDTHS = {"qmin": 0.4, "qmax": 4.0, "qdamp": 0.025, "rmax": 10.0, "log_scale": 1.0}
"""Middle and spread of what is given, so that all numbers are of order one."""


class Curves(NamedTuple):
    """Measured curves on one grid of r.

    Attributes:
        g: G(r), Å⁻²; zero where it is not known.
        measured: False there.
        qmin, qmax, qdamp: Of the instrument, Å⁻¹.
        rmax: End of the curve, Å.
    """

    g: Float[Tensor, "batch bins"]
    measured: Bool[Tensor, "batch bins"]
    qmin: Float[Tensor, " batch"]
    qmax: Float[Tensor, " batch"]
    qdamp: Float[Tensor, " batch"]
    rmax: Float[Tensor, " batch"]

    def repeated(self, count: int) -> Self:
        """Each curve so many times, one after the other."""
        return type(self)(*(each.repeat_interleave(count, 0) for each in self))


class CurveTokens(nn.Module):
    """Tokens of a curve: one for each piece of r, one for each setting, and they have seen each other.

    G comes in units of its own root mean square, whose logarithm is a setting of its own: the absolute scale of a
    measured curve cannot be trusted, but it need not be thrown away. Pieces without a single point are not looked at.

    Args:
        bins: Points of the grid.
        patch: Points in a piece.
        width: Of a token.
        depth: Layers.
        heads: Of the attention.

    Raises:
        ValueError: If the pieces do not fill the grid.
    """

    def __init__(self, *, bins: int, patch: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        if bins % patch:
            raise ValueError(f"patch = {patch}: give a divisor of the {bins} points of the curve")
        self.patch = patch
        self.pieces = nn.Linear(2 * patch, width)
        self.settings = nn.Linear(1, width)
        self.place = nn.Parameter(0.02 * torch.randn(bins // patch + len(CENTRES), width))
        self.layers = self_attention(width, heads, depth)

    def forward(self, curves: Curves) -> tuple[Float[Tensor, "batch tokens width"], Bool[Tensor, "batch tokens"]]:
        """Tokens, and which of them are absent."""
        g, measured = curves.g, curves.measured
        square = (g.square() * measured).sum(1) / measured.sum(1).clamp(min=1)
        size = square.sqrt().clamp(min=1e-30)
        both = torch.stack([g / size[:, None] * measured, measured.to(g)], -1)
        pieces = both.unflatten(1, (-1, self.patch)).flatten(2)
        given = {
            "qmin": curves.qmin,
            "qmax": curves.qmax,
            "qdamp": curves.qdamp,
            "rmax": curves.rmax,
            "log_scale": size.log(),
        }
        numbers = torch.stack([(given[name] - CENTRES[name]) / WIDTHS[name] for name in CENTRES], 1)
        tokens = torch.cat([self.pieces(pieces), self.settings(numbers[..., None].to(g))], 1) + self.place
        seen = measured.unflatten(1, (-1, self.patch)).any(-1)
        absent = ~torch.cat([seen, seen.new_ones(len(seen), len(CENTRES))], 1)
        return self.layers(tokens, src_key_padding_mask=absent), absent
