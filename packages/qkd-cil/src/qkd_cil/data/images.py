"""Labelled images in memory, decoded once."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor


@dataclass(frozen=True)
class LabelledImages:
    """Images of one size with the labels their data set gives them.

    Args:
        images: Values 0 to 255.
        labels: One for each image.

    Raises:
        ValueError: If images are not 8-bit `[n, 3, height, width]`, or their number is not that of the labels.

    >>> few = LabelledImages(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.tensor([7, 7, 2, 7]))
    >>> len(few), few.of_classes([7]).labels.tolist(), few.first_per_class(1).labels.tolist()
    (4, [7, 7, 7], [7, 2])
    """

    images: UInt8[Tensor, "n 3 height width"]
    labels: Int64[Tensor, " n"]

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4 or self.images.shape[1] != 3:
            raise ValueError(
                f"images: expected 8-bit [n, 3, height, width], got {self.images.dtype} {list(self.images.shape)}"
            )
        if len(self.images) != len(self.labels):
            raise ValueError(f"images: {len(self.images)} images but {len(self.labels)} labels; give one for each")

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, index: Tensor) -> "LabelledImages":
        """The images at the given rows (or where a mask is true)."""
        return LabelledImages(self.images[index], self.labels[index])

    def of_classes(self, classes: Iterable[int]) -> "LabelledImages":
        """The images of some classes, in their old order."""
        return self.rows(torch.isin(self.labels, torch.tensor(list(classes), dtype=self.labels.dtype)))

    def first_per_class(self, count: int, *, after: int = 0) -> "LabelledImages":
        """The first images of each class, or the first after so many, in their old order."""
        order = torch.argsort(self.labels, stable=True)
        sizes = torch.unique_consecutive(self.labels[order], return_counts=True)[1]
        starts = (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
        place = torch.arange(len(order)) - starts
        return self.rows(order[(after <= place) & (place < after + count)].sort().values)


def concatenate(parts: Iterable[LabelledImages]) -> LabelledImages:
    """Several sets of images of one size as one.

    >>> one = LabelledImages(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]))
    >>> len(concatenate([one, one]))
    4
    """
    parts = list(parts)
    return LabelledImages(torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts]))


def as_images(images: np.ndarray | Tensor) -> UInt8[Tensor, "n 3 height width"]:
    """Images as the package holds them, from the forms in which NumPy and torch users have them.

    Args:
        images: 8-bit, `[n, height, width]` or `[n, height, width, 3]` (NumPy), `[n, 3, height, width]` (torch).

    Returns:
        Grey images with their value in all three channels.

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
    return values.contiguous()
