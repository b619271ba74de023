"""Real images that come with a dependency."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .distribution import Geometry
from .rows import Part, Rows, Table, as_labels


@dataclass(frozen=True)
class Digits(Rows):
    """Handwritten digits of scikit-learn: 1,797 grey images of 8 × 8, ten classes (Alpaydin and Kaynak 1998).

    Two thirds of each class are for training, one sixth to measure against, one sixth for the floor. In the units of
    the source white is one.

    Attributes:
        rows: Which images are drawn.

    Example:
        >>> import torch
        >>> images, labels = Digits().sample_labelled(5, torch.Generator().manual_seed(0))
        >>> images.shape, labels.tolist(), Digits().image_shape
        (torch.Size([5, 64]), [4, 5, 3, 4, 0], (1, 8, 8))
    """

    rows: Part = "train"
    fold: ClassVar[int] = 6

    @property
    def geometry(self) -> Geometry:
        """Euclidean space."""
        return "euclidean"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """One channel, 8 × 8."""
        return 1, 8, 8

    @property
    def _source(self) -> str:
        return "digits"

    def _read(self) -> Table:
        from sklearn.datasets import load_digits  # takes a second to import

        images, labels = load_digits(return_X_y=True)
        return Table((images / 16).astype(np.float32), *as_labels(labels, len(images), "digits"))
