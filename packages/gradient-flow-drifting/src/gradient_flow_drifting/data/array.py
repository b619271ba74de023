"""Points of a user's own file."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .distribution import Distribution, Geometry, Modes, require_count

_SPLIT_SEED = 1993


@dataclass(frozen=True)
class ArrayFile:
    """The rows of a two-dimensional `.npy` or `.pt` array; one row in five is kept for measuring, half for the floor.

    Attributes:
        path: The file.
        geometry: The space its rows lie in; on the sphere each row has unit norm.
        rows: Which rows are drawn.
    """

    path: Path = Path("points.npy")
    geometry: Geometry = "euclidean"
    rows: Literal["train", "held_out", "floor"] = "train"

    @property
    def dimension(self) -> int:
        """Number of columns."""
        return self._all.shape[1]

    @property
    def location(self) -> Float[Tensor, " d"]:
        """Mean of the columns in the plane, zero on the sphere."""
        return self._all.mean(0) if self.geometry == "euclidean" else torch.zeros(self.dimension)

    @property
    def scale(self) -> float:
        """Root of the columns' average variance in the plane, one on the sphere."""
        return float(self._all.var(0, correction=0).mean().sqrt()) if self.geometry == "euclidean" else 1.0

    @property
    def modes(self) -> Modes | None:
        """Unknown."""
        return None

    @property
    def size(self) -> int:
        """Number of rows that are drawn."""
        return len(self._standardised)

    def sample(self, count: int, generator: torch.Generator) -> Float[Tensor, "count d"]:
        """Draw rows, standardised; each at most once where there are enough of them.

        Args:
            count: How many.
            generator: Where the randomness comes from, on the CPU.

        Returns:
            The rows.

        Raises:
            ValueError: If `count` is below one, or the file cannot be used (see the message).
            FileNotFoundError: If there is no such file.
        """
        require_count(count)
        rows = self._standardised
        if count <= len(rows):
            return rows[torch.randperm(len(rows), generator=generator)[:count]]
        return rows[torch.randint(len(rows), (count,), generator=generator)]

    def held_out(self) -> tuple[Distribution, Distribution]:
        """The rows that training does not see, in two halves."""
        return ArrayFile(self.path, self.geometry, "held_out"), ArrayFile(self.path, self.geometry, "floor")

    @cached_property
    def _standardised(self) -> Tensor:
        order = torch.randperm(len(self._all), generator=torch.Generator().manual_seed(_SPLIT_SEED))
        kept = len(self._all) // 5
        held_out, floor, train = order.tensor_split((kept // 2, kept))
        chosen = {"train": train, "held_out": held_out, "floor": floor}[self.rows]
        return (self._all[chosen] - self.location) / self.scale

    @cached_property
    def _all(self) -> Tensor:
        points = read_points(self.path)
        if len(points) < 10:
            raise ValueError(f"{self.path}: has {len(points)} rows: give at least 10")
        if self.geometry == "sphere":
            off = float((points.norm(dim=1) - 1).abs().max())
            if off > 1e-4:
                raise ValueError(f"{self.path}: a row is off the unit sphere by {off:.3g}: normalise the rows")
            return torch.nn.functional.normalize(points, dim=1)
        variance = float(points.var(0, correction=0).mean())
        if variance == 0:
            raise ValueError(f"{self.path}: all rows are the same point in float32: there is nothing to learn")
        if not math.isfinite(variance):
            raise ValueError(f"{self.path}: the rows' variance exceeds float32: give them in larger units")
        return points


def read_points(path: Path) -> Float[Tensor, "n d"]:
    """Read a two-dimensional array of finite numbers.

    Args:
        path: A `.npy` file or a `.pt` file that holds one tensor.

    Returns:
        The rows, float32.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is of another kind or damaged, has no rows, or has a value that is not finite.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file: check the path")
    if path.suffix not in (".npy", ".pt"):
        raise ValueError(f"{path}: is neither .npy nor .pt: save the points as one of them")
    try:
        loaded = np.load(path) if path.suffix == ".npy" else torch.load(path, map_location="cpu", weights_only=True)
        array = torch.as_tensor(loaded).detach()
        if array.is_complex():
            raise TypeError("complex numbers")
        points = array.to(torch.float32)
    except Exception as error:
        raise ValueError(f"{path}: holds no array of numbers that can be read: save it anew") from error
    if points.ndim != 2 or points.numel() == 0:
        raise ValueError(f"{path}: has the shape {tuple(points.shape)}: give rows of points, [n, d] with n, d ≥ 1")
    if not bool(points.isfinite().all()):
        row = int((~points.isfinite()).any(1).nonzero()[0])
        raise ValueError(f"{path}: row {row} holds a value that is not finite: remove or mend it")
    return points
