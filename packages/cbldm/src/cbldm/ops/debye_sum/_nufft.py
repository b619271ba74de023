"""The Debye sum by FINUFFT's one-dimensional transforms on the CPU."""

from collections.abc import Iterator
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import finufft
import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.special import ive
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from ._pairs import Block, blocks_of, distances_of, groups_of, pull, share

TOLERANCE = {torch.float64: 1e-11, torch.float32: 1e-8}
"""Relative precision asked of FINUFFT, which always runs in double: in single precision the phases of the highest
modes would lose three digits."""
BLOCKS = 256
"""Blocks (of pairs of one cluster and two species) held at once."""
PAIRS = 2**22
"""Their pairs, where they are more than one; about 100 bytes each."""
POINTS = 2**16
"""Distances in one transform; a longer list is cut into pieces, which also is what the threads share."""


class Piece(NamedTuple):
    """Distances `start` to `stop` of the flat list, all of one segment (a cluster's pairs of two species)."""

    segment: int
    start: int
    stop: int


def _plan(kind: int, nq: int, transforms: int, tolerance: float) -> finufft.Plan:
    # Modes −nq … nq−1: real weights then need no phase factor, and a complex one carries two real ones.
    return finufft.Plan(kind, (2 * nq,), transforms, tolerance, 1, "complex128", nthreads=1, spread_sort=0)


