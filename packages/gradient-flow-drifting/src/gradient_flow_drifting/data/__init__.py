"""Data sets: exact samplers, and rows of files that are split for training and measuring."""

from .array import ArrayFile, read_points
from .digits import Digits
from .distribution import Distribution, Geometry, Labelled, Modes, labelled
from .named import named
from .sphere import SphereMixture
from .toy import Toy

__all__ = [
    "ArrayFile",
    "Digits",
    "Distribution",
    "Geometry",
    "Labelled",
    "Modes",
    "SphereMixture",
    "Toy",
    "labelled",
    "named",
    "read_points",
]
