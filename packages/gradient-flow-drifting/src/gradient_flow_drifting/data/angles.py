"""Points of the torus from a user's file of angles."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ..checks import require_choices
from .columns import read_columns
from .distribution import Geometry
from .rows import Part, Rows, Table


@dataclass(frozen=True)
class TorusCsv(Rows):
    """Rows of angles as points of the flat torus, such as φ and ψ of proteins; one row in five is kept for measuring.

    Attributes:
        path: A file of comma-separated values.
        columns: Names of the columns, or their numbers from zero; a file without names has these columns first.
        unit: Of the angles in the file; points are in radians, from −π to π.
        rows: Which rows are drawn.

    Raises:
        ValueError: If no column is asked for.

    Example:
        >>> import tempfile, torch
        >>> path = Path(tempfile.mkdtemp()) / "a.csv"
        >>> _ = path.write_text("phi,psi\\n" + "-90,270\\n" * 20)
        >>> TorusCsv(path).sample(1, torch.Generator())
        tensor([[-1.5708, -1.5708]])
    """

    path: Path = Path("angles.csv")
    columns: tuple[str, ...] = ("phi", "psi")
    unit: Literal["degrees", "radians"] = "degrees"
    rows: Part = "train"

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        require_choices(self, "data")
        if not self.columns:
            raise ValueError("data.columns is empty: name at least one column")

    @property
    def geometry(self) -> Geometry:
        """The torus."""
        return "torus"

    @property
    def _source(self) -> str:
        return str(self.path)

    def _read(self) -> Table:
        angles, lines = read_columns(self.path, [(name,) for name in self.columns])
        turn = 360.0 if self.unit == "degrees" else 2 * np.pi
        beyond = np.abs(angles) > turn * (1 + 1e-6)
        if beyond.any():
            i = int(beyond.any(1).argmax())
            value = angles[i][beyond[i]][0]
            raise ValueError(f"{self.path}: line {lines[i]}: {value:g} is beyond a turn: are these {self.unit}?")
        points = np.remainder(angles / turn + 0.5, 1.0) - 0.5
        return Table((2 * np.pi * points).astype(np.float32))
