r"""Tens of thousands of geometries held against a curve at once, roughly, as products of matrices.

With lengths in bonds, the pairs of a geometry are one row $h(x) = \frac{2}{N} \sum_p \delta(x - x_p)/x_p$ of a
histogram. At bond length $a$ it has $F(q) = \frac1a \sum_x h(x) \sin(qax) \cdot e^{-Uq^2}$, and Rw at the best scale
takes a linear and a quadratic form of F (`SineTransform.rw`), so of h:

$$ \langle G^{obs}, G \rangle = h \cdot c_{a,U}, \qquad \|G\|^2 = \|h B_{a,U}\|^2 . $$

B has no more columns than the curve has independent points, and the norm of G hardly changes while a cluster is
dilated by a percent: between such dilations it is interpolated. So tens of thousands of geometries cost what a few
hundred of them cost `scan`, with an Rw that errs by up to 0.003.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.interpolate import CubicSpline
from torch import Tensor

from ..data.clusters import Geometry
from ..stages import stage
from ..target import SineTransform, Target
from ..threads import in_threads

STEP = 0.0125
"""Of the histogram, bonds; halved until a step is at most `_PHASE` at the end of the curve's range of q."""
NODE_STEP = 0.01
"""Between the dilations at which the norm of G is computed."""
_MARGIN = 10.0
"""Distances that lie further beyond the curve's end are left out: their ripples there are nearly nothing, Å."""
_PHASE = 1.5
_FINE = 10
"""Bins in a step in which distances are counted, before they are spread by cubic B-splines."""
_NEAREST = 0.1
"""Distances below, in bonds, are those of atoms to themselves."""
_CHUNK = 256
"""Geometries worked on together, of nearly one width."""


class _Rows(NamedTuple):
    """Histograms of some geometries, and their places in the library."""

    places: Int[np.ndarray, " some"]
    h: Float[Tensor, "some bins"]


class _Forms(NamedTuple):
    """What makes the two products of a histogram that Rw is of.

    Attributes:
        overlap: The linear form at each dilation and displacement, for a measured curve of norm one.
        roots: At each node and displacement the root of the quadratic form.
        between: From the nodes to all dilations.
    """

    overlap: Float[Tensor, "bins trials"]
    roots: list[list[Float[Tensor, "bins rank"]]]
    between: Float[Tensor, "dilations nodes"]

    def least_rw(self, h: Float[Tensor, "some bins"]) -> Float[np.ndarray, " some"]:
        """The least Rw of each histogram."""
        h = h[:, : len(self.overlap)]
        bins = h.shape[1]
        at_nodes = [torch.stack([(h @ root[:bins]).square().sum(1) for root in node]) for node in self.roots]
        norm = torch.einsum("sn,nug->gsu", self.between, torch.stack(at_nodes))
        overlap = (h @ self.overlap[:bins]).view(norm.shape).clamp(min=0)
        return (1 - (overlap**2 / norm.clamp(min=1e-30)).amax((1, 2))).clamp(min=0).sqrt().numpy()


def screen(
    target: Target,
    geometries: Sequence[Geometry],
    *,
    bond: float,
    s: Float[Tensor, " dilations"],
    bisos: Sequence[float],
) -> Float[np.ndarray, " geometries"]:
    """The least Rw of every geometry on a grid of dilations and displacements, right to 0.003.

    Args:
        target: Measured points.
        geometries: What to search.
        bond: Bond length at dilation 1, Å.
        s: Dilations, increasing.
        bisos: Displacement parameters, Å².

    Returns:
        Rw as the points are weighted.

    >>> from cbldm.data.clusters import library
    >>> r = np.arange(2, 20, 0.05)
    >>> target = Target(r, np.sin(2.2 * r) * np.exp(-r / 8), 0.8, 24.0, 0.04)
    >>> screen(target, library(max_atoms=20), bond=2.8, s=torch.tensor([0.98, 1.0]), bisos=(0.5,)).shape
    (34,)
    """
    if not geometries:
        return np.zeros(0)
    largest = bond * float(s[-1])
    halvings = max(0, math.ceil(math.log2(target.qmax * largest * STEP / _PHASE)))
    step = STEP / 2**halvings
    rows = _histograms(tuple(geometries), step)
    bins = min(rows[-1].h.shape[1], math.ceil((float(target.r[-1]) + _MARGIN) / (bond * float(s[0]) * step)))
    forms = _forms(target, step * torch.arange(bins, dtype=torch.float64), bond, s.double(), bisos)
    found = np.empty(len(geometries))
    work = in_threads(lambda some: forms.least_rw(some.h), rows)
    for some, rw in zip(rows, stage(work, "screen", total=len(rows)), strict=True):
        found[some.places] = rw
    return found


