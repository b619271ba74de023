r"""The heat kernel of the sphere S².

With $\partial_t p = \Delta p$ and t = h²/2 the kernel is near its centre the Gaussian of width h. It is

$$p_t(\theta) = \sum_l \frac{2l+1}{4\pi} e^{-l(l+1)t} P_l(\cos\theta)
= \frac{\sqrt2\, e^{t/4}}{(4\pi t)^{3/2}} \sum_k (-1)^k \int_\theta^\pi
\frac{(\varphi + 2\pi k)\, e^{-(\varphi + 2\pi k)^2/4t}}{\sqrt{\cos\theta - \cos\varphi}}\, d\varphi$$

(the second form after Camporesi 1990, Section 7; held to the first in the tests). The first has few terms for long
times, the second for short ones: up to t = ¼ the images k = 0 and −1, joined to one integral from θ to 2π − θ, leave
less than 10⁻¹² out at any angle. That goes for the antipode too, where the usual small-time form
$\sqrt{\theta/\sin\theta}\, e^{-\theta^2/4t} / 4\pi t$ is infinite.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from scipy.interpolate import CubicSpline
from scipy.special import eval_legendre
from torch import Tensor

from ..manifolds import Manifold, Sphere
from .kernel import freeze_numbers
from .pairwise import Pairs, Pairwise, towards

_LONG_TIME = 0.25


@dataclass(frozen=True)
class SphereHeat(Pairwise):
    r"""The heat kernel of the sphere S², at the time at which a Gaussian of flat space has the width h.

    Normalised. Its logarithm is read from a cubic spline over the angle, fitted once for each bandwidth to the spectral
    sum (t ≥ ¼) or to quadrature of the small-time integral; the spline is off by less than 10⁻⁷.

    Args:
        bandwidth: h in radians, or a sequence of them; t = h²/2.

    Raises:
        ValueError: If a bandwidth is not between 10⁻⁴ and 10⁴.

    Example:
        >>> import torch
        >>> pole, equator = torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[1.0, 0.0, 0.0]])
        >>> [round(each, 2) for each in SphereHeat(0.5).score(equator, pole).score[0].tolist()]
        [0.0, 0.0, 5.96]
    """

    bandwidth: float | tuple[float, ...]
    manifold: ClassVar[Manifold] = Sphere()

    def __post_init__(self) -> None:
        freeze_numbers(self, "bandwidth")
        for h in self.lengths:
            if not 1e-4 <= h <= 1e4:
                raise ValueError(f"bandwidth: between 1e-4 and 1e4 are possible on the sphere, found {h}")

    def pairs(self, x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Pairs:
        """The kernel of all pairs."""
        if x.shape[1] != 3:
            raise ValueError(f"x: points of the sphere S² have 3 coordinates, found {x.shape[1]}")
        starts, ends = x[:, None], y[None]
        near, far = _length(starts - ends), _length(starts + ends)
        values = [_log_heat(near, far, h) for h in self.lengths]
        log_kernel, slope = (torch.stack(each) for each in zip(*values, strict=True))
        sine = 0.5 * near * far
        apart = sine > 0
        pull = torch.where(apart, -slope / torch.where(apart, sine, 1.0), 0.0)
        squares = x.new_tensor([h**2 for h in self.lengths])[:, None, None]

        def gradient(numbers: Tensor) -> Tensor:
            return Sphere().proju(x, towards(numbers * pull, x, y))

        return Pairs(log_kernel, gradient, lambda numbers: squares * gradient(numbers))

    def numbers_of_a_pair(self, dimension: int) -> int:
        """Differences are vectors, and the spline has four coefficients."""
        return max(dimension, 4, len(self.lengths))


def _length(v: Tensor) -> Tensor:
    """Its length, with a gradient of zero instead of NaN where it is zero."""
    square = v.square().sum(dim=-1)
    positive = square > 0
    return torch.where(positive, torch.where(positive, square, 1.0).sqrt(), 0.0)


def _log_heat(near: Tensor, far: Tensor, h: float) -> tuple[Tensor, Tensor]:
    """Log of the kernel and its derivative with respect to the angle, from the lengths of x − y and x + y."""
    t = 0.5 * h**2
    theta, delta = 2 * torch.atan2(near, far), 2 * torch.atan2(far, near)  # delta: the angle to the antipode
    scale = _scale(t)
    nodes, coefficients = _spline(t)
    table = torch.as_tensor(coefficients, dtype=near.dtype, device=near.device)
    step = float(nodes[1])
    v = torch.asinh(delta / scale)
    index = (v.detach() / step).long().clamp(0, table.shape[1] - 1)
    s = v - index.to(v) * step
    c3, c2, c1, c0 = (each[index] for each in table)
    rest = ((c3 * s + c2) * s + c1) * s + c0
    slope_of_rest = -((3 * c3 * s + 2 * c2) * s + c1) / torch.sqrt(delta.square() + scale**2)
    return rest - theta.square() / (4 * t), slope_of_rest - theta / (2 * t)


def _scale(t: float) -> float:
    """The angle from the antipode within which the rest bends."""
    return min(2 * t, 1.0)


@cache
def _spline(t: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes in asinh of the angle to the antipode, and the polynomials between them of log p + θ²/4t."""
    scale = _scale(t)
    count = 400 + 200 * math.ceil(math.asinh(math.pi / scale))
    nodes = np.linspace(0, math.asinh(math.pi / scale), count)
    delta = np.minimum(scale * np.sinh(nodes), math.pi)
    rest = log_heat_rest(math.pi - delta, delta, t)
    at_antipode = -math.pi * scale / (2 * t)  # log p is level there, so that θ²/4t gives the slope
    return nodes, CubicSpline(nodes, rest, bc_type=((1, at_antipode), "not-a-knot")).c


