"""What a structure is fitted to: the points of a measured curve inside the fit range, and the instrument's settings."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .data.gr import PairDistribution

QDAMP = 0.04
"""Damping taken where a file names none, Å⁻¹: usual for a flat detector at a rapid-acquisition PDF beamline."""


SHORTEST = 4.0
"""Length of the shortest range that is fitted, Å: less holds a shell or two, which most structures share."""


@dataclass(frozen=True)
class FitSettings:
    """Which points of a curve are fitted, and with what instrument.

    Attributes:
        rmin: Start of the fit range, Å.
        rmax: End of the fit range, Å; the curve's end, where it comes first.
        qmin: Lower limit of the sine transform that made G, 1/Å; by default the file's.
        qmax: Upper limit of it, 1/Å; by default the file's.
        qdamp: Damping by the instrument's resolution, 1/Å; by default the file's, or else 0.04.
    """

    rmin: float = 2.0
    rmax: float = 20.0
    qmin: float | None = None
    qmax: float | None = None
    qdamp: float | None = None


@dataclass(frozen=True, eq=False)
class Target:
    """Points of a measured curve and the settings of its instrument.

    Attributes:
        r: Distances, Å.
        g: Measured G, Å⁻².
        qmin: Lower limit of the sine transform that made G, Å⁻¹.
        qmax: Upper limit, Å⁻¹.
        qdamp: Damping by the instrument's resolution, Å⁻¹.
        qdamp_source: Where qdamp comes from, in words.
        name: What the curve is called.
    """

    r: Float[np.ndarray, " points"]
    g: Float[np.ndarray, " points"]
    qmin: float
    qmax: float
    qdamp: float
    qdamp_source: str = "given"
    name: str = "curve"

    @property
    def independent_points(self) -> float:
        r"""How much the curve can tell: $(r_\max - r_\min)(q_\max - q_\min)/\pi$, however finely it is sampled."""
        return float(self.r[-1] - self.r[0]) * (self.qmax - self.qmin) / math.pi


def select_target(gr: PairDistribution, settings: FitSettings = FitSettings()) -> Target:
    """Take what is fitted from a measured curve.

    Args:
        gr: Measured curve.
        settings: Fit range, and what the file does not say about the instrument.

    Returns:
        The points with rmin ≤ r ≤ rmax, and the instrument.

    Raises:
        ValueError: If qmin or qmax is missing or wrong, qdamp is negative, or the range holds too little.
    """
    qmin, qmax, qdamp = (
        getattr(gr, name) if getattr(settings, name) is None else getattr(settings, name)
        for name in ("qmin", "qmax", "qdamp")
    )
    for name, value in (("qmax", qmax), ("qmin", qmin)):
        if value is None:
            raise ValueError(f"{gr.name}: its header has no {name}, and a fit needs it; give --{name} (1/Å)")
    if not 0 <= qmin < qmax < math.inf:
        raise ValueError(f"{gr.name}: qmin {qmin:g} and qmax {qmax:g} are no range; give --qmin and --qmax (1/Å)")
    source = "taken from the file" if settings.qdamp is None else "given"
    if qdamp is None:
        qdamp, source = QDAMP, "assumed, the file having none"
    if not 0 <= qdamp < 1:
        raise ValueError(f"{gr.name}: qdamp {qdamp:g} is no damping of an instrument; give --qdamp from 0 to 1 (1/Å)")
    low, high = settings.rmin, settings.rmax
    if not 0 <= low < high:
        raise ValueError(f"fit range {low:g} to {high:g} Å is empty; give --rmin below --rmax")
    # Half a hundredth of a step lets a point through that rounding put beside the limit.
    r, g = np.asarray(gr.r, dtype=float), np.asarray(gr.g, dtype=float)
    slack = 5e-3 * float(np.median(np.diff(r))) if len(r) > 1 else 0.0
    inside = (r >= low - slack) & (r <= high + slack)
    length = float(np.ptp(r[inside])) if inside.any() else 0.0
    if length < SHORTEST:
        raise ValueError(
            f"{gr.name}: it has {length:.3g} Å between {low:g} and {high:g} Å, too short to tell structures apart; "
            f"give a curve with at least {SHORTEST:g} Å there, or other --rmin and --rmax"
        )
    if not np.any(g[inside]):
        raise ValueError(f"{gr.name}: G is zero from {low:g} to {high:g} Å; give a measured curve")
    return Target(r[inside], g[inside], float(qmin), float(qmax), float(qdamp), source, gr.name)


class SineTransform:
    r"""$G(r) = e^{-(r q_{damp})^2/2} \frac{2}{\pi} \int F(q) \sin(qr) dq$ by Gauss-Legendre nodes, as one matrix.

    F of a cluster of width D times sin(qr) oscillates no faster than (D + r), so that many half periods in the range
    of q, and 30 nodes more, integrate it to rounding.

    Args:
        target: The points and the settings.
        dmax: Longest distance of the clusters to be transformed, Å.
    """

    def __init__(self, target: Target, dmax: float) -> None:
        phase = (float(target.r[-1]) + dmax) * (target.qmax - target.qmin) / 2
        # Rounded up, so that clusters of nearly one size share a matrix.
        nodes = 32 * math.ceil((0.53 * phase + 30) / 32)
        self.q, self.matrix, self._overlap, self._gram = _transform(target, nodes)
        self._total = float(np.square(target.g).sum())

    def __call__(self, f: Float[Tensor, "*curves nq"]) -> Float[Tensor, "*curves points"]:
        """G of each F, Å⁻²."""
        return f @ self.matrix

    def rw(self, f: Float[Tensor, "*curves nq"]) -> Float[Tensor, "*curves"]:
        r"""Rw of each F at its best scale above 0, without going through G.

        The best scale leaves $R_w^2 = 1 - \langle G^{obs}, G\rangle^2 / (\|G^{obs}\|^2 \|G\|^2)$, and both products
        are a linear and a quadratic form in F.
        """
        overlap = (f @ self._overlap).clamp(min=0)
        norm = ((f @ self._gram) * f).sum(-1)
        return (1 - overlap**2 / (self._total * norm).clamp(min=1e-300)).clamp(min=0).sqrt()


@lru_cache(maxsize=32)
def _transform(target: Target, nodes: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x, weights = np.polynomial.legendre.leggauss(nodes)
    half = (target.qmax - target.qmin) / 2
    q = target.qmin + half * (x + 1)
    envelope = np.exp(-np.square(target.r * target.qdamp) / 2)
    matrix = torch.from_numpy((2 / math.pi) * (half * weights)[:, None] * np.sin(np.outer(q, target.r)) * envelope)
    return torch.from_numpy(q), matrix, matrix @ torch.from_numpy(target.g), matrix @ matrix.T
