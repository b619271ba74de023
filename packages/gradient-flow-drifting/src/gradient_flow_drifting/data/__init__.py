"""Data sets, each with an exact sampler."""

from .array import ArrayFile, read_points
from .distribution import Distribution, Geometry, Modes
from .sphere import SphereMixture
from .toy import Toy

__all__ = ["ArrayFile", "Distribution", "Geometry", "Modes", "SphereMixture", "Toy", "read_points"]
