"""Files of one's own structures."""

import re
import warnings
from io import StringIO
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read
from ase.io.formats import UnknownFileTypeError
from scipy.spatial.distance import cdist

from .elements import require_element
from .structure_files import read_stru, without_box

CLOSEST = 0.5
"""Atoms nearer than this are an error in the structure, Å."""


def read_structure(path: Path) -> Atoms:
    """Read a cluster from a file that ASE knows (.xyz above all), or from a .stru file.

    Args:
        path: The file.

    Returns:
        Its atoms, Å; of several frames the last, and a cluster that stands alone in a large box without the box.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read (for .xyz, the line is named), is a crystal, has fewer than two atoms, an
            unknown element, a coordinate that is no finite number, or two atoms at one place.
    """
    if path.is_dir():
        raise ValueError(f"{path}: it is a folder; name a structure in it, such as cluster.xyz")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; give a structure, such as cluster.xyz")
    kind = path.suffix.lower()
    text = _text(path) if kind in (".xyz", ".stru") else ""
    lines_are_known = kind == ".xyz" and _check_xyz(path, text)
    atoms = read_stru(text, str(path)) if kind == ".stru" else _read(path, text)
    if atoms.pbc.any():
        alone = without_box(atoms)
        if alone is None:
            raise ValueError(f"{path}: it is a crystal, repeated in space; cut a cluster from it")
        atoms = alone
    if len(atoms) < 2:
        raise ValueError(f"{path}: number of atoms {len(atoms)}, so there is no distance; give at least two")
    if pair := closest_pair(atoms.positions):
        first, second, gap = pair
        where = f"lines {first + 3} and {second + 3}" if lines_are_known else f"atoms {first + 1} and {second + 1}"
        raise ValueError(f"{path}, {where}: two atoms {gap:.3g} Å apart; remove one of them (lengths are in Å)")
    return atoms


def _read(path: Path, text: str) -> Atoms:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ASE's readers warn of cells, which are not used
            atoms = read(StringIO(text), format="extxyz") if text else read(path)
    except UnknownFileTypeError as error:
        raise ValueError(f"{path}: no format of structures that ASE knows; give an .xyz file") from error
    except Exception as error:  # they raise whatever they meet
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path}: ASE cannot read it ({reason}); give an .xyz file") from error
    assert isinstance(atoms, Atoms)
    return atoms


def _text(path: Path) -> str:
    data = path.read_bytes()
    if b"\0" in data:
        raise ValueError(f"{path}: it is no text; give an .xyz file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def closest_pair(positions: np.ndarray) -> tuple[int, int, float] | None:
    """Two atoms that stand at one place, nearer than 0.5 Å.

    Args:
        positions: Cartesian coordinates, Å.

    Returns:
        Their indices and distance (Å), or None.

    >>> closest_pair(np.array([[0.0, 0, 0], [2, 0, 0], [2, 0, 0.1]]))
    (1, 2, 0.1)
    """
    for first in range(len(positions) - 1):
        gaps = cdist(positions[first : first + 1], positions[first + 1 :])[0]
        if gaps.min() < CLOSEST:
            second = int(gaps.argmin())
            return first, first + 1 + second, float(gaps[second])
    return None


def _check_xyz(path: Path, text: str) -> bool:
    """Name the line of an .xyz file that is wrong, which ASE does not; tell whether its only atoms begin at line 3."""
    lines = text.splitlines()
    count = lines[0].strip() if lines else ""
    if not re.fullmatch(r"\d+", count):
        raise ValueError(f"{path}, line 1: {count[:40]!r} is no number of atoms, which an .xyz file begins with")
    if len(lines) < int(count) + 2:
        raise ValueError(f"{path}, line {len(lines)}: the file ends before its {count} atoms; complete it")
    columns = re.search(r"\bProperties=(\S*)", lines[1], re.IGNORECASE)
    if columns and not columns[1].lower().startswith("species:s:1:pos:r:3"):
        return False  # extended .xyz with columns in an order of its own: left to ASE
    for number, line in enumerate(lines[2 : int(count) + 2], 3):
        words = line.split()
        try:
            position = [float(word) for word in words[1:4]]
        except ValueError:
            position = []
        if len(position) < 3 or not np.isfinite(position).all():
            raise ValueError(
                f"{path}, line {number}: {line.strip()[:40]!r} is no symbol with x, y and z in Å; correct it"
            )
        try:
            require_element(words[0])
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
    after = next((k for k in range(int(count) + 2, len(lines)) if lines[k].strip()), None)
    if after is not None and not re.fullmatch(r"\s*\d+\s*", lines[after]):
        shown = lines[after].strip()[:40]
        raise ValueError(
            f"{path}, line {after + 1}: {shown!r} after the {count} atoms of line 1; remove it or correct the number"
        )
    return after is None
