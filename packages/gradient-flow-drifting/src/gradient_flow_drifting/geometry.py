"""The manifold and the kernel that belong to a geometry's name."""

from .data import Geometry
from .kernels import Gaussian, VonMisesFisher, WrappedGaussian
from .manifolds import Euclidean, Sphere, Torus


def space_of(geometry: Geometry) -> Euclidean | Sphere | Torus:
    """The manifold of a geometry's name.

    Args:
        geometry: The name.

    Returns:
        The manifold.

    Example:
        >>> space_of("sphere")
        Sphere()
    """
    match geometry:
        case "sphere":
            return Sphere()
        case "torus":
            return Torus()
        case _:
            return Euclidean()


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
