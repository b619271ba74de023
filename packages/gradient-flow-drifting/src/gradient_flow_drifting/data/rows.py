"""Points that are kept in memory: their split, their labels and how they are drawn."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal, Self, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from .distribution import Geometry, Modes, require_count, require_label

Part = Literal["train", "held_out", "floor"]
_SPLIT_SEED = 1993
_CHUNK = 4096


@dataclass(frozen=True, eq=False)
class Table:
    """All rows of a source, in its units.

    Attributes:
        rows: [n, d], floating, or bytes that stand for numbers from 0 to 1.
        labels: The class of each row, from zero, where there are classes.
        class_names: Of the classes.
    """

    rows: np.ndarray
    labels: Int[Tensor, " n"] | None = None
    class_names: tuple[str, ...] = ()

    def take(self, index: Int[Tensor, " k"]) -> Float[Tensor, "k d"]:
        """Rows of these numbers, float32."""
        return _as_floats(self.rows[index.numpy()])


class Rows(ABC):
    """A source of rows, of which some are kept from training: half of these to measure against, half for the floor.

    Where rows have labels, each part has the same share of every class. Subclasses are frozen dataclasses.

    Attributes:
        rows: Which part is drawn.
        fold: One row in so many is held out, and one is for the floor.
    """

    rows: Part
    fold: ClassVar[int] = 10

    @property
    @abstractmethod
    def geometry(self) -> Geometry:
        """The space the rows lie in."""

    @property
    def dimension(self) -> int:
        """Number of columns."""
        return int(self._table.rows.shape[1])

    @property
    def location(self) -> Float[Tensor, " d"]:
        """Mean of the columns in Euclidean space, zero elsewhere."""
        return self._moments[0]

    @property
    def scale(self) -> float:
        """Root of the columns' average variance in Euclidean space, one elsewhere."""
        return self._moments[1]

    @property
    def modes(self) -> Modes | None:
        """Unknown."""
        return None

    @property
    def size(self) -> int:
        """Number of rows that are drawn."""
        return len(self._chosen)

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """None: no images."""
        return None

    @property
    def classes(self) -> int:
        """Number of classes; zero where the rows have no labels."""
        return len(self._table.class_names)

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the source calls its classes, in the order of the labels."""
        return self._table.class_names

    def sample(self, count: int, generator: torch.Generator) -> Float[Tensor, "count d"]:
        """Draw rows, standardised; each at most once where there are enough of them.

        Args:
            count: How many.
            generator: Where the randomness comes from, on the CPU.

        Returns:
            The rows.

        Raises:
            ValueError: If `count` is below one, or the source cannot be used (see the message).
            FileNotFoundError: If a file is missing.
        """
        require_count(count)
        return self._take(_choose(self._chosen, count, generator))

    def sample_labelled(
        self, count: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "count d"], Int[Tensor, " count"]]:
        """Draw rows with their labels; the same rows as `sample`.

        Args:
            count: How many.
            generator: Where the randomness comes from, on the CPU.

        Returns:
            Rows, standardised, and labels.

        Raises:
            ValueError: As of `sample`, or if there are no labels.
            FileNotFoundError: If a file is missing.
        """
        require_count(count)
        labels = self._table.labels
        if labels is None:
            raise ValueError(f"{self._source}: has no labels: draw with sample, or give labels")
        index = _choose(self._chosen, count, generator)
        return self._take(index), labels[index]

    def sample_class(self, label: int, count: int, generator: torch.Generator) -> Float[Tensor, "count d"]:
        """Draw rows of one class, standardised; each at most once where there are enough of them.

        Args:
            label: The class.
            count: How many.
            generator: Where the randomness comes from, on the CPU.

        Returns:
            The rows.

        Raises:
            ValueError: As of `sample`, or if there is no such class, or none of its rows in this part.
            FileNotFoundError: If a file is missing.
        """
        require_count(count)
        require_label(label, self.classes)
        of_class = self._by_class[label]
        if len(of_class) == 0:
            raise ValueError(f"{self._source}: no {self.rows} row is of class {label}: give more rows of it")
        return self._take(_choose(of_class, count, generator))

    def held_out(self) -> tuple[Self, Self]:
        """The rows that training does not see, in two halves."""
        return self._other("held_out"), self._other("floor")

    @property
    @abstractmethod
    def _source(self) -> str:
        """What messages call it."""

    @abstractmethod
    def _read(self) -> Table:
        """All rows."""

    @cached_property
    def _table(self) -> Table:
        return self._read()

    @cached_property
    def _split(self) -> dict[Part, Tensor]:
        return split(self._table, self.fold, self._source)

    @cached_property
    def _moments(self) -> tuple[Tensor, float]:
        if self.geometry == "euclidean":
            return moments(self._table.rows, self._source)
        return torch.zeros(self.dimension), 1.0

    @property
    def _chosen(self) -> Tensor:
        return self._split[self.rows]

    def _take(self, index: Tensor) -> Tensor:
        return (self._table.take(index) - self.location) / self.scale

    @cached_property
    def _by_class(self) -> list[Tensor]:
        labels = cast(Tensor, self._table.labels)
        return [self._chosen[labels[self._chosen] == label] for label in range(self.classes)]

    def _other(self, part: Part) -> Self:
        other: Any = replace(self, rows=part)  # type: ignore[type-var, unused-ignore]
        vars(other).update(_table=self._table, _split=self._split, _moments=self._moments)  # read once
        return other


def split(table: Table, fold: int, source: str) -> dict[Part, Int[Tensor, " k"]]:
    """Numbers of the rows of each part, the same for the same table.

    Args:
        table: The rows.
        fold: Of each class one row in so many is held out, and one is for the floor.
        source: What a message calls the rows.

    Returns:
        Three disjoint sets of row numbers, together all.

    Raises:
        ValueError: If no class has `fold` rows.
    """
    count = len(table.rows)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(_SPLIT_SEED))
    labels = torch.zeros(count, dtype=torch.int64) if table.labels is None else table.labels
    sizes = torch.bincount(labels)
    if int(sizes.max()) < fold:
        of_one = "" if table.labels is None else " of one class"
        raise ValueError(f"{source}: has {int(sizes.max())} rows{of_one}: give at least {fold}")
    order = order[labels[order].argsort(stable=True)]
    place = torch.arange(count) - (sizes.cumsum(0) - sizes)[labels[order]]  # within its class
    held_out, floor = place % fold == fold // 2 - 1, place % fold == fold - 1
    return {"train": order[~(held_out | floor)], "held_out": order[held_out], "floor": order[floor]}


def moments(rows: np.ndarray, source: str) -> tuple[Float[Tensor, " d"], float]:
    """Mean of the columns and root of their average variance.

    Args:
        rows: [n, d], floating or bytes.
        source: What a message calls them.

    Returns:
        Location and scale.

    Raises:
        ValueError: If all rows are the same, or their variance exceeds float32.
    """

    def parts() -> Iterator[Tensor]:  # in double precision, and not all images at once
        return (_as_floats(rows[start : start + _CHUNK]).double() for start in range(0, len(rows), _CHUNK))

    mean = torch.zeros(rows.shape[1], dtype=torch.float64)
    for part in parts():
        mean += part.sum(0) / len(rows)
    variance = sum(float((part - mean).square().sum()) for part in parts()) / rows.size
    if variance <= torch.finfo(torch.float32).tiny:
        raise ValueError(f"{source}: all rows are the same point in float32: there is nothing to learn")
    if variance > torch.finfo(torch.float32).max:
        raise ValueError(f"{source}: the rows' variance exceeds float32: give them in larger units")
    return mean.float(), math.sqrt(variance)


def as_labels(values: np.ndarray, count: int, source: str) -> tuple[Int[Tensor, " n"], tuple[str, ...]]:
    """Classes from whatever names them.

    Args:
        values: Whole numbers or words, one for each row.
        count: Number of rows.
        source: What a message calls the labels.

    Returns:
        Labels from zero, in the order of the names, and the names.

    Raises:
        ValueError: If there is not one for each row, or they are neither whole numbers nor words.

    Example:
        >>> as_labels(np.array(["cat", "ant", "cat"]), 3, "labels")
        (tensor([1, 0, 1]), ('ant', 'cat'))
    """
    if values.shape != (count,):
        raise ValueError(f"{source}: {count} labels are needed, one for each row, found the shape {values.shape}")
    if values.dtype.kind == "f" and bool(np.all(values == np.round(values))):
        values = values.astype(np.int64)
    if values.dtype.kind not in "iubU":
        raise ValueError(f"{source}: labels must be whole numbers or words, found {values.dtype}")
    names, labels = np.unique(values, return_inverse=True)
    return torch.from_numpy(labels.astype(np.int64)), tuple(str(name) for name in names)


def _as_floats(rows: np.ndarray) -> Tensor:
    floats = torch.from_numpy(rows.astype(np.float32))
    return floats / 255 if rows.dtype == np.uint8 else floats


def _choose(among: Tensor, count: int, generator: torch.Generator) -> Tensor:
    if count <= len(among):
        return among[torch.randperm(len(among), generator=generator)[:count]]
    return among[torch.randint(len(among), (count,), generator=generator)]
