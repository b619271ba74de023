"""How clusters are dealt to training, validation and test: each split asks what a model has learnt in another way."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from papertrio_shared.seed import numpy_generator

from .clusters import Geometry
from .curves import VARIATION, TrainingCurves, Variation
from .kinship import families, kin_of

SplitName = Literal["random", "geometry", "type", "size", "instrument"]

PARTS = (0.8, 0.1, 0.1)
"""Of the clusters: training, validation, test."""
LARGEST_TRAINED = 150
"""Number of atoms beyond which the size split tests."""
TYPES_TESTED = ("Dec", "Marks", "Ino")
"""Decahedra, by any name, which the type split tests."""
METALLIC_RADII: tuple[float, ...] = (
    *(1.15, 1.16, 1.17, 1.18, 1.19, 1.21, 1.22, 1.25, 1.26, 1.27),
    *(1.28, 1.30, 1.32, 1.34, 1.38, 1.39, 1.44, 1.45, 1.62),
)
"""The 19 distinct metallic radii of DeepStruc's 28 metals in mendeleev 1.3, Å; twice one is a bond."""
GOOD = replace(VARIATION, qmin=(0.1, 0.9), qmax=(21.0, 30.0), qdamp=(0.0, 0.05), noise=(0.0, 0.03))
"""The instruments that the instrument split trains with."""
POOR = replace(VARIATION, qmin=(1.0, 1.5), qmax=(16.0, 20.0), qdamp=(0.055, 0.08), noise=(0.03, 0.05))
"""Those it tests with, each setting out of the range of the others."""


@dataclass(frozen=True, eq=False)
class Side:
    """Training, validation or test of a split.

    Attributes:
        places: Places of its geometries in the library, one for each of its clusters.
        bonds: The bond length of each of them, Å; None where it is drawn for each curve.
        variation: Bond lengths and instruments of its curves.
    """

    places: Int[np.ndarray, " clusters"]
    bonds: Float[np.ndarray, " clusters"] | None = None
    variation: Variation = VARIATION

    def curves(
        self, library: Sequence[Geometry], *, length: int, seed: int, rstep: float = 0.01, rmax: float = 30.0
    ) -> TrainingCurves:
        """Curves of this side.

        Args:
            library: The library that was split.
            length: How many curves.
            seed: Seed of their draws; give each side its own.
            rstep, rmax: Grid of r, Å.

        Returns:
            The curves; the geometry they tell is the place in the library.
        """
        return TrainingCurves(
            library,
            length=length,
            variation=self.variation,
            seed=seed,
            places=self.places,
            bonds=self.bonds,
            rstep=rstep,
            rmax=rmax,
        )


@dataclass(frozen=True, eq=False)
class Split:
    """Clusters dealt to three sides.

    Attributes:
        name: Which split.
        train: What a model is trained with, and what may be searched.
        validation: What its settings are chosen by.
        test: What is reported.
    """

    name: SplitName
    train: Side
    validation: Side
    test: Side

    def searchable(self, library: Sequence[Geometry], searched: Sequence[Geometry]) -> Bool[np.ndarray, " searched"]:
        """What of a library may be searched for the clusters of the test.

        Where geometries are held out, by the splits `geometry`, `type` and `size`, these, their kin and what was made
        from either are left out of whatever is searched, and so is all of a tested type or size; the other splits know
        each geometry, and leave out none.

        Args:
            library: The library that was split.
            searched: Any library, the same or another, whole: its parents are places in it.

        Returns:
            True for each geometry that may be.
        """
        if self.name in ("random", "instrument"):
            return np.ones(len(searched), dtype=bool)
        held = np.concatenate([self.test.places, self.validation.places])
        allowed = ~kin_of(searched, [library[int(k)] for k in np.unique(held)])
        if self.name != "geometry":
            allowed &= ~_tested(self.name, searched)
        for k, each in enumerate(searched):  # a relaxed or strained cluster is kin of none by its distances
            if each.parent is not None and not allowed[each.parent]:
                allowed[k] = False
        return allowed


