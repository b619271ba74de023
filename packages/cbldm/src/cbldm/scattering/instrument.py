"""What an instrument and its data reduction make of F(Q): range, grid, resolution."""

import math
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from scipy.fft import next_fast_len
from torch import Tensor

from .quadrature import band_limited_weights

Compat = Literal["exact", "diffpy"]

MOST_BINS = 10**7
ROWS = 64
"""Curves transformed at once, so that a batch takes no more memory than its curves."""

_SAME = 2.0**-26
"""Relative to one step, what diffpy counts as on the grid."""
_PEAK = math.sqrt(-2 * math.log(3.33e-6))
"""Half-width of a peak down to diffpy's precision, in σ."""


def r_grid(rmin: float, rmax: float, rstep: float, *, compat: Compat = "exact") -> Float[Tensor, " bins"]:
    """Multiples of rstep from rmin, rmax left out.

    Args:
        rmin, rmax, rstep: Å.
        compat: `"diffpy"` keeps diffpy's round-off, by which rmax itself can slip in (as 1.12 in steps of 0.01).

    Returns:
        r, Å, in float64.

    Raises:
        ValueError: If rstep is not positive or far too small, rmin negative, rmax not above rmin, or no point is left.

    >>> r_grid(2.0, 2.3, 0.1)
    tensor([2.0000, 2.1000, 2.2000], dtype=torch.float64)
    """
    if not 0 < rstep < math.inf:
        raise ValueError(f"rstep = {rstep} must be positive")
    if not 0 <= rmin < rmax < math.inf:
        raise ValueError(
            f"the range from rmin = {rmin} to rmax = {rmax} Å is empty or negative; 0 <= rmin < rmax is wanted"
        )
    if rmax / rstep > MOST_BINS:
        raise ValueError(
            f"{rmax / rstep:.3g} steps of rstep = {rstep} Å up to rmax = {rmax} Å are too many; take a coarser rstep"
        )
    first = _low_steps(rmin, rstep)
    stop = math.ceil(rmax / rstep) if compat == "diffpy" else math.ceil(rmax / rstep - 1e-6)
    if stop <= first:
        raise ValueError(f"no multiple of rstep = {rstep} Å is in the range from rmin = {rmin} to rmax = {rmax} Å")
    return rstep * torch.arange(first, stop, dtype=torch.float64)


