r"""The Debye sum on a GPU: the pairs one by one, forward and backward, without atomics.

A program of the forward pass holds a block of Q points of one cluster and walks over the pairs of its share of the
atoms; one of the backward pass holds a block of atoms and walks over their partners and over Q. With g the gradient of
V and $a_{pk} = 2 f_i f_j e^{-\sigma^2 Q_k^2/2}$, each pair has the two slopes

$$ \frac{\partial}{\partial d} = \sum_k g_k \frac{a_{pk}}{d} \left( Q_k \cos(Q_k d) - \frac{\sin(Q_k d)}{d} \right),
   \qquad \frac{\partial}{\partial \sigma^2} = -\sum_k g_k \frac{a_{pk}}{d} \frac{Q_k^2}{2} \sin(Q_k d) $$

from which those by positions, U and the widths follow. Distances and the phase, in turns of 2π, are in float64; sine,
damping and products are in the precision of the result, and sums over blocks in float64.
"""
# mypy: disallow_untyped_defs=False, disallow_incomplete_defs=False

import math
from typing import Any

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from triton.runtime import JITFunction

REAL = {torch.float32: tl.float32, torch.float64: tl.float64}
PROGRAMS = 2048
"""Programs wanted at once; a few large clusters are shared by more of them than many small ones."""


@triton.jit
def _three(at):
    return tl.load(at), tl.load(at + 1), tl.load(at + 2)


@triton.jit
def _atoms(x_at, species_at, u_at, rows, n):
    """Coordinates, species (−1 beyond the last) and displacement of some atoms of a cluster."""
    here = rows < n
    x = tl.load(x_at + rows * 3, mask=here, other=0.0)
    y = tl.load(x_at + rows * 3 + 1, mask=here, other=0.0)
    z = tl.load(x_at + rows * 3 + 2, mask=here, other=0.0)
    return x, y, z, tl.load(species_at + rows, mask=here, other=-1), tl.load(u_at + rows, mask=here, other=0.0)


@triton.jit
def _pairs(
    x_i, y_i, z_i, s_i, u_i, x_j, y_j, z_j, s_j, u_j, apart, delta1, delta2, qbroad, dmin, dmax,
):  # fmt: skip
    """Whether a pair counts, its distance, the sum of its displacements and the factor of Eq. (2), all [i, j]."""
    dx, dy, dz = x_i[:, None] - x_j[None, :], y_i[:, None] - y_j[None, :], z_i[:, None] - z_j[None, :]
    counts = apart & (s_i >= 0)[:, None] & (s_j >= 0)[None, :]
    d = tl.sqrt(tl.where(counts, dx * dx + dy * dy + dz * dz, 1.0))
    counts = counts & (d >= dmin) & (d <= dmax)
    factor = 1.0 - delta1 / d - delta2 / (d * d) + (qbroad * d) * (qbroad * d)
    return counts, d, u_i[:, None] + u_j[None, :], factor


@triton.jit
def _waves(d, variance, k, qstep, turn, REAL: tl.constexpr):
    """Damping, sine and cosine of Q d as [i, j, k]."""
    turns = (d * (qstep / turn))[:, :, None] * k[None, None, :].to(tl.float64)
    angle = ((turns - tl.floor(turns + 0.5)) * turn).to(REAL)
    q = (k * qstep).to(REAL)
    damping = tl.exp(-0.5 * variance.to(REAL)[:, :, None] * (q * q)[None, None, :])
    return damping, tl.sin(angle), tl.cos(angle)


@triton.jit
def _amplitude(f_at, species, k, nq, REAL: tl.constexpr):
    """Amplitudes of some atoms as [atoms, k], zero where there is no atom."""
    there = (species >= 0)[:, None] & (k < nq)[None, :]
    return tl.load(f_at + species[:, None].to(tl.int64) * nq + k[None, :], mask=there, other=0.0).to(REAL)


