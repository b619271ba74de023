"""What a kernel must offer."""

from collections.abc import Sequence
from typing import Protocol

from jaxtyping import Float
from torch import Tensor

from ..manifolds import Manifold
from ..ops.kde import KdeBackend, KdeScore, SelfTerms
from ..ops.kde.checks import positive_numbers


class Kernel(Protocol):
    """What a kernel offers to `drift`; with a sequence of bandwidths its results have a leading axis."""

    @property
    def manifold(self) -> Manifold:
        """The space the kernel lives on."""

    @property
    def lengths(self) -> tuple[float, ...]:
        """The length scale of each bandwidth, in the units of the points."""

    def with_lengths(self, lengths: float | Sequence[float]) -> "Kernel":
        """The same kernel with other length scales.

        Args:
            lengths: One, or several, in the units of the points.

        Returns:
            The kernel.
        """

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

    def mean_shift(
        self,
        x: Float[Tensor, "n d"],
        y: Float[Tensor, "m d"],
        *,
        weights: Float[Tensor, " m"] | None = None,
        self_terms: SelfTerms = "keep",
        backend: KdeBackend = "auto",
    ) -> KdeScore:
        """The way from x to the kernel-weighted mean of y, in the place of the score, and the log density."""

    def effective_sample_size(
        self,
        x: Float[Tensor, "n d"],
        y: Float[Tensor, "m d"],
        *,
        weights: Float[Tensor, " m"] | None = None,
        backend: KdeBackend = "auto",
    ) -> Float[Tensor, "*bandwidths n"]:
        r"""$(\sum_j k_j)^2 / \sum_j k_j^2$ with $k_j$ the weighted terms of the estimate at x."""


def freeze_numbers(kernel: object, field: str) -> None:
    """Check the field's numbers; keep one as a float, several as a tuple, so that kernels compare and hash.

    Args:
        kernel: A frozen dataclass.
        field: Its field of one or several positive numbers.

    Raises:
        ValueError: If one is not positive and finite.
    """
    object.__setattr__(kernel, field, one_or_several(field, getattr(kernel, field)))


def one_or_several(name: str, value: float | Sequence[float]) -> float | tuple[float, ...]:
    """A number as a float, a sequence of them as a tuple.

    Args:
        name: The caller's word for it.
        value: Positive numbers.

    Raises:
        ValueError: If one is not positive and finite.
    """
    numbers = positive_numbers(name, value)
    several = isinstance(value, Sequence) or getattr(value, "ndim", 0) > 0
    return numbers if several else numbers[0]


def times_squares(estimate: KdeScore, lengths: tuple[float, ...]) -> KdeScore:
    """The estimate with h² times its score, which for kernels of the Gaussian's kind is the mean shift.

    Args:
        estimate: With a leading axis of bandwidths where there are several.
        lengths: h of each bandwidth.
    """
    squares = estimate.score.new_tensor([h**2 for h in lengths])
    factor = squares[:, None, None] if estimate.score.ndim == 3 else squares[0]
    return KdeScore(factor * estimate.score, estimate.log_density)
