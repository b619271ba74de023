"""The curves that a training run learns from: made once, on all cores, and kept."""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from papertrio_shared.checkpoint import atomic_write

from .data.clusters import MAX_ATOMS, MIN_ATOMS, Geometry, LibraryName, build_geometry, library
from .data.curves import TYPES, VARIATION, TrainingCurves, Variation
from .data.extended import cache_folder, first_of_each
from .data.parts import Part, make_parts, remove_parts
from .data.splits import LARGEST_TRAINED, TYPES_TESTED, Side, SplitName, split_library
from .order import canonical_positions

VERSION = 1
"""Of how curves are made; it changes whenever the same clusters and settings give others."""
KEPT_SETTINGS = ("bond", "qmin", "qmax", "qdamp", "rmax")
"""What is kept of a curve's settings, in this order."""
_KNOWN = 0.4
"""Share of the curves made that is of DeepStruc's clusters and blocks of hcp, where there are others; how many of
them a step takes is another matter (`config.CurveSource`)."""
_CURVES, _CLUSTERS, _AT_ONCE = 2048, 512, 128
_LONGEST_BLOCK = 15
"""Cells along an edge of a block of hcp."""


@dataclass(frozen=True)
class Origin:
    """Which clusters, and how they are seen.

    Attributes:
        library: Of geometries; the extended one comes with DeepStruc's and all blocks of hcp.
        split: What of DeepStruc's clusters is held out, by which split, with all its kin in either library; None for
            nothing. The splits `random` and `instrument` train with DeepStruc's clusters alone.
        max_atoms: Leave larger clusters out.
        variation: Ranges of bond length and instrument, but where the split has its own.
    """

    library: LibraryName = "deepstruc"
    split: SplitName | None = None
    max_atoms: int = MAX_ATOMS
    variation: Variation = VARIATION


@dataclass(frozen=True)
class TrainingSet(Origin):
    """Which clusters and curves.

    Attributes:
        count: Number of curves.
        seed: Of all draws.
        rstep, rmax: Grid of r, Å.
    """

    count: int = 200_000
    seed: int = 0
    rstep: float = 0.05
    rmax: float = 30.0


class Clusters(NamedTuple):
    """What a training set is drawn from, and what it must not know.

    Attributes:
        geometries: All that is trained on.
        known: How many of the first of them are DeepStruc's or blocks of hcp.
        trained: Which of them, at which bonds and with which instruments.
        weights: How often each cluster is drawn.
        others: Geometries by which the training is watched: the split's validation.
        watched: Which of those, at which bonds and with which instruments; None where nothing is held out.
    """

    geometries: tuple[Geometry, ...]
    known: int
    trained: Side
    weights: Float[np.ndarray, " clusters"]
    others: tuple[Geometry, ...]
    watched: Side | None


class Kept(NamedTuple):
    """A training set as it lies on the disk.

    Attributes:
        curves: Rows of `g` (float16), `geometry` and `settings` (as `KEPT_SETTINGS`), read when asked for.
        positions: Coordinates of every geometry in canonical order, in units of the bond, zero beyond its atoms.
        atom_count, type: Of every geometry.
    """

    curves: np.ndarray
    positions: Float[torch.Tensor, "geometries places 3"]
    atom_count: Int[torch.Tensor, " geometries"]
    type: Int[torch.Tensor, " geometries"]


@lru_cache(maxsize=2)
def clusters_of(settings: TrainingSet) -> Clusters:
    """What a training set is drawn from.

    Args:
        settings: Of the set.

    Returns:
        The geometries and their sides.

    >>> found = clusters_of(TrainingSet(split="geometry", max_atoms=60))
    >>> len(found.geometries) == len(found.trained.places), len(found.watched.places) > 0
    (True, True)
    """
    known = library(max_atoms=settings.max_atoms)
    split = split_library(settings.split, known, seed=0) if settings.split is not None else None
    variation = settings.variation
    if split is not None and split.name in ("random", "instrument"):
        sides = [
            replace(each, variation=each.variation if split.name == "instrument" else variation)
            for each in (split.train, split.validation)
        ]
        return Clusters(known, len(known), sides[0], np.ones(len(sides[0].places)), known, sides[1])
    first = known if split is None else tuple(known[int(k)] for k in split.train.places)
    more: tuple[Geometry, ...] = ()
    if settings.library == "extended":
        blocks = _blocks(settings.max_atoms)
        if split is not None:
            blocks = [each for each, may in zip(blocks, split.searchable(known, blocks), strict=True) if may]
        first = tuple(first_of_each([*first, *blocks]))
        more = library("extended", max_atoms=settings.max_atoms)
        if split is not None:
            more = tuple(each for each, may in zip(more, split.searchable(known, more), strict=True) if may)
            more = tuple(each for each in more if _may_train(split.name, each))
            first = tuple(each for each in first if _may_train(split.name, each))
    geometries = (*first, *more)
    share = _KNOWN if more else 1.0
    weights = np.repeat([share / len(first), (1 - share) / max(1, len(more))], [len(first), len(more)])
    trained = Side(np.arange(len(geometries)), variation=variation)
    watched = None if split is None else Side(split.validation.places, variation=variation)
    return Clusters(geometries, len(first), trained, weights, known, watched)