def split_library(name: SplitName, library: Sequence[Geometry], *, seed: int = 0) -> Split:
    """Deal the clusters of a library.

    `random`: clusters at 19 bond lengths, as papers do; every geometry is in the training, at another bond length.
    `geometry`: whole families, so that no cluster of one side is, at whatever bond length, one of another side, nor
    one that differs by a single atom, nor has the same parent. `type`: decahedra are tested. `size`: clusters beyond
    150 atoms are. `instrument`: every geometry on each side, tested with instruments poorer than those trained with.
    In the splits `type` and `size` what is kin to a tested cluster is left out of the training.

    Args:
        name: Which split.
        library: What is split.
        seed: Seed of the dealing.

    Returns:
        The sides.

    Raises:
        ValueError: If there is no such split, or the library is too small to fill each side.

    >>> from cbldm.data.clusters import library
    >>> split = split_library("size", library(max_atoms=200))
    >>> len(split.train.places), len(split.validation.places), len(split.test.places)
    (197, 22, 59)
    """
    random = numpy_generator(seed, f"split {name}")
    everything = np.arange(len(library))
    match name:
        case "random":
            split = _random(random, everything)
        case "geometry":
            sides = _deal(random, families(library), everything, PARTS)
            split = Split(name, *(Side(side) for side in sides))
        case "type" | "size":
            split = _held_out(random, name, library, _tested(name, library))
        case "instrument":
            split = Split(name, Side(everything, variation=GOOD), Side(everything, variation=GOOD), _poor(everything))
        case _:
            raise ValueError(f"split {name!r}: give random, geometry, type, size or instrument")
    for side in (split.train, split.validation, split.test):
        if not len(side.places):
            raise ValueError(f"split {name} of {len(library)} geometries leaves a side empty; give a larger library")
    return split


def _tested(name: SplitName, library: Sequence[Geometry]) -> Bool[np.ndarray, " geometries"]:
    """Which clusters the splits `type` and `size` ask about."""
    return np.array(
        [each.type in TYPES_TESTED if name == "type" else each.atom_count > LARGEST_TRAINED for each in library]
    )


def _poor(places: Int[np.ndarray, " clusters"]) -> Side:
    return Side(places, variation=POOR)


def _random(random: np.random.Generator, places: Int[np.ndarray, " geometries"]) -> Split:
    bonds = 2 * np.array(METALLIC_RADII)
    every = np.stack([each.ravel() for each in np.meshgrid(places, bonds, indexing="ij")], axis=1)
    random.shuffle(every)
    ends = np.rint(np.cumsum(PARTS[:2]) * len(every)).astype(int)
    sides = [Side(part[:, 0].astype(int), part[:, 1]) for part in np.split(every, ends)]
    return Split("random", *sides)


def _deal(
    random: np.random.Generator,
    family: Int[np.ndarray, " geometries"],
    places: Int[np.ndarray, " some"],
    parts: tuple[float, ...],
) -> list[Int[np.ndarray, " some"]]:
    """Deal whole families, each to the side that lacks most of its part; the large ones first, to come out even."""
    groups = [places[family[places] == k] for k in random.permutation(np.unique(family[places]))]
    order = sorted(range(len(groups)), key=lambda k: len(groups[k]) <= 0.01 * len(places))
    wanted, have = np.array(parts) * len(places), np.zeros(len(parts))
    sides: list[list[np.ndarray]] = [[] for _ in parts]
    for k in order:
        side = int(np.argmax((wanted - have) / wanted))
        sides[side].append(groups[k])
        have[side] += len(groups[k])
    return [np.sort(np.concatenate([np.zeros(0, dtype=int), *side])) for side in sides]


def _held_out(
    random: np.random.Generator, name: SplitName, library: Sequence[Geometry], tested: Bool[np.ndarray, " geometries"]
) -> Split:
    test = np.flatnonzero(tested)
    rest = np.flatnonzero(~tested & ~kin_of(library, [library[int(k)] for k in test]))
    train, validation = _deal(random, families(library), rest, (0.9, 0.1))
    return Split(name, Side(train), Side(validation), Side(test))
