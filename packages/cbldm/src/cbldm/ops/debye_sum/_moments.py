r"""The Debye sum by binned moments of the distances on the CPU.

A distance d is the middle of its bin, $b h$, and a rest $t h/2$ with $|t| \le 1$. What a pair adds to V is smooth in
t, so the polynomial through its values at M Chebyshev points $t_\nu$ of the bin stands for it, with an error of
$2 (x/2)^M / M!$ for a sine of phase $x = Q h/2$. The pairs thus enter by their moments $\sum_p w_p t_p^m$ in each bin
alone. Moments become weights at the points $d_{b\nu} = (b + t_\nu/2) h$, and with $h = 2\pi / (n q_\mathrm{step})$
the sum over the bins is for each ν a fast Fourier transform of length n. Finer bins want fewer moments: n is chosen by
what pairs and transforms cost.

Variances that depend on the distance, $\sigma^2(d) = 2 U (1 - \delta_1/d - \delta_2/d^2 + (q_\mathrm{broad} d)^2)$,
are smooth in t too, so only the points have them, however many pairs there are: the weights of term n of the
Chebyshev series of the damping (Eq. 3 of the contract, its coefficients from as many Chebyshev points) are
$T_n(\tau)$ at the points. Pairs whose variance is cut off at zero are kept apart, as the cut is not smooth. Variances
so far apart that the series would be long, which no material has, are left to the plain sum.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.fft import irfft, rfft
from torch import Tensor
from torch.autograd.function import once_differentiable

from ._bins import NotSmoothError, chebyshev, choose, damping_series, rounded
from ._pairs import Block, blocks_of, distances_of, groups_of, pull, share
from .reference import debye_sum_reference

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-9}
"""Of a term of the sum, relative to its amplitude."""
BLOCKS = 32
"""Blocks (of pairs of one cluster and two species) worked on together."""
PAIRS = 2**20
"""Their pairs, where they are more than one."""
CHUNK = 2**15
"""Pairs in the processor's cache at once."""


T = TypeVar("T")


