"""What the baselines' fields hold their clouds to, and the way from the surrounding space to a tangent."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..data import Geometry
from ..geometry import space_of
from ..ops.kde import SelfTerms
from ..ops.kde._checks import check_cloud


def check_clouds(
    x: Float[Tensor, "n d"],
    positives: Float[Tensor, "p d"],
    negatives: Float[Tensor, "q d"],
    geometry: Geometry,
    self_terms: SelfTerms,
) -> None:
    """Refuse clouds that a field cannot use.

    Args:
        x: Samples.
        positives, negatives: The clouds.
        geometry: Their space.
        self_terms: What is to become of the samples' own terms.

    Raises:
        ValueError: If a cloud is empty, not finite, of another dimension than x or off its space, or
            `"leave_one_out"` has fewer than two negatives or others than x.
    """
    space = space_of(geometry)
    for name, cloud in (("x", x), ("positives", positives), ("negatives", negatives)):
        check_cloud(name, cloud, like=None if name == "x" else x)
        if not space.check_point_on_manifold(cloud):
            raise ValueError(f"{name}: points off the {geometry}; project them with projx first")
    if self_terms != "leave_one_out":
        return
    if len(negatives) < 2:
        raise ValueError(f"negatives: leaving one out needs at least two, found {len(negatives)}")
    if len(negatives) < len(x) or not torch.equal(negatives[: len(x)], x):
        raise ValueError('negatives: self_terms="leave_one_out" needs x as the first rows of negatives, found others')


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
