"""Where the data is: the share of samples off it, and the share of it that samples miss."""

import math

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree
from torch import Tensor

from ..data import Geometry
from ..geometry import space_of
from ..ops.kde.checks import check_cloud


class Support:
    """Where the data is: within the distance that 99 % of real points keep to the nearest of 20,000 others.

    Args:
        reference: Real points.
        probe: Further real points, independent of them.
        geometry: The space; on the sphere the chord serves as well as the angle.

    Attributes:
        threshold: That distance.

    Raises:
        ValueError: If a cloud is empty, not finite or of another dimension, or there is no such geometry.

    Example:
        >>> import torch
        >>> support = Support(torch.linspace(0, 1, 100)[:, None], torch.linspace(0, 1, 333)[:, None])
        >>> support.share_off(torch.tensor([[0.52], [2.0]]))
        0.5
        >>> support.share_missed(torch.linspace(0, 0.5, 100)[:, None]) > 0.4
        True
    """

    def __init__(
        self,
        reference: Float[Tensor, "n d"],
        probe: Float[Tensor, "m d"],
        *,
        geometry: Geometry = "euclidean",
    ) -> None:
        space_of(geometry)  # refuses an unknown one
        self._geometry: Geometry = geometry
        self._reference = self._coordinates("reference", reference)
        self._tree = self._tree_of(self._reference)
        self.threshold = float(np.quantile(self._tree.query(self._coordinates("probe", probe))[0], 0.99))

    def share_off(self, samples: Float[Tensor, "n d"]) -> float:
        """Share of the samples farther from the reference than the threshold; ideally 0.01."""
        return float((self._tree.query(self._coordinates("samples", samples))[0] > self.threshold).mean())

    def share_missed(self, samples: Float[Tensor, "n d"]) -> float:
        """Share of the reference farther from the samples than the threshold.

        Ideally 0.01, where the samples are as many as the reference: of fewer the nearest is farther.
        """
        found = self._tree_of(self._coordinates("samples", samples)).query(self._reference)[0]
        return float((found > self.threshold).mean())

    def _tree_of(self, points: np.ndarray) -> cKDTree:
        return cKDTree(points, boxsize=2 * math.pi if self._geometry == "torus" else None)

    def _coordinates(self, name: str, points: Tensor) -> np.ndarray:
        check_cloud(name, points.double() if isinstance(points, Tensor) else points)
        if name != "reference" and points.shape[1] != self._reference.shape[1]:
            raise ValueError(f"{name}: {self._reference.shape[1]} coordinates are needed, found {points.shape[1]}")
        found = points.detach().cpu().numpy()
        if self._geometry == "torus":
            turned = np.remainder(found.astype(np.float64), 2 * math.pi)
            return np.where(turned < 2 * math.pi, turned, 0.0)  # the remainder of a tiny negative number is a turn
        return found