class Group:
    """Blocks that are worked on together, by one thread.

    Args:
        blocks: The blocks.
        places: Positions of all clusters, Å.
        u: Displacement of each cluster, Å².
        widths: delta1, delta2, qbroad of each cluster, or None where all are zero and no gradient of them is wanted.
        settings: Number of Q points, their step, limits of the distances, tolerance, whether powers of 1/d matter.
    """

    def __init__(
        self,
        blocks: list[Block],
        places: np.ndarray,
        u: np.ndarray,
        widths: np.ndarray | None,
        settings: tuple[int, float, tuple[float, float], float, bool],
    ) -> None:
        self.blocks, self.places = blocks, places
        self.nq, self.qstep, self.window, self.tolerance, powers = settings
        self.cluster = np.array([block.cluster for block in blocks])
        self.u = u[self.cluster]
        self.widths = None if widths is None else widths[:, self.cluster]
        self.lengths = np.array([block.pairs for block in blocks])
        self.d = distances_of(places, blocks)
        self.q2 = (self.qstep * np.arange(self.nq)) ** 2
        self.still = np.zeros(0, dtype=bool) if self.widths is None else self._still()
        self.rows = 2 if self.still.any() else 1
        near, slope, terms = 0.0, 0.0, 1
        if self.widths is not None:
            moving = np.where(self.still, math.inf, self.d) if self.rows == 2 else self.d
            self.nearest = np.minimum.reduceat(moving, np.cumsum(self.lengths) - self.lengths)
            delta1, delta2, qbroad = np.abs(self.widths)
            steep = delta1 / self.nearest**2 + 2 * delta2 / self.nearest**3 + 2 * qbroad**2 * self.d.max()
            near = float(1 / self.nearest.min()) if powers else 0.0
            slope, terms = float((2 * self.u * steep).max()), 12
        some = rounded(float(self.lengths.mean())), rounded(near), rounded(slope)
        self.bins = choose(*some, terms, self.nq, self.qstep, self.tolerance)
        self.count = int(self.d.max() / self.bins.h + 0.5) + 1

    def _still(self) -> np.ndarray:
        assert self.widths is not None
        delta1, delta2, qbroad = np.repeat(self.widths, self.lengths, axis=1)
        return 1 - delta1 / self.d - delta2 / self.d**2 + (qbroad * self.d) ** 2 <= 0

    def _chunks(self) -> list[tuple[int, int, int, int]]:
        """First and last block and pair of each chunk: several whole blocks, or a part of one."""
        found, ends = [], [0, *np.cumsum(self.lengths).tolist()]
        k = 0
        while k < len(self.blocks):
            stop = k + 1
            while stop < len(self.blocks) and ends[stop + 1] - ends[k] <= CHUNK:
                stop += 1
            found += [(k, stop, p, min(p + CHUNK, ends[stop])) for p in range(ends[k], ends[stop], CHUNK)]
            k = stop
        return found

    def _place(self, first: int, stop: int, begin: int, end: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Index of each pair's bin (row, block, bin), its t and its weight 2/d."""
        d = self.d[begin:end]
        y = d * (1 / self.bins.h)
        middle = np.rint(y)
        index = middle.astype(np.intp)
        y -= middle
        y *= 2
        if stop > first + 1:
            index += np.repeat(np.arange(stop - first) * self.count, self.lengths[first:stop])
        if self.rows == 2:
            index += self.still[begin:end] * ((stop - first) * self.count)
        weight = 2 / d
        if self.window[0] > 0 or self.window[1] < math.inf:
            weight *= (d >= self.window[0]) & (d <= self.window[1])
        return index, y, weight

    def moments(self) -> Float[np.ndarray, "moments rows blocks bins"]:
        """The sums of weight · t^m in each bin; the pairs at rest are the second row."""
        out = np.zeros((len(self.bins.points), self.rows, len(self.blocks), self.count))
        for first, stop, begin, end in self._chunks():
            index, t, power = self._place(first, stop, begin, end)
            shape = (self.rows, stop - first, self.count)
            for m in range(len(out)):
                if m:
                    power *= t
                out[m, :, first:stop] += np.bincount(index, power, math.prod(shape)).reshape(shape)
        return out

    def pull(self, to: np.ndarray, slopes: Float[np.ndarray, "moments rows blocks bins"]) -> None:
        """Add the gradient by the positions, from that by the moments."""
        ratio = np.empty_like(self.d)
        for first, stop, begin, end in self._chunks():
            index, t, weight = self._place(first, stop, begin, end)
            value, slope = np.zeros_like(t), np.zeros_like(t)
            for m in reversed(range(len(slopes))):
                slope *= t
                slope += value
                value *= t
                value += np.take(slopes[m, :, first:stop], index)
            slope *= 2 / self.bins.h
            d = self.d[begin:end]
            value /= d
            slope -= value
            slope *= weight
            slope /= d
            ratio[begin:end] = slope
        pull(to, self.places, self.blocks, ratio)

    def _distances(self) -> Float[np.ndarray, "points blocks bins"]:
        """Of the points; bins before a block's first pair that moves take the place of that one's."""
        lowest = np.rint(np.minimum(self.nearest / self.bins.h, self.count))
        middle = np.maximum(np.arange(self.count), lowest[:, None])
        d = self.bins.h * (middle + self.bins.points[:, None, None] / 2)
        return np.where(d == 0, self.bins.h * 1e-9, d)  # without powers of 1/d that makes no difference

    def _variances(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Variances at the points within their intervals (−1 to 1), half the intervals (Å²), coefficients of T_n."""
        assert self.widths is not None
        q = self.qstep * np.arange(self.nq)
        d = self._distances()
        delta1, delta2, qbroad = self.widths[:, :, None]
        variance = 2 * self.u[:, None] * (1 - delta1 / d - delta2 / d**2 + (qbroad * d) ** 2)
        low, high = variance.min((0, 2)), variance.max((0, 2))
        # An interval too narrow would leave the slope in σ² to round-off.
        half = np.maximum(high - low, 1 / max(q[-1], self.qstep) ** 2) / 2
        tau = (variance - (low + half)[:, None]) / half[:, None]
        return tau, half, damping_series(low, half, q, self.tolerance)

    def sines(self, weights: Float[np.ndarray, "points ... bins"]) -> Float[np.ndarray, "... nq"]:
        """The sum of weight · sin(Q d) over the points."""
        n = self.bins.n
        if self.count > n:  # bins a period apart have the same sine
            folds = -(-self.count // n)
            padded = np.zeros((*weights.shape[:-1], folds * n))
            padded[..., : self.count] = weights
            weights = padded.reshape(*weights.shape[:-1], folds, n).sum(-2)
        modes = rfft(weights, n)[..., : self.nq]
        return -np.einsum("m...k,mk->...k", modes, self.bins.phases).imag

    def sines_adjoint(self, gradient: Float[np.ndarray, "... nq"]) -> Float[np.ndarray, "points ... bins"]:
        """The sum over Q of gradient · sin(Q d) at the points."""
        n = self.bins.n
        phases = self.bins.phases.conj().reshape(len(self.bins.points), *[1] * (gradient.ndim - 1), self.nq)
        values = irfft(-0.5j * n * gradient * phases, n)
        # The transform takes the mode 0 once, whose sine is that of nothing, and every other twice.
        repeats = -(-self.count // n)
        return (np.tile(values, repeats) if repeats > 1 else values)[..., : self.count]

    def forward(self) -> Float[np.ndarray, "blocks nq"]:
        """V of each block for unit amplitudes."""
        weights = np.tensordot(self.bins.to_points, self.moments(), 1)
        total = self.sines(weights[:, 1]) if self.rows == 2 else np.zeros((len(self.blocks), self.nq))
        moving = weights[:, 0]
        if self.widths is None:
            return total + np.exp(-self.u[:, None] * self.q2) * self.sines(moving)
        tau, _, terms = self._variances()
        for term, (value, _) in zip(terms, chebyshev(tau, len(terms)), strict=True):
            total += term * self.sines(moving * value)
        return total

    def backward(
        self, gradient: Float[np.ndarray, "blocks nq"], to: np.ndarray | None
    ) -> Float[np.ndarray, "4 blocks"]:
        """Gradient by u and the widths, where there are any; that by the positions is added to `to`."""
        found = np.zeros((4, len(self.blocks)))
        if self.widths is None:
            slopes = self.sines_adjoint(gradient * np.exp(-self.u[:, None] * self.q2))[:, None]
        else:
            weights = np.tensordot(self.bins.to_points, self.moments(), 1)
            slopes = np.zeros_like(weights)
            found = self._backward_widths(gradient, weights[:, 0], slopes[:, 0])
            if self.rows == 2:
                slopes[:, 1] = self.sines_adjoint(gradient)
        if to is not None:
            self.pull(to, np.tensordot(self.bins.to_points.T, slopes, 1))
        return found

    def _backward_widths(self, gradient: np.ndarray, weights: np.ndarray, slopes: np.ndarray) -> np.ndarray:
        assert self.widths is not None
        tau, half, terms = self._variances()
        by_tau = np.zeros_like(tau)
        for term, (value, derivative) in zip(terms, chebyshev(tau, len(terms)), strict=True):
            adjoint = self.sines_adjoint(gradient * term)
            slopes += value * adjoint
            by_tau += derivative * adjoint
        by_variance = by_tau * weights / half[:, None]
        d, qbroad = self._distances(), self.widths[2][:, None]
        delta1, delta2 = self.widths[0][:, None], self.widths[1][:, None]
        factor = 1 - delta1 / d - delta2 / d**2 + (qbroad * d) ** 2
        sums = [(by_variance * each).sum((0, 2)) for each in (2 * factor, -1 / d, -1 / d**2, 2 * qbroad * d**2)]
        return np.stack([sums[0], *(2 * self.u * each for each in sums[1:])])


class _DebyeSum(torch.autograd.Function):
    """The sum of all groups; its arguments and result are kept for the gradient, which makes the moments anew."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, u: Tensor, widths: Tensor, f: Tensor, species: Tensor, settings: Any) -> Tensor:
        ctx.settings, ctx.widened = settings, widths.requires_grad or bool(widths.any())
        out = np.zeros((len(x), f.shape[1]))

        def work(group: Group, _thread: int) -> tuple[np.ndarray, np.ndarray]:
            return group.cluster, _amplitudes(group.blocks, f.numpy()) * group.forward()

        for cluster, terms in _each_group(ctx, (x, u, widths, f, species), work):
            np.add.at(out, cluster, terms)
        total = torch.from_numpy(out)
        ctx.save_for_backward(x, u, widths, f, species, total)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, total = ctx.saved_tensors
        x, f = tensors[0], tensors[3]
        g, found = gradient.numpy(), np.zeros((4, len(x)))
        places: dict[int, np.ndarray] = {}  # one for each thread: a large cluster is shared by several

        def work(group: Group, thread: int) -> tuple[np.ndarray, np.ndarray]:
            if ctx.needs_input_grad[0] and thread not in places:
                places[thread] = np.zeros(x.shape)
            to = places.get(thread)
            return group.cluster, group.backward(_amplitudes(group.blocks, f.numpy()) * g[group.cluster], to)

        if ctx.widened or ctx.needs_input_grad[0]:
            for cluster, terms in _each_group(ctx, tuple(tensors), work):
                np.add.at(found.T, cluster, terms.T)
        by_x = torch.from_numpy(sum((places[thread] for thread in sorted(places)), np.zeros(x.shape)))
        by_u = torch.from_numpy(found[0])
        if not ctx.widened:  # V falls as exp(−U Q²)
            q = ctx.settings[0] * torch.arange(f.shape[1], dtype=torch.float64)
            by_u = -(gradient * total) @ q**2
        return by_x, by_u, torch.from_numpy(found[1:]), None, None, None


def _amplitudes(blocks: list[Block], f: np.ndarray) -> np.ndarray:
    first, second = np.array([block.species for block in blocks]).T
    return f[first] * f[second]


def _each_group(ctx: Any, tensors: tuple[Tensor, ...], work: Callable[[Group, int], T]) -> list[T]:
    x, u, widths, f, species = (each.detach().numpy() for each in tensors)
    groups = list(groups_of(blocks_of(species), BLOCKS, PAIRS))
    found: list[Any] = [None] * len(groups)

    def some(mine: list[int]) -> None:
        for k in mine:
            group = Group(groups[k], x, u, widths if ctx.widened else None, (f.shape[1], *ctx.settings))
            found[k] = work(group, mine[0])

    share(range(len(groups)), some)
    return found


def debye_sum_moments(
    positions: Float[Tensor, "clusters atoms 3"],
    species: Int[Tensor, "clusters atoms"],
    amplitudes: Float[Tensor, "species nq"],
    u: Float[Tensor, " clusters"] | Float[Tensor, "clusters atoms"],
    widths: Float[Tensor, "3 clusters"],
    qstep: float,
    window: tuple[float, float],
    dtype: torch.dtype,
) -> Float[Tensor, "clusters nq"]:
    """Eqs. (1) and (2) of the contract.

    Raises:
        ValueError: If each atom has its own displacement.
    """
    if u.ndim == 2:
        raise ValueError(
            'backend "moments" takes one displacement for a cluster, not one for each atom; take "auto" or "nufft"'
        )
    x = torch.where((species >= 0)[..., None], positions, 0).double()
    powers = widths.requires_grad or bool(widths[:2].any())
    settings = qstep, window, TOLERANCE.get(dtype, 1e-9), powers
    try:
        return _DebyeSum.apply(x, u.double(), widths, amplitudes.double(), species, settings).to(dtype)
    except NotSmoothError:
        return debye_sum_reference(positions, species, amplitudes, u, widths, qstep, window, dtype)