@lru_cache(maxsize=1)
def _histograms(geometries: tuple[Geometry, ...], step: float) -> list[_Rows]:
    """Histograms of a library, widest last; a series of curves is searched with the same."""
    widest = np.array([2 * np.linalg.norm(each.positions, axis=1).max() for each in geometries])
    order = np.argsort(widest, kind="stable")
    chunks = [order[k : k + _CHUNK] for k in range(0, len(order), _CHUNK)]

    def one(places: Int[np.ndarray, " some"]) -> _Rows:
        return _Rows(places, _histogram([geometries[k].positions for k in places], step))

    return list(stage(in_threads(one, chunks), "distances", total=len(chunks)))


def _histogram(positions: list[Float[np.ndarray, "_ 3"]], step: float) -> Float[Tensor, "some bins"]:
    clusters = [torch.from_numpy(each - each.mean(axis=0)).float() for each in positions]
    bins = math.ceil(max(2 * float(x.norm(dim=1).max()) for x in clusters) / step) + 1
    counts = torch.zeros(len(clusters), bins * _FINE)
    for row, x in zip(counts, clusters, strict=True):
        square = x.square().sum(1)
        d = torch.addmm(square, x, x.T, alpha=-2).add_(square[:, None]).clamp_(min=0).sqrt_()
        found = torch.bincount(d.mul_(_FINE / step).int().view(-1))
        row[: len(found)] = found
        row /= len(x)  # each pair is there twice
    d = (torch.arange(bins * _FINE) + 0.5) * (step / _FINE)
    counts *= torch.where(d > _NEAREST, 1 / d, 0)
    t = (torch.arange(_FINE) + 0.5) / _FINE
    splines = torch.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 3 * t + 3 * t**2 - 3 * t**3 + 1, t**3], 1) / 6
    parts = counts.view(len(clusters), bins, _FINE) @ splines
    h = torch.zeros(len(clusters), bins + 3)
    for shift in range(4):
        h[:, shift : shift + bins] += parts[..., shift]
    return h[:, 1:].contiguous()


def _forms(
    target: Target,
    x: Float[Tensor, " bins"],
    bond: float,
    s: Float[Tensor, " dilations"],
    bisos: Sequence[float],
) -> _Forms:
    transform = SineTransform(target, bond * float(s[-1] * x[-1]))
    q = transform.q
    damping = torch.exp(-torch.outer(torch.tensor(bisos, dtype=torch.float64) / (8 * math.pi**2), q**2))

    def sines(dilation: float) -> Float[Tensor, "bins nq"]:
        a = bond * dilation
        turns = q * (a * float(x[1]) / (2 * math.pi))
        smear = torch.special.sinc(turns) ** 4 * torch.special.sinc(turns / _FINE)
        return torch.outer(x.float(), (a * q).float()).sin_() / (a * smear).float()

    def roots(dilation: float) -> list[Float[Tensor, "bins rank"]]:
        here = sines(dilation)
        return [here @ root for root in factors]

    nodes = np.linspace(float(s[0]), float(s[-1]), 1 + math.ceil(float(s[-1] - s[0]) / NODE_STEP - 1e-6))
    between = CubicSpline(nodes, np.eye(len(nodes)))(s.numpy()) if len(nodes) > 1 else np.ones((len(s), 1))
    linear = (transform.overlap / math.sqrt(transform.total) * damping).T.float()
    factors = [transform.root(each).float() for each in damping]
    overlap = torch.cat(list(in_threads(lambda each: sines(each) @ linear, s.tolist())), 1)
    return _Forms(overlap, list(in_threads(roots, nodes.tolist())), torch.from_numpy(between).float())