def _chebyshev(tau: np.ndarray, terms: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """T_n(τ) and its derivative n·U_{n−1}(τ) for n = 0 … terms − 1."""
    one, nought = np.ones_like(tau), np.zeros_like(tau)
    first, second = [one, tau], [nought, one]  # T_n, U_{n−1}
    for n in range(terms):
        yield first[0], n * second[0]
        first = [first[1], 2 * tau * first[1] - first[0]]
        second = [second[1], 2 * tau * second[1] - second[0]]


class _SineSums(torch.autograd.Function):
    r"""$S_{sn}(k) = \sum_{p \in s} w_p T_n(\tau_p) \sin(k q_\mathrm{step} d_p)$ for the segments s of a flat list."""

    @staticmethod
    def forward(
        ctx: Any,
        distance: Tensor,
        weight: Tensor,
        tau: Tensor,
        pieces: list[Piece],
        segments: int,
        terms: int,
        nq: int,
        qstep: float,
        tolerance: float,
    ) -> Tensor:
        ctx.save_for_backward(distance, weight, tau)
        ctx.settings = pieces, terms, nq, qstep, tolerance
        d, w, t = (a.detach().numpy() for a in (distance, weight, tau))
        out = np.zeros((len(pieces), terms, nq))
        index = {piece: row for row, piece in enumerate(pieces)}
        pairs = (terms + 1) // 2

        def work(mine: list[Piece]) -> None:
            plan = _plan(1, nq, pairs, tolerance)
            for piece in mine:
                cut = slice(piece.start, piece.stop)
                strengths = np.zeros((2 * pairs, piece.stop - piece.start))
                for n, (value, _) in enumerate(_chebyshev(t[cut], terms)):
                    strengths[n] = w[cut] * value
                plan.setpts(qstep * d[cut])
                packed = np.ascontiguousarray(strengths[:pairs] + 1j * strengths[pairs:])
                modes = plan.execute(packed if pairs > 1 else packed[0]).reshape(pairs, 2 * nq)
                # Σ c sin = (Σ c e^{ikx} − Σ c e^{−ikx}) / 2i, for the real and the imaginary weights at once.
                sine = np.zeros((pairs, nq), dtype=complex)
                sine[:, 1:] = (modes[:, nq + 1 :] - modes[:, nq - 1 : 0 : -1]) / 2j
                out[index[piece]] = np.concatenate([sine.real, sine.imag])[:terms]

        share(pieces, work)
        total = np.zeros((segments, terms, nq))
        np.add.at(total, [piece.segment for piece in pieces], out)
        return torch.from_numpy(total)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        pieces, terms, nq, qstep, tolerance = ctx.settings
        d, w, t = (a.detach().numpy() for a in ctx.saved_tensors)
        g = grad.numpy()
        k = np.arange(nq)
        by_distance, by_weight, by_tau = (np.zeros_like(d) for _ in range(3))

        def work(mine: list[Piece]) -> None:
            plan = _plan(2, nq, terms, tolerance)
            modes = np.zeros((terms, 2 * nq), dtype=complex)
            for piece in mine:
                # One transform returns Σ g sin(kx) as its real and Σ g k cos(kx) as its imaginary part.
                sine, cosine = np.sign(k) * g[piece.segment] / 2j, 0.5j * k * g[piece.segment]
                modes[:, nq:] = sine + cosine
                modes[:, nq - 1 : 0 : -1] = (cosine - sine)[:, 1:]
                cut = slice(piece.start, piece.stop)
                plan.setpts(qstep * d[cut])
                values = plan.execute(modes if terms > 1 else modes[0]).reshape(terms, -1)
                for value, (first, slope) in zip(values, _chebyshev(t[cut], terms), strict=True):
                    by_weight[cut] += first * value.real
                    by_tau[cut] += w[cut] * slope * value.real
                    by_distance[cut] += qstep * w[cut] * first * value.imag

        share(pieces, work)
        return (*(torch.from_numpy(a) for a in (by_distance, by_weight, by_tau)), *[None] * 6)


class _Distances(torch.autograd.Function):
    """Distances of the blocks' pairs as a flat list."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, blocks: list[Block]) -> Tensor:
        distances = torch.from_numpy(distances_of(x.detach().numpy(), blocks))
        ctx.save_for_backward(x, distances)
        ctx.blocks = blocks
        return distances

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, distances = ctx.saved_tensors
        out = np.zeros(x.shape)
        pull(out, x.detach().numpy(), ctx.blocks, (grad / distances).numpy())
        return torch.from_numpy(out), None


def _sum_of_u(u: Tensor, block: Block) -> Tensor:
    """U_i + U_j of a block's pairs, in the order of their distances."""
    if u.ndim == 1:
        return (2 * u[block.cluster]).expand(block.pairs)
    u = u[block.cluster]
    if block.j is None:
        i, j = torch.triu_indices(len(block.i), len(block.i), 1)
        return u[block.i][i] + u[block.i][j]
    return (u[block.i][:, None] + u[block.j]).flatten()


def _damping_series(low: np.ndarray, high: np.ndarray, q: np.ndarray, tolerance: float) -> np.ndarray:
    """Coefficients of Eq. (3), segments × terms × nq, cut where they are below `tolerance`."""
    z = q**2 / 2
    m, h = ((low + high) / 2)[:, None] * z, ((high - low) / 2)[:, None] * z
    terms: list[np.ndarray] = []
    while not terms or np.abs(terms[-1]).max() > tolerance:
        n = len(terms)
        terms.append((2 - (n == 0)) * (-1) ** n * ive(n, h) * np.exp(h - m))
    return np.stack(terms, axis=1)


def debye_sum_nufft(
    positions: Float[Tensor, "clusters atoms 3"],
    species: Int[Tensor, "clusters atoms"],
    amplitudes: Float[Tensor, "species nq"],
    u: Float[Tensor, " clusters"] | Float[Tensor, "clusters atoms"],
    widths: Float[Tensor, "3 clusters"],
    qstep: float,
    window: tuple[float, float],
    dtype: torch.dtype,
) -> Float[Tensor, "clusters nq"]:
    """Eq. (1) of the contract by one transform, or by those of the series (3) where the variances differ."""
    nq, tolerance = amplitudes.shape[1], TOLERANCE.get(dtype, 1e-8)
    q = qstep * torch.arange(nq, dtype=torch.float64)
    x = torch.where((species >= 0)[..., None], positions, 0).double()
    f, u = amplitudes.double(), u.double()
    one_variance = u.ndim == 1 and not widths.requires_grad and not widths.any()

    def partial_sum(group: list[Block], x: Tensor, u: Tensor, widths: Tensor) -> Tensor:
        lengths = [block.pairs for block in group]
        cluster = torch.tensor([block.cluster for block in group])
        ends = [0, *accumulate(lengths)]
        d = _Distances.apply(x, group)
        weight = torch.where((d >= window[0]) & (d <= window[1]), 2 / d, 0)
        if one_variance:
            tau = torch.zeros_like(d)
            damping = torch.exp(-u[cluster, None] * q**2)[:, None]
        else:
            delta1, delta2, qbroad = widths[:, cluster].repeat_interleave(torch.tensor(lengths), dim=1)
            factor = (1 - delta1 / d - delta2 / d**2 + (qbroad * d) ** 2).clamp(min=0)
            variance = torch.cat([_sum_of_u(u, block) for block in group]) * factor
            low, high = np.array([(float(v.min()), float(v.max())) for v in variance.detach().split(lengths)]).T
            # An interval too narrow would leave the slope in σ² to round-off.
            high = np.maximum(high, low + 1 / max(float(q[-1]), qstep) ** 2)
            damping = torch.from_numpy(_damping_series(low, high, q.numpy(), tolerance / 10))
            middle, half = (
                torch.from_numpy(a).repeat_interleave(torch.tensor(lengths))
                for a in ((low + high) / 2, (high - low) / 2)
            )
            tau = (variance - middle) / half
        pieces = [
            Piece(k, start, min(start + POINTS, stop))
            for k, (begin, stop) in enumerate(pairwise(ends))
            for start in range(begin, stop, POINTS)
        ]
        sums = _SineSums.apply(d, weight, tau, pieces, len(group), damping.shape[1], nq, qstep, tolerance)
        first, second = torch.tensor([block.species for block in group]).T
        terms = f[first] * f[second] * (damping * sums).sum(1)
        return torch.zeros(len(x), nq, dtype=torch.float64).index_add(0, cluster, terms)

    total = torch.zeros(len(x), nq, dtype=torch.float64) + 0 * x.sum((1, 2))[:, None]
    graded = x.requires_grad or u.requires_grad or widths.requires_grad
    groups = list(groups_of(blocks_of(species.numpy()), BLOCKS, PAIRS))
    for group in groups:
        if graded and len(groups) > 1:  # made anew for the gradient rather than kept
            total = total + checkpoint(partial_sum, group, x, u, widths, use_reentrant=False)
        else:
            total = total + partial_sum(group, x, u, widths)
    return total.to(dtype)
