"""The manifold and the kernel that belong to a geometry's name."""

import torch
from jaxtyping import Float
from torch import Tensor

from .data import Geometry
from .kernels import Gaussian, VonMisesFisher, WrappedGaussian
from .manifolds import Euclidean, Sphere, Torus


def space_of(geometry: Geometry) -> Euclidean | Sphere | Torus:
    """The manifold of a geometry's name.

    Args:
        geometry: The name.

    Returns:
        The manifold.

    Raises:
        ValueError: If it is no geometry's.

    Example:
        >>> space_of("sphere")
        Sphere()
    """
    match geometry:
        case "sphere":
            return Sphere()
        case "torus":
            return Torus()
        case "euclidean":
            return Euclidean()
    raise ValueError(f'geometry: "euclidean", "sphere" or "torus" is needed, found {geometry!r}')


def kernel_of(geometry: Geometry, bandwidths: tuple[float, ...]) -> Gaussian | VonMisesFisher | WrappedGaussian:
    """The kernel of a geometry: Gaussian, on the torus wrapped, on the sphere von Mises–Fisher with κ = 1/h².

    All have the same width near their centre.

    Args:
        geometry: The name.
        bandwidths: h, in the units of the points; on the sphere and the torus in radians.

    Returns:
        The kernel.

    Example:
        >>> kernel_of("sphere", (0.5,)).concentration
        (4.0,)
    """
    if geometry == "sphere":
        return VonMisesFisher(tuple(h**-2 for h in bandwidths))
    return WrappedGaussian(bandwidths) if geometry == "torus" else Gaussian(bandwidths)


def embed(geometry: Geometry, points: Float[Tensor, "n d"]) -> Float[Tensor, "n e"]:
    """Points where straight distances follow those of the space: angles of a torus as cosines and sines.

    Args:
        geometry: The name.
        points: The points.

    Returns:
        The same points; on the torus with twice the coordinates.

    Example:
        >>> embed("torus", torch.zeros(1, 2))
        tensor([[1., 1., 0., 0.]])
    """
    return torch.cat([points.cos(), points.sin()], dim=1) if geometry == "torus" else points


def unembed(geometry: Geometry, points: Float[Tensor, "n e"]) -> Float[Tensor, "n d"]:
    """The point of the space nearest to each of these, which `embed` may have made or a mean of such.

    Args:
        geometry: The name.
        points: Where straight distances hold.

    Returns:
        Points of the space.

    Example:
        >>> unembed("sphere", torch.tensor([[0.0, 0.5]]))
        tensor([[0., 1.]])
    """
    if geometry == "torus":
        cosine, sine = points.chunk(2, dim=1)
        return torch.atan2(sine, cosine)
    return points / points.norm(dim=1, keepdim=True) if geometry == "sphere" else points
