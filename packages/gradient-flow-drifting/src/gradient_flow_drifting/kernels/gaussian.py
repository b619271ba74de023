"""The Gaussian kernel of Euclidean space."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..manifolds import Euclidean, Manifold
from ..ops.kde import KdeBackend, KdeScore, SelfTerms, kde_score
from ..ops.kde.checks import positive_numbers
from .kernel import freeze_numbers, one_or_several, times_squares


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
    manifold: ClassVar[Manifold] = Euclidean()

    def __post_init__(self) -> None:
        freeze_numbers(self, "bandwidth")

    @property
    def lengths(self) -> tuple[float, ...]:
        """h of each bandwidth."""
        return positive_numbers("bandwidth", self.bandwidth)

    def with_lengths(self, lengths: float | Sequence[float]) -> "Gaussian":
        """The kernel with other bandwidths."""
        return Gaussian(one_or_several("bandwidth", lengths))

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

    def mean_shift(
        self,
        x: Float[Tensor, "n d"],
        y: Float[Tensor, "m d"],
        *,
        weights: Float[Tensor, " m"] | None = None,
        self_terms: SelfTerms = "keep",
        backend: KdeBackend = "auto",
    ) -> KdeScore:
        """The weighted mean of y less x, which is h² times the score, and the log density."""
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
        r"""$(\sum_j k_j)^2 / \sum_j k_j^2$; the square of the kernel is a Gaussian of width $h/\sqrt2$."""
        squares = None if weights is None else weights.square()
        count = len(y) if squares is None or weights is None else weights.sum().square() / squares.sum()
        several = isinstance(self.bandwidth, tuple)
        narrow = [h / math.sqrt(2) for h in self.lengths] if several else self.lengths[0] / math.sqrt(2)
        exact = "auto" if backend == "triton" else backend  # the kernels of a GPU have no double precision
        at, of = x.double(), y.double()  # a difference of large logarithms where points are far or coordinates many
        log_mean = kde_score(at, of, bandwidth=self.bandwidth, weights=weights, backend=exact).log_density
        log_mean_square = kde_score(at, of, bandwidth=narrow, weights=squares, backend=exact).log_density
        # k = (2πh²)^(-d/2) e, so k² = (4πh²)^(-d/2) times the Gaussian of width h/√2
        volume = at.new_tensor([0.5 * x.shape[1] * math.log(4 * math.pi * h**2) for h in self.lengths])
        volume = volume[:, None] if log_mean.ndim == 2 else volume[0]
        return (count * torch.exp(2 * log_mean - log_mean_square + volume)).clamp(1, len(y)).to(x.dtype)
