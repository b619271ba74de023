"""The main job on a curve whose answer is known: a measurement is simulated, and its cluster searched for."""

from pathlib import Path

from ase import Atoms
from ase.io import write

from . import findings
from .data.clusters import build_geometry
from .data.gr import read_gr, write_gr
from .output import result_folder
from .pairs import pairs_of
from .rank import Recovery
from .recover import recover
from .report import RECOVERY_FILES, write_recovery
from .simulate import SimulationSettings, simulate

TRUTH = build_geometry("Dec", (4, 2, 0))
ELEMENT = "Pt"
BOND = 2.813
"""Unit of the simulated particle's lattice, Å: 1.5 % above platinum's bond and between two steps of the search."""
INSTRUMENT = SimulationSettings(
    rmax=30.0, qmin=0.9, qmax=24.0, qdamp=0.035, biso=0.43, delta2=2.6, scale=0.8, noise=0.01, seed=7
)
DEMO_FILES = ("simulated.gr", "true.xyz", *RECOVERY_FILES)


def run_demo(out: Path, *, smoke: bool) -> Recovery:
    """Simulate a measured particle, write it as a `.gr` file, and search for it as for any other.

    Args:
        out: Folder of the results.
        smoke: Search only the clusters of up to 120 atoms.

    Returns:
        The candidates.

    Raises:
        ValueError: If `out` holds something else or cannot be written.
    """
    atoms = Atoms(f"{ELEMENT}{TRUTH.atom_count}", positions=BOND * TRUTH.positions)
    with result_folder(out, DEMO_FILES) as folder:
        write(folder / "true.xyz", atoms, format="xyz", comment=f"{TRUTH.label} bond={BOND}")
        write_gr(folder / "simulated.gr", simulate(atoms, INSTRUMENT))
        measured = read_gr(folder / "simulated.gr")
        result = recover(measured, element=ELEMENT, candidates=5 if smoke else 20, max_atoms=120 if smoke else 256)
        write_recovery(folder, result)
    return result


def summary(result: Recovery, out: Path) -> str:
    """What the demo found and where it lies.

    Args:
        result: The candidates.
        out: Folder of the results.

    Returns:
        Lines of text.
    """
    bond = pairs_of(BOND * TRUTH.positions, ELEMENT).bond_length
    place = next((n for n, each in enumerate(result, 1) if each.label == TRUTH.label), None)
    place_in_words = f"at rank {place}" if place else f"not among the {len(result)} kept"
    return "\n".join(
        [
            findings.table(result, rows=5),
            "",
            f"simulated: {TRUTH.label}, {TRUTH.atom_count} atoms, bond {bond:.4f} Å, Biso {INSTRUMENT.biso} Å², "
            f"delta2 {INSTRUMENT.delta2} Å²: found {place_in_words}",
            f"picture:   {out / 'fit.png'}",
            f"report:    {out / 'report.html'}",
            "your own:  cbldm recover measured.gr --element Pt --candidates 20 --out runs/pt",
        ]
    )
