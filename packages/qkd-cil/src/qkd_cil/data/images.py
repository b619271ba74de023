"""Labelled images in memory, decoded once."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor


@dataclass(frozen=True)
class LabelledImages:
    """Images of one size with the labels their data set gives them.

    What is chosen from them is a list of rows, not a copy: all tasks of a data set share its pixels.

    Args:
        stored: Values 0 to 255.
        labels: One for each image.
        index: Which of `stored` the images are; None: all of them.

    Raises:
        ValueError: If images are not 8-bit `[n, 3, height, width]`, or their number is not that of the labels.

    >>> few = LabelledImages(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.tensor([7, 7, 2, 7]))
    >>> len(few), few.of_classes([7]).labels.tolist(), few.first_per_class(1).labels.tolist()
    (4, [7, 7, 7], [7, 2])
    """

    stored: UInt8[Tensor, "stored 3 height width"]
    labels: Int64[Tensor, " n"]
    index: Int64[Tensor, " n"] | None = None

    def __post_init__(self) -> None:
        if self.stored.dtype != torch.uint8 or self.stored.ndim != 4 or self.stored.shape[1] != 3:
            raise ValueError(
                f"images: expected 8-bit [n, 3, height, width], got {self.stored.dtype} {list(self.stored.shape)}"
            )
        count = len(self.stored if self.index is None else self.index)
        if count != len(self.labels):
            raise ValueError(f"images: {count} images but {len(self.labels)} labels; give one for each")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def images(self) -> UInt8[Tensor, "n 3 height width"]:
        """All of them in one tensor, which is a copy if they are not all that is stored."""
        return self.stored if self.index is None else self.stored[self.index]

    def at(self, rows: Int64[Tensor, " batch"]) -> UInt8[Tensor, "batch 3 height width"]:
        """The images at the given rows, in their order."""
        return self.stored[rows if self.index is None else self.index[rows]]

    def batches(self, size: int) -> Iterator[UInt8[Tensor, "batch 3 height width"]]:
        """All images in their order, so many at a time."""
        for rows in torch.arange(len(self)).split(size):
            yield self.at(rows)

    def rows(self, chosen: Tensor) -> "LabelledImages":
        """The images at the given rows (or where a mask is true)."""
        place = self.labels.device
        index = torch.arange(len(self.stored), device=place) if self.index is None else self.index
        return LabelledImages(self.stored, self.labels[chosen], index[chosen])

    def of_classes(self, classes: Iterable[int]) -> "LabelledImages":
        """The images of some classes, in their old order."""
        return self.rows(torch.isin(self.labels, torch.tensor(list(classes), dtype=self.labels.dtype)))

    def first_per_class(self, count: int, *, after: int = 0) -> "LabelledImages":
        """The first images of each class, or the first after so many, in their old order."""
        order = torch.argsort(self.labels, stable=True)
        sizes = torch.unique_consecutive(self.labels[order], return_counts=True)[1]
        starts = (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
        place = torch.arange(len(order), device=order.device) - starts
        return self.rows(order[(after <= place) & (place < after + count)].sort().values)


def concatenate(parts: Iterable[LabelledImages]) -> LabelledImages:
    """Several sets of images of one size as one.

    >>> one = LabelledImages(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]))
    >>> len(concatenate([one, one]))
    4
    """
    parts = list(parts)
    labels, stored = torch.cat([part.labels for part in parts]), parts[0].stored
    rows = [part.index for part in parts if part.index is not None and part.stored is stored]
    if len(rows) == len(parts):
        return LabelledImages(stored, labels, torch.cat(rows))
    return LabelledImages(torch.cat([part.images for part in parts]), labels)


def as_images(images: np.ndarray | Tensor) -> UInt8[Tensor, "n 3 height width"]:
    """Images as the package holds them, from the forms in which NumPy and torch users have them.

    Args:
        images: 8-bit, `[n, height, width]` or `[n, height, width, 3]` (NumPy), `[n, 3, height, width]` (torch).

    Returns:
        Grey images with their value in all three channels; no copy of the values.

    Raises:
        ValueError: If they are of another form.

    >>> as_images(np.zeros((5, 8, 8, 3), dtype=np.uint8)).shape
    torch.Size([5, 3, 8, 8])
    """
    values = images if isinstance(images, Tensor) else torch.from_numpy(np.ascontiguousarray(images))
    if values.ndim == 3:
        values = values[:, None].expand(-1, 3, -1, -1)
    elif values.ndim == 4 and values.shape[1] != 3 and values.shape[3] == 3:
        values = values.permute(0, 3, 1, 2)
    if values.dtype != torch.uint8 or values.ndim != 4 or values.shape[1] != 3 or 0 in values.shape[2:]:
        raise ValueError(
            f"images are {str(values.dtype).removeprefix('torch.')} {list(values.shape)}; give 8-bit values as "
            "[n, height, width, 3] or [n, 3, height, width]"
        )
    return values
