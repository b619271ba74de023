"""What a space must offer."""

from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor


@runtime_checkable
class Manifold(Protocol):
    """A Riemannian manifold embedded in coordinates; geoopt's classes of one-dimensional points have these methods."""

    def expmap(self, x: Float[Tensor, "*n d"], u: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """The point reached from x along the geodesic with initial velocity u in unit time."""

    def logmap(self, x: Float[Tensor, "*n d"], y: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """The tangent vector at x of a shortest geodesic that reaches y in unit time."""

    def projx(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """The point of the manifold nearest to x."""

    def proju(self, x: Float[Tensor, "*n d"], u: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """The part of u tangent to the manifold at x."""

    def dist(self, x: Float[Tensor, "*n d"], y: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
        """The geodesic distance of x and y."""

    def check_point_on_manifold(self, x: Float[Tensor, "*n d"]) -> bool | Bool[Tensor, ""]:
        """Whether all points lie on the manifold within rounding."""
