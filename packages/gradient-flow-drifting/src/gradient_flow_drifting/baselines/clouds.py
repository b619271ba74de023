"""Fields of straight lines: the spaces that have them, and the way from the surrounding space to a tangent."""

from jaxtyping import Float
from torch import Tensor

from ..data import Geometry
from ..geometry import space_of


def require_embedding(field: str, geometry: Geometry) -> None:
    """Refuse a space that is no part of a Euclidean one, for a field made of straight lines.

    Args:
        field: Its name.
        geometry: The space.

    Raises:
        ValueError: If it is the torus.
    """
    if geometry == "torus":
        raise ValueError(
            f"field: {field} is made of straight lines, the torus has none: take KernelField, SinkhornDrift"
        )


def to_tangent(
    x: Float[Tensor, "n d"], velocity: Float[Tensor, "n d"], geometry: Geometry, *, longest: float
) -> Float[Tensor, "n d"]:
    """The tangent part of a velocity of the surrounding space; in Euclidean space the velocity itself.

    Args:
        x: Where it acts.
        velocity: The velocity.
        geometry: The space.
        longest: Bound of the tangent's length on the sphere, beyond which a geodesic would come back.

    Returns:
        The velocity along the space.
    """
    if geometry == "euclidean":
        return velocity
    tangent = space_of(geometry).proju(x, velocity)
    return tangent * (longest / tangent.norm(dim=1, keepdim=True).clamp_min(longest))
