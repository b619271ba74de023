r"""Kernels of Euclidean space with longer tails than the Gaussian's.

The *mean shift* is not h² times the score here. With weights $k_j = k(\|y_j - x\|)$ the Drifting Model (Deng et al.
2026) moves by the difference of the weighted means $m = \sum_j k_j y_j / \sum_j k_j$, and takes the Laplace kernel.
Now $k(\rho)\,(y - x)$ is the gradient of another kernel K, the one with $K'(\rho) = -\rho\, k(\rho)$ (its shadow,
Cheng 1995): of the Gaussian it is the Gaussian itself times h², of the Laplace kernel $\tau^2$ times the sharp Laplace
kernel. Hence $m - x = \nabla (K * p) / (k * p)$, a score of neither kernel, and the difference of two of them is in
general no gradient. `drift` has both: `velocity_unit="mean_shift"`, the default, is the Drifting Model's
$w\,(m_p - m_q)$; `velocity_unit="score"` is the gradient flow's $w\,(\nabla\log p_h - \nabla\log q_h)$. Both vanish
where the clouds agree.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import require_number
from ..manifolds import Euclidean, Manifold
from .kernel import freeze_numbers
from .pairwise import Pairs, Pairwise, distances, log_area_of_sphere, towards


@dataclass(frozen=True)
class Laplace(Pairwise):
    r"""The Laplace kernel $e^{-\|x-y\|/\tau}$ of Euclidean space, which the Drifting Model takes.

    Its integral is $\tau^d\, \Gamma(d)$ times the area of the unit sphere. The gradient has a step at the sample's
    points; the one at x = y counts as zero.

    Args:
        bandwidth: τ in the units of the points, or a sequence of them.

    Raises:
        ValueError: If a bandwidth is not positive and finite.

    Example:
        >>> import torch
        >>> x, y = torch.zeros(1, 1), torch.tensor([[3.0]])
        >>> Laplace(0.5).score(x, y).score.item()  # 1/τ, at any distance
        2.0
        >>> Laplace(0.5).mean_shift(x, y).score.item()
        3.0
    """

    bandwidth: float | tuple[float, ...]
    manifold: ClassVar[Manifold] = Euclidean()

    def __post_init__(self) -> None:
        freeze_numbers(self, "bandwidth")

    def pairs(self, x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Pairs:
        """The kernel of all pairs."""
        distance, tau = distances(x, y), _column(x, self.lengths)
        apart = distance > 0
        inverse = torch.where(apart, 1 / torch.where(apart, distance, 1.0), 0.0)
        return _radial(x, y, -distance / tau, inverse / tau)

    def log_volume(self, dimension: int) -> tuple[float, ...]:
        """Logarithm of the integral."""
        unit = math.lgamma(dimension) + log_area_of_sphere(dimension)
        return tuple(dimension * math.log(tau) + unit for tau in self.lengths)


@dataclass(frozen=True)
class SharpLaplace(Pairwise):
    r"""The "sharp" Laplace kernel $(1 + \|x-y\|/\tau)\, e^{-\|x-y\|/\tau}$ of Euclidean space, Matérn's of ν = 3/2.

    Its gradient $(y - x)\, e^{-\|x-y\|/\tau} / \tau^2$ is continuous and is the way from x to y with its Laplace
    weight, over τ², which the Drifting Model's mean shift sums. Its integral is $\tau^d\, (d+1)\, \Gamma(d)$ times the
    area of the unit sphere.

    Args:
        bandwidth: τ in the units of the points, or a sequence of them.

    Raises:
        ValueError: If a bandwidth is not positive and finite.

    Example:
        >>> import torch
        >>> x, y = torch.zeros(1, 1), torch.tensor([[0.5]])
        >>> SharpLaplace(0.5).score(x, y).score.item()  # ρ / τ (τ + ρ)
        1.0
    """

    bandwidth: float | tuple[float, ...]
    manifold: ClassVar[Manifold] = Euclidean()

    def __post_init__(self) -> None:
        freeze_numbers(self, "bandwidth")

    def pairs(self, x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Pairs:
        """The kernel of all pairs."""
        distance, tau = distances(x, y), _column(x, self.lengths)
        return _radial(x, y, torch.log1p(distance / tau) - distance / tau, 1 / (tau * (tau + distance)))

    def log_volume(self, dimension: int) -> tuple[float, ...]:
        """Logarithm of the integral."""
        unit = math.lgamma(dimension) + math.log(dimension + 1) + log_area_of_sphere(dimension)
        return tuple(dimension * math.log(tau) + unit for tau in self.lengths)


@dataclass(frozen=True)
class InverseMultiquadric(Pairwise):
    r"""The kernel $(1 + \|x-y\|^2/c^2)^{-\beta}$ of Euclidean space, whose tails are those of a power.

    For 2β > d it is a Student density with the integral $\pi^{d/2} c^d\, \Gamma(\beta - d/2) / \Gamma(\beta)$. For
    2β ≤ d, so at the usual β = ½ always, it has no integral: `log_density` is then the logarithm of the mean of the
    kernel itself. Log ratios, and all velocities but that of `mmd2`, do not depend on it.

    Args:
        bandwidth: c in the units of the points, or a sequence of them.
        power: β.

    Raises:
        ValueError: If a bandwidth or the power is not positive and finite.

    Example:
        >>> import torch
        >>> x, y = torch.zeros(1, 1), torch.tensor([[1.0]])
        >>> InverseMultiquadric(1.0).score(x, y).score.item()  # 2 β ρ / (c² + ρ²)
        0.5
    """

    bandwidth: float | tuple[float, ...]
    power: float = 0.5
    manifold: ClassVar[Manifold] = Euclidean()

    def __post_init__(self) -> None:
        freeze_numbers(self, "bandwidth")
        require_number("power", self.power, above=0)

    def pairs(self, x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Pairs:
        """The kernel of all pairs."""
        distance, c = distances(x, y), _column(x, self.lengths)
        log_kernel = -self.power * torch.log1p((distance / c).square())
        return _radial(x, y, log_kernel, 2 * self.power / (c.square() + distance.square()))

    def log_volume(self, dimension: int) -> tuple[float, ...]:
        """Logarithm of the integral, zeros where there is none."""
        if 2 * self.power <= dimension:
            return (0.0,) * len(self.lengths)
        unit = dimension / 2 * math.log(math.pi) + math.lgamma(self.power - dimension / 2) - math.lgamma(self.power)
        return tuple(dimension * math.log(c) + unit for c in self.lengths)


def _column(x: Tensor, lengths: tuple[float, ...]) -> Tensor:
    return x.new_tensor(lengths)[:, None, None]


def _radial(x: Tensor, y: Tensor, log_kernel: Tensor, pull: Tensor) -> Pairs:
    """The pairs of a kernel with the gradient pull · (y − x)."""
    return Pairs(log_kernel, lambda numbers: towards(numbers * pull, x, y), partial(towards, x=x, y=y))
