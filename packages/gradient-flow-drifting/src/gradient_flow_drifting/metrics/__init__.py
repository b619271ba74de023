"""How far samples are from the data, each figure beside its floor: the same figure between two real draws."""

from .distances import mmd2, sliced_wasserstein2, wasserstein2
from .evaluation import Encoder, Evaluation, Figure, evaluate, evaluate_cloud, feature_figures
from .features import density_coverage, frechet_distance, kernel_distance, precision_recall
from .modes import mode_coverage, mode_shares
from .support import Support

__all__ = [
    "Encoder",
    "Evaluation",
    "Figure",
    "Support",
    "density_coverage",
    "evaluate",
    "evaluate_cloud",
    "feature_figures",
    "frechet_distance",
    "kernel_distance",
    "mmd2",
    "mode_coverage",
    "mode_shares",
    "precision_recall",
    "sliced_wasserstein2",
    "wasserstein2",
]
