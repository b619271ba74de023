"""Kernels, as the score and log density of the estimates they give.

A kernel with a sequence of bandwidths stands for all of them: its results have a leading axis.
"""

from .gaussian import Gaussian
from .geodesic import GeodesicGaussian
from .heat import SphereHeat
from .kernel import Kernel
from .named import KERNELS, resolve_kernel
from .radial import InverseMultiquadric, Laplace, SharpLaplace
from .von_mises_fisher import VonMisesFisher
from .wrapped import WrappedGaussian

__all__ = [
    "KERNELS",
    "Gaussian",
    "GeodesicGaussian",
    "InverseMultiquadric",
    "Kernel",
    "Laplace",
    "SharpLaplace",
    "SphereHeat",
    "VonMisesFisher",
    "WrappedGaussian",
    "resolve_kernel",
]
