"""One-step generators and particle flows by gradient flows of divergences between kernel density estimates."""

from .bandwidth import Annealed, Schedule, choose_bandwidth, multiscale
from .baselines import BiSoftmax, SinkhornDrift, SlicedWasserstein
from .baselines.ot_cfm import FlowGenerator, OtCfm
from .config import TrainConfig
from .data import (
    ArrayFile,
    Digits,
    GeneratedLatents,
    ImageFolder,
    SphereCsv,
    SphereMixture,
    TorusCsv,
    Toy,
    labelled,
    named,
)
from .divergences import DIVERGENCES, Divergence, alpha, mixed, resolve_divergence
from .drift import Drift, drift, drifting_loss
from .encoders import LearntEncoder, OwnEncoder, Pixels, TimmEncoder
from .energy import energy
from .feature_fields import BiSoftmaxFeatures, KernelFeatures
from .fields import Field, KernelField
from .guidance import Guidance
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
from .metrics import (
    Evaluation,
    density_coverage,
    evaluate,
    evaluate_cloud,
    frechet_distance,
    kernel_distance,
    mode_coverage,
    precision_recall,
    sliced_wasserstein2,
    wasserstein2,
)
from .models import Generator, GeneratorConfig, ResidualConfig, TransformerConfig
from .ops.kde import KdeScore, kde_score
from .particles import flow_particles
from .presets import PRESETS
from .sample import load
from .stretches import Drifting, FeatureDrifting, ParticleFlow, Regression
from .train import resume, train
from .transport import TransportMap, transport_map

__all__ = [
    "DIVERGENCES",
    "KERNELS",
    "PRESETS",
    "Annealed",
    "ArrayFile",
    "BiSoftmax",
    "BiSoftmaxFeatures",
    "Digits",
    "Divergence",
    "Drift",
    "Drifting",
    "Euclidean",
    "Evaluation",
    "FeatureDrifting",
    "Field",
    "FlowGenerator",
    "Gaussian",
    "GeneratedLatents",
    "Generator",
    "GeneratorConfig",
    "GeodesicGaussian",
    "Guidance",
    "ImageFolder",
    "InverseMultiquadric",
    "KdeScore",
    "Kernel",
    "KernelFeatures",
    "KernelField",
    "Laplace",
    "LearntEncoder",
    "Manifold",
    "OtCfm",
    "OwnEncoder",
    "ParticleFlow",
    "Pixels",
    "Regression",
    "ResidualConfig",
    "Schedule",
    "SharpLaplace",
    "SinkhornDrift",
    "SlicedWasserstein",
    "Sphere",
    "SphereCsv",
    "SphereHeat",
    "SphereMixture",
    "TimmEncoder",
    "Torus",
    "TorusCsv",
    "Toy",
    "TrainConfig",
    "TransformerConfig",
    "TransportMap",
    "VonMisesFisher",
    "WrappedGaussian",
    "alpha",
    "choose_bandwidth",
    "density_coverage",
    "drift",
    "drifting_loss",
    "energy",
    "evaluate",
    "evaluate_cloud",
    "flow_particles",
    "frechet_distance",
    "kde_score",
    "kernel_distance",
    "labelled",
    "load",
    "mixed",
    "mode_coverage",
    "multiscale",
    "named",
    "precision_recall",
    "resolve_divergence",
    "resolve_kernel",
    "resume",
    "sliced_wasserstein2",
    "train",
    "transport_map",
    "wasserstein2",
]
