r"""Whether a particle is larger than any cluster that was searched: spheres cut from a crystal, of any diameter.

No atom is placed. In a sphere of diameter D, averaged over where its centre lies in the crystal, the shell of m
neighbours at the distance d keeps the share

$$ \gamma_0(d) = 1 - \frac{3}{2} \frac{d}{D} + \frac{1}{2} \left( \frac{d}{D} \right)^3, \qquad d < D $$

(Kodama et al., Acta Cryst. A62, 444, 2006; Farrow and Billinge 2009), so that a few hundred distances make its Debye
sum, cut at qmin like a cluster's. Its Rw stands beside theirs.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from ase.build import bulk
from jaxtyping import Float
from scipy.optimize import minimize_scalar

from .baselines.retrieval import scan
from .pairs import PairGroup, Pairs
from .rank import SCOPE_BISO, SCOPE_RW, Candidate
from .refine import Fit, Model, refine
from .scattering.crystal import distances_in
from .target import Target

LATTICES = {"fcc": (math.sqrt(2), None), "hcp": (1.0, 1.633), "bcc": (2 / math.sqrt(3), None)}
"""Edge of the cell where the bond is one, and c/a."""
FARTHEST, LARGEST = 3.0, 80.0
"""Largest diameter tried, in units of the fit range's end, beyond which the envelope is too flat to tell, and in Å."""
_STEP = 1.15
"""Ratio of the diameters tried one after the other."""
_SHARPNESS = 0.05
"""To what a diameter is found, Å."""


@dataclass(frozen=True, eq=False)
class Sphere:
    """A sphere cut from a crystal, refined.

    Attributes:
        lattice: `"fcc"`, `"hcp"` or `"bcc"`.
        diameter: At its refined dilation, Å.
        atoms: About how many it holds.
        fit: Its fit, with the parameters free that the best candidate had free.
        at_limit: Whether larger ones, which were not tried, might fit better.
    """

    lattice: str
    diameter: float
    atoms: int
    fit: Fit
    at_limit: bool


def larger_sphere(
    target: Target, best: Candidate, *, bond: float, max_atoms: int, dilations: tuple[float, float]
) -> Sphere | None:
    """The sphere that fits best, where it is larger than what was searched and fits better than all of that.

    Args:
        target: Measured points.
        best: The best candidate.
        bond: Bond length at dilation 1, Å.
        max_atoms: Largest cluster that was searched.
        dilations: Range of the dilation.

    Returns:
        The sphere; None where none beyond `max_atoms` atoms explains the curve and beats the best candidate, with the
        diameter for a further parameter.
    """

    def fitted(diameter: float) -> Fit:
        model = Model(_pairs(lattice, diameter, bond), target, max_dilation=dilations[1])
        return refine(model, target, start, free=best.fit.free, dilations=dilations)

    first = {name: bond * _diameter(name, max_atoms) for name in LATTICES}
    tried = {name: scan(_pairs(name, d, bond), target, dilations=dilations) for name, d in first.items()}
    lattice = min(tried, key=lambda name: tried[name][1])
    start, last = tried[lattice][0], min(FARTHEST * float(target.r[-1]), LARGEST)
    diameters = [first[lattice]]
    rws = [fitted(diameters[0]).weighted_rw]
    while diameters[-1] < last and (len(rws) < 2 or rws[-1] < rws[-2]):
        diameters.append(min(_STEP * diameters[-1], last))
        rws.append(fitted(diameters[-1]).weighted_rw)
    at = int(np.argmin(rws))
    if at == 0:
        return None
    diameter = diameters[at]
    if at + 1 < len(diameters):
        around, precise = (diameters[at - 1], diameters[at + 1]), {"xatol": _SHARPNESS}
        diameter = float(minimize_scalar(lambda d: fitted(d).weighted_rw, bounds=around, options=precise).x)
    fit = fitted(diameter)
    explains = fit.rw <= SCOPE_RW and fit.parameters.biso <= SCOPE_BISO
    if not explains or fit.score + math.log(target.independent_points) >= best.score:
        return None
    count = round((diameter / bond / _diameter(lattice, 1)) ** 3)
    return Sphere(lattice, fit.parameters.dilation * diameter, count, fit, diameter == last)


def _diameter(lattice: str, atoms: int) -> float:
    """Of a sphere of the volume of so many atoms, in bonds."""
    return (6 / math.pi * atoms * _shells(lattice, 1.5)[2]) ** (1 / 3)


def _pairs(lattice: str, diameter: float, bond: float) -> Pairs:
    d, count, _ = _shells(lattice, 8.0 * math.ceil(diameter / bond / 8))
    inside = d < diameter / bond
    part = d[inside] * bond / diameter
    share = count[inside] * (1 - 1.5 * part + 0.5 * part**3)
    distances, counts = torch.from_numpy(bond * d[inside]), torch.from_numpy(share)
    return Pairs((PairGroup(("X", "X"), distances, counts),), {"X": 2})  # as many as two atoms see: F does not tell N


@lru_cache(maxsize=16)
def _shells(lattice: str, reach: float) -> tuple[Float[np.ndarray, " shells"], Float[np.ndarray, " shells"], float]:
    """Distances of a crystal, how many neighbours an atom has at each, and the volume of an atom, in bonds."""
    edge, ratio = LATTICES[lattice]
    crystal = bulk("X", lattice, a=edge, covera=ratio)
    apart = (crystal.positions[:, None] - crystal.positions).reshape(-1, 3)
    d, counts = distances_in(crystal.cell.array, apart, reach)
    return d, counts / len(crystal), crystal.get_volume() / len(crystal)
