"""The wrapped Gaussian of the flat torus, its heat kernel."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..manifolds import Manifold, Torus
from .kernel import freeze_numbers
from .pairwise import Pairs, Pairwise

_TWO_IMAGES, _THREE_IMAGES = 0.7, 1.0  # rad; up to here so many leave less than 1e-16 out
_NOTHING = -80.0  # an exponent that adds nothing to one; exponentials far below it are slow on a CPU


@dataclass(frozen=True)
class WrappedGaussian(Pairwise):
    r"""The Gaussian wound around the flat torus, $\prod_i \sum_{k \in \mathbb Z} N(x_i - y_i + 2\pi k;\, 0, h^2)$.

    By its two series, images for small h and $\frac1{2\pi} (1 + 2 \sum_n e^{-n^2 h^2 / 2} \cos n\delta)$ for large h
    (Jacobi's identity), and normalised. It is smooth across ±π, where the Gaussian of the distance has an edge.

    Args:
        bandwidth: h in radians, or a sequence of them.

    Raises:
        ValueError: If a bandwidth is not positive and finite.

    Example:
        >>> import torch
        >>> x, y = torch.tensor([[3.1]]), torch.tensor([[-3.1]])
        >>> round(WrappedGaussian(0.5).score(x, y).score.item(), 4)  # across π: (2π − 6.2) / h²
        0.3327
    """

    bandwidth: float | tuple[float, ...]
    manifold: ClassVar[Manifold] = Torus()

    def __post_init__(self) -> None:
        freeze_numbers(self, "bandwidth")

    def pairs(self, x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Pairs:
        """The kernel of all pairs."""
        ways = self.manifold.logmap(x[:, None], y[None])
        values = [_wrapped(ways, h) for h in self.lengths]
        log_kernel = torch.stack([log_value.sum(dim=-1) for log_value, _ in values])
        slopes = torch.stack([slope for _, slope in values])

        def gradient(numbers: Tensor) -> Tensor:
            return torch.einsum("bnm,bnmd->bnd", numbers, slopes)

        squares = x.new_tensor([h**2 for h in self.lengths])[:, None, None]
        return Pairs(log_kernel, gradient, lambda numbers: squares * gradient(numbers))

    def numbers_of_a_pair(self, dimension: int) -> int:
        """The slopes of all bandwidths are vectors, and so are up to nine numbers on the way to one of them."""
        return max(9, len(self.lengths)) * dimension


def _wrapped(ways: Tensor, h: float) -> tuple[Tensor, Tensor]:
    """Log of the wrapped Gaussian of each coordinate, and the derivative of it with respect to x = y − way."""
    volume = math.log(h * math.sqrt(2 * math.pi))
    if h <= _THREE_IMAGES:
        # the next image lies a turn the other way: (2π − |δ|)² − δ² = 4π (π − |δ|); the third beyond the first
        way, turn = ways.abs(), 2 * math.pi / h**2
        other = (turn * (way - math.pi)).clamp_min(_NOTHING).exp()
        third = (-turn * (way + math.pi)).exp() if h > _TWO_IMAGES else torch.zeros_like(other)
        log_value = -0.5 * (ways / h).square() + torch.log1p(other + third) - volume
        return log_value, (ways - 2 * math.pi * ways.sign() * (other - third) / (1 + other + third)) / h**2
    cosine, sine = torch.cos(ways), torch.sin(ways)
    value, slope = torch.ones_like(ways), torch.zeros_like(ways)
    cos_n, sin_n = torch.ones_like(ways), torch.zeros_like(ways)  # of n δ, from one n to the next by a rotation
    for n in range(1, math.ceil(8.6 / h) + 1):  # exp(−8.6²/2) is 1e-16
        cos_n, sin_n = cosine * cos_n - sine * sin_n, sine * cos_n + cosine * sin_n
        amplitude = 2 * math.exp(-0.5 * (n * h) ** 2)
        value, slope = value + amplitude * cos_n, slope + amplitude * n * sin_n
    return torch.log(value) - math.log(2 * math.pi), slope / value
