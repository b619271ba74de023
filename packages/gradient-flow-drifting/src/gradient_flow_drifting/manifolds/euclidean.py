"""Flat space."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Euclidean:
    """Euclidean space of any dimension: geodesics are straight lines.

    Example:
        >>> import torch
        >>> Euclidean().dist(torch.zeros(2), torch.tensor([3.0, 4.0])).item()
        5.0
    """

    def expmap(self, x: Float[Tensor, "*n d"], u: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """x + u."""
        return x + u

    def logmap(self, x: Float[Tensor, "*n d"], y: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """y − x."""
        return y - x

    def projx(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """x itself."""
        return x

    def proju(self, x: Float[Tensor, "*n d"], u: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:  # noqa: ARG002
        """u itself."""
        return u

    def dist(self, x: Float[Tensor, "*n d"], y: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
        """‖x − y‖."""
        return (x - y).norm(dim=-1)

    def check_point_on_manifold(self, x: Float[Tensor, "*n d"]) -> bool:  # noqa: ARG002
        """Every point lies in the space."""
        return True
