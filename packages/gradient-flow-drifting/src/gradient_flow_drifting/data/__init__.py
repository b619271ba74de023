"""Data sets: exact samplers, and rows of files that are split for training and measuring."""

from .angles import TorusCsv
from .array import ArrayFile, read_points
from .digits import Digits
from .distribution import Distribution, Geometry, Labelled, Modes, labelled
from .generated import GeneratedLatents
from .images import ImageFolder
from .named import Source, named
from .places import SphereCsv
from .sphere import SphereMixture
from .toy import Toy

__all__ = [
    "ArrayFile",
    "Digits",
    "Distribution",
    "GeneratedLatents",
    "Geometry",
    "ImageFolder",
    "Labelled",
    "Modes",
    "Source",
    "SphereCsv",
    "SphereMixture",
    "TorusCsv",
    "Toy",
    "labelled",
    "named",
    "read_points",
]
