"""Bins of distances, the points that stand for them, and the series of a damping over them."""

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.fft import next_fast_len
from scipy.special import ive

RATIOS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256)
"""Lengths n of the transform that are considered, in numbers of Q points."""
MOST_BINS = 2**18
MOST_POINTS = 16
"""With more the moments of a bin lose too many digits on their way to the points."""
MOST_TERMS = 400
"""Of the Chebyshev series."""


class NotSmoothError(Exception):
    """What a pair adds varies too fast with its distance for bins, or its variance for a series."""


class Bins(NamedTuple):
    """How the distances are binned.

    Attributes:
        n: Length of the transform.
        h: Width of a bin, Å.
        points: Points t of a bin.
        to_points: Matrix from the moments to the weights at the points.
        phases: exp(−i Q t h/2) for each point, points × Q.
    """

    n: int
    h: float
    points: np.ndarray
    to_points: np.ndarray
    phases: np.ndarray


def _moments_wanted(x: float, y: float, nearness: float, tolerance: float) -> int:
    """Points M that leave the tolerance of a wave with the phase x and the decay y at the end of the bin.

    By Chebyshev's theorem that is 2 ((x + y)/2)^M e^y / M!; and nearness^M of the powers of 1/d.
    """
    m, error, widths = 0, 2 * math.exp(min(y, 700.0)), 1.0
    while max(error, widths) > tolerance and m <= MOST_POINTS:
        m += 1
        error *= (x + y) / (2 * m)
        widths *= nearness
    return max(m, 2)


def _bins(n: int, m: int, nq: int, qstep: float) -> Bins:
    points = np.cos(np.pi * (np.arange(m) + 0.5) / m)
    h = 2 * math.pi / (n * qstep)
    to_points = np.linalg.inv(np.vander(points, m, increasing=True)).T
    return Bins(n, h, points, to_points, np.exp(-0.5j * h * qstep * np.outer(points, np.arange(nq))))


@lru_cache(maxsize=64)
def choose(pairs: float, near: float, slope: float, terms: int, nq: int, qstep: float, tolerance: float) -> Bins:
    """The bins by which blocks of so many pairs are done soonest.

    Args:
        pairs: Of a block.
        near: Inverse of the shortest distance where there are powers of 1/d, Å⁻¹; no bin is wider than a sixth of it.
        slope: Greatest derivative of a variance by the distance, Å.
        terms: Transforms for each point.
        nq: Number of Q points.
        qstep: Their step, Å⁻¹.
        tolerance: Relative to a pair's amplitude.

    Raises:
        NotSmoothError: If there would be too many bins or points.
    """
    least = 12 * math.pi * near / qstep
    best, choice = math.inf, (0, 0)
    for ratio in RATIOS:
        n = math.ceil(max(ratio * nq, 8, least))
        half = math.pi / (n * qstep)  # of a bin
        m = _moments_wanted(qstep * nq * half, slope * (qstep * nq) ** 2 / 2 * half, half * near / 2, tolerance)
        cost = pairs * (5 + 2 * m) + 4 * terms * m * n  # nanoseconds, as measured
        if m <= MOST_POINTS and cost < best:
            best, choice = cost, (n, m)
    if not choice[0] or least > MOST_BINS:
        raise NotSmoothError
    return _bins(next_fast_len(choice[0], real=True), choice[1], nq, qstep)


def rounded(x: float) -> float:
    """Up to a power of √2, so that like groups have the same bins, which are kept."""
    return 2 ** (math.ceil(2 * math.log2(x)) / 2) if 0 < x < math.inf else x


def damping_series(low: np.ndarray, half: np.ndarray, q: np.ndarray, tolerance: float) -> np.ndarray:
    """Coefficients of exp(−σ² q²/2) for variances from `low` to `low` + 2 `half`, terms × blocks × Q."""
    z = q**2 / 2
    x = half.max() * z[-1] * 0.7 ** np.arange(12)
    small = ive(np.arange(MOST_TERMS)[:, None], x).max(1) < tolerance
    if not small[-1]:
        raise NotSmoothError
    count = 2 + int(np.argmax(small))
    nodes = np.pi * (np.arange(count) + 0.5) / count
    variance = (low + half) + half * np.cos(nodes)[:, None]
    cosines = np.cos(np.outer(np.arange(count), nodes)) * (2 - (np.arange(count) == 0))[:, None] / count
    return np.tensordot(cosines, np.exp(-variance[..., None] * z), 1)


def chebyshev(tau: np.ndarray, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """T_n(τ) and its derivative n U_{n−1}(τ) for n = 0 … count − 1."""
    first, second = [np.ones_like(tau), tau], [np.zeros_like(tau), np.ones_like(tau)]  # T_n, U_{n−1}
    for n in range(count):
        yield first[0], n * second[0]
        first = [first[1], 2 * tau * first[1] - first[0]]
        second = [second[1], 2 * tau * second[1] - second[0]]
