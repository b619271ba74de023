"""Columns of numbers from a file of comma-separated values."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

Line = tuple[int, list[str]]


def read_columns(path: Path, wanted: Sequence[Sequence[str]]) -> tuple[Float[np.ndarray, "n k"], list[int]]:
    """Read columns of finite numbers, found by name or by number.

    Values are separated by commas, semicolons, tabs or spaces; blank lines and those that start with # are passed
    over. The first of the others may hold names. Where it holds numbers, and no column is asked for by number, the
    first columns are taken, in the order asked for.

    Args:
        path: The file.
        wanted: For each column the names it may have (upper and lower case are the same), or its number from zero.

    Returns:
        The columns, and the line that each row stands in, from one.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a column is not there, or a value is no finite number; the message names the line.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.csv"
        >>> _ = path.write_text("# places\\nname,Lat,Long\\nLima,-12,-77\\n")
        >>> read_columns(path, [["lat", "latitude"], ["lon", "long"]])
        (array([[-12., -77.]]), [3])
    """
    lines = _lines(path)
    if not lines:
        raise ValueError(f"{path}: holds no row: give one row for each point")
    places, named = _places(path, lines[0][1], wanted)
    rows = lines[1:] if named else lines
    if not rows:
        raise ValueError(f"{path}: holds names but no row: give one row for each point")
    values = np.array([[_number(path, number, cells, place) for place in places] for number, cells in rows])
    return values, [number for number, _ in rows]


def _lines(path: Path) -> list[Line]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file: check the path")
    try:
        text = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is no text: give a file of comma-separated values") from error
    kept = [(i, line) for i, line in enumerate(text, 1) if line.strip() and not line.lstrip().startswith("#")]
    if not kept:
        return []
    mark = max(",;\t", key=kept[0][1].count)
    if mark not in kept[0][1]:
        return [(i, line.split()) for i, line in kept]
    try:
        cells = csv.reader([line for _, line in kept], delimiter=mark, strict=True)
        return [(i, [cell.strip() for cell in row]) for (i, _), row in zip(kept, cells, strict=True)]
    except (csv.Error, ValueError) as error:
        raise ValueError(f"{path}: is no table of values: check its quotation marks") from error


def _places(path: Path, first: list[str], wanted: Sequence[Sequence[str]]) -> tuple[list[int], bool]:
    """Numbers of the columns, and whether the first line holds names."""
    by_number = [int(names[0]) if names[0].isdigit() else None for names in wanted]
    if None not in by_number:
        places = [place for place in by_number if place is not None]
        return places, any(place < len(first) and not _is_number(first[place]) for place in places)
    lower = [cell.lower() for cell in first]
    found = [
        place if place is not None else next((lower.index(name.lower()) for name in names if name.lower() in lower), -1)
        for place, names in zip(by_number, wanted, strict=True)
    ]
    if all(place >= 0 for place in found):
        return found, True
    if all(_is_number(cell) for cell in first) and len(first) >= len(wanted) and by_number == [None] * len(wanted):
        return list(range(len(wanted))), False
    missing = next(names for place, names in zip(found, wanted, strict=True) if place < 0)
    there_are = ", ".join(first[:8])
    raise ValueError(f"{path}: has no column {' or '.join(missing)}: its first line is {there_are}: name the column")


def _number(path: Path, line: int, cells: list[str], place: int) -> float:
    if place >= len(cells):
        raise ValueError(f"{path}: line {line} has {len(cells)} values, and number {place} (from zero) is wanted")
    if not _is_number(cells[place]):
        raise ValueError(f"{path}: line {line}: {cells[place]!r} is no number: mend or remove the line")
    value = float(cells[place])
    if not math.isfinite(value):
        raise ValueError(f"{path}: line {line}: {cells[place]} is not finite: mend or remove the line")
    return value


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
