"""The von Mises–Fisher kernel of the sphere."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from scipy.special import gammaln, ive, logsumexp
from torch import Tensor

from ..manifolds import Manifold, Sphere
from ..ops.kde import KdeBackend, KdeScore, SelfTerms
from ..ops.kde.checks import positive_numbers
from .gaussian import Gaussian
from .kernel import freeze_numbers, one_or_several, times_squares


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
    manifold: ClassVar[Manifold] = Sphere()

    def __post_init__(self) -> None:
        freeze_numbers(self, "concentration")

    @property
    def lengths(self) -> tuple[float, ...]:
        r"""$\kappa^{-1/2}$ of each concentration."""
        return tuple(kappa**-0.5 for kappa in positive_numbers("concentration", self.concentration))

    def with_lengths(self, lengths: float | Sequence[float]) -> "VonMisesFisher":
        r"""The kernel with the concentrations $h^{-2}$."""
        several = one_or_several("lengths", lengths)
        return VonMisesFisher(tuple(h**-2 for h in several) if isinstance(several, tuple) else several**-2)

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

    def mean_shift(
        self,
        x: Float[Tensor, "n d"],
        y: Float[Tensor, "m d"],
        *,
        weights: Float[Tensor, " m"] | None = None,
        self_terms: SelfTerms = "keep",
        backend: KdeBackend = "auto",
    ) -> KdeScore:
        """The tangent part of the weighted mean of y, which is the score over κ, and the log density."""
        estimate = self.score(x, y, weights=weights, self_terms=self_terms, backend=backend)
        return times_squares(estimate, self.lengths)

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
