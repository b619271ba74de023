"""Kernels by their names."""

from collections.abc import Callable, Sequence

from ..checks import nearest_name
from ..manifolds import Manifold
from .gaussian import Gaussian
from .geodesic import GeodesicGaussian
from .heat import SphereHeat
from .kernel import Kernel, one_or_several
from .radial import InverseMultiquadric, Laplace, SharpLaplace
from .von_mises_fisher import VonMisesFisher
from .wrapped import WrappedGaussian

_NAMED: dict[str, Callable[..., Kernel]] = {
    "gaussian": Gaussian,
    "laplace": Laplace,
    "sharp_laplace": SharpLaplace,
    "inverse_multiquadric": InverseMultiquadric,
    "von_mises_fisher": lambda h: VonMisesFisher(1.0).with_lengths(h),
    "geodesic_gaussian": GeodesicGaussian,
    "sphere_heat": SphereHeat,
    "wrapped_gaussian": WrappedGaussian,
}
KERNELS = tuple(_NAMED)


def resolve_kernel(name: str, bandwidth: float | Sequence[float], *, manifold: Manifold | None = None) -> Kernel:
    """The kernel of a name, with a length scale in the units of the points.

    Args:
        name: One of `KERNELS`.
        bandwidth: One, or several; of `von_mises_fisher` it is $κ^{-1/2}$.
        manifold: For `geodesic_gaussian`, which is on the sphere where None; the others have their own.

    Returns:
        The kernel.

    Raises:
        ValueError: If the name is unknown, for which the nearest is suggested, or a bandwidth is not positive.

    Example:
        >>> resolve_kernel("laplace", (0.1, 0.5))
        Laplace(bandwidth=(0.1, 0.5))
    """
    if not isinstance(name, str):
        raise ValueError(f"kernel: a name is needed, one of {', '.join(KERNELS)}, found {name!r}")
    if name not in _NAMED:
        raise ValueError(
            f'kernel: "{name}" is unknown; did you mean "{nearest_name(name, KERNELS)}"? There are {", ".join(KERNELS)}'
        )
    lengths = one_or_several("bandwidth", bandwidth)
    if name == "geodesic_gaussian" and manifold is not None:
        return GeodesicGaussian(lengths, manifold)
    return _NAMED[name](lengths)
