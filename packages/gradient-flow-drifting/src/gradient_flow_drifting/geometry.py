"""The manifold and the kernel that belong to a geometry's name."""

from .data import Geometry
from .kernels import Gaussian, VonMisesFisher
from .manifolds import Euclidean, Sphere


def space_of(geometry: Geometry) -> Euclidean | Sphere:
    """The manifold of a geometry's name.

    Args:
        geometry: The name.

    Returns:
        The manifold.

    Example:
        >>> space_of("sphere")
        Sphere()
    """
    return Sphere() if geometry == "sphere" else Euclidean()


def kernel_of(geometry: Geometry, bandwidths: tuple[float, ...]) -> Gaussian | VonMisesFisher:
    """The kernel of a geometry: Gaussian, or von Mises–Fisher with κ = 1/h², which has the same width near its centre.

    Args:
        geometry: The name.
        bandwidths: h, in the units of the points; on the sphere in radians.

    Returns:
        The kernel.

    Example:
        >>> kernel_of("sphere", (0.5,)).concentration
        (4.0,)
    """
    if geometry == "sphere":
        return VonMisesFisher(tuple(h**-2 for h in bandwidths))
    return Gaussian(bandwidths)
