"""A curve as an instrument would measure it."""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float
from papertrio_shared.seed import numpy_generator

from .data.gr import PairDistribution
from .scattering import pair_distribution, r_grid
from .scattering.form_factors import Radiation


@dataclass(frozen=True)
class SimulationSettings:
    """An instrument, a grid and the displacement of the atoms.

    Attributes:
        rmin: First r, Å.
        rmax: End of the grid, left out, Å.
        rstep: Its step, Å.
        qmin: Lower limit of the transform, 1/Å.
        qmax: Upper limit, 1/Å.
        qdamp: Damping by the instrument's resolution, 1/Å.
        qbroad: Broadening by it, 1/Å.
        biso: Isotropic displacement parameter, Å².
        delta1: Sharpening of near peaks by correlated motion that falls as 1/r, Å.
        delta2: The same falling as 1/r², Å².
        scale: Factor of G.
        radiation: What is scattered.
        noise: Standard deviation of the noise as a fraction of the largest |G|.
        seed: Seed of the noise.
    """

    rmin: float = 0.0
    rmax: float = 30.0
    rstep: float = 0.01
    qmin: float = 0.7
    qmax: float = 25.0
    qdamp: float = 0.04
    qbroad: float = 0.0
    biso: float = 0.5
    delta1: float = 0.0
    delta2: float = 0.0
    scale: float = 1.0
    radiation: Radiation = "xray"
    noise: float = 0.0
    seed: int = 0


SIMULATION_SETTINGS = SimulationSettings()
_LARGEST = {"biso": 100.0, "scale": 1e50, "delta1": 100.0, "delta2": 1e4, "qdamp": 1.0, "qbroad": 1.0, "noise": 100.0}
_LARGEST_MATRIX = 2**26
"""Numbers in the transform of the noise."""


def simulate(
    atoms: Atoms, settings: SimulationSettings = SIMULATION_SETTINGS, *, name: str = "simulated"
) -> PairDistribution:
    """G of a cluster by the Debye sum, with the instrument's noise.

    The noise is white in F(q) between qmin and qmax, so it varies in r as fast as G can and no faster.

    Args:
        atoms: The cluster, Å.
        settings: Instrument, grid and displacement.
        name: What to call the curve.

    Returns:
        The curve.

    Raises:
        ValueError: If a setting is out of its range, the grid is too large for noise on it, or an element is unknown.

    >>> dimer = Atoms("Pt2", positions=[[0, 0, 0], [2.8, 0, 0]])
    >>> curve = simulate(dimer, SimulationSettings(rmax=10.0))
    >>> round(float(curve.r[curve.g.argmax()]), 2)
    2.8
    """
    for key, largest in _LARGEST.items():
        if not 0 <= getattr(settings, key) <= largest:
            raise ValueError(f"{key} {getattr(settings, key):g} is out of range; give 0 to {largest:g}")
    r = r_grid(settings.rmin, settings.rmax, settings.rstep).numpy()
    g = pair_distribution(
        torch.from_numpy(np.asarray(atoms.positions, dtype=float)),
        atoms.get_chemical_symbols(),
        rmin=settings.rmin,
        rmax=settings.rmax,
        rstep=settings.rstep,
        qmin=settings.qmin,
        qmax=settings.qmax,
        biso=settings.biso,
        scale=settings.scale,
        qdamp=settings.qdamp,
        qbroad=settings.qbroad,
        delta1=settings.delta1,
        delta2=settings.delta2,
        radiation=settings.radiation,
    ).numpy()
    if settings.noise > 0:
        g = g + settings.noise * np.abs(g).max() * _noise(r, settings)
    return PairDistribution(
        r,
        g,
        qmin=settings.qmin,
        qmax=settings.qmax,
        qdamp=settings.qdamp,
        qbroad=settings.qbroad,
        composition=dict(Counter(atoms.get_chemical_symbols())),
        radiation=settings.radiation,
        name=name,
    )


def _noise(r: Float[np.ndarray, " bins"], settings: SimulationSettings) -> Float[np.ndarray, " bins"]:
    """Noise of standard deviation one, white in F(q)."""
    step = math.pi / (2 * settings.rmax)
    q = np.arange(settings.qmin + step / 2, settings.qmax, step)
    if not len(q):
        q = np.array([(settings.qmin + settings.qmax) / 2])
    if len(q) * len(r) > _LARGEST_MATRIX:
        raise ValueError(
            f"noise on {len(r)} points up to rmax {settings.rmax:g} Å is too much to draw; lower rmax or take a "
            "coarser rstep"
        )
    waves = numpy_generator(settings.seed, "noise").normal(size=len(q)) @ np.sin(np.outer(q, r))
    return waves / math.sqrt(len(q) / 2)
