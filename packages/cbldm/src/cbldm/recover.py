"""From a measured curve to ranked structures: candidates are proposed, refined, ranked, and the best relaxed."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from .data import clusters
from .data.clusters import LibraryName
from .data.elements import metallic_bond, require_element, single_metal
from .data.extended import load_library
from .data.gr import PairDistribution
from .pairs import pairs_of
from .posterior import Distribution
from .proposals import FromLibrary, Proposal, Proposer, Search, read_library
from .rank import SCOPE_RW, Candidate, Recovery, rank
from .refine import Delta2, Qdamp, refine_structure
from .relax import RESTRAINT, relax
from .stages import stage
from .target import FIT_SETTINGS, FitSettings, Target, select_target
from .threads import in_threads

Positions = Literal["relax", "held"]

REFINED_AT_LEAST = 60
"""Structures refined, however few candidates are wanted: the coarse search errs by about 0.03 in Rw."""
RELAXED = 10
"""Candidates whose atoms are moved, the best."""


def recover(
    gr: PairDistribution,
    *,
    element: str | None = None,
    candidates: int = 20,
    seed: int = 0,
    bond: float | None = None,
    delta2: Delta2 = "refine",
    qdamp: Qdamp = "held",
    positions: Positions = "relax",
    restraint: float = RESTRAINT,
    library: LibraryName | str | Path | None = "deepstruc",
    proposers: Sequence[Proposer] = (),
    max_atoms: int = clusters.MAX_ATOMS,
    settings: FitSettings = FIT_SETTINGS,
) -> Recovery:
    """Find the clusters that explain a measured curve.

    Every geometry of the library is tried at bond lengths within 8 % of the metal's, the best are refined in stages
    (scale, dilation and Biso; then delta2; qdamp if asked), and what is left after removing duplicates is ranked by Rw
    with a penalty for free parameters. Last, and as a figure of its own, the atoms of the best are moved.

    Args:
        gr: Measured curve.
        element: Symbol of the metal; by default the only metal of the curve's composition. G does not see it: it
            sets where the search of bond lengths starts and the symbol of the atoms.
        candidates: How many to return at most.
        seed: Seed of what is drawn at random.
        bond: Bond length the search starts from, Å; by default that of the metal.
        delta2: Whether delta2 is refined where it pays, or held at zero.
        qdamp: Whether qdamp is refined where it pays, or held.
        positions: Whether the atoms of the ten best are moved as a last stage, which does not change their order; those
            with an Rw above 0.5 stay.
        restraint: Width of the restraint on each coordinate in that stage, Å.
        library: Which library, or an `.h5` file that `cbldm library` made; a folder of one's own structures is searched
            beside the first. None where nothing but the `proposers` is asked.
        proposers: Further sources of candidates.
        max_atoms: Largest cluster of the library.
        settings: Fit range, weights and instrument.

    Returns:
        The candidates, best first.

    Raises:
        ValueError: If the element is unknown or neither given nor in the file, `candidates`, `bond` or `restraint`
            is not positive, a choice is unknown, the library has nothing of that size or holds a file that is no
            structure, there is neither library nor proposer, qmin or qmax is missing, or the curve is too short.
        FileNotFoundError: If there is no such library.

    >>> from ase import Atoms
    >>> from cbldm import simulate
    >>> particle = Atoms("Pt13", positions=2.8 * clusters.build_geometry("Ico", (2,)).positions)
    >>> result = recover(simulate(particle), element="Pt", candidates=3, max_atoms=20)
    >>> result[0].label, len(result[0].atoms), round(result[0].rw, 3), result.in_scope
    ('Ico 2', 13, 0.0, True)
    """
    if candidates < 1:
        raise ValueError(f"candidates {candidates}: give how many structures to return, 1 or more")
    if positions not in get_args(Positions):
        raise ValueError(f"positions {positions!r}: no such choice; take one of {', '.join(get_args(Positions))}")
    if not 0 < restraint < 10:
        raise ValueError(f"restraint {restraint:g} Å: give a positive width, such as {RESTRAINT:g}")
    symbol = single_metal(gr.composition) if element is None else element
    if symbol is None:
        named = " ".join(gr.composition) or "no composition"
        raise ValueError(f"{gr.name}: its header names {named}, so the metal is not clear; give --element")
    require_element(symbol)
    start = metallic_bond(symbol) if bond is None else bond
    if not 0.5 < start < 10:
        raise ValueError(f"bond {start:g}: no distance of neighbouring atoms; give it in Å")
    target = select_target(gr, settings)
    search = Search(symbol, start, max(REFINED_AT_LEAST, 2 * candidates), seed=seed, radiation=gr.radiation or "xray")
    sources = [*_libraries(library, max_atoms), *proposers]
    if not sources:
        raise ValueError("there is nothing to search: give a library, or proposers")
    proposals = [each for source in sources for each in source.propose(target, search)]

    def refined(proposal: Proposal) -> Candidate:
        return _refine(proposal, target, search, delta2, qdamp)

    found = rank(list(stage(in_threads(refined, proposals), "refine", total=len(proposals))))
    kept = found[:candidates]
    if positions == "relax":
        kept = _relax(kept, target, search, restraint)
    return Recovery(
        tuple(kept),
        target,
        symbol,
        start,
        search.dilations,
        sum(source.searched for source in sources),
        seed,
        Distribution([(len(each.atoms), each.weight) for each in found]),
        Distribution([(each.type, each.weight) for each in found]),
    )


def _libraries(library: LibraryName | str | Path | None, max_atoms: int) -> list[Proposer]:
    if library is None:
        return []
    if library in get_args(LibraryName):
        return [FromLibrary(clusters.library(library, max_atoms=max_atoms))]  # type: ignore[arg-type]
    if Path(library).suffix == ".h5":
        return [FromLibrary(clusters.smaller(load_library(library), max_atoms))]
    own = read_library(Path(library))
    return [own, FromLibrary(clusters.library(max_atoms=max_atoms))]


def _refine(proposal: Proposal, target: Target, search: Search, delta2: Delta2, qdamp: Qdamp) -> Candidate:
    atoms = proposal.atoms
    pairs = pairs_of(atoms.positions, atoms.get_chemical_symbols())
    found = refine_structure(
        proposal.label,
        atoms,
        pairs,
        target,
        proposal.start,
        delta2=delta2,
        qdamp=qdamp,
        dilations=search.dilations,
        radiation=search.radiation,
    )
    return Candidate(**vars(found), type=proposal.type, source=proposal.source, start=proposal.start)


def _relax(kept: list[Candidate], target: Target, search: Search, restraint: float) -> list[Candidate]:
    """Move the atoms of the best; what explains nothing is left as it is.

    Each on its own: together, all would take the many terms that the widest peaks of one of them need.
    """

    def one(each: Candidate) -> Candidate:
        if each.rw > SCOPE_RW:
            return each
        found = relax([each], target, restraint=restraint, seed=search.seed, radiation=search.radiation)
        return replace(each, relaxed=found[0])

    best = kept[:RELAXED]
    return [*stage(in_threads(one, best), "relax", total=len(best)), *kept[RELAXED:]]
