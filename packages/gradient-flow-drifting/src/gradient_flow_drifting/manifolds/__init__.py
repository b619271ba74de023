"""Spaces in which particles move, with geoopt's names and order of arguments."""

from .euclidean import Euclidean
from .manifold import Manifold
from .sphere import Sphere
from .torus import Torus

__all__ = ["Euclidean", "Manifold", "Sphere", "Torus"]
