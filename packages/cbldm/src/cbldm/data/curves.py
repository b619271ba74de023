r"""Curves to train on: clusters of a library at any bond length, as one instrument after another would see them.

All curves stand on one grid of Q, whose step divides a period of `PERIOD` in r: every limit of Q is one of its points,
so that the weights of the sine integral are one table for all limits, and a batch of any settings is a few products
with matrices, on a CPU or a GPU.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from papertrio_shared.seed import numpy_generator
from torch import Tensor
from torch.utils.data import Dataset

from ..scattering.quadrature import REACH, step_weights
from .clusters import Geometry, StructureType
from .spread import spread_structure_functions

TYPES: tuple[str, ...] = get_args(StructureType)
"""Structure types; `CurveBatch.type` counts in this order."""

PERIOD = 504.0
"""4 (r + d) for the greatest r and the longest distance d of a cluster, Å."""
QSTEP = 2 * math.pi / PERIOD
WAVES = 4
"""Waves in a background, none shorter than `SHORTEST_WAVE`."""
SHORTEST_WAVE = 10.0


@dataclass(frozen=True)
class Variation:
    """Ranges from which the settings of a curve are drawn, evenly but for the scale, which is even in its logarithm.

    Attributes:
        bond: Bond length, Å.
        qmin: Lower limit of the transform, 1/Å.
        qmax: Upper limit, 1/Å.
        qdamp: Damping by the instrument's resolution, 1/Å.
        biso: Isotropic displacement parameter, Å².
        delta2: Sharpening of near peaks by correlated motion, Å²; at most 0.6 of the square of the bond is taken.
        rmax: End of the curve, Å.
        noise: Standard deviation of the noise as a fraction of the largest |G|.
        background: Root mean square of a slowly varying background as such a fraction.
        scale: Factor of G.
    """

    bond: tuple[float, float] = (2.2, 3.6)
    qmin: tuple[float, float] = (0.1, 1.5)
    qmax: tuple[float, float] = (16.0, 30.0)
    qdamp: tuple[float, float] = (0.0, 0.08)
    biso: tuple[float, float] = (0.1, 1.5)
    delta2: tuple[float, float] = (0.0, 4.0)
    rmax: tuple[float, float] = (15.0, 50.0)
    noise: tuple[float, float] = (0.0, 0.05)
    background: tuple[float, float] = (0.0, 0.05)
    scale: tuple[float, float] = (0.3, 3.0)


VARIATION = Variation()
SETTINGS = tuple(field.name for field in fields(Variation))


class Settings(NamedTuple):
    """What was drawn for each curve of a batch, with the names and units of `Variation`."""

    bond: Float[Tensor, " batch"]
    qmin: Float[Tensor, " batch"]
    qmax: Float[Tensor, " batch"]
    qdamp: Float[Tensor, " batch"]
    biso: Float[Tensor, " batch"]
    delta2: Float[Tensor, " batch"]
    rmax: Float[Tensor, " batch"]
    noise: Float[Tensor, " batch"]
    background: Float[Tensor, " batch"]
    scale: Float[Tensor, " batch"]


class CurveBatch(NamedTuple):
    """Clusters and their curves.

    Attributes:
        positions: Cartesian coordinates, Å, the mean at the origin; zero where a cluster has no atom.
        present: False there.
        atom_count: Number of atoms.
        type: Structure type, its place in `TYPES`.
        geometry: Place of the geometry in the library.
        g: G(r), Å⁻², on the multiples of rstep from 0 to 30 Å; zero where the curve has ended.
        measured: False there.
        settings: Bond length and instrument.
    """

    positions: Float[Tensor, "batch atoms 3"]
    present: Bool[Tensor, "batch atoms"]
    atom_count: Int[Tensor, " batch"]
    type: Int[Tensor, " batch"]
    geometry: Int[Tensor, " batch"]
    g: Float[Tensor, "batch bins"]
    measured: Bool[Tensor, "batch bins"]
    settings: Settings


class TrainingCurves(Dataset[CurveBatch]):
    """Curves of a library by index, each drawn from its own stream of the seed, computed when asked for.

    A curve depends on seed and index alone, not on what was asked for before, so any order, any number of workers and
    a resumed run see the same curves (to the round-off of float32, 1e-5 of the largest |G|). A data loader
    takes whole batches: `DataLoader(curves, batch_size=256, collate_fn=lambda batch: batch)`.

    Args:
        geometries: The library, or the part of it to train on.
        length: How many curves.
        variation: Ranges of bond length and instrument.
        seed: Seed of all draws.
        places: Which of the geometries are drawn from, by their places; by default all.
        bonds: The bond length of each of these, Å; by default it is drawn.
        weights: How often each of these is drawn, in any unit; by default all are alike.
        rstep: Step of r, Å.
        rmax: End of the grid of r, left out, Å.

    Raises:
        ValueError: If there is no geometry, the length is not positive, the grid is none, a range is empty, a bond or
            place wrong or a weight negative.

    >>> from cbldm.data.clusters import library
    >>> curves = TrainingCurves(library(max_atoms=20), length=1000, seed=0, rstep=0.05)
    >>> batch = curves.batch([3, 999])
    >>> batch.g.shape, bool(torch.equal(curves.batch([999]).settings.qmax, batch.settings.qmax[1:]))
    (torch.Size([2, 600]), True)
    """

    def __init__(
        self,
        geometries: Sequence[Geometry],
        *,
        length: int = 100_000,
        variation: Variation = VARIATION,
        seed: int = 0,
        places: Sequence[int] | Int[np.ndarray, " clusters"] | None = None,
        bonds: Sequence[float] | Float[np.ndarray, " clusters"] | None = None,
        weights: Sequence[float] | Float[np.ndarray, " clusters"] | None = None,
        rstep: float = 0.01,
        rmax: float = 30.0,
    ) -> None:
        if not len(geometries) or length < 1:
            raise ValueError(f"{len(geometries)} geometries and {length} curves: give at least one of each")
        self.geometries, self.length, self.variation, self.seed = tuple(geometries), length, variation, seed
        self.rstep, self.rmax = rstep, rmax
        if not 0 < rstep < rmax <= PERIOD / 8:
            raise ValueError(f"rstep {rstep:g} and rmax {rmax:g} Å: give rstep > 0 and rmax at most {PERIOD / 8:g} Å")
        check_variation(variation)
        self.places = np.arange(len(geometries)) if places is None else np.asarray(places, dtype=int)
        if not len(self.places) or not 0 <= self.places.min() <= self.places.max() < len(geometries):
            raise ValueError(f"places must be of the {len(geometries)} geometries, at least one")
        self.bonds = None if bonds is None else np.asarray(bonds, dtype=float)
        if self.bonds is not None and (self.bonds.shape != self.places.shape or not (self.bonds > 0).all()):
            raise ValueError(f"bonds must be {len(self.places)} positive numbers, one for each place")
        self._ends = None if weights is None else _ends(weights, len(self.places))

    def __len__(self) -> int:
        return self.length

    @property
    def r(self) -> Float[Tensor, " bins"]:
        """The grid of r, Å."""
        return self.rstep * torch.arange(math.ceil(self.rmax / self.rstep - 1e-6), dtype=torch.float64)

    def __getitem__(self, index: int) -> CurveBatch:
        """One curve, as a batch of one."""
        return self.batch([index])

    def __getitems__(self, indices: Sequence[int]) -> CurveBatch:
        """A batch, as a data loader asks for it."""
        return self.batch(indices)

    def batch(self, indices: Sequence[int], *, device: str | torch.device = "cpu") -> CurveBatch:
        """Compute some of the curves.

        Args:
            indices: Which, each from 0 to the length.
            device: Where the products of matrices are computed, and what is returned lies.

        Returns:
            Clusters padded to the largest of them, and curves.

        Raises:
            IndexError: If there is no such curve.
        """
        for index in indices:
            if not 0 <= index < self.length:
                raise IndexError(f"curve {index}: there are {self.length}")
        draws = [self._draw(index) for index in indices]
        chosen = [self.geometries[draw.geometry] for draw in draws]
        counts = [geometry.atom_count for geometry in chosen]
        places = [draw.settings[0] * each.positions for each, draw in zip(chosen, draws, strict=True)]
        positions = torch.zeros(len(chosen), max(counts), 3)
        for row, place in zip(positions, places, strict=True):
            row[: len(place)] = torch.from_numpy(place)
        atom_count = torch.tensor(counts, device=device)
        settings = torch.tensor(np.array([draw.settings for draw in draws]), device=device)
        noise = torch.tensor(np.array([draw.noise for draw in draws], dtype=np.float32), device=device)
        waves = torch.tensor(np.array([draw.waves for draw in draws], dtype=np.float32), device=device)
        present = torch.arange(max(counts), device=device) < atom_count[:, None]
        drawn = Settings(*settings.unbind(1))
        g, measured = curves_of(places, drawn, noise, waves, self.r.to(device))
        return CurveBatch(
            positions.to(device),
            present,
            atom_count,
            torch.tensor([TYPES.index(geometry.type) for geometry in chosen], device=device),
            torch.tensor([draw.geometry for draw in draws], device=device),
            g,
            measured,
            Settings(*settings.float().unbind(1)),
        )

    def _draw(self, index: int) -> "_Draw":
        random = numpy_generator(self.seed, f"curve {index}")
        share = random.random()
        if self._ends is None:
            place = int(share * len(self.places))
        else:
            place = int(np.searchsorted(self._ends, share, side="right"))
        values = {name: random.uniform(*getattr(self.variation, name)) for name in SETTINGS if name != "scale"}
        values["scale"] = math.exp(random.uniform(*np.log(self.variation.scale)))
        for name in ("qmin", "qmax"):
            values[name] = QSTEP * round(values[name] / QSTEP)
        if self.bonds is not None:
            values["bond"] = float(self.bonds[place])
        values["delta2"] = min(values["delta2"], 0.6 * values["bond"] ** 2)
        steepness = random.uniform(0, 2)
        q = np.arange(1, _points(self.variation.qmax[1]) + 1) / _points(self.variation.qmax[1])
        noise = random.standard_normal(len(q), dtype=np.float32) * q**steepness
        waves = np.stack([random.uniform(0, 2 * math.pi / SHORTEST_WAVE, WAVES), random.standard_normal(WAVES)])
        return _Draw(int(self.places[place]), tuple(values[name] for name in SETTINGS), noise, waves)


class _Draw(NamedTuple):
    """What the stream of one curve gives: geometry, settings, noise of F at each Q above 0, waves of the background."""

    geometry: int
    settings: tuple[float, ...]
    noise: np.ndarray
    waves: np.ndarray


def curves_of(
    positions: list[Float[np.ndarray, "_ 3"]],
    settings: Settings,
    noise: Float[Tensor, "batch nq"],
    waves: Float[Tensor, "batch 2 waves"],
    r: Float[Tensor, " bins"],
) -> tuple[Float[Tensor, "batch bins"], Bool[Tensor, "batch bins"]]:
    r"""G of each cluster at its own settings, with noise that is limited to its range of Q, and a background.

    $G(r) = s\, e^{-(r q_\mathrm{damp})^2/2} \frac{2}{\pi} \int_{q_\min}^{q_\max} F(Q) \sin(Qr) dQ$, the noise being
    that of F, transformed with it. Both limits are multiples of `QSTEP`.

    Args:
        positions: Coordinates of each cluster, Å.
        settings: Of each curve.
        noise: Noise of F from Q = `QSTEP` on, in any unit.
        waves: Wave numbers (Å⁻¹) and amplitudes of the background's waves, the latter in any unit.
        r: Grid, Å.

    Returns:
        G, Å⁻², zero where the curve has ended, and whether it has not.
    """
    nq = _points(float(settings.qmax.max()))
    f = spread_structure_functions(positions, settings.biso / (8 * math.pi**2), settings.delta2, qstep=QSTEP, nq=nq)
    weights = _range_weights(settings.qmin, settings.qmax, nq)
    matrix = _sines(nq, r.cpu().numpy().tobytes(), r.device)
    g = (f * weights) @ matrix
    noisy = torch.nn.functional.pad(noise, (1, nq - 1 - noise.shape[1])) * weights
    g = g * torch.exp(-((r * settings.qdamp[:, None]) ** 2) / 2).float()
    measured = r < settings.rmax[:, None]
    largest = g.abs().masked_fill(~measured, 0).amax(1, keepdim=True)
    shakes = _unit(noisy @ matrix, measured) * settings.noise[:, None]
    slow = torch.einsum("bw,bwr->br", waves[:, 1], torch.sin(waves[:, 0, :, None] * r.float()))
    drifts = _unit(slow, measured) * settings.background[:, None]
    g = settings.scale[:, None] * (g + largest * (shakes + drifts))
    return torch.where(measured, g, 0).float(), measured


def _unit(curve: Float[Tensor, "batch bins"], measured: Bool[Tensor, "batch bins"]) -> Float[Tensor, "batch bins"]:
    square = (curve.square() * measured).sum(1, keepdim=True) / measured.sum(1, keepdim=True)
    return curve / square.sqrt().clamp(min=1e-30)


def _points(qmax: float) -> int:
    return round(qmax / QSTEP) + REACH + 1


@lru_cache(maxsize=4)
def _sines(nq: int, r: bytes, device: torch.device) -> Float[Tensor, "nq bins"]:
    q = QSTEP * torch.arange(nq, dtype=torch.float64)
    bins = torch.frombuffer(bytearray(r), dtype=torch.float64)
    return (2 / math.pi * QSTEP * torch.sin(q[:, None] * bins)).float().to(device)


def _range_weights(qmin: Float[Tensor, " batch"], qmax: Float[Tensor, " batch"], nq: int) -> Float[Tensor, "batch nq"]:
    """Weights of the integral from qmin to qmax for each curve, as `band_limited_weights` has them."""
    _, window = step_weights(0.0)
    table = torch.tensor([0.0, *window, 1.0], dtype=torch.float32, device=qmin.device)
    k = torch.arange(nq, device=qmin.device)
    low, high = ((edge / QSTEP).round().long()[:, None] for edge in (qmin, qmax))

    def rise(offset: Tensor) -> Tensor:
        return table[(offset + REACH).clamp(0, len(table) - 1)]

    # F sin(Qr) is even, so what the rise at qmin has below zero counts at the mirrored points.
    mirrored = torch.where(k > 0, rise(-k - low), 0)
    return rise(k - low) + mirrored - rise(k - high)


def _ends(weights: Sequence[float] | np.ndarray, count: int) -> Float[np.ndarray, " geometries"]:
    values = np.asarray(weights, dtype=float)
    if values.shape != (count,) or not (np.isfinite(values).all() and (values >= 0).all() and values.any()):
        raise ValueError(f"weights must be {count} numbers, none negative and not all zero")
    ends = np.cumsum(values) / values.sum()
    ends[np.flatnonzero(values)[-1] :] = 1.0
    return ends


def check_variation(variation: Variation) -> None:
    """Make sure that every range can be drawn from.

    Args:
        variation: The ranges.

    Raises:
        ValueError: If one is empty, negative or beyond what the grid of Q and r serves.
    """
    for name in SETTINGS:
        low, high = getattr(variation, name)
        smallest = 1e-3 if name in ("bond", "scale") else 0.0
        if not smallest <= low <= high < math.inf:
            raise ValueError(f"variation {name} {low:g} to {high:g}: give a range from {smallest:g} up, not empty")
    if not variation.qmin[1] + 1 < variation.qmax[0] or variation.qmax[1] > 50:
        raise ValueError(
            f"variation qmin up to {variation.qmin[1]:g} and qmax from {variation.qmax[0]:g} to "
            f"{variation.qmax[1]:g} 1/Å: keep them apart by 1 and qmax within 50"
        )