@triton.jit
def _forward(
    x_at, species_at, u_at, widths_at, f_at, settings_at, out_at, n, nq, shares,
    REAL: tl.constexpr, ROWS: tl.constexpr, PARTNERS: tl.constexpr, POINTS: tl.constexpr,
):  # fmt: skip
    cluster, share = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    k = tl.program_id(2) * POINTS + tl.arange(0, POINTS)
    x_at += cluster * n * 3
    species_at += cluster * n
    u_at += cluster * n
    delta1, delta2, qbroad = _three(widths_at + cluster * 3)
    qstep, turn = tl.load(settings_at), tl.load(settings_at + 1)
    dmin, dmax = tl.load(settings_at + 2), tl.load(settings_at + 3)
    total = tl.zeros((POINTS,), dtype=tl.float64)
    for start_i in range(share * ROWS, n, shares * ROWS):
        i = start_i + tl.arange(0, ROWS)
        x_i, y_i, z_i, s_i, u_i = _atoms(x_at, species_at, u_at, i, n)
        f_i = _amplitude(f_at, s_i, k, nq, REAL)
        for start_j in range(start_i // PARTNERS * PARTNERS, n, PARTNERS):
            j = start_j + tl.arange(0, PARTNERS)
            x_j, y_j, z_j, s_j, u_j = _atoms(x_at, species_at, u_at, j, n)
            f_j = _amplitude(f_at, s_j, k, nq, REAL)
            counts, d, u, factor = _pairs(
                x_i, y_i, z_i, s_i, u_i, x_j, y_j, z_j, s_j, u_j, i[:, None] < j[None, :],
                delta1, delta2, qbroad, dmin, dmax,
            )  # fmt: skip
            damping, sine, _cosine = _waves(d, u * tl.maximum(factor, 0.0), k, qstep, turn, REAL)
            weight = tl.where(counts, 2.0 / d, 0.0).to(REAL)
            terms = tl.sum(weight[:, :, None] * damping * sine * f_j[None, :, :], axis=1)
            total += tl.sum(terms * f_i, axis=0).to(tl.float64)
    tl.store(out_at + (cluster * shares + share) * nq + k, total, mask=k < nq)


@triton.jit
def _backward(
    x_at, species_at, u_at, widths_at, f_at, settings_at, g_at, by_x_at, by_u_at, by_widths_at, n, nq,
    REAL: tl.constexpr, ROWS: tl.constexpr, PARTNERS: tl.constexpr, POINTS: tl.constexpr,
):  # fmt: skip
    cluster = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    x_at += cluster * n * 3
    species_at += cluster * n
    u_at += cluster * n
    g_at += cluster * nq
    delta1, delta2, qbroad = _three(widths_at + cluster * 3)
    qstep, turn = tl.load(settings_at), tl.load(settings_at + 1)
    dmin, dmax = tl.load(settings_at + 2), tl.load(settings_at + 3)
    x_i, y_i, z_i, s_i, u_i = _atoms(x_at, species_at, u_at, i, n)
    force_x, force_y = tl.zeros((ROWS,), dtype=tl.float64), tl.zeros((ROWS,), dtype=tl.float64)
    force_z, by_u = tl.zeros((ROWS,), dtype=tl.float64), tl.zeros((ROWS,), dtype=tl.float64)
    by_delta1, by_delta2 = tl.zeros((ROWS,), dtype=tl.float64), tl.zeros((ROWS,), dtype=tl.float64)
    by_qbroad = tl.zeros((ROWS,), dtype=tl.float64)
    for start_j in range(0, n, PARTNERS):
        j = start_j + tl.arange(0, PARTNERS)
        x_j, y_j, z_j, s_j, u_j = _atoms(x_at, species_at, u_at, j, n)
        counts, d, u, factor = _pairs(
            x_i, y_i, z_i, s_i, u_i, x_j, y_j, z_j, s_j, u_j, i[:, None] != j[None, :],
            delta1, delta2, qbroad, dmin, dmax,
        )  # fmt: skip
        variance = u * tl.maximum(factor, 0.0)
        by_d, by_variance = tl.zeros((ROWS, PARTNERS), dtype=tl.float64), tl.zeros((ROWS, PARTNERS), dtype=tl.float64)
        for start_k in range(0, nq, POINTS):
            k = start_k + tl.arange(0, POINTS)
            damping, sine, cosine = _waves(d, variance, k, qstep, turn, REAL)
            g = tl.load(g_at + k, mask=k < nq, other=0.0).to(REAL)
            f_i, f_j = _amplitude(f_at, s_i, k, nq, REAL), _amplitude(f_at, s_j, k, nq, REAL)
            term = 2.0 * damping * f_i[:, None, :] * f_j[None, :, :] * g[None, None, :]
            q = (k * qstep).to(REAL)[None, None, :]
            by_d += tl.sum(term * (q * cosine - sine / d.to(REAL)[:, :, None]), axis=2).to(tl.float64)
            by_variance -= tl.sum(term * (0.5 * q * q * sine), axis=2).to(tl.float64)
        by_d, by_variance = tl.where(counts, by_d / d, 0.0), tl.where(counts & (factor > 0.0), by_variance / d, 0.0)
        slope = by_d + by_variance * u * (delta1 / (d * d) + 2.0 * delta2 / (d * d * d) + 2.0 * qbroad * qbroad * d)
        slope = slope / d
        force_x += tl.sum(slope * (x_i[:, None] - x_j[None, :]), axis=1)
        force_y += tl.sum(slope * (y_i[:, None] - y_j[None, :]), axis=1)
        force_z += tl.sum(slope * (z_i[:, None] - z_j[None, :]), axis=1)
        by_u += tl.sum(by_variance * factor, axis=1)
        by_delta1 -= tl.sum(by_variance * u / d, axis=1)
        by_delta2 -= tl.sum(by_variance * u / (d * d), axis=1)
        by_qbroad += tl.sum(by_variance * u * (2.0 * qbroad * d * d), axis=1)
    here = i < n
    at = cluster * n + i
    tl.store(by_x_at + at * 3, force_x, mask=here)
    tl.store(by_x_at + at * 3 + 1, force_y, mask=here)
    tl.store(by_x_at + at * 3 + 2, force_z, mask=here)
    tl.store(by_u_at + at, by_u, mask=here)
    # Each pair is met twice, by either atom.
    tl.store(by_widths_at + at * 3, 0.5 * by_delta1, mask=here)
    tl.store(by_widths_at + at * 3 + 1, 0.5 * by_delta2, mask=here)
    tl.store(by_widths_at + at * 3 + 2, 0.5 * by_qbroad, mask=here)


class _DebyeSum(torch.autograd.Function):
    """Both kernels on contiguous tensors: positions, U of each atom and widths in float64, amplitudes as they come."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, u: Tensor, widths: Tensor, species: Tensor, f: Tensor, settings: Tensor) -> Tensor:
        ctx.save_for_backward(x, u, widths, species, f, settings)
        clusters, atoms, nq = len(x), x.shape[1], f.shape[1]
        shape = {"ROWS": 8, "PARTNERS": 16, "POINTS": 16, "REAL": REAL[f.dtype]}
        blocks = triton.cdiv(atoms, shape["ROWS"])
        points = triton.cdiv(nq, shape["POINTS"])
        shares = max(1, min(blocks, PROGRAMS // max(1, clusters * points)))
        out = x.new_empty(clusters, shares, nq)
        if clusters:
            grid = (clusters, shares, points)
            _forward[grid](x, species, u, widths, f, settings, out, atoms, nq, shares, **shape)
        return out.sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, u, widths, species, f, settings = ctx.saved_tensors
        clusters, atoms, nq = len(x), x.shape[1], f.shape[1]
        by_x, by_u, by_widths = torch.empty_like(x), torch.empty_like(u), torch.empty_like(x)
        shape = {"ROWS": 8, "PARTNERS": 16, "POINTS": 8, "REAL": REAL[f.dtype]}
        if clusters:
            _backward[(clusters, triton.cdiv(atoms, shape["ROWS"]))](
                x, species, u, widths, f, settings, gradient.contiguous(), by_x, by_u, by_widths, atoms, nq, **shape
            )  # fmt: skip
        return by_x, by_u, by_widths.sum(1), None, None, None


def debye_sum_triton(
    positions: Float[Tensor, "clusters atoms 3"],
    species: Int[Tensor, "clusters atoms"],
    amplitudes: Float[Tensor, "species nq"],
    u: Float[Tensor, " clusters"] | Float[Tensor, "clusters atoms"],
    widths: Float[Tensor, "3 clusters"],
    qstep: float,
    window: tuple[float, float],
    dtype: torch.dtype,
) -> Float[Tensor, "clusters nq"]:
    """Eqs. (1) and (2) of the contract on a CUDA device, or through Triton's interpreter.

    Raises:
        ValueError: If the tensors are on another device.
    """
    if isinstance(_forward, JITFunction) and positions.device.type != "cuda":
        raise ValueError(f'backend: "triton" needs CUDA tensors, found {positions.device}; take "auto" or "reference"')
    x = torch.where((species >= 0)[..., None], positions, 0).double().contiguous()
    each = (u if u.ndim == 2 else u[:, None].expand(species.shape)).double().contiguous()
    f = amplitudes.to(dtype if dtype in REAL else torch.float32).contiguous()
    # As a tensor: a kernel would take them for float32.
    settings = x.new_tensor([qstep, 2 * math.pi, *window])
    return _DebyeSum.apply(x, each, widths.double().T.contiguous(), species.int().contiguous(), f, settings).to(dtype)
