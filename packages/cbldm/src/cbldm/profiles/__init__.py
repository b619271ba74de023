"""What is trained to go from curves to structures: each profile is networks, their losses and how they are sampled."""

from .profile import Examples, Generated, Profile
from .robust import Robust

ProfileConfig = Robust

__all__ = ["Examples", "Generated", "Profile", "ProfileConfig", "Robust"]
