"""What a measured curve tells a network: tokens of G(r) in units of its bond, under the instrument's settings."""

import itertools
import math
from typing import Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .bonds import first_peak, in_units

CENTRES = {"qmin": 0.8, "qmax": 23.0, "qdamp": 0.04, "rmax": 30.0, "bond": 2.9, "log_scale": 0.0}
WIDTHS = {"qmin": 0.4, "qmax": 4.0, "qdamp": 0.025, "rmax": 10.0, "bond": 0.4, "log_scale": 1.0}
"""Middle and spread of what is given, so that all numbers are of order one."""
Reading = Literal["convolutions", "both"]
STEP = 0.04
"""Of the grid in bonds."""
BINS = 320
"""Its points: to 12.8 bonds."""
_STRIDE = 32
_UNDAMPED = 6.0
"""Most that the instrument's damping is undone, as noise grows with it."""


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


class CurveCode(NamedTuple):
    """What a network saw in a curve.

    Attributes:
        tokens: One for each stretch of r.
        summary: Of the whole.
        bond: The unit in which it was looked at, Å.
    """

    tokens: Float[Tensor, "batch stretches width"]
    summary: Float[Tensor, "batch summary"]
    bond: Float[Tensor, " batch"]

    def repeated(self, count: int) -> Self:
        """Each so many times, one after the other."""
        return type(self)(*(each.repeat_interleave(count, 0) for each in self))


class CurveTokens(nn.Module):
    """A strided convolutional network over r in bonds, each of whose blocks is shifted and scaled by the settings.

    It sees three rows: G in units of its own root mean square; the same times r with the instrument's damping undone,
    where a particle's end shows; and where G is known. The absolute scale is a setting like the others: that of a
    measured curve cannot be trusted, but it need not be thrown away.

    Args:
        rstep: Step of the curves' grid, Å.
        channels: Of the first block; the last one has four times as many.
        width: Of a token.
        summary: Numbers in the summary.
        reading: What the summary is made of: what the convolutions found, or both that and the curve itself.
    """

    def __init__(
        self, *, rstep: float, channels: int, width: int, summary: int, reading: Reading = "convolutions"
    ) -> None:
        super().__init__()
        self.rstep = rstep
        widths = [channels, channels, 2 * channels, 3 * channels, 4 * channels]
        self.settings = nn.Sequential(nn.Linear(len(CENTRES), 64), nn.GELU(), nn.Linear(64, 64), nn.GELU())
        self.first = nn.Conv1d(3, channels, 7, stride=2, padding=3)
        self.blocks = nn.ModuleList()
        for before, after in itertools.pairwise(widths):
            self.blocks += [_Block(before, after, 2), _Block(after, after, 1)]
        stretches = BINS // _STRIDE
        flat = widths[-1] * stretches
        self.reading = reading
        seen = flat + (BINS if reading == "both" else 0)
        self.out = nn.Sequential(nn.Flatten(), nn.Linear(seen, summary), nn.GELU(), nn.LayerNorm(summary))
        self.more = _More(summary) if reading == "both" else nn.Identity()
        self.tokens = nn.Linear(widths[-1], width)
        self.place = nn.Parameter(0.02 * torch.randn(stretches, width))

    def forward(self, curves: Curves) -> CurveCode:
        """Tokens and summary of each curve."""
        seen = torch.where(curves.measured, curves.g, 0)
        bond = first_peak(seen, rstep=self.rstep)
        g, known = in_units(seen, curves.measured, bond, rstep=self.rstep, step=STEP, bins=BINS)
        size = (g.square().sum(1) / known.sum(1).clamp(min=1)).sqrt().clamp(min=1e-30)
        g = g / size[:, None]
        r = STEP * torch.arange(BINS, device=g.device)
        damping = (r * (bond * curves.qdamp)[:, None]).square() / 2
        undamped = g * damping.clamp(max=math.log(_UNDAMPED)).exp() * (r / 4)
        given = {
            "qmin": curves.qmin,
            "qmax": curves.qmax,
            "qdamp": curves.qdamp,
            "rmax": curves.rmax,
            "bond": bond,
            "log_scale": size.log(),
        }
        numbers = torch.stack([(given[name] - CENTRES[name]) / WIDTHS[name] for name in CENTRES], 1)
        settings = self.settings(numbers.to(g))
        rows = torch.stack([g, undamped, known.to(g)], 1)
        x = self.first(rows)
        for block in self.blocks:
            x = block(x, settings)
        read = x.flatten(1)
        if self.reading == "both":
            read = torch.cat([read, F.avg_pool1d(rows[:, :2], 2).flatten(1)], 1)
        return CurveCode(self.tokens(x.mT) + self.place, self.more(self.out(read)), bond)


class _More(nn.Module):
    """A perceptron past which its input goes too."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Float[Tensor, "batch width"]) -> Tensor:
        return self.norm(x + self.inner(x))


class _Block(nn.Module):
    """Two convolutions past which the input goes too, the settings acting between them."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(before, after, 3, stride, padding=1)
        self.second = nn.Conv1d(after, after, 3, padding=1)
        self.norms = nn.ModuleList(nn.GroupNorm(1, after) for _ in range(2))
        self.past = nn.Identity() if before == after and stride == 1 else nn.Conv1d(before, after, 1, stride)
        self.settings = nn.Linear(64, 2 * after)

    def forward(self, x: Float[Tensor, "batch before bins"], settings: Float[Tensor, "batch 64"]) -> Tensor:
        scale, shift = self.settings(settings)[..., None].chunk(2, 1)
        inner = F.gelu(self.norms[0](self.first(x))) * (1 + scale) + shift
        return F.gelu(self.past(x) + self.norms[1](self.second(inner)))
