"""From a measured curve to ranked structures: the library is searched, its best are refined and ranked."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from ase import Atoms
from papertrio_shared.progress import progress

from .baselines.retrieval import Match, retrieve
from .data import clusters
from .data.clusters import LibraryName
from .data.elements import metallic_bond, require_element, single_metal
from .data.gr import PairDistribution
from .rank import Candidate, Recovery, rank
from .refine import DILATIONS, Delta2, refine_structure
from .target import FIT_SETTINGS, FitSettings, Target, select_target

REFINED_AT_LEAST = 60
"""Geometries refined, however few candidates are wanted: the coarse search errs by about 0.03 in Rw."""


def recover(
    gr: PairDistribution,
    *,
    element: str | None = None,
    candidates: int = 20,
    seed: int = 0,
    bond: float | None = None,
    delta2: Delta2 = "refine",
    library: LibraryName = "deepstruc",
    max_atoms: int = 256,
    settings: FitSettings = FIT_SETTINGS,
) -> Recovery:
    """Find the clusters of a library that explain a measured curve.

    Every geometry is tried at bond lengths within 8 % of the metal's, the best are refined (scale, dilation and
    Biso, then delta2), and what is left after removing duplicates is ranked by Rw with a penalty for free parameters.

    Args:
        gr: Measured curve.
        element: Symbol of the metal; by default the only metal of the curve's composition. G does not see it: it
            sets where the search of bond lengths starts and the symbol of the atoms.
        candidates: How many to return at most.
        seed: Seed of what is drawn at random. The search of a library draws nothing.
        bond: Bond length the search starts from, Å; by default that of the metal.
        delta2: Whether delta2 is refined where it pays, or held at zero.
        library: Which library.
        max_atoms: Largest cluster.
        settings: Fit range and instrument.

    Returns:
        The candidates, best first.

    Raises:
        ValueError: If the element is unknown or neither given nor in the file, `candidates` or `bond` is not
            positive, qmin or qmax is missing, or the curve is too short.

    >>> from cbldm import simulate
    >>> particle = Atoms("Pt13", positions=2.8 * clusters.build_geometry("Ico", (2,)).positions)
    >>> result = recover(simulate(particle), element="Pt", candidates=3, max_atoms=20)
    >>> result[0].label, len(result[0].atoms), round(result[0].rw, 3)
    ('Ico 2', 13, 0.0)
    """
    if candidates < 1:
        raise ValueError(f"candidates {candidates}: give how many structures to return, 1 or more")
    symbol = single_metal(gr.composition) if element is None else element
    if symbol is None:
        named = " ".join(gr.composition) or "no composition"
        raise ValueError(f"{gr.name}: its header names {named}, so the metal is not clear; give --element")
    require_element(symbol)
    start = metallic_bond(symbol) if bond is None else bond
    if not 0.5 < start < 10:
        raise ValueError(f"bond {start:g}: no distance of neighbouring atoms; give it in Å")
    target = select_target(gr, settings)
    geometries = clusters.library(library, max_atoms=max_atoms)
    with _one_thread():
        matches = retrieve(target, progress(geometries, "search"), element=symbol, bond=start)
        best = matches[: max(REFINED_AT_LEAST, 2 * candidates)]
        refined = [_refine(match, target, symbol, start, delta2) for match in progress(best, "refine")]
    return Recovery(tuple(rank(refined)[:candidates]), target, symbol, start, DILATIONS, len(geometries), seed)


@contextmanager
def _one_thread() -> Iterator[None]:
    """The matrices are small: threads that wait for one another at each cost more than they save on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _refine(match: Match, target: Target, element: str, bond: float, delta2: Delta2) -> Candidate:
    geometry = match.geometry
    atoms = Atoms(f"{element}{geometry.atom_count}", positions=bond * geometry.positions)
    found = refine_structure(geometry.label, atoms, match.pairs, target, match.start, delta2=delta2)
    return Candidate(**vars(found), geometry=geometry)