def resolution(r: Float[Tensor, " bins"], qdamp: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch bins"]:
    r"""Damping of G(r) by the finite resolution in Q, $e^{-(r q_\mathrm{damp})^2/2}$.

    Args:
        r: Å.
        qdamp: Å⁻¹.

    Returns:
        The factor of G(r).

    >>> resolution(torch.tensor([0.0, 10.0]), torch.tensor(0.1))
    tensor([1.0000, 0.6065])
    """
    return torch.exp(-((r * qdamp[..., None]) ** 2) / 2)


def sine_matrix(r: Float[Tensor, " bins"], *, qmin: float, qmax: float, qstep: float) -> Float[Tensor, "nq bins"]:
    r"""The sine transform of F(Q) on a uniform grid as a matrix, for any r and for many F at once.

    $G(r) = \frac{2}{\pi} \int_{q_\min}^{q_\max} F(Q) \sin(Qr) dQ = \sum_k F(k q_\mathrm{step}) T_{kr}$, exact to about
    1e-12 as long as `qstep` resolves the waves in the integrand (`exact_qstep`).

    Args:
        r: Where G is wanted, Å.
        qmin, qmax: Limits of the integral, Å⁻¹.
        qstep: Step of F's grid, Å⁻¹.

    Returns:
        T, Å⁻¹; the number of its rows says how many Q points (from Q = 0) are wanted, some beyond qmax.

    >>> T = sine_matrix(r_grid(0, 10, 0.5), qmin=0.5, qmax=20.0, qstep=0.05)
    >>> T.shape
    torch.Size([417, 20])
    """
    weights = torch.tensor(band_limited_weights(qmin, qmax, qstep), device=r.device)
    q = qstep * torch.arange(len(weights), dtype=torch.float64, device=r.device)
    return 2 / math.pi * qstep * weights[:, None] * torch.sin(q[:, None] * r.double())


def exact_qstep(rmax: float, diameter: float, *, umax: float = 0.0) -> float:
    """Step of Q that resolves every wave in F(Q) sin(Qr), twice over.

    Args:
        rmax: Greatest r at which G is wanted, Å.
        diameter: Of the largest cluster, Å; rounded up to 5 Å, so that a cluster that breathes keeps its grid.
        umax: Greatest mean square displacement, Å².

    Returns:
        The step, Å⁻¹.

    >>> round(exact_qstep(30.0, 20.0), 5)
    0.02618
    """
    reach = rmax + 5 * math.ceil(diameter / 5) + 10 + 5 * math.ceil(math.sqrt(2 * umax))
    return math.pi / (2 * reach)


def exact_transform(
    structure_function: Float[Tensor, "*batch nq"], grid: "ExactGrid", *, qmin: float, qmax: float
) -> Float[Tensor, "*batch bins"]:
    """G(r) from F(Q) on an `ExactGrid` by one fast Fourier transform; the same sum as by `sine_matrix`."""
    weights = torch.tensor(band_limited_weights(qmin, qmax, grid.qstep)).to(structure_function)
    wanted = torch.arange(grid.first, grid.stop) * grid.stride
    places = torch.arange(len(weights)), wanted
    return 2 / math.pi * grid.qstep * _SineSums.apply(structure_function * weights, *places, grid.points)


class _SineSums(torch.autograd.Function):
    r"""$y_m = \sum_k x_k \sin(2\pi k m / n)$ for chosen k and m up to n/2, by fast Fourier transforms of a few rows.

    The matrix is symmetric, so the gradient is the same sum with k and m exchanged, and so on to any order.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, k: Tensor, m: Tensor, n: int) -> Tensor:
        ctx.settings = m, k, n
        rows = x.reshape(-1, x.shape[-1])
        out = rows.new_empty(len(rows), len(m))
        for some, result in zip(rows.split(ROWS), out.split(ROWS), strict=True):
            padded = some.new_zeros(len(some), n)
            padded[:, k] = some
            result.copy_(-torch.fft.rfft(padded).imag[:, m])
        return out.reshape(*x.shape[:-1], len(m))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return _SineSums.apply(grad, *ctx.settings), None, None, None


class ExactGrid(NamedTuple):
    """A grid of Q of which r = j rstep is a part of the dual grid: q_k r_j = 2π k (j·stride) / points."""

    qstep: float
    points: int
    stride: int
    first: int
    stop: int

    @classmethod
    def of(cls, r: Float[Tensor, " bins"], rstep: float, qmax: float, qstep: float) -> "ExactGrid":
        """The coarsest such grid as fine as `qstep`."""
        stride = max(1, math.ceil(rstep * (qmax + 20 * qstep) / math.pi))
        points = next_fast_len(math.ceil(2 * math.pi * stride / (rstep * qstep)), real=True)
        first = round(float(r[0]) / rstep)
        return cls(2 * math.pi * stride / (rstep * points), points, stride, first, first + len(r))


class DiffpyGrid(NamedTuple):
    """The grids that diffpy.srreal's Debye calculator derives from its settings."""

    r_low: float
    r_high: float
    qstep: float
    nq: int

    @classmethod
    def of(cls, *, rmin: float, rmax: float, rstep: float, qmax: float, sigma_max: float) -> "DiffpyGrid":
        """By libdiffpy 1.4.0, with one calculator for one structure.

        Args:
            rmin, rmax, rstep: Å.
            qmax: Å⁻¹.
            sigma_max: Width of the widest peak, Å.

        Returns:
            Limits of the pairs that count (Å) and the grid of Q (Å⁻¹).
        """
        extension = min(10.0, 12 * math.pi / qmax + _PEAK * sigma_max)
        r_low = max(0, _low_steps(rmin - extension, rstep)) * rstep
        r_high = math.ceil((rmax + extension) / rstep) * rstep
        qstep = qmax / 4 if qmax * r_high / math.pi <= 4 else math.pi / r_high
        return cls(r_low, r_high, qstep, math.ceil(qmax / qstep))


def diffpy_transform(
    structure_function: Float[Tensor, "*batch nq"],
    grid: DiffpyGrid,
    *,
    qmin: float,
    r: Float[Tensor, " bins"],
    rstep: float,
) -> Float[Tensor, "*batch bins"]:
    """G(r) from F(Q) as diffpy has it: a rectangle sum on a dual grid, interpolated linearly at r."""
    fq = structure_function.clone()
    fq[..., : max(0, _low_steps(qmin, grid.qstep))] = 0
    points = 2 ** math.ceil(math.log2(max(grid.nq, math.ceil(math.pi / (rstep * grid.qstep)))))
    place = r * (points * grid.qstep / math.pi)
    left = place.floor().long()
    first = int(left[0])
    m = torch.arange(first, int(left[-1]) + 2)
    g = 2 / math.pi * grid.qstep * _SineSums.apply(fq, torch.arange(grid.nq), m, 2 * points)
    left = left - first
    weight = (place - place.floor()).to(g.dtype)
    return (1 - weight) * g[..., left] + weight * g[..., left + 1]


def _low_steps(x: float, step: float) -> int:
    k = math.ceil(x / step)
    return k - 1 if abs(x - (k - 1) * step) <= _SAME else k
