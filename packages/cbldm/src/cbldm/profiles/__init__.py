"""What is trained to go from curves to structures: each profile is networks, their losses and how they are sampled."""

from .graph_cvae import GraphCvae
from .paper import Paper
from .profile import Examples, Generated, Profile
from .robust import Robust
from .sampling import Sampling

ProfileConfig = Robust | Paper | GraphCvae

__all__ = ["Examples", "Generated", "GraphCvae", "Paper", "Profile", "ProfileConfig", "Robust", "Sampling"]
