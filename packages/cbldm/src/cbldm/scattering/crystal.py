r"""Pair distribution function of a crystal with a cubic cell, by its shells of neighbours.

$$ G(r) = \frac{1}{r} \sum_{shells} \frac{m_{ab} f_a f_b}{N \langle f \rangle^2} \frac{r}{d}
   \frac{e^{-(r-d)^2 / 2\sigma^2}}{\sqrt{2\pi} \sigma} - 4 \pi \rho_0 r, \qquad
   \sigma^2 = (U_a + U_b) \left(1 - \frac{\delta_2}{d^2} + q_{broad}^2 d^2 \right) $$

(Farrow et al. 2007; Proffen and Billinge, J. Appl. Cryst. 32, 572, 1999), with f the scattering power at Q = 0, then
cut at qmin and qmax by a sine transform there and back, and damped by $e^{-(r q_{damp})^2/2}$. The transform's range
ends softly some way beyond the last r, so that what is cut at low Q is the crystal's and not that of an end.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.fft import dst, next_fast_len

from .form_factors import Radiation, amplitudes

STEP = 0.01
"""Step of the grid the transform is made on, Å."""
_PEAK = 6.0
"""Half-width down to which a peak is summed, in σ."""
MARGIN = 20.0
"""What is computed beyond the last r, Å; G falls to zero over its last three quarters."""


_SELF = 1e-6
"""Distance up to which an atom is the same one."""


class Site(NamedTuple):
    """An atom of a cubic cell, in fractions of its edge."""

    element: str
    x: float
    y: float
    z: float


@dataclass(frozen=True)
class Shells:
    """Distances of a crystal in units of its cell's edge, and the weight of each in G.

    Attributes:
        pairs: The two elements of each shell.
        distances: In units of the edge.
        weights: $m f_a f_b / (N <f>^2)$.
        sites: Atoms in a cell.
    """

    pairs: tuple[tuple[str, str], ...]
    distances: Float[np.ndarray, " shells"]
    weights: Float[np.ndarray, " shells"]
    sites: int


def shells_of(sites: Sequence[Site], reach: float, *, radiation: Radiation = "xray") -> Shells:
    """The shells of neighbours of a cubic crystal.

    Args:
        sites: Its cell.
        reach: Longest distance, in units of the edge.
        radiation: What is scattered.

    Returns:
        The shells, equal distances of two elements merged.

    >>> fcc = [Site("Ni", *at) for at in ((0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0))]
    >>> shells = shells_of(fcc, 1.1)
    >>> shells.distances.round(4).tolist(), shells.weights.tolist()
    ([0.7071, 1.0], [12.0, 6.0])
    """
    elements = list(dict.fromkeys(site.element for site in sites))
    power = amplitudes(elements, torch.zeros(1, dtype=torch.float64), radiation)[:, 0]
    f = dict(zip(elements, power.tolist(), strict=True))
    mean = sum(f[site.element] for site in sites) / len(sites)
    apart: dict[tuple[str, str], list[np.ndarray]] = {}
    for a in sites:
        for b in sites:
            apart.setdefault((a.element, b.element), []).append(np.subtract(b[1:], a[1:]))
    pairs, distances, weights = [], [], []
    for pair, vectors in apart.items():
        d, counts = distances_in(np.eye(3), np.stack(vectors), reach)
        distances.append(d)
        weights.append(counts * f[pair[0]] * f[pair[1]] / (len(sites) * mean**2))
        pairs += [pair] * len(d)
    return Shells(tuple(pairs), np.concatenate(distances), np.concatenate(weights), len(sites))


def distances_in(
    cell: Float[np.ndarray, "3 3"], apart: Float[np.ndarray, "pairs 3"], reach: float
) -> tuple[Float[np.ndarray, " shells"], Int[np.ndarray, " shells"]]:
    """Distances between atoms of a crystal, and how often each occurs.

    Args:
        cell: Its translations, as rows.
        apart: From one atom to another, for each pair of atoms of a cell that is counted.
        reach: Longest distance, in the cell's unit.

    Returns:
        The distances, each of them once and the shortest first, and how many pairs have it.

    >>> distances_in(np.eye(3), np.zeros((1, 3)), 1.5)
    (array([1.        , 1.41421356]), array([ 6, 12]))
    """
    heights = np.linalg.norm(np.linalg.inv(cell), axis=0)
    most = np.ceil((reach + np.linalg.norm(apart, axis=1).max()) * heights).astype(int)
    steps = np.meshgrid(*[np.arange(-count, count + 1) for count in most], indexing="ij")
    cells = np.stack(steps, -1).reshape(-1, 3) @ cell
    d = np.concatenate([np.linalg.norm(cells + each, axis=1) for each in apart])
    d = d[(d > _SELF) & (d <= reach)]
    _, first, counts = np.unique(d.round(6), return_index=True, return_counts=True)
    return d[first], counts


def crystal_pair_distribution(
    shells: Shells,
    r: Float[np.ndarray, " points"],
    *,
    edge: float,
    biso: Mapping[str, float],
    qmax: float,
    qmin: float = 0.0,
    qdamp: float = 0.0,
    qbroad: float = 0.0,
    delta2: float = 0.0,
) -> Float[np.ndarray, " points"]:
    """G of a cubic crystal.

    Args:
        shells: Its shells, as far as r and `MARGIN` more.
        r: Where G is wanted, Å.
        edge: Edge of the cell, Å.
        biso: Displacement parameter of each element, Å².
        qmin, qmax: Limits of the sine transform, Å⁻¹.
        qdamp, qbroad: The instrument's damping and broadening, Å⁻¹.
        delta2: Sharpening of near peaks by correlated motion, Å².

    Returns:
        G(r), Å⁻².
    """
    d = edge * shells.distances
    u = np.array([(biso[a] + biso[b]) / (8 * math.pi**2) for a, b in shells.pairs])
    sigma = np.sqrt(u * np.maximum(1e-4, 1 - delta2 / d**2 + (qbroad * d) ** 2))
    points = next_fast_len(math.ceil((float(r[-1]) + MARGIN) / STEP))
    grid = STEP * np.arange(points)
    g = -4 * math.pi * shells.sites / edge**3 * grid
    height = shells.weights / (d * math.sqrt(2 * math.pi) * sigma)
    first = np.maximum(0, np.floor((d - _PEAK * sigma) / STEP).astype(int))
    last = np.minimum(points, np.ceil((d + _PEAK * sigma) / STEP).astype(int) + 1)
    for k in np.flatnonzero(first < last):
        where = slice(first[k], last[k])
        g[where] += height[k] * np.exp(-((grid[where] - d[k]) ** 2) / (2 * sigma[k] ** 2))
    end = np.clip((points * STEP - grid) / (0.75 * MARGIN), 0, 1)
    waves = dst((g * (1 - np.cos(math.pi * end)) / 2)[1:], type=1)
    q = math.pi / (points * STEP) * np.arange(1, points)
    waves[(q > qmax) | (q < qmin)] = 0
    cut = np.concatenate([[0.0], dst(waves, type=1) / (2 * points)])
    return np.interp(r, grid, cut) * np.exp(-((r * qdamp) ** 2) / 2)