def _may_train(split: SplitName, geometry: Geometry) -> bool:
    """Whether a cluster is not what the split asks about, be it kin of a tested one or not."""
    if split == "size":
        return geometry.atom_count <= LARGEST_TRAINED
    return split != "type" or geometry.type not in TYPES_TESTED


def _blocks(max_atoms: int) -> list[Geometry]:
    """Blocks of hcp whose third edge is not the longest, which DeepStruc's library leaves out."""
    edges = range(1, _LONGEST_BLOCK + 1)
    sizes = [(a, b, c) for a in edges for b in range(a, _LONGEST_BLOCK + 1) for c in range(1, b)]
    return [build_geometry("HCP", size) for size in sizes if MIN_ATOMS <= 2 * math.prod(size) <= max_atoms]


def kept_training_set(settings: TrainingSet, *, jobs: int | None = None) -> Kept:
    """The training set of these settings, made at the first call and kept in the user's cache (or `$CBLDM_CACHE`).

    Made in parts on all cores; after an interruption it goes on where it was. 200,000 curves take 250 MB. What is less
    than a part is made anew each time.

    Args:
        settings: What to make.
        jobs: Number of processes; by default one for each core.

    Returns:
        The set.
    """
    geometries = clusters_of(settings).geometries
    digest = hashlib.blake2b(digest_size=8)
    for each in geometries:
        digest.update(each.positions.tobytes())
    drawn_from = digest.hexdigest()
    clusters = _kept("clusters", settings, drawn_from, clusters_part, len(geometries), _CLUSTERS, jobs)
    return Kept(
        _kept("curves", settings, drawn_from, curves_part, settings.count, _CURVES, jobs),
        torch.from_numpy(clusters["positions"].copy()),
        torch.from_numpy(clusters["atom_count"].astype(np.int64)),
        torch.from_numpy(clusters["type"].astype(np.int64)),
    )


def _kept(
    what: str,
    settings: TrainingSet,
    drawn_from: str,
    maker: Callable[[dict[str, Any], int], Part],
    rows: int,
    part: int,
    jobs: int | None,
) -> np.ndarray:
    """Rows of a file, which is made in parts where it is not there; the rows of a single part are not worth a file.

    Its name has a digest of the settings and of the clusters, so that other clusters never meet what was made of these.
    """
    common = asdict(settings)
    if rows <= part:
        return maker(common, 0)["rows"]
    kept_as = {"version": VERSION, "drawn_from": drawn_from, "known": _KNOWN, **common}
    told = json.dumps(kept_as, sort_keys=True)
    path = cache_folder() / f"{what}-{hashlib.blake2b(told.encode(), digest_size=6).hexdigest()}.npy"
    if not path.is_file():
        folder = path.with_name(f"{path.name}.parts")
        parts = make_parts(folder, maker, common, -(-rows // part), jobs=jobs, description=f"training {what}")
        whole = np.concatenate([each["rows"] for each in parts])
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.save(file, whole)
        remove_parts(folder)
    return np.load(path, mmap_mode="r")


def clusters_part(settings: dict[str, Any], k: int) -> Part:
    """Part k of the clusters of a set."""
    wanted = _settings(settings)
    some = clusters_of(wanted).geometries[k * _CLUSTERS : (k + 1) * _CLUSTERS]
    row = np.dtype([("positions", "f4", (wanted.max_atoms, 3)), ("atom_count", "i2"), ("type", "i1")])
    rows = np.zeros(len(some), dtype=row)
    for each, geometry in zip(rows, some, strict=True):
        each["positions"][: geometry.atom_count] = canonical_positions(geometry)
        each["atom_count"], each["type"] = geometry.atom_count, TYPES.index(geometry.type)
    return {"rows": rows}


def curves_part(settings: dict[str, Any], k: int) -> Part:
    """Part k of the curves of a set."""
    wanted = _settings(settings)
    curves = training_curves(wanted)
    row = np.dtype([("g", "f2", len(curves.r)), ("geometry", "i4"), ("settings", "f4", len(KEPT_SETTINGS))])
    start, stop = k * _CURVES, min((k + 1) * _CURVES, wanted.count)
    rows = np.zeros(stop - start, dtype=row)
    for first in range(start, stop, _AT_ONCE):
        some = slice(first - start, min(first + _AT_ONCE, stop) - start)
        batch = curves.batch(range(first, min(first + _AT_ONCE, stop)))
        rows["g"][some], rows["geometry"][some] = batch.g.half(), batch.geometry
        rows["settings"][some] = torch.stack([getattr(batch.settings, name) for name in KEPT_SETTINGS], 1)
    return {"rows": rows}


def training_curves(settings: TrainingSet, *, more: int = 0) -> TrainingCurves:
    """The curves of a set as they are computed, and some more after them that are not in it.

    Args:
        settings: Of the set.
        more: How many more.

    Returns:
        The curves.
    """
    found = clusters_of(settings)
    return TrainingCurves(
        found.geometries,
        length=settings.count + more,
        variation=found.trained.variation,
        seed=settings.seed,
        places=found.trained.places,
        bonds=found.trained.bonds,
        weights=found.weights,
        rstep=settings.rstep,
        rmax=settings.rmax,
    )


def _settings(settings: dict[str, Any]) -> TrainingSet:
    variation = Variation(**{name: tuple(ends) for name, ends in settings["variation"].items()})
    return TrainingSet(**{**settings, "variation": variation})
