"""Structures as PDFgui, DiffPy-CMI and crystallographic programs read them: a cluster alone in a large box."""

import math
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import write

GAP = 40.0
"""Empty space between a cluster and its images, Å: farther than a fit usually goes."""
ALONE = 8.0
"""Empty space across a cell from which on what is in it is a cluster alone in a box, Å."""


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


def without_box(atoms: Atoms) -> Atoms | None:
    """A cluster without the large box that it stands alone in.

    Args:
        atoms: Atoms in a cell.

    Returns:
        The cluster in one piece, without a cell; None where a cell is too full for that, so that this is a crystal.

    >>> particle = Atoms("Pt2", positions=[[0, 0, 0.5], [0, 0, 29]], cell=[30, 30, 30], pbc=True)
    >>> round(float(without_box(particle).get_distance(0, 1)), 6)
    1.5
    >>> without_box(Atoms("Pt", cell=[3, 3, 3], pbc=True)) is None
    True
    """
    lengths = 1 / np.linalg.norm(atoms.cell.reciprocal(), axis=1) if atoms.cell.rank == 3 else np.zeros(3)
    fractional = atoms.get_scaled_positions(wrap=True)
    for axis, length in enumerate(lengths):
        places = np.sort(fractional[:, axis])
        gaps = np.diff(places, append=places[:1] + 1)
        if not len(places) or gaps.max() * length < ALONE:
            return None
        after = int(gaps.argmax())  # the box is cut open in the middle of its widest gap
        fractional[:, axis] = (fractional[:, axis] - places[after] - gaps[after] / 2) % 1
    return Atoms(atoms.get_chemical_symbols(), positions=fractional @ atoms.cell.array)


def read_stru(text: str, name: str) -> Atoms:
    """The atoms of a .stru file, as PDFgui and DiffPy-CMI write it.

    Args:
        text: The content.
        name: What the file is called, for messages.

    Returns:
        The atoms in their cell; displacements and occupancies are not used.

    Raises:
        ValueError: If this is no such file.
    """
    lines = [line.replace(",", " ").split() for line in text.splitlines()]
    cell = next((words[1:7] for words in lines if words[:1] == ["cell"]), [])
    start = next((k + 1 for k, words in enumerate(lines) if words == ["atoms"]), None)
    try:
        rows = [words for words in lines[start:][::6] if words] if start else []
        atoms = Atoms([words[0].capitalize() for words in rows], cell=[float(word) for word in cell], pbc=True)
        atoms.set_scaled_positions(np.array([[float(word) for word in words[1:4]] for words in rows]).reshape(-1, 3))
    except (ValueError, KeyError, IndexError) as error:
        raise ValueError(f"{name}: no .stru file of PDFfit; export it anew, or give an .xyz file") from error
    return atoms


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
