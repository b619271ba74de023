"""The stretches of a run: what moves particles or the network, one file for each."""

from .drifting import Drifting
from .feature_drifting import FeatureDrifting
from .particle_flow import ParticleFlow
from .regression import Regression
from .stretch import SHOWN, Stretch, TrainingState, finite

__all__ = ["SHOWN", "Drifting", "FeatureDrifting", "ParticleFlow", "Regression", "Stretch", "TrainingState", "finite"]
