"""Data sets, each with an exact sampler."""

from .array import ArrayFile, read_points
from .distribution import Distribution, Geometry, Modes
from .named import named
from .sphere import SphereMixture
from .toy import Toy

__all__ = ["ArrayFile", "Distribution", "Geometry", "Modes", "SphereMixture", "Toy", "named", "read_points"]
