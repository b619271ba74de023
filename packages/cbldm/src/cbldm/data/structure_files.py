"""Structures as PDFgui, DiffPy-CMI and crystallographic programs read them: a cluster alone in a large box."""

import math
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import write

GAP = 40.0
"""Empty space between a cluster and its images, Å: farther than a fit usually goes."""


def write_structure(stem: Path, atoms: Atoms, *, biso: float, delta2: float = 0.0, comment: str = "") -> None:
    """Write a cluster as `.xyz`, `.cif` and `.stru`.

    Args:
        stem: Path of the files without their suffix.
        atoms: The cluster, Å.
        biso: Displacement parameter of its atoms, Å².
        delta2: Sharpening of near peaks by correlated motion, Å².
        comment: What it is, in a line.

    >>> from tempfile import mkdtemp
    >>> folder = Path(mkdtemp())
    >>> write_structure(folder / "a", Atoms("Pt2", positions=[[0, 0, 0], [0, 0, 2.8]]), biso=0.5)
    >>> sorted(path.name for path in folder.iterdir())
    ['a.cif', 'a.stru', 'a.xyz']
    """
    comment = " ".join(comment.split())
    write(stem.with_suffix(".xyz"), atoms, format="xyz", comment=comment)
    stem.with_suffix(".cif").write_text(_cif(atoms, biso, comment), encoding="utf-8")
    stem.with_suffix(".stru").write_text(_stru(atoms, biso, delta2, comment), encoding="utf-8")


def _boxed(atoms: Atoms) -> tuple[float, np.ndarray]:
    """Edge of a cubic box (Å) and the fractional coordinates of the cluster in its middle."""
    positions = atoms.positions - (atoms.positions.max(axis=0) + atoms.positions.min(axis=0)) / 2
    edge = float(np.ceil(2 * np.abs(positions).max() + GAP))
    return edge, positions / edge + 0.5


def _cif(atoms: Atoms, biso: float, comment: str) -> str:
    edge, fractional = _boxed(atoms)
    symbols = atoms.get_chemical_symbols()
    lines = [
        "data_cluster",
        *([f"# {comment}"] if comment else []),
        *(f"_cell_length_{axis} {edge:.4f}" for axis in "abc"),
        *(f"_cell_angle_{angle} 90" for angle in ("alpha", "beta", "gamma")),
        "_symmetry_space_group_name_H-M 'P 1'",
        "loop_",
        "_symmetry_equiv_pos_as_xyz",
        "'x, y, z'",
        "loop_",
        *(f"_atom_site_{name}" for name in ("label", "type_symbol", "fract_x", "fract_y", "fract_z")),
        "_atom_site_occupancy",
        "_atom_site_adp_type",
        "_atom_site_B_iso_or_equiv",
    ]
    for number, (symbol, (x, y, z)) in enumerate(zip(symbols, fractional, strict=True), 1):
        lines.append(f"{symbol}{number} {symbol} {x:.8f} {y:.8f} {z:.8f} 1 Biso {biso:.6g}")
    return "\n".join([*lines, ""])


def _stru(atoms: Atoms, biso: float, delta2: float, comment: str) -> str:
    """The format of PDFfit, which PDFgui and DiffPy-CMI read."""
    edge, fractional = _boxed(atoms)
    u = biso / (8 * math.pi**2)
    none = f"{0:18.8f}{0:17.8f}{0:17.8f}"
    lines = [
        f"title  {comment or 'cluster'}",
        "format pdffit",
        "scale   1.000000",
        f"sharp   {delta2:.6f},  0.000000,  1.000000,  0.000000",
        "spcgr   P1",
        f"cell   {edge:.6f}, {edge:.6f}, {edge:.6f}, 90.000000, 90.000000, 90.000000",
        "dcell   0.000000,  0.000000,  0.000000,  0.000000,  0.000000,  0.000000",
        f"ncell   1, 1, 1, {len(atoms)}",
        "atoms",
    ]
    for symbol, (x, y, z) in zip(atoms.get_chemical_symbols(), fractional, strict=True):
        lines += [
            f"{symbol.upper():4s}{x:18.8f}{y:17.8f}{z:17.8f}{1:13.4f}",
            f"{none}{0:13.4f}",
            f"{u:18.8f}{u:17.8f}{u:17.8f}",
            none,
            none,
            none,
        ]
    return "\n".join([*lines, ""])
