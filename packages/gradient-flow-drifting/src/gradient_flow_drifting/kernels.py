r"""Positive-definite kernels, as the score and log density of the estimates they give.

A kernel with a sequence of bandwidths stands for all of them: its results have a leading axis.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Protocol

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import gammaln, ive, logsumexp
from torch import Tensor

from .manifolds import Euclidean, Sphere
from .ops.kde import KdeBackend, KdeScore, SelfTerms, kde_score
from .ops.kde._checks import positive_numbers


class Kernel(Protocol):
    """What a kernel offers to `drift`."""

    space: ClassVar[type]

    @property
    def lengths(self) -> tuple[float, ...]:
        """The length scale of each bandwidth, in the units of the points."""

    def singles(self) -> "tuple[Kernel, ...]":
        """One kernel for each bandwidth."""

    def score(
        self,
        x: Float[Tensor, "n d"],
        y: Float[Tensor, "m d"],
        *,
        weights: Float[Tensor, " m"] | None = None,
        self_terms: SelfTerms = "keep",
        backend: KdeBackend = "auto",
    ) -> KdeScore:
        """Gradient (tangent to the space) and log of the density estimated from y at x."""

    def effective_sample_size(
        self,
        x: Float[Tensor, "n d"],
        y: Float[Tensor, "m d"],
        *,
        weights: Float[Tensor, " m"] | None = None,
        backend: KdeBackend = "auto",
    ) -> Float[Tensor, "*bandwidths n"]:
        r"""$(\sum_j k_j)^2 / \sum_j k_j^2$ with $k_j$ the weighted terms of the estimate at x."""


@dataclass(frozen=True)
class Gaussian:
    r"""The Gaussian kernel $(2\pi h^2)^{-d/2} e^{-\|x-y\|^2/2h^2}$ of Euclidean space.

    Args:
        bandwidth: h in the units of the points, or a sequence of them.

    Raises:
        ValueError: If a bandwidth is not positive and finite.

    Example:
        >>> import torch
        >>> Gaussian(0.5).score(torch.zeros(1, 1), torch.ones(1, 1)).score.item()
        4.0
    """

    bandwidth: float | tuple[float, ...]
    space: ClassVar[type] = Euclidean

    def __post_init__(self) -> None:
        _freeze(self, "bandwidth")

    @property
    def lengths(self) -> tuple[float, ...]:
        """h of each bandwidth."""
        return positive_numbers("bandwidth", self.bandwidth)

    def singles(self) -> "tuple[Gaussian, ...]":
        """One kernel for each bandwidth."""
        return tuple(Gaussian(h) for h in self.lengths)

    def score(
        self,
        x: Float[Tensor, "n d"],
        y: Float[Tensor, "m d"],
        *,
        weights: Float[Tensor, " m"] | None = None,
        self_terms: SelfTerms = "keep",
        backend: KdeBackend = "auto",
    ) -> KdeScore:
        """Score and log density of the estimate from y at x; see `kde_score`."""
        return kde_score(x, y, bandwidth=self.bandwidth, weights=weights, self_terms=self_terms, backend=backend)

    def effective_sample_size(
        self,
        x: Float[Tensor, "n d"],
        y: Float[Tensor, "m d"],
        *,
        weights: Float[Tensor, " m"] | None = None,
        backend: KdeBackend = "auto",
    ) -> Float[Tensor, "*bandwidths n"]:
        r"""$(\sum_j k_j)^2 / \sum_j k_j^2$; the square of the kernel is a Gaussian of width $h/\sqrt2$."""
        squares = None if weights is None else weights.square()
        count = len(y) if squares is None or weights is None else weights.sum().square() / squares.sum()
        narrow = _rescaled(self.bandwidth, 1 / math.sqrt(2))
        log_mean = kde_score(x, y, bandwidth=self.bandwidth, weights=weights, backend=backend).log_density
        log_mean_square = kde_score(x, y, bandwidth=narrow, weights=squares, backend=backend).log_density
        # k = (2πh²)^(-d/2) e, so k² = (4πh²)^(-d/2) times the Gaussian of width h/√2
        volume = x.new_tensor([0.5 * x.shape[1] * math.log(4 * math.pi * h**2) for h in self.lengths])
        volume = volume[:, None] if log_mean.ndim == 2 else volume[0]
        return count * torch.exp(2 * log_mean - log_mean_square + volume)


@dataclass(frozen=True)
class VonMisesFisher:
    r"""The kernel $C_d(\kappa)\, e^{\kappa\, x \cdot y}$ of the unit sphere $S^{d-1}$.

    $C_d(\kappa) = \kappa^{d/2-1} / \bigl((2\pi)^{d/2} I_{d/2-1}(\kappa)\bigr)$ (Mardia and Jupp 2000, Eq. 9.3.4), and
    the gradient of the log density is $\kappa (I - x x^\top) \sum_j \mathrm{softmax}_j(\kappa\, x \cdot y_j)\, y_j$.
    On the sphere $\|x-y\|^2 = 2 - 2 x \cdot y$: the terms are those of a Gaussian with $h = \kappa^{-1/2}$.

    Args:
        concentration: κ, or a sequence of them.

    Raises:
        ValueError: If a concentration is not positive and finite.

    Example:
        >>> import torch
        >>> pole, equator = torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[1.0, 0.0, 0.0]])
        >>> VonMisesFisher(20.0).score(equator, pole).score.tolist()
        [[0.0, 0.0, 20.0]]
    """

    concentration: float | tuple[float, ...]
    space: ClassVar[type] = Sphere

    def __post_init__(self) -> None:
        _freeze(self, "concentration")

    @property
    def lengths(self) -> tuple[float, ...]:
        r"""$\kappa^{-1/2}$ of each concentration."""
        return tuple(kappa**-0.5 for kappa in positive_numbers("concentration", self.concentration))

    def singles(self) -> "tuple[VonMisesFisher, ...]":
        """One kernel for each concentration."""
        return tuple(VonMisesFisher(h**-2) for h in self.lengths)

    def score(
        self,
        x: Float[Tensor, "n d"],
        y: Float[Tensor, "m d"],
        *,
        weights: Float[Tensor, " m"] | None = None,
        self_terms: SelfTerms = "keep",
        backend: KdeBackend = "auto",
    ) -> KdeScore:
        """Riemannian gradient, tangent at x, and log of the density, with respect to the area of the sphere."""
        chordal = _chordal(self)
        score, log_density = chordal.score(x, y, weights=weights, self_terms=self_terms, backend=backend)
        constants = x.new_tensor([_log_constant(x.shape[1], h**-2) for h in self.lengths])
        constants = constants[:, None] if log_density.ndim == 2 else constants[0]
        return KdeScore(Sphere().proju(x, score), log_density + constants)

    def effective_sample_size(
        self,
        x: Float[Tensor, "n d"],
        y: Float[Tensor, "m d"],
        *,
        weights: Float[Tensor, " m"] | None = None,
        backend: KdeBackend = "auto",
    ) -> Float[Tensor, "*bandwidths n"]:
        r"""$(\sum_j k_j)^2 / \sum_j k_j^2$ of the terms at x."""
        return _chordal(self).effective_sample_size(x, y, weights=weights, backend=backend)


def _chordal(kernel: VonMisesFisher) -> Gaussian:
    return Gaussian(kernel.lengths if isinstance(kernel.concentration, tuple) else kernel.lengths[0])


@cache
def _log_constant(d: int, kappa: float) -> float:
    """Log of a von Mises–Fisher over the Gaussian of the chord: exponents differ by κ, and factors of 2π cancel."""
    order = d / 2 - 1
    return order * math.log(kappa) - d / 2 * math.log(kappa) - log_scaled_bessel_i(order, kappa)


def log_scaled_bessel_i(order: float, x: float) -> float:
    r"""Logarithm of $e^{-x} I_\nu(x)$, a modified Bessel function, in dimensions where the function itself underflows.

    By SciPy's scaled function where it is representable, else by the series
    $\sum_k (x/2)^{2k+\nu} / (k!\, \Gamma(k+\nu+1))$ (DLMF 10.25.2) in logarithms, all of whose terms are positive;
    where x is far above ν², by $e^x (2\pi x)^{-1/2} (1 - (4\nu^2 - 1)/8x)$ (DLMF 10.40.1).

    Args:
        order: ν ≥ 0.
        x: Argument > 0.

    Returns:
        log I − x.

    Example:
        >>> round(log_scaled_bessel_i(0.5, 2.0) + 2.0, 6)  # I_½(x) = √(2/πx) sinh x
        0.716002
    """
    if x > 1e6 * (1 + order**2):
        return -0.5 * math.log(2 * math.pi * x) + math.log1p((0.25 - order**2) / (2 * x))
    scaled = float(ive(order, x))
    if scaled > 1e-250:
        return math.log(scaled)
    peak = 0.5 * (math.sqrt(order**2 + x**2) - order)
    k = np.arange(int(peak + 20 * math.sqrt(peak + 1)) + 50)
    return float(logsumexp((2 * k + order) * math.log(x / 2) - gammaln(k + 1) - gammaln(k + order + 1))) - x


def _freeze(kernel: object, field: str) -> None:
    """Check the field's numbers; keep one as a float, several as a tuple, so that kernels compare and hash."""
    value = getattr(kernel, field)
    numbers = positive_numbers(field, value)
    several = isinstance(value, Sequence) or getattr(value, "ndim", 0) > 0
    object.__setattr__(kernel, field, numbers if several else numbers[0])


def _rescaled(bandwidth: float | tuple[float, ...], factor: float) -> float | tuple[float, ...]:
    return tuple(h * factor for h in bandwidth) if isinstance(bandwidth, tuple) else bandwidth * factor
