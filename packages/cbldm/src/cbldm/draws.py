"""What a model draws for a curve, as candidates: as drawn, laid on the sites of crystals, and cut anew from them."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from ase import Atoms

from .baselines.retrieval import scan
from .carve import axes_of, carve
from .data.clusters import MAX_ATOMS, MIN_ATOMS, Geometry, StructureType
from .data.crystals import CUT_FROM
from .data.gr import PairDistribution
from .pairs import Pairs, pairs_of
from .profiles import Profile
from .proposals import Proposal, Search
from .sample import Samples, sample
from .snap import snap
from .stages import stage
from .target import FIT_SETTINGS, FitSettings, Target
from .threads import in_threads

DRAWS = 16
"""Structures that a model is asked for."""
_AS_DRAWN = 3
"""Draws that are proposed as they are, the best: no two of their distances are alike, and refining them is slow."""
_LIKE = 12
"""Draws whose size and axes clusters are cut from crystals to have, the best."""
_CARVED = 12
"""Such clusters that are proposed, the best."""
_LIKELY = 0.05
"""Probability from which on a structure type is tried."""
_TYPES = 4
_STACKED: tuple[StructureType, ...] = ("Twin", "HCP", "FCC")
"""What layers in an unknown order are taken for."""


@dataclass(frozen=True, eq=False)
class FromDraws:
    """The structures that a model has drawn for the curve.

    Attributes:
        samples: The draws.
        max_atoms: Largest cluster that is proposed.
    """

    samples: Samples
    max_atoms: int = MAX_ATOMS

    @property
    def searched(self) -> int:
        """Number of draws."""
        return len(self.samples)

    @cached_property
    def usable(self) -> list[tuple[Atoms, Pairs]]:
        """The draws that have a G, of two atoms at least and none at one place with another; with their pairs."""
        found = []
        for atoms in self.samples:
            with suppress(ValueError):
                found.append((atoms, pairs_of(atoms.positions, atoms.get_chemical_symbols())))
        return found

    def propose(self, target: Target, search: Search) -> list[Proposal]:
        """The best draws as they are, and clusters of the likely crystals: on the sites nearest, or of like axes."""
        likely = max(self.samples.type, key=lambda name: self.samples.type[name], default="drawn")

        def one(numbered: tuple[int, tuple[Atoms, Pairs]]) -> Proposal:
            number, (atoms, pairs) = numbered
            start, rw = scan(pairs, target, dilations=search.dilations, radiation=search.radiation)
            return Proposal(f"draw {number}", likely, "model", atoms, start, rw)

        draws = [each for each in self.usable if len(each[0]) <= self.max_atoms]
        found = stage(in_threads(one, enumerate(draws, 1)), "draws", total=len(draws))
        drawn = sorted(found, key=lambda each: each.rw)
        carved = carved_like(drawn[:_LIKE], self.samples.type, target, search)
        return sorted([*drawn[:_AS_DRAWN], *carved[:_CARVED]], key=lambda each: each.rw)[: search.count]


def draw(
    gr: PairDistribution,
    model: Profile,
    *,
    element: str,
    seed: int = 0,
    max_atoms: int = MAX_ATOMS,
    settings: FitSettings = FIT_SETTINGS,
) -> FromDraws:
    """Ask a model for structures to search with.

    Args:
        gr: Measured curve.
        model: What draws.
        element: Symbol of the atoms.
        seed: Of the draws.
        max_atoms: Largest cluster that is proposed.
        settings: What the file does not say about the instrument.

    Returns:
        The draws, as a source of candidates.

    Raises:
        ValueError: As `cbldm.sample`.
    """
    drawn = sample(
        gr,
        model,
        count=DRAWS,
        element=element,
        seed=seed,
        qmin=settings.qmin,
        qmax=settings.qmax,
        qdamp=settings.qdamp,
    )
    return FromDraws(drawn, max_atoms)


def carved_like(drawn: Sequence[Proposal], types: dict[str, float], target: Target, search: Search) -> list[Proposal]:
    """Clusters cut from crystals: the sites nearest to the atoms of draws, and ellipsoids of their size and axes.

    Args:
        drawn: The draws.
        types: Probability of each structure type.
        target: Measured points.
        search: Element, bond and range of dilations.

    Returns:
        The clusters, best first.
    """
    names = sorted((name for name in types if types[name] >= _LIKELY), key=lambda name: -types[name])[:_TYPES]
    meant = [_STACKED if name == "Stack" else (CUT_FROM.get(name, cast(StructureType, name)),) for name in names]
    kinds = list(dict.fromkeys(kind for some in meant for kind in some))
    geometries: dict[bytes, Geometry] = {}
    for each in drawn:
        for kind in kinds if len(each.atoms) >= MIN_ATOMS else []:
            x = each.atoms.positions * each.start.dilation / search.bond
            for geometry in (snap(kind, x), *carve(kind, len(x), axes_of(x))):
                if geometry is not None:
                    geometries.setdefault(geometry.positions.round(3).tobytes(), geometry)

    def one(geometry: Geometry) -> Proposal:
        atoms = Atoms(f"{search.element}{geometry.atom_count}", positions=search.bond * geometry.positions)
        pairs = pairs_of(atoms.positions, search.element)
        start, rw = scan(pairs, target, dilations=search.dilations, radiation=search.radiation)
        return Proposal(geometry.label, geometry.type, "model", atoms, start, rw, geometry)

    found = stage(in_threads(one, geometries.values()), "cut anew", total=len(geometries))
    return sorted(found, key=lambda each: each.rw)
