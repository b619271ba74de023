"""What a structure is fitted to: the points of a measured curve inside the fit range, and the instrument's settings."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import roots_legendre
from torch import Tensor

from .data.gr import PairDistribution

QDAMP = 0.04
"""Damping taken where a file names none, Å⁻¹: usual for a flat detector at a rapid-acquisition PDF beamline."""


Weights = Literal["dg", "none"]

_INSTRUMENT = ("qmin", "qmax", "qdamp", "qbroad")
_LARGEST_QMAX = 100.0
"""More than any instrument reaches, 1/Å."""
_LARGEST_G = 1e50
"""|G| beyond which, or below whose inverse, squares leave the range of numbers."""
_LARGEST_MATRIX = 2**25
"""Numbers in a sine transform."""
_UNSEEN = 1e-12
"""Share of the strongest component's square below which one is beyond what the instrument sees."""


@dataclass(frozen=True)
class FitSettings:
    """Which points of a curve are fitted, and with what instrument.

    Attributes:
        rmin: Start of the fit range, Å.
        rmax: End of the fit range, Å; the curve's end, where it comes first.
        qmin: Lower limit of the sine transform that made G, 1/Å; by default the file's.
        qmax: Upper limit of it, 1/Å; by default the file's.
        qdamp: Damping by the instrument's resolution, 1/Å; by default the file's, or else 0.04.
        qbroad: Broadening by it, 1/Å; by default the file's, or else 0.
        weights: `"dg"` weighs each point by 1/dG² where the file has a dG, `"none"` all alike. Rw never is weighted.
    """

    rmin: float = 2.0
    rmax: float = 20.0
    qmin: float | None = None
    qmax: float | None = None
    qdamp: float | None = None
    qbroad: float | None = None
    weights: Weights = "dg"


FIT_SETTINGS = FitSettings()


@dataclass(frozen=True, eq=False)
class Target:
    """Points of a measured curve and the settings of its instrument.

    Attributes:
        r: Distances, Å.
        g: Measured G, Å⁻².
        qmin: Lower limit of the sine transform that made G, Å⁻¹.
        qmax: Upper limit, Å⁻¹.
        qdamp: Damping by the instrument's resolution, Å⁻¹.
        qbroad: Broadening by it, Å⁻¹.
        qdamp_source: Where qdamp comes from, in words.
        name: What the curve is called.
        weight: Weight of each residual, 1/dG with a mean square of one; None where all count alike.
    """

    r: Float[np.ndarray, " points"]
    g: Float[np.ndarray, " points"]
    qmin: float
    qmax: float
    qdamp: float
    qbroad: float = 0.0
    qdamp_source: str = "given"
    name: str = "curve"
    weight: Float[np.ndarray, " points"] | None = None

    def weighted(self, values: Float[np.ndarray, "*curves points"]) -> Float[np.ndarray, "*curves points"]:
        """Values on the points, each times its weight."""
        return values if self.weight is None else values * self.weight

    @property
    def independent_points(self) -> float:
        r"""How much the curve can tell: $(r_\max - r_\min)(q_\max - q_\min)/\pi$, however finely it is sampled."""
        return float(self.r[-1] - self.r[0]) * (self.qmax - self.qmin) / math.pi


def select_target(gr: PairDistribution, settings: FitSettings = FIT_SETTINGS) -> Target:
    """Take what is fitted from a measured curve.

    Args:
        gr: Measured curve.
        settings: Fit range, and what the file does not say about the instrument.

    Returns:
        The points with rmin ≤ r ≤ rmax, and the instrument.

    Raises:
        ValueError: If qmin or qmax is missing or wrong, qdamp is negative, the range holds too little, G is zero
            or beyond all units there, or the weights are no known choice.
    """
    if settings.weights not in get_args(Weights):
        raise ValueError(f"weights {settings.weights!r}: no such choice; take one of {', '.join(get_args(Weights))}")
    known = {name: value for name in _INSTRUMENT if (value := getattr(settings, name)) is not None}
    if not 0 <= settings.rmin < settings.rmax:
        raise ValueError(f"fit range {settings.rmin:g} to {settings.rmax:g} Å is empty; give --rmin below --rmax")
    curve = replace(gr, **known).within(settings.rmin, settings.rmax)
    qmin, qmax = curve.qmin, curve.qmax
    if qmin is None:
        raise ValueError(f"{gr.name}: its header names no qmin; give it with --qmin")
    assert qmax is not None  # `within` asks for it
    if not 0 <= qmin < qmax <= _LARGEST_QMAX:
        raise ValueError(
            f"{gr.name}: qmin {qmin:g} and qmax {qmax:g} 1/Å are no range of an instrument; give --qmin below --qmax, "
            f"at most {_LARGEST_QMAX:g}"
        )
    qdamp = QDAMP if curve.qdamp is None else curve.qdamp
    qbroad = curve.qbroad or 0.0
    for name, value in (("qdamp", qdamp), ("qbroad", qbroad)):
        if not 0 <= value < 1:
            raise ValueError(f"{gr.name}: {name} {value:g} 1/Å is no instrument's; give --{name} from 0 to 1")
    largest = float(np.abs(curve.g).max())
    if not 1 / _LARGEST_G < largest < _LARGEST_G:
        raise ValueError(
            f"{gr.name}: the largest |G| from {curve.r[0]:g} to {curve.r[-1]:g} Å is {largest:g}; give a measured curve"
        )
    source = (
        "given" if "qdamp" in known else "assumed, as the file has none" if gr.qdamp is None else "as the file has it"
    )
    r, g = np.asarray(curve.r, float), np.asarray(curve.g, float)
    weight = _weight(curve.dg) if curve.dg is not None and settings.weights == "dg" else None
    return Target(r, g, qmin, qmax, qdamp, qbroad, source, gr.name, weight)


