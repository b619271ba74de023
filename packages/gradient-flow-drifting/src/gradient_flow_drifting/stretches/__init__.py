"""The stretches of a run: what moves particles or the network, one file for each."""

from .drifting import Drifting
from .particle_flow import ParticleFlow
from .regression import Regression
from .stretch import SHOWN, Stretch, TrainingState, finite

__all__ = ["SHOWN", "Drifting", "ParticleFlow", "Regression", "Stretch", "TrainingState", "finite"]
