"""Points of a user's own file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import require_choices
from .distribution import Geometry
from .rows import Part, Rows, Table, as_labels

_UNREADABLE = "holds no array of numbers that can be read: save it anew"


@dataclass(frozen=True)
class ArrayFile(Rows):
    """The rows of a two-dimensional array; one row in five is kept for measuring, half of these for the floor.

    Attributes:
        path: A `.npy` or `.pt` file, or an `.npz` file with `points` and, if there are classes, `labels`.
        geometry: The space its rows lie in; on the sphere each row has unit norm, on the torus it is angles in radians.
        labels: A `.npy` or `.pt` file with the class of each row, a whole number or a word; None where there are none.
        rows: Which rows are drawn.

    Raises:
        ValueError: If there is no such geometry.
    """

    path: Path = Path("points.npy")
    geometry: Geometry = "euclidean"
    labels: Path | None = None
    rows: Part = "train"

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        if self.labels is not None:
            object.__setattr__(self, "labels", Path(self.labels))
        require_choices(self, "data")

    @property
    def _source(self) -> str:
        return str(self.path)

    def _read(self) -> Table:
        points = read_points(self.path)
        classes = () if (named := self._labels()) is None else as_labels(named[0], len(points), named[1])
        if self.geometry == "sphere":
            off = float((points.norm(dim=1) - 1).abs().max())
            if off > 1e-4:
                raise ValueError(f"{self.path}: a row is off the unit sphere by {off:.3g}: normalise the rows")
            points = torch.nn.functional.normalize(points, dim=1)
        if self.geometry == "torus":
            beyond = (points.abs() > 2 * torch.pi * (1 + 1e-6)).any(1)
            if bool(beyond.any()):
                row = int(beyond.nonzero()[0])
                value = float(points[row].abs().max())
                raise ValueError(f"{self.path}: row {row}: {value:g} is beyond a turn: give the angles in radians")
            points = torch.remainder(points + torch.pi, 2 * torch.pi) - torch.pi
        return Table(points.numpy(), *classes)

    def _labels(self) -> tuple[np.ndarray, str] | None:
        """The labels and what messages call them."""
        if self.labels is not None:
            return _read_array(self.labels, (".npy", ".pt")), str(self.labels)
        if self.path.suffix == ".npz" and "labels" in _names(self.path):  # read_points has found the file whole
            return _read_array(self.path, (".npz",), "labels"), f"{self.path}: labels"
        return None


def read_points(path: Path) -> Float[Tensor, "n d"]:
    """Read a two-dimensional array of finite numbers.

    Args:
        path: A `.npy` file, a `.pt` file that holds one tensor, or an `.npz` file with an array `points`.

    Returns:
        The rows, float32.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is of another kind or damaged, has no rows, or has a value that is not finite.
    """
    array = _read_array(path, (".npy", ".pt", ".npz"), "points")
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{path}: {_UNREADABLE}")
    with np.errstate(over="ignore"):  # what float32 cannot hold is found below
        points = torch.from_numpy(array.astype(np.float32))
    if points.ndim != 2 or points.numel() == 0:
        raise ValueError(f"{path}: has the shape {tuple(points.shape)}: give rows of points, [n, d] with n, d ≥ 1")
    if not bool(points.isfinite().all()):
        row = int((~points.isfinite()).any(1).nonzero()[0])
        raise ValueError(f"{path}: row {row} holds a value that is not finite: remove or mend it")
    return points


def _read_array(path: Path, endings: tuple[str, ...], name: str = "") -> np.ndarray:
    """The array of a file; of an `.npz` file the one of that name."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file: check the path")
    if path.suffix not in endings:
        raise ValueError(f"{path}: is neither {' nor '.join(endings)}: save the points as one of them")
    if path.suffix == ".npz" and name not in _names(path):
        raise ValueError(f"{path}: holds no array {name!r}: save it with points=…, and labels=… if there are classes")
    try:
        if path.suffix == ".pt":
            tensor = torch.load(path, map_location="cpu", weights_only=True).detach()
            return np.asarray(tensor.float() if tensor.dtype == torch.bfloat16 else tensor)
        loaded = np.load(path)
        if path.suffix == ".npy":
            return np.asarray(loaded)
        with loaded:
            return np.asarray(loaded[name])
    except Exception as error:
        raise ValueError(f"{path}: {_UNREADABLE}") from error


def _names(path: Path) -> list[str]:
    try:
        with np.load(path) as file:
            return list(file.files)
    except Exception as error:
        raise ValueError(f"{path}: {_UNREADABLE}") from error
