"""From a measured curve to ranked structures: they are proposed, refined and ranked, the best reshaped and relaxed."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

from ase import Atoms

from .data import clusters
from .data.clusters import LibraryName
from .data.elements import metallic_bond, require_element, single_metal
from .data.extended import load_library
from .data.gr import PairDistribution
from .draws import draw
from .pairs import pairs_of
from .posterior import Distribution
from .profiles import Profile
from .proposals import FromLibrary, Proposal, Proposer, Search, read_library
from .rank import SCOPE_RW, Candidate, Recovery, rank
from .refine import Delta2, Qdamp, refine_structure
from .relax import RESTRAINT, relax
from .reshape import reshape
from .sample import load_profile
from .sphere import larger_sphere
from .stages import stage
from .target import FIT_SETTINGS, FitSettings, Target, select_target
from .threads import in_threads

SHIPPED, NO_MODEL = "robust", "none"
Positions = Literal["relax", "held"]
Shape = Literal["search", "held"]

REFINED_AT_LEAST = 60
"""Structures refined, however few candidates are wanted: the coarse search errs by about 0.03 in Rw."""
_HOPELESS = 0.15
"""By how much the Rw of the coarse search may be greater than the best for a structure to be refined, if it is not
among as many of the best as are wanted."""
RELAXED = 10
"""Candidates whose atoms are moved, the best."""
RESHAPED = 8
"""Candidates that a search for other shapes begins from."""
_ALIKE = 3
"""Of these, how many may be of one structure type and from one source."""
_WORSE = 0.2
"""By how much their Rw may be greater than that of the best."""
_EXPLAINED = 1e-3
"""Rw of a candidate that leaves nothing to search for."""


def recover(
    gr: PairDistribution,
    *,
    element: str | None = None,
    candidates: int = 20,
    seed: int = 0,
    bond: float | None = None,
    delta2: Delta2 = "refine",
    qdamp: Qdamp = "held",
    shape: Shape = "search",
    positions: Positions = "relax",
    restraint: float = RESTRAINT,
    library: LibraryName | str | Path | None = "deepstruc",
    model: str | Path | Profile = SHIPPED,
    proposers: Sequence[Proposer] = (),
    max_atoms: int = clusters.MAX_ATOMS,
    settings: FitSettings = FIT_SETTINGS,
) -> Recovery:
    """Find the clusters that explain a measured curve.

    Every geometry of the library is tried at bond lengths within 8 % of the metal's, and so are structures that a model
    draws and clusters cut from crystals to have their size and axes. The best of both are refined in stages
    (scale, dilation and Biso; then delta2; qdamp if asked), and what is left after removing duplicates is ranked by Rw
    with a penalty for free parameters. Around the best, shapes that no library has are searched on the sites of their
    crystals. Then, and as a figure of its own, the atoms of the best are moved. Last, spheres cut from crystals tell
    whether the particle is larger than what was searched.

    Args:
        gr: Measured curve.
        element: Symbol of the metal; by default the only metal of the curve's composition. G does not see it: it
            sets where the search of bond lengths starts and the symbol of the atoms.
        candidates: How many to return at most.
        seed: Seed of what is drawn at random.
        bond: Bond length the search starts from, Å; by default that of the metal.
        delta2: Whether delta2 is refined where it pays, or held at zero.
        qdamp: Whether qdamp is refined where it pays, or held.
        shape: Whether atoms, layers and shells are added to the best and taken away where that pays
            (`cbldm.reshape`), or every structure keeps the shape that was proposed.
        positions: Whether the atoms of the ten best are moved as a last stage, which does not change their order; those
            with an Rw above 0.5 stay.
        restraint: Width of the restraint on each coordinate in that stage, Å.
        library: Which library, or an `.h5` file that `cbldm library` made; a folder of one's own structures is searched
            beside the first. None where nothing but the `proposers` is asked.
        model: What draws further candidates (`cbldm.sample`): `"robust"`, whose weights come with the package; a file
            of weights or the folder of a run; networks; or `"none"`.
        proposers: Further sources of candidates.
        max_atoms: Largest cluster of the library.
        settings: Fit range, weights and instrument.

    Returns:
        The candidates, best first.

    Raises:
        ValueError: If the element is unknown or neither given nor in the file, `candidates`, `bond` or `restraint`
            is not positive, a choice is unknown, the library has nothing of that size or holds a file that is no
            structure, there is neither library, model nor proposer, nothing is proposed, the weights cannot be
            used, qmin or qmax is missing, or the curve is too short.
        FileNotFoundError: If there is no such library, or no such file of weights.

    >>> from ase import Atoms
    >>> from cbldm import simulate
    >>> particle = Atoms("Pt13", positions=2.8 * clusters.build_geometry("Ico", (2,)).positions)
    >>> result = recover(simulate(particle), element="Pt", candidates=3, max_atoms=20, model="none")
    >>> result[0].label, len(result[0].atoms), round(result[0].rw, 3), result.in_scope
    ('Ico 2', 13, 0.0, True)
    """
    if candidates < 1:
        raise ValueError(f"candidates {candidates}: give how many structures to return, 1 or more")
    for name, choice, choices in (("shape", shape, get_args(Shape)), ("positions", positions, get_args(Positions))):
        if choice not in choices:
            raise ValueError(f"{name} {choice!r}: no such choice; take one of {', '.join(choices)}")
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
    if model != NO_MODEL:
        asked = _networks(model)
        sources.append(draw(gr, asked, element=symbol, seed=seed, max_atoms=max_atoms, settings=settings))
    if not sources:
        raise ValueError("there is nothing to search: give a library, a model, or proposers")
    proposals = [each for source in sources for each in source.propose(target, search)]
    if not proposals:
        raise ValueError(f"{gr.name}: no structure of up to {max_atoms} atoms was proposed; raise max_atoms")

    proposals.sort(key=lambda each: each.rw)
    near = [k < candidates or each.rw <= proposals[0].rw + _HOPELESS for k, each in enumerate(proposals)]
    proposals = [each for each, worth in zip(proposals, near, strict=True) if worth]

    def refined(proposal: Proposal) -> Candidate:
        return _refine(proposal, target, search, delta2, qdamp)

    found = rank(list(stage(in_threads(refined, proposals), "refine", total=len(proposals))))
    if shape == "search" and found[0].rw > _EXPLAINED:
        found = rank([*found, *_reshape(found, target, search, delta2, qdamp, max_atoms)])
    kept = found[:candidates]
    if positions == "relax":
        kept = _relax(kept, target, search, restraint)
    sphere = None
    if kept[0].rw > _EXPLAINED:
        sphere = larger_sphere(target, kept[0], bond=start, max_atoms=max_atoms, dilations=search.dilations)
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
        max_atoms,
        sphere,
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


def _networks(model: str | Path | Profile) -> Profile:
    if isinstance(model, Profile):
        return model
    return _shipped() if model == SHIPPED else load_profile(Path(model))


@lru_cache(maxsize=1)
def _shipped() -> Profile:
    return load_profile()


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
    kind, source = proposal.type, proposal.source
    return Candidate(**vars(found), type=kind, source=source, start=proposal.start, geometry=proposal.geometry)


def _reshape(
    found: Sequence[Candidate], target: Target, search: Search, delta2: Delta2, qdamp: Qdamp, max_atoms: int
) -> list[Candidate]:
    """Other shapes around the best, a few of each type and source; around what explains nothing none is looked for."""
    begun: list[Candidate] = []
    for each in found:
        alike = sum((other.type, other.source) == (each.type, each.source) for other in begun)
        near = each.rw <= min(found[0].rw + _WORSE, SCOPE_RW)
        if each.geometry and near and alike < _ALIKE and len(begun) < RESHAPED:
            begun.append(each)

    def one(each: Candidate) -> Candidate | None:
        assert each.geometry
        other = reshape(
            each.geometry,
            target,
            each.fit.parameters,
            bond=search.bond,
            max_atoms=max_atoms,
            dilations=search.dilations,
            radiation=search.radiation,
        )
        if other is None:
            return None
        changes = [f"{count} {verb}" for count, verb in ((other.added, "added"), (other.removed, "removed")) if count]
        label = f"{each.label}, {' and '.join(changes)}"
        geometry = replace(each.geometry, positions=other.positions)
        atoms = Atoms(f"{search.element}{len(other.positions)}", positions=search.bond * other.positions)
        start = other.fit.parameters._replace(delta2=0.0)
        proposal = Proposal(label, each.type, "reshaped", atoms, start, other.fit.rw, geometry)
        refined = _refine(proposal, target, search, delta2, qdamp)
        fit = replace(refined.fit, score=refined.score + other.price)
        return replace(refined, fit=fit, moves=other.moves)

    return [each for each in stage(map(one, begun), "reshape", total=len(begun)) if each]


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
