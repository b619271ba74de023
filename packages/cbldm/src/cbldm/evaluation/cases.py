"""Curves to judge by: of the clusters that a split holds out, through the exact Debye sum, or measured ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from ase import Atoms
from jaxtyping import Float
from papertrio_shared.seed import numpy_generator

from ..data.clusters import Geometry
from ..data.curves import SHORTEST_WAVE, WAVES, Variation
from ..data.elements import metallic_bond
from ..data.gr import PairDistribution, read_gr
from ..data.splits import METALLIC_RADII, Side, Split, SplitName
from ..simulate import SimulationSettings, simulate

EvaluatedSplit = Literal[SplitName, "experimental"]

INSTRUMENT = SimulationSettings(rmax=30.0, qmin=0.7, qmax=25.0, qdamp=0.04, biso=0.3)
"""That of the papers' simulated curves, without noise."""
ELEMENT = "Au"
"""Symbol that the clusters are given: no curve of one element shows it."""
BOND_ERROR = 0.04
"""By how much, at most, the bond length that a method is told differs from the true one."""
MEASURED = {"Au144PET_100K.gr": "Au", "Pt_JQ_S1.gr": "Pt"}
"""Measured curves of monometallic particles, and their metal."""
OUTSIDE = {"AlphaKeggin.gr": "W", "CdSe-1.gr": "Cd"}
"""Measured curves of a polyoxometalate and of a semiconductor, which no particle of one metal explains."""


@dataclass(frozen=True, eq=False)
class Case:
    """One curve to be explained, and what is true of it.

    Attributes:
        name: What it is called, once in a run.
        group: What it shares with others that are no independent evidence: the label of its geometry.
        element: Symbol of the atoms.
        told: Bond length that a method is told, Å: near the true one, as a metal's is.
        geometry: The cluster; None where it is not known.
        bond: Its bond length, Å; 0 where it is not known.
        settings: Instrument; None where the curve was measured.
        background: Root mean square of a slowly varying background as a fraction of the largest |G|.
        file: Measured curve.
        inside: Whether a particle of one metal is behind it.
    """

    name: str
    group: str
    element: str
    told: float
    geometry: Geometry | None = None
    bond: float = 0.0
    settings: SimulationSettings | None = None
    background: float = 0.0
    file: Path | None = None
    inside: bool = True

    @property
    def truth(self) -> Atoms | None:
        """The cluster at its size, Å."""
        if self.geometry is None:
            return None
        return Atoms(f"{self.element}{self.geometry.atom_count}", positions=self.bond * self.geometry.positions)

    @property
    def biso(self) -> float | None:
        """Displacement parameter, where it is known, Å²."""
        return None if self.settings is None else self.settings.biso

    def curve(self) -> PairDistribution:
        """The curve, without anything that tells its cluster."""
        if self.settings is None:
            assert self.file is not None
            return read_gr(self.file)
        truth = self.truth
        assert truth is not None
        curve = simulate(truth, self.settings, name="test curve")
        g = curve.g + self.background * np.abs(curve.g).max() * _waves(curve.r, self.settings.seed)
        return replace(curve, g=g, composition={})