def log_heat_rest(theta: np.ndarray, delta: np.ndarray, t: float) -> np.ndarray:
    r"""$\log p_t(\theta) + \theta^2/4t$ of the heat kernel of S², by the series that suits the time.

    Args:
        theta: Angle.
        delta: π − θ, which near the antipode has more digits.
        t: Time.

    Returns:
        The logarithm.

    Example:
        >>> bool(abs(log_heat_rest(np.array([1.0]), np.array([np.pi - 1]), 30.0) - 1 / 120 + np.log(4 * np.pi)) < 1e-12)
        True
    """
    if t >= _LONG_TIME:
        order = np.arange(2 + math.ceil(math.sqrt(45 / t)))[:, None]
        terms = (2 * order + 1) / (4 * math.pi) * np.exp(-order * (order + 1) * t)
        return np.log((terms * eval_legendre(order, np.cos(theta))).sum(axis=0)) + theta**2 / (4 * t)
    # χ = φ − π = δ sin ψ takes both ends' square roots out; beyond φ² = θ² + 160 t nothing is left
    last = np.minimum(np.sqrt(theta**2 + 160 * t) - math.pi, delta) / np.maximum(delta, 1e-300)
    end = np.where(delta > 0, np.arcsin(np.clip(last, -1, 1)), math.pi / 2)
    node, weight = np.polynomial.legendre.leggauss(160)
    half = 0.5 * (end + math.pi / 2)[:, None]
    psi = half * (node + 1)  # ψ + π/2, small where the integrand is large
    lift = 2 * delta[:, None] * np.sin(psi / 2) ** 2  # φ − θ = δ (1 + sin ψ)
    phi = theta[:, None] + lift
    below, above = lift / 2, delta[:, None] - lift / 2  # (δ + χ)/2 and (δ − χ)/2
    # (δ² − χ²) / (cos χ − cos δ) = 2 / sinc((δ + χ)/2) sinc((δ − χ)/2)
    root = np.sqrt(2 / (np.sinc(below / math.pi) * np.sinc(above / math.pi)))
    decay = np.exp(-lift * (phi + theta[:, None]) / (4 * t))  # φ² − θ² = (φ − θ)(φ + θ)
    integral = (half * weight * phi * decay * root).sum(axis=1)
    return 0.5 * math.log(2) + t / 4 - 1.5 * math.log(4 * math.pi * t) + np.log(integral)
