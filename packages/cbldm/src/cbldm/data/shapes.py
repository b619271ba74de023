"""Shapes of the extended library: those that have a name, and any number drawn at random."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from . import cuts
from .clusters import MAX_ATOMS, MIN_ATOMS, Geometry, StructureType, build_geometry, library
from .cuts import LAYER, LAYERS, Gauge, Points

DRAWN: dict[StructureType, float] = {
    "SC": 0.05,
    "FCC": 0.22,
    "BCC": 0.12,
    "HCP": 0.16,
    "Ico": 0.06,
    "Dec": 0.09,
    "Stack": 0.3,
}
"""How often each kind is drawn."""
_FIVE_FOLD = (0.0, 1.0, (1 + math.sqrt(5)) / 2)


def named_shapes() -> Iterator[Geometry]:
    """Octahedra, truncated octahedra, cuboctahedra, decahedra of three kinds, then the clusters of `deepstruc`.

    Of two geometries of one shape the first has the name that says more.

    Yields:
        The geometries, of 5 to 256 atoms.

    >>> next(named_shapes()).label
    'Oct 2'
    """
    for length in range(2, 20):
        for cutoff in range((length + 1) // 2):
            truncated = cutoff * (cutoff + 1) * (2 * cutoff + 1)  # atoms of six pyramids
            if MIN_ATOMS <= length * (2 * length**2 + 1) // 3 - truncated <= MAX_ATOMS:
                kind: StructureType = "Oct" if cutoff == 0 else "Cuboct" if length == 2 * cutoff + 1 else "TOct"
                yield build_geometry(kind, (length, cutoff) if cutoff else (length,))
    for geometry in library("deepstruc"):
        if geometry.type == "Dec":
            _, q, r = geometry.parameters
            yield replace(geometry, type="Marks" if r else "Ino" if q > 1 else "Dec")
    yield from library("deepstruc")


def draw_shape(random: np.random.Generator, max_atoms: int = MAX_ATOMS) -> Geometry | None:
    """A shape cut about a point of high symmetry: a Wulff shape, a ball, or either made long or flat.

    Args:
        random: Where the draws come from.
        max_atoms: Largest number of atoms.

    Returns:
        The geometry, or None where what was drawn makes no cluster.

    >>> from papertrio_shared.seed import numpy_generator
    >>> draw_shape(numpy_generator(0, "shape 6")).label
    'Stack 145, layers BACACAC, ball about triangle'
    """
    kind = list(DRAWN)[int(random.choice(len(DRAWN), p=list(DRAWN.values())))]
    wanted = int(random.integers(MIN_ATOMS, max_atoms + 1))
    match kind:
        case "Stack":
            made = _stacked(random, wanted, max_atoms)
        case "Ico" | "Dec":
            made = _twinned(random, kind, wanted, max_atoms)
        case _:
            made = _crystal(random, kind, wanted, max_atoms)
    if made is None:
        return None
    type_, positions, variant = made
    return Geometry(type_, (len(positions),), positions - positions.mean(axis=0), variant)


def _crystal(
    random: np.random.Generator, kind: StructureType, wanted: int, most: int
) -> tuple[StructureType, Points, str] | None:
    crystal = cuts.lattice(kind)
    place = str(random.choice(list(crystal.centres)))
    facets = cuts.TETRAHEDRAL if kind == "FCC" and random.random() < 0.15 else crystal.facets
    gauge, words = _shape(random, facets, crystal.axes)
    kept = cuts.cut(crystal.points, crystal.centres[place], gauge, wanted, fewest=MIN_ATOMS, most=most)
    return None if kept is None else (kind, kept, f"{words} about {place}")


def _shape(
    random: np.random.Generator, facets: tuple[cuts.Facets, ...], axes: dict[str, tuple[float, float, float]]
) -> tuple[Gauge, str]:
    """A gauge and its description, from which it can be made again."""
    if random.random() < 0.3:
        gauge: Gauge = cuts.ball
        words = "ball"
    else:
        chosen = sorted(random.choice(len(facets), size=int(random.integers(1, 4)), replace=False))
        if facets[0].name == "0001":  # every other kind may leave the particle open along c
            chosen = sorted({0, *chosen})
            chosen = chosen if len(chosen) > 1 else [0, 1]
        energies = [round(float(random.uniform(0.7, 1.6)), 2) for _ in chosen]
        gauge = cuts.faceted([facets[k] for k in chosen], energies)
        words = "facets " + " ".join(f"{facets[k].name}:{e:g}" for k, e in zip(chosen, energies, strict=True))
    if random.random() < 0.4:
        axis = str(random.choice(list(axes)))
        aspect = round(float(random.uniform(0.4, 2.5)), 1)
        gauge = cuts.stretched(gauge, axes[axis], aspect)
        words += f" {aspect:g} times as long along {axis}"
    return gauge, words


def _twinned(
    random: np.random.Generator, kind: StructureType, wanted: int, most: int
) -> tuple[StructureType, Points, str] | None:
    axes = {"five-fold": _FIVE_FOLD, "three-fold": (1.0, 1.0, 1.0), "two-fold": (0.0, 0.0, 1.0)}
    if kind == "Dec":
        axes = {"axis": (0.0, 0.0, 1.0), "edge": (1.0, 0.0, 0.0), "face": (-1.0, 0.0, 0.0)}
    name = str(random.choice(list(axes)))
    along = np.array(axes[name]) / np.linalg.norm(axes[name])
    # The five-fold axes must run through the middle of what is cut, or hardly any of them is left.
    farthest = 0.45 * (0.17 * wanted) ** (1 / 3)
    offset = min(round(float(random.uniform(0, farthest)) * 4) / 4, farthest)
    gauge: Gauge = cuts.ball
    words = "ball"
    if random.random() < 0.6:
        axis = str(random.choice(list(axes)))
        aspect = round(float(random.uniform(0.5, 2.0)), 1)
        gauge, words = cuts.stretched(gauge, axes[axis], aspect), f"ball {aspect:g} times as long along {axis}"
    points = cuts.twinned(kind)
    kept = cuts.cut(points, offset * along, gauge, wanted, fewest=MIN_ATOMS, most=most, reach=cuts.WHOLE[kind] + 1)
    return None if kept is None else (kind, kept, f"{words} {offset:.3g} along {name}")


def _stacked(random: np.random.Generator, wanted: int, most: int) -> tuple[StructureType, Points, str] | None:
    pattern = _pattern(random)
    letters = letters_of(pattern)
    centres = {"atom": (0.0, 0.0), "bond": (0.5, 0.0), "triangle": (0.5, 0.5 / math.sqrt(3))}
    place = str(random.choice(list(centres)))
    between = bool(random.random() < 0.5)
    gauge, words = _shape(random, cuts.STACKED, cuts.AXES)
    centre = (*centres[place], LAYER / 2 if between else 0.0)
    kept = cuts.cut(cuts.layers(letters), centre, gauge, wanted, fewest=MIN_ATOMS, most=most)
    if kept is None:
        return None
    present = np.unique(np.rint(kept[:, 2] / LAYER).astype(int)) + LAYERS // 2
    used = "".join(letters[k] for k in present)
    return stacking_type(used), kept, f"layers {used}, {words} about {place}{' between layers' * between}"


def _pattern(random: np.random.Generator) -> str:
    """Which layers have alike neighbours (h) and which do not (c)."""
    middle, mode = LAYERS // 2, random.choice(["twin", "intrinsic", "extrinsic", "growth", "dhcp", "random"])
    at = middle + int(random.integers(-2, 3))
    match mode:
        case "twin" | "intrinsic" | "extrinsic":
            faults = {"twin": "h", "intrinsic": "hh", "extrinsic": "hch"}[mode]
            return ("c" * at + faults + "c" * LAYERS)[:LAYERS]
        case "growth":
            return ("h" * at + "c" + "h" * LAYERS)[:LAYERS]
        case "dhcp":
            return ("hc" * LAYERS)[at - middle + 2 :][:LAYERS]
        case _:
            part = float(random.choice([0.25, 0.5, 0.75]))
            return "".join("h" if draw < part else "c" for draw in random.random(LAYERS))


def letters_of(pattern: str) -> str:
    """The sequence of close-packed layers with a given surrounding of each.

    Args:
        pattern: h or c for each layer; the first and the last do not count.

    Returns:
        A, B or C for each layer.

    >>> letters_of("ccchccc"), letters_of("hhhh")
    ('ABCACBA', 'ABAB')
    """
    letters = "AB"
    for each in pattern[1:-1]:
        letters += letters[-2] if each == "h" else next(iter(set("ABC") - set(letters[-2:])))
    return letters


def stacking_type(letters: str) -> StructureType:
    """What a sequence of close-packed layers is.

    Args:
        letters: A, B or C for each layer.

    Returns:
        `FCC` or `HCP` where all layers are surrounded alike, `Twin` where one is not in fcc, else `Stack`.

    >>> [stacking_type(each) for each in ("ABCA", "ABAB", "ABCBA", "ABCACB", "ABABC", "AB")]
    ['FCC', 'HCP', 'Twin', 'Twin', 'Stack', 'HCP']
    """
    alike = [a == c for a, c in zip(letters, letters[2:], strict=False)]
    if all(alike):
        return "HCP"
    if not any(alike):
        return "FCC"
    return "Twin" if sum(alike) == 1 and len(alike) > 2 else "Stack"
