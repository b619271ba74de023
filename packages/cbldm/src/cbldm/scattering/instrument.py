"""What an instrument and its data reduction make of F(Q): range, grid, resolution."""

import math
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy.fft import next_fast_len
from torch import Tensor

from .quadrature import band_limited_weights

Compat = Literal["exact", "diffpy"]

MOST_BINS = 10**7
ROWS = 64
"""Curves transformed at once, so that a batch takes no more memory than its curves."""
FEW = 8
"""Curves up to which fast Fourier transforms are faster than the product with a matrix that is kept."""
LARGEST_MATRIX = 2**23
"""Numbers in such a matrix."""

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
    """G(r) from F(Q) on an `ExactGrid`; the same sum as by `sine_matrix`."""
    f = structure_function
    if _few(f, grid.stop - grid.first):
        weights = torch.tensor(band_limited_weights(qmin, qmax, grid.qstep)).to(f)
        wanted = slice(grid.first * grid.stride, (grid.stop - 1) * grid.stride + 1, grid.stride)
        return 2 / math.pi * grid.qstep * _SineSums.apply(f * weights, slice(0, f.shape[-1]), wanted, grid.points)
    return f @ _exact_matrix(grid, qmin, qmax, f.dtype, f.device)


def _few(f: Float[Tensor, "*batch nq"], bins: int) -> bool:
    return f[..., 0].numel() <= FEW or f.shape[-1] * bins > LARGEST_MATRIX


@lru_cache(maxsize=4)
def _exact_matrix(grid: "ExactGrid", qmin: float, qmax: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    r = 2 * math.pi * grid.stride / (grid.points * grid.qstep) * torch.arange(grid.first, grid.stop)
    return sine_matrix(r.double(), qmin=qmin, qmax=qmax, qstep=grid.qstep).to(device, dtype)


class _SineSums(torch.autograd.Function):
    r"""$y_m = \sum_k x_k \sin(2\pi k m / n)$ for slices of k and m up to n/2, by fast Fourier transforms of a few rows.

    The matrix is symmetric, so the gradient is the same sum with k and m exchanged, and so on to any order.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, k: slice, m: slice, n: int) -> Tensor:
        ctx.settings = m, k, n
        rows = x.reshape(-1, x.shape[-1])
        parts = []
        for some in rows.split(ROWS):
            padded = some.new_zeros(len(some), n)
            padded[:, k] = some
            # On the CPU NumPy's transform has a tenth of the fixed cost.
            modes = torch.from_numpy(np.fft.rfft(padded.numpy())) if x.device.type == "cpu" else torch.fft.rfft(padded)
            parts.append(-modes.imag[:, m])
        return torch.cat(parts).reshape(*x.shape[:-1], -1)

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
    first = round(float(r[0]) / rstep)
    if _few(structure_function, len(r)):
        return _interpolated(structure_function, grid, qmin, (first, first + len(r)), rstep)
    f = structure_function
    return f @ _diffpy_matrix(grid, qmin, (first, first + len(r)), rstep, f.dtype, f.device)


@lru_cache(maxsize=4)
def _diffpy_matrix(
    grid: DiffpyGrid, qmin: float, bins: tuple[int, int], rstep: float, dtype: torch.dtype, device: torch.device
) -> Tensor:
    each = torch.eye(grid.nq, dtype=torch.float64)
    return _interpolated(each, grid, qmin, bins, rstep).to(device, dtype)


@lru_cache(maxsize=16)
def _places(grid: DiffpyGrid, bins: tuple[int, int], rstep: float, device: torch.device) -> tuple[int, Tensor, Tensor]:
    """Points of the dual grid; the point before each r; how far r is from there to the next, in steps."""
    points = 2 ** math.ceil(math.log2(max(grid.nq, math.ceil(math.pi / (rstep * grid.qstep)))))
    place = rstep * torch.arange(*bins, dtype=torch.float64, device=device) * (points * grid.qstep / math.pi)
    return points, place.floor().long(), place - place.floor()


def _interpolated(
    f: Float[Tensor, "*batch nq"], grid: DiffpyGrid, qmin: float, bins: tuple[int, int], rstep: float
) -> Float[Tensor, "*batch bins"]:
    points, left, weight = _places(grid, bins, rstep, f.device)
    first, last = int(left[0]), int(left[-1]) + 2
    k = slice(min(grid.nq, max(0, _low_steps(qmin, grid.qstep))), grid.nq)
    g = 2 / math.pi * grid.qstep * _SineSums.apply(f[..., k], k, slice(first, last), 2 * points)
    return torch.lerp(g[..., left - first], g[..., left - first + 1], weight.to(g.dtype))


def _low_steps(x: float, step: float) -> int:
    k = math.ceil(x / step)
    return k - 1 if abs(x - (k - 1) * step) <= _SAME else k
