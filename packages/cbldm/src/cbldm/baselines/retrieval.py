r"""Retrieval with dilation: every geometry of a library, at every bond length, held against the curve.

In $\int F(q) \sin(qr) dq$ the dilation $s$ of a cluster only stretches the axis of its undamped sum,
$F_s(q) = F_1(sq)/s \cdot e^{-Uq^2}$ with $F_1(x) = \sum_p w_p \sin(x d_p)/d_p$, and the best scale is linear least
squares in closed form. So one sum over the distances serves all dilations, by a spline, and all displacements; what
is left of a trial is a quadratic form. Two hundred trials of one geometry take milliseconds. A library of tens of
thousands is first screened (`baselines.screen`), and only what looks best there is tried so.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy.interpolate import CubicSpline

from ..data.clusters import Geometry
from ..pairs import PairGroup, Pairs, pairs_of
from ..refine import DILATIONS, Parameters
from ..scattering.form_factors import Radiation
from ..stages import stage
from ..target import SineTransform, Target
from ..threads import in_threads
from .screen import screen

DILATION_STEP = 0.005
BISOS = (0.2, 0.5, 1.0, 2.0)
"""Displacement parameters tried, Å²."""
SCREENED_ABOVE = 2000
"""Size of a library from which on it is screened."""
_TRIED, _TRIED_AT_LEAST = 2, 100
"""Geometries tried after a screening, for each that is wanted, and in all: a screened Rw errs by up to 0.003."""
_SPLINE_PHASE = 0.3
"""Step of the spline in the phase of the longest distance: F is right to 1e-4."""


class Match(NamedTuple):
    """A geometry at the best of the dilations and displacements tried."""

    geometry: Geometry
    start: Parameters
    rw: float


def retrieve(
    target: Target,
    geometries: Sequence[Geometry],
    *,
    element: str,
    bond: float,
    dilations: tuple[float, float] = DILATIONS,
    count: int | None = None,
) -> list[Match]:
    """Hold every geometry against the curve, with a progress bar.

    Where only the best few of a large library are wanted, its geometries are screened first.

    Args:
        target: Measured points.
        geometries: What to search.
        element: Symbol of all atoms.
        bond: Bond length at dilation 1, Å.
        dilations: Range of the dilation.
        count: How many are wanted; by default all.

    Returns:
        So many geometries, best first (Rw as the points are weighted).

    Raises:
        ValueError: If there is no geometry.
    """

    if count is not None and len(geometries) > SCREENED_ABOVE:
        rw = screen(target, geometries, bond=bond, s=_grid(dilations), bisos=BISOS)
        best = np.argsort(rw, kind="stable")[: max(_TRIED * count, _TRIED_AT_LEAST)]
        geometries = [geometries[k] for k in best]

    def one(geometry: Geometry) -> Match:
        return Match(geometry, *scan(pairs_of(bond * geometry.positions, element), target, dilations=dilations))

    matches = list(stage(in_threads(one, geometries), "search", total=len(geometries)))
    if not matches:
        raise ValueError("the library is empty; give one with at least one cluster")
    return sorted(matches, key=lambda match: match.rw)[:count]


def scan(
    pairs: Pairs,
    target: Target,
    *,
    dilations: tuple[float, float] = DILATIONS,
    bisos: Sequence[float] = BISOS,
    radiation: Radiation = "xray",
) -> tuple[Parameters, float]:
    """Try a grid of dilations and displacements, each at its best scale.

    Args:
        pairs: Distances of the structure.
        target: Measured points.
        dilations: Range of the dilation, in steps of 0.5 %.
        bisos: Displacement parameters to try, Å².
        radiation: What was scattered.

    Returns:
        The best of the grid (scale and delta2 as `Parameters` has them), and its Rw.
    """
    s = _grid(dilations)
    transform = SineTransform(target, pairs.dmax * dilations[1])
    q = transform.q
    stretched = torch.outer(s, q)
    u = torch.tensor(bisos, dtype=torch.float64) / (8 * math.pi**2)
    f = torch.zeros(len(s), len(q), dtype=torch.float64)
    for group, weight in zip(pairs.groups, pairs.weights(q, radiation), strict=True):
        f += weight / s[:, None] * _undamped(group, stretched)
    damped = f[:, None] * torch.exp(-torch.outer(u, q**2))
    rw = transform.rw(damped)
    i, j = divmod(int(rw.argmin()), len(bisos))
    return Parameters(dilation=float(s[i]), biso=float(bisos[j])), float(rw[i, j])


def _grid(dilations: tuple[float, float]) -> Float[torch.Tensor, " dilations"]:
    low, high = dilations
    return torch.linspace(low, high, 1 + round((high - low) / DILATION_STEP), dtype=torch.float64)


def _undamped(group: PairGroup, x: Float[torch.Tensor, "dilations nq"]) -> Float[torch.Tensor, "dilations nq"]:
    step = _SPLINE_PHASE / float(group.distances[-1])
    knots = step * torch.arange(math.ceil(float(x.max()) / step) + 2, dtype=torch.float64)
    size = max(1, 2**21 // len(knots))
    total = np.zeros(len(knots))
    for d, count in zip(group.distances.split(size), group.counts.split(size), strict=True):
        total += ((count / d) @ torch.sin(torch.outer(d, knots))).numpy()
    return torch.from_numpy(CubicSpline(knots.numpy(), total)(x.numpy()))
