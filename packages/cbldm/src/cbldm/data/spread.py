r"""Structure functions of many small clusters of one element, precise enough to train on, as products of matrices.

The distances of each cluster are spread over a fine grid by cubic B-splines; in Q that multiplies by
$\mathrm{sinc}^4(Qh/2)$, which the matrix of sines divides out. Displacement and delta2 make the variance of a pair
$2U(1 - \delta_2/d^2)$; its damping is the Chebyshev series of the Debye sum's contract (Eq. 3 there) in $1/d^2$,
cut after `TERMS` terms, whose factors $T_n$ are taken at the points of the grid. All of it errs by less than a
thousandth of the largest |G|, as noise does by far more; it is some twenty times as fast as the sum to rounding.
"""

import math
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.distance import pdist
from torch import Tensor

STEP = 0.02
"""Of the grid of distances, Å."""
TERMS = 6
CHUNK = 64
"""Clusters worked on together, of nearly one size."""


def spread_distances(positions: list[Float[np.ndarray, "_ 3"]]) -> Float[np.ndarray, "clusters bins"]:
    """The sums of 1/d over the pairs of each cluster, spread over a grid of distances.

    Args:
        positions: Coordinates of each cluster, Å.

    Returns:
        Sums at the multiples of `STEP` from 0, Å⁻¹.

    >>> spread_distances([np.array([[0.0, 0, 0], [0, 0, 2]])]).sum().round(3)
    np.float32(0.5)
    """
    distances = [pdist(each) for each in positions]
    size = int(max(each.max() for each in distances) * (1 / STEP)) + 3  # as the places are found, to the rounding
    total = np.empty((len(positions), size), dtype=np.float32)
    for row, d in zip(total, distances, strict=True):  # one after another they stay in the processor's cache
        place = d * (1 / STEP)
        lower = place.astype(np.intp)
        t = place - lower
        weight = 1 / (6 * d)
        t2 = t * t
        last = t2 * t
        third = 3 * (t + t2 - last) + 1
        second = 3 * last - 6 * t2 + 4
        sums = np.zeros(size + 1)
        for shift, part in ((0, 6 - second - third - last), (1, second), (2, third), (3, last)):
            sums += np.bincount(lower + shift, part * weight, size + 1)
        row[:] = sums[1:]
    return total


def spread_structure_functions(
    positions: list[Float[np.ndarray, "_ 3"]],
    u: Float[Tensor, " clusters"],
    delta2: Float[Tensor, " clusters"],
    *,
    qstep: float,
    nq: int,
) -> Float[Tensor, "clusters nq"]:
    r"""F(Q) of clusters of one element, as `structure_function` has it but for a thousandth.

    Args:
        positions: Coordinates of each cluster, Å.
        u: Mean square displacement of each, Å².
        delta2: Sharpening of near peaks, Å²; less than the square of the shortest distance.
        qstep: Step of the grid, Å⁻¹.
        nq: Number of its points, from Q = 0.

    Returns:
        F(Q), Å⁻¹, in float32 on the device of `u`.

    >>> pair = [np.array([[0.0, 0, 0], [0, 0, 2]])]
    >>> f = spread_structure_functions(pair, torch.zeros(1), torch.zeros(1), qstep=0.5, nq=3)
    >>> f.round(decimals=3)  # sin(2Q) / 2
    tensor([[0.0000, 0.4210, 0.4550]])
    """
    out = torch.empty(len(positions), nq, device=u.device)
    atoms = np.array([len(each) for each in positions])
    widest = np.array([np.linalg.norm(each - each.mean(axis=0), axis=1).max() for each in positions])
    order = np.argsort(widest, kind="stable")
    for start in range(0, len(order), CHUNK):
        some = order[start : start + CHUNK]
        index = torch.from_numpy(some).to(u.device)
        weights = torch.from_numpy(spread_distances([positions[k] for k in some])).to(u.device)
        total = _sums(weights, u[index].double(), delta2[index].double(), qstep, nq)
        out[index] = total * (2 / torch.from_numpy(atoms[some]).to(u.device, torch.float32))[:, None]
    return out


def _sums(
    weights: Float[Tensor, "some bins"],
    u: Float[Tensor, " some"],
    delta2: Float[Tensor, " some"],
    qstep: float,
    nq: int,
) -> Float[Tensor, "some nq"]:
    bins = weights.shape[1]
    sines = _sines(128 * math.ceil(bins / 128), nq, qstep, weights.device)[:bins]
    z = (qstep * torch.arange(nq, dtype=torch.float64, device=u.device)) ** 2 / 2
    if not delta2.any():
        return (weights @ sines) * torch.exp(-2 * u[:, None] * z).float()
    first = (weights != 0).to(torch.uint8).argmax(1)
    d = STEP * torch.maximum(torch.arange(bins, device=u.device), first[:, None]).double()
    part = delta2[:, None] / d**2  # of the variance, from the nearest pairs' to that of none
    half = part.amax(1, keepdim=True) / 2
    tau = 1 - part / half.clamp(min=1e-12)  # 1 far away, −1 at the nearest
    mean, width = 2 * u[:, None] * (1 - half), 2 * u[:, None] * half
    before, now = torch.ones_like(tau), tau
    damping = torch.exp((width - mean) * z)
    total = torch.zeros(len(weights), nq, device=u.device)
    for n, bessel in enumerate(_scaled_bessel(width * z)):
        factor = before if n == 0 else now
        total += (weights * factor.float()) @ sines * ((2 - (n == 0)) * (-1) ** n * damping * bessel).float()
        if n:
            before, now = now, 2 * tau * now - before
    return total


def _scaled_bessel(x: Float[Tensor, "some nq"]) -> list[Float[Tensor, "some nq"]]:
    r"""$e^{-x} I_n(x)$ for n below `TERMS`, by Miller's recurrence downwards, which is stable."""
    x = x.clamp(min=1e-6)
    later, now = torch.zeros_like(x), torch.full_like(x, 1e-250)
    found, total = [], torch.zeros_like(x)
    twice = 2 / x
    for n in range(TERMS + 14, 0, -1):
        if n < TERMS:
            found.append(now)
        total += now
        later, now = now, torch.addcmul(later, twice, now, value=n)
    norm = 1 / (2 * total + now)  # the sum over all n, also below zero, is e^x
    return [each * norm for each in (now, *reversed(found))]


@lru_cache(maxsize=8)
def _sines(bins: int, nq: int, qstep: float, device: torch.device) -> Float[Tensor, "bins nq"]:
    q = qstep * torch.arange(nq, dtype=torch.float64)
    smear = torch.special.sinc(q * STEP / (2 * math.pi)) ** 4
    return (torch.sin(STEP * torch.arange(bins, dtype=torch.float64)[:, None] * q) / smear).float().to(device)
