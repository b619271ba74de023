"""One-step generators and particle flows by gradient flows of divergences between kernel density estimates."""

from .bandwidth import choose_bandwidth
from .divergences import DIVERGENCES, Divergence, mixed, resolve_divergence
from .drift import Drift, drift, drifting_loss
from .kernels import Gaussian, Kernel, VonMisesFisher
from .manifolds import Euclidean, Manifold, Sphere
from .ops.kde import KdeScore, kde_score
from .particles import flow_particles

__all__ = [
    "DIVERGENCES",
    "Divergence",
    "Drift",
    "Euclidean",
    "Gaussian",
    "KdeScore",
    "Kernel",
    "Manifold",
    "Sphere",
    "VonMisesFisher",
    "choose_bandwidth",
    "drift",
    "drifting_loss",
    "flow_particles",
    "kde_score",
    "mixed",
    "resolve_divergence",
]