def cases_of(
    split: Split,
    library: Sequence[Geometry],
    *,
    clusters: int | None = None,
    bonds: int = 1,
    seed: int = 0,
    noise: float = 0.0,
) -> list[Case]:
    """The curves of a split's test.

    Args:
        split: Clusters dealt to the sides.
        library: The library that was split.
        clusters: How many geometries at most, taken evenly over the library, so over types and sizes; all by default.
        bonds: Bond lengths of each: those that the split gives it, else drawn from twice the 19 metallic radii.
        seed: Seed of what is drawn.
        noise: Standard deviation of the curves' noise as a fraction of the largest |G|; the split `instrument` has
            its own.

    Returns:
        The cases, neighbours in the library far apart, so that the first ones stand for all.

    Raises:
        ValueError: If a number is not positive.

    >>> from cbldm.data.clusters import library
    >>> from cbldm.data.splits import split_library
    >>> known = library(max_atoms=60)
    >>> cases = cases_of(split_library("geometry", known), known, clusters=2, bonds=2)
    >>> len(cases), len({case.group for case in cases})
    (4, 2)
    """
    for name, value in (("clusters", clusters), ("bonds", bonds)):
        if value is not None and value < 1:
            raise ValueError(f"{name} {value}: give how many to test with, 1 or more")
    side = split.test
    places = np.unique(side.places)
    if clusters is not None and clusters < len(places):
        places = places[np.rint(np.linspace(0, len(places) - 1, clusters)).astype(int)]
    places = numpy_generator(seed, f"order {split.name}").permutation(places)
    chosen = [(int(k), _bonds(side, int(k), bonds, seed)) for k in places]
    return [
        _case(library[k], lengths[turn], split, seed, noise)
        for turn in range(bonds)
        for k, lengths in chosen
        if turn < len(lengths)
    ]


def measured_cases(folder: Path) -> list[Case]:
    """The measured curves.

    Args:
        folder: Where they lie.

    Returns:
        Those of `MEASURED`, and those of `OUTSIDE` that are there.

    Raises:
        FileNotFoundError: If one is not there.
    """
    for name in MEASURED:
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name}: no such file; give the folder of measured curves as --curves")
    return [
        Case(name, name, element, metallic_bond(element), file=folder / name, inside=name in MEASURED)
        for name, element in {**MEASURED, **OUTSIDE}.items()
        if (folder / name).is_file()
    ]


def _bonds(side: Side, place: int, count: int, seed: int) -> Float[np.ndarray, " bonds"]:
    random = numpy_generator(seed, f"bonds {place}")
    lengths = 2 * np.array(METALLIC_RADII) if side.bonds is None else side.bonds[side.places == place]
    return random.permutation(lengths)[:count]


def _case(geometry: Geometry, bond: float, split: Split, seed: int, noise: float) -> Case:
    name = f"{geometry.label} at {bond:.2f}"
    random = numpy_generator(seed, f"case {name}")
    told = float(bond * (1 + random.uniform(-BOND_ERROR, BOND_ERROR)))
    settings, background = INSTRUMENT, 0.0
    if split.name == "instrument":
        settings, background = _drawn(split.test.variation, float(bond), random)
    elif noise:
        settings = replace(INSTRUMENT, noise=noise, seed=int(random.integers(2**31)))
    return Case(name, geometry.label, ELEMENT, told, geometry, float(bond), settings, background)


def _drawn(variation: Variation, bond: float, random: np.random.Generator) -> tuple[SimulationSettings, float]:
    """One instrument of those that vary, with its own noise; the curve ends at 30 Å at most."""
    names = ("qmin", "qmax", "qdamp", "biso", "delta2", "rmax", "noise", "background")
    values = {name: float(random.uniform(*getattr(variation, name))) for name in names}
    values["scale"] = math.exp(random.uniform(*np.log(variation.scale)))
    values["delta2"] = min(values["delta2"], 0.6 * bond**2)
    values["rmax"] = round(min(values["rmax"], INSTRUMENT.rmax), 2)
    background = values.pop("background")
    return replace(INSTRUMENT, **values, seed=int(random.integers(2**31))), background  # type: ignore[arg-type]


def _waves(r: Float[np.ndarray, " bins"], seed: int) -> Float[np.ndarray, " bins"]:
    """A background that varies slowly, of mean square one."""
    random = numpy_generator(seed, "background")
    waves = random.standard_normal(WAVES) @ np.sin(np.outer(random.uniform(0, 2 * math.pi / SHORTEST_WAVE, WAVES), r))
    return waves / max(float(np.sqrt(np.square(waves).mean())), 1e-30)


SPLITS: tuple[str, ...] = (*get_args(SplitName), "experimental")
