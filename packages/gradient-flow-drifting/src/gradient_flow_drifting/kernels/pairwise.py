"""Kernels that are evaluated pair by pair, in chunks of rows so that memory stays bounded."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple, Self

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..ops.kde import KdeBackend, KdeScore, SelfTerms
from ..ops.kde.checks import check_cloud, check_weights, log_of_weights, positive_numbers
from .kernel import one_or_several

NUMBERS_AT_ONCE = 2**21  # of a chunk's largest tensor: 16 MB in double precision


class Pairs(NamedTuple):
    """The kernel of all pairs of two clouds, and the two sums over them that are wanted.

    Attributes:
        log_kernel: Its logarithm for each bandwidth, but for a constant.
        gradient: From numbers for each pair the sum $\\sum_j P_{ij} \\nabla_x \\log k(x_i, y_j)$.
        shift: From the same numbers the sum of the ways from x to y.
    """

    log_kernel: Float[Tensor, "b n m"]
    gradient: Callable[[Tensor], Tensor]
    shift: Callable[[Tensor], Tensor]


class Pairwise(ABC):
    """What these kernels share; a kernel says what it is for the pairs of two clouds.

    Gradients of results with respect to x, y and weights are right; a second derivative is not offered for all.
    """

    bandwidth: float | tuple[float, ...]

    @abstractmethod
    def pairs(self, x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Pairs:
        """The kernel of all pairs."""

    def log_volume(self, dimension: int) -> tuple[float, ...]:  # noqa: ARG002
        """Logarithm of the kernel's integral for each bandwidth; zeros where it is not known or infinite."""
        return (0.0,) * len(self.lengths)

    def numbers_of_a_pair(self, dimension: int) -> int:  # noqa: ARG002
        """How many numbers the largest tensor holds for a pair."""
        return len(self.lengths)

    @property
    def lengths(self) -> tuple[float, ...]:
        """The length scale of each bandwidth."""
        return positive_numbers("bandwidth", self.bandwidth)

    def with_lengths(self, lengths: float | Sequence[float]) -> Self:
        """The kernel with other bandwidths."""
        return replace(self, bandwidth=one_or_several("bandwidth", lengths))  # type: ignore[type-var]

    def score(
        self,
        x: Float[Tensor, "n d"],
        y: Float[Tensor, "m d"],
        *,
        weights: Float[Tensor, " m"] | None = None,
        self_terms: SelfTerms = "keep",
        backend: KdeBackend = "auto",
    ) -> KdeScore:
        """Gradient of the log density estimated from y, tangent to the space at x, and the log density."""
        return self._estimate("gradient", x, y, weights, self_terms, backend)

    def mean_shift(
        self,
        x: Float[Tensor, "n d"],
        y: Float[Tensor, "m d"],
        *,
        weights: Float[Tensor, " m"] | None = None,
        self_terms: SelfTerms = "keep",
        backend: KdeBackend = "auto",
    ) -> KdeScore:
        """The kernel-weighted mean of the ways from x to y, and the log density."""
        return self._estimate("shift", x, y, weights, self_terms, backend)

    def effective_sample_size(
        self,
        x: Float[Tensor, "n d"],
        y: Float[Tensor, "m d"],
        *,
        weights: Float[Tensor, " m"] | None = None,
        backend: KdeBackend = "auto",
    ) -> Float[Tensor, "*bandwidths n"]:
        r"""$(\sum_j k_j)^2 / \sum_j k_j^2$ of the terms at x."""
        return self._estimate("size", x, y, weights, "keep", backend).score[..., 0]

    def _estimate(
        self,
        what: Literal["gradient", "shift", "size"],
        x: Tensor,
        y: Tensor,
        weights: Tensor | None,
        self_terms: str,
        backend: str,
    ) -> KdeScore:
        check_cloud("x", x, may_be_empty=True)
        check_cloud("y", y, like=x)
        if backend not in ("auto", "reference"):
            raise ValueError(f'backend: {type(self).__name__} has only "reference", found "{backend}"')
        if self_terms not in ("keep", "leave_one_out"):
            raise ValueError(f'self_terms: "keep" or "leave_one_out" is needed, found "{self_terms}"')
        leave_one_out = self_terms == "leave_one_out"
        least = 2 if leave_one_out else 1
        if leave_one_out and len(y) < max(2, len(x)):
            raise ValueError(f"y: leaving one out needs at least {max(2, len(x))} points, found {len(y)}")
        check_weights("weights", weights, "y", len(y), least=least)
        log_weights = log_of_weights(x.new_ones(len(y)) if weights is None else weights.to(x))

        def chunk(x: Tensor, y: Tensor, log_weights: Tensor, first: int) -> tuple[Tensor, Tensor]:
            pairs = self.pairs(x, y)
            weighing = log_weights
            if leave_one_out:
                own = torch.arange(first, first + len(x), device=x.device)[:, None]
                own = own == torch.arange(len(y), device=x.device)
                weighing = log_weights.masked_fill(own, -torch.inf)
            terms = pairs.log_kernel + weighing
            shares = torch.softmax(terms, dim=-1)
            log_density = torch.logsumexp(terms, dim=-1) - torch.logsumexp(weighing, dim=-1)
            if what == "size":
                return 1 / shares.square().sum(dim=-1, keepdim=True), log_density
            return (pairs.gradient if what == "gradient" else pairs.shift)(shares), log_density

        rows = max(1, NUMBERS_AT_ONCE // (len(y) * self.numbers_of_a_pair(x.shape[1])))
        followed = torch.is_grad_enabled() and any(each.requires_grad for each in (x, y, log_weights))
        results = []
        for first in range(0, max(len(x), 1), rows):
            at = x[first : first + rows]
            if followed and rows < len(x):  # to work it out again takes less than to keep it
                results.append(checkpoint(chunk, at, y, log_weights, first, use_reentrant=False))
            else:
                results.append(chunk(at, y, log_weights, first))
        vector, log_density = (torch.cat(each, dim=1) for each in zip(*results, strict=True))
        log_density = log_density - x.new_tensor(self.log_volume(x.shape[1]))[:, None]
        several = isinstance(self.bandwidth, tuple)
        return KdeScore(vector, log_density) if several else KdeScore(vector[0], log_density[0])


def towards(numbers: Float[Tensor, "b n m"], x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Tensor:
    r"""$\sum_j P_{ij} (y_j - x_i)$; in few dimensions by the differences themselves, which keeps near points' digits.

    Args:
        numbers: P.
        x: Where the ways start.
        y: Where they end.

    Returns:
        The sums, shape [b, n, d].
    """
    if x.shape[1] <= 8:
        ways = [(numbers * (y[:, k] - x[:, k, None])).sum(dim=-1) for k in range(x.shape[1])]
        return torch.stack(ways, dim=-1)
    centre = y.detach().mean(dim=0)
    return numbers @ (y - centre) - numbers.sum(dim=-1, keepdim=True) * (x - centre)


def distances(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """Distances of all pairs by differences, exact where points nearly coincide; their gradient at coincidence is 0."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def log_area_of_sphere(dimension: int) -> float:
    r"""Logarithm of the area $2 \pi^{d/2} / \Gamma(d/2)$ of the unit sphere in d dimensions.

    Args:
        dimension: d ≥ 1.
    """
    return math.log(2) + dimension / 2 * math.log(math.pi) - math.lgamma(dimension / 2)