def _weight(dg: Float[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
    weight = dg.min() / np.asarray(dg, float)
    return weight / np.sqrt(np.square(weight).mean())


class SineTransform:
    r"""$G(r) = e^{-(r q_{damp})^2/2} \frac{2}{\pi} \int F(q) \sin(qr) dq$ by Gauss-Legendre nodes, as one matrix.

    F of a cluster of width D times sin(qr) oscillates no faster than (D + r), so that many half periods in the range
    of q, and 30 nodes more, integrate it to rounding.

    Args:
        target: The points and the settings.
        dmax: Longest distance of the clusters to be transformed, Å.

    Raises:
        ValueError: If the matrix would be too large to hold.
    """

    def __init__(self, target: Target, dmax: float) -> None:
        phase = min((float(target.r[-1]) + dmax) * (target.qmax - target.qmin) / 2, _LARGEST_MATRIX)
        # Rounded up, so that clusters of nearly one size share a matrix.
        nodes = 64 * math.ceil((0.53 * phase + 30) / 64)
        if nodes * max(nodes, len(target.r)) > _LARGEST_MATRIX:
            raise ValueError(
                f"{target.name}: {len(target.r)} points up to {target.r[-1]:g} Å with qmax {target.qmax:g} 1/Å are too "
                f"much for a cluster {dmax:.6g} Å wide; lower --rmax or --qmax, thin its points or look for stray atoms"
            )
        self._seen_by = target, nodes
        self.q, self.matrix, self.overlap, self._gram = _transform(target, nodes)
        self.total = float(np.square(target.weighted(target.g)).sum())

    def __call__(self, f: Float[Tensor, "*curves nq"]) -> Float[Tensor, "*curves points"]:
        """G of each F, Å⁻²."""
        return f @ self.matrix

    def rw(self, f: Float[Tensor, "*curves nq"]) -> Float[Tensor, "*curves"]:
        r"""Rw of each F at its best scale above 0 (both as the points are weighted), without going through G.

        The best scale leaves $R_w^2 = 1 - \langle G^{obs}, G\rangle^2 / (\|G^{obs}\|^2 \|G\|^2)$, and both products
        are a linear and a quadratic form in F.
        """
        overlap = (f @ self.overlap).clamp(min=0)
        norm = ((f @ self._gram) * f).sum(-1)
        return (1 - overlap**2 / (self.total * norm).clamp(min=1e-300)).clamp(min=0).sqrt()

    def root(self, damping: Float[Tensor, " nq"]) -> Float[Tensor, "nq rank"]:
        r"""The matrix R of fewest columns with $\|f R\| = \|G\|$ (as the points are weighted), where F is f · damping.

        Args:
            damping: Factor for each node.

        Returns:
            R, without what adds less than a millionth of what the most visible F of that size would.
        """
        values, vectors = torch.linalg.eigh(damping[:, None] * self._gram * damping)
        kept = values > 1e-6 * values[-1]
        return vectors[:, kept] * values[kept].sqrt()

    def components(self) -> tuple[Float[np.ndarray, "nq components"], Float[np.ndarray, " components"], float]:
        r"""G by the few numbers that the instrument can tell apart.

        Returns:
            What takes F to them, keeping $\|G\|$; those of the measured curve; and $\|G^{obs}\|^2$ (all weighted).
        """
        return *_components(*self._seen_by), self.total


@lru_cache(maxsize=16)
def _components(target: Target, nodes: int) -> tuple[np.ndarray, np.ndarray]:
    _, _, overlap, gram = _transform(target, nodes)
    values, vectors = torch.linalg.eigh(gram)
    kept = values > _UNSEEN * values[-1]
    root = values[kept].sqrt()
    return (vectors[:, kept] * root).numpy(), (vectors[:, kept].T @ overlap / root).numpy()


@lru_cache(maxsize=16)
def _transform(target: Target, nodes: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x, weights = roots_legendre(nodes)
    half = (target.qmax - target.qmin) / 2
    q = target.qmin + half * (x + 1)
    envelope = np.exp(-np.square(target.r * target.qdamp) / 2)
    matrix = torch.from_numpy((2 / math.pi) * (half * weights)[:, None] * np.sin(np.outer(q, target.r)) * envelope)
    weighted = matrix if target.weight is None else matrix * torch.from_numpy(target.weight)
    return torch.from_numpy(q), matrix, weighted @ torch.from_numpy(target.weighted(target.g)), weighted @ weighted.T
