"""How samples share out over known modes."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..data import Geometry, Modes
from .distances import clouds, distances


def mode_shares(
    samples: Float[Tensor, "n d"], modes: Modes, *, geometry: Geometry = "euclidean"
) -> Float[Tensor, " modes"]:
    """Share of the samples that lie within 3σ of each mode.

    Args:
        samples: The samples, standardised.
        modes: Centres and radius.
        geometry: Which distance.

    Returns:
        One share for each mode; what is missing to one lies within no mode.

    Raises:
        ValueError: If the samples are empty, not finite, off the space or of another dimension than the modes.

    Example:
        >>> mode_shares(torch.tensor([[0.0], [0.1], [5.0], [9.0]]), Modes(torch.tensor([[0.0], [5.0]]), 0.5))
        tensor([0.5000, 0.2500])
    """
    samples, centres = clouds(samples, modes.centres, geometry)
    distance, nearest = distances(samples, centres, geometry).min(1)
    inside = nearest[distance <= modes.radius]
    return torch.bincount(inside, minlength=len(modes.centres)) / len(samples)


def mode_coverage(samples: Float[Tensor, "n d"], modes: Modes, *, geometry: Geometry = "euclidean") -> float:
    """Share of the modes that hold at least half of their fair share of the samples within 3σ.

    Args:
        samples: The samples, standardised.
        modes: Centres and radius.
        geometry: Which distance.

    Returns:
        From 0 to 1.

    Raises:
        ValueError: As `mode_shares` does.

    Example:
        >>> mode_coverage(torch.zeros(4, 1), Modes(torch.tensor([[0.0], [5.0]]), 0.5))
        0.5
    """
    shares = mode_shares(samples, modes, geometry=geometry)
    return float((shares >= 0.5 / len(shares)).float().mean())
