"""One-step generators and particle flows by gradient flows of divergences between kernel density estimates."""

from .bandwidth import choose_bandwidth
from .baselines import BiSoftmax, SinkhornDrift, SlicedWasserstein
from .config import TrainConfig
from .data import ArrayFile, SphereMixture, Toy
from .divergences import DIVERGENCES, Divergence, alpha, mixed, resolve_divergence
from .drift import Drift, drift, drifting_loss
from .fields import Field, KernelField
from .kernels import (
    KERNELS,
    Gaussian,
    GeodesicGaussian,
    InverseMultiquadric,
    Kernel,
    Laplace,
    SharpLaplace,
    SphereHeat,
    VonMisesFisher,
    WrappedGaussian,
    resolve_kernel,
)
from .manifolds import Euclidean, Manifold, Sphere, Torus
from .metrics import Evaluation, evaluate, mode_coverage, sliced_wasserstein2, wasserstein2
from .models import Generator, GeneratorConfig
from .ops.kde import KdeScore, kde_score
from .particles import flow_particles
from .presets import PRESETS
from .sample import load
from .stretches import Drifting, ParticleFlow, Regression
from .train import resume, train
from .transport import TransportMap, transport_map

__all__ = [
    "DIVERGENCES",
    "KERNELS",
    "PRESETS",
    "ArrayFile",
    "BiSoftmax",
    "Divergence",
    "Drift",
    "Drifting",
    "Euclidean",
    "Evaluation",
    "Field",
    "Gaussian",
    "Generator",
    "GeneratorConfig",
    "GeodesicGaussian",
    "InverseMultiquadric",
    "KdeScore",
    "Kernel",
    "KernelField",
    "Laplace",
    "Manifold",
    "ParticleFlow",
    "Regression",
    "SharpLaplace",
    "SinkhornDrift",
    "SlicedWasserstein",
    "Sphere",
    "SphereHeat",
    "SphereMixture",
    "Torus",
    "Toy",
    "TrainConfig",
    "TransportMap",
    "VonMisesFisher",
    "WrappedGaussian",
    "alpha",
    "choose_bandwidth",
    "drift",
    "drifting_loss",
    "evaluate",
    "flow_particles",
    "kde_score",
    "load",
    "mixed",
    "mode_coverage",
    "resolve_divergence",
    "resolve_kernel",
    "resume",
    "sliced_wasserstein2",
    "train",
    "transport_map",
    "wasserstein2",
]
