"""Where candidates come from: a library, one's own files, a model. Each brings structures with a place to begin."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ase import Atoms

from .baselines.retrieval import retrieve, scan
from .data.clusters import Geometry
from .data.structure import read_structure
from .pairs import pairs_of
from .refine import DILATIONS, Parameters
from .scattering.form_factors import Radiation
from .stages import stage
from .target import Target
from .threads import in_threads

OWN = "own"
"""Structure type of what is read from one's own files."""
STRUCTURE_FILES = (".xyz", ".cif", ".stru", ".pdb", ".vasp", ".extxyz", ".traj")
"""Suffixes of the files of a folder that are taken for structures."""
MAX_OWN_ATOMS = 2000
"""Largest structure of one's own that is searched with."""


@dataclass(frozen=True, eq=False)
class Proposal:
    """A structure that may explain the curve.

    Attributes:
        label: What it is called.
        type: Structure type.
        source: Where it comes from, as `"library"`, `"own"` or a model's name.
        atoms: The structure at dilation 1, Å.
        start: Where its refinement begins.
        rw: Residual there, as the points are weighted.
        geometry: What the structure is, where it lies on the sites of a crystal.
    """

    label: str
    type: str
    source: str
    atoms: Atoms
    start: Parameters
    rw: float
    geometry: Geometry | None = None


@dataclass(frozen=True)
class Search:
    """What is searched for.

    Attributes:
        element: Symbol that the atoms are given.
        bond: Bond length at dilation 1, Å.
        count: How many structures to propose at most.
        dilations: Range of the dilation.
        seed: Seed of what is drawn at random.
        radiation: What was scattered.
    """

    element: str
    bond: float
    count: int
    dilations: tuple[float, float] = DILATIONS
    seed: int = 0
    radiation: Radiation = "xray"


class Proposer(Protocol):
    """A source of candidates."""

    @property
    def searched(self) -> int:
        """How many structures it chooses from, or draws."""

    def propose(self, target: Target, search: Search) -> Sequence[Proposal]:
        """The structures to refine against a curve, best first."""


@dataclass(frozen=True, eq=False)
class FromLibrary:
    """The geometries of a library that agree best with the curve.

    Attributes:
        geometries: The library.
    """

    geometries: Sequence[Geometry]

    @property
    def searched(self) -> int:
        """Number of geometries."""
        return len(self.geometries)

    def propose(self, target: Target, search: Search) -> list[Proposal]:
        """Hold every geometry against the curve, at every dilation."""
        matches = retrieve(
            target,
            self.geometries,
            element=search.element,
            bond=search.bond,
            dilations=search.dilations,
            count=search.count,
        )
        return [
            Proposal(
                match.geometry.label,
                match.geometry.type,
                "library",
                Atoms(f"{search.element}{match.geometry.atom_count}", positions=search.bond * match.geometry.positions),
                match.start,
                match.rw,
                match.geometry,
            )
            for match in matches
        ]


@dataclass(frozen=True, eq=False)
class FromStructures:
    """Structures of one's own, each at its own size and with its own elements.

    Attributes:
        structures: Name and atoms of each.
    """

    structures: Sequence[tuple[str, Atoms]]

    @property
    def searched(self) -> int:
        """Number of structures."""
        return len(self.structures)

    def propose(self, target: Target, search: Search) -> list[Proposal]:
        """Hold every structure against the curve, at every dilation."""

        def one(structure: tuple[str, Atoms]) -> Proposal:
            name, atoms = structure
            try:
                pairs = pairs_of(atoms.positions, atoms.get_chemical_symbols())
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
            start, rw = scan(pairs, target, dilations=search.dilations, radiation=search.radiation)
            return Proposal(name, OWN, OWN, atoms, start, rw)

        found = list(stage(in_threads(one, self.structures), "own structures", total=len(self.structures)))
        return sorted(found, key=lambda each: each.rw)[: search.count]


def read_library(folder: Path) -> FromStructures:
    """Read the structures of a folder.

    Args:
        folder: Where the files lie; those that ASE reads as a cluster, by their suffix.

    Returns:
        The structures.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it holds no structure, or one that cannot be read or is too large.

    >>> from tempfile import mkdtemp
    >>> folder = Path(mkdtemp())
    >>> _ = (folder / "dimer.xyz").write_text("2\\n\\nPt 0 0 0\\nPt 0 0 2.8\\n")
    >>> read_library(folder).structures[0][0]
    'dimer.xyz'
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such library; name one (deepstruc, extended), an .h5 file or a folder")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in STRUCTURE_FILES and path.is_file())
    if not files:
        raise ValueError(f"{folder}: it holds no structure ({', '.join(STRUCTURE_FILES)}); give another --library")
    structures = []
    for path in files:
        atoms = read_structure(path)
        if len(atoms) > MAX_OWN_ATOMS:
            raise ValueError(f"{path}: {len(atoms)} atoms; a search takes up to {MAX_OWN_ATOMS}, cut a smaller cluster")
        structures.append((path.name, atoms))
    return FromStructures(structures)
