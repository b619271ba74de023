"""The bandwidth from the data."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from .ops.kde._checks import check_cloud

_SUBSAMPLE, _SEEN_FROM = 2048, 512


def choose_bandwidth(y: Float[Tensor, "m d"], *, effective_sample_size: float = 16.0) -> float:
    r"""Bandwidth at which a point of the data sees a given number of others, at the median.

    The number is $(\sum_j k_j)^2 / \sum_j k_j^2$ of the Gaussian kernel, itself left out. The median distance, a usual
    choice, makes the kernel flat from about 16 dimensions on. To be chosen once, on data against data, and used for
    both clouds. At most 2,048 points, equally spaced in the order of y, are looked at, from at most 512 of them.

    Args:
        y: Data.
        effective_sample_size: Number wanted, above 1 and below that of the others.

    Returns:
        h, in the units of the points.

    Raises:
        ValueError: If y is not a finite cloud of at least three points that do not all coincide, or the number is out
            of reach.

    Example:
        >>> import torch
        >>> grid = torch.arange(100.0)[:, None]
        >>> 2.0 < choose_bandwidth(grid, effective_sample_size=8.0) < 3.0  # 2 √π h of them, less itself
        True
    """
    check_cloud("y", y)
    y = y.detach()[:: math.ceil(len(y) / _SUBSAMPLE)].double()
    if len(y) < 3:
        raise ValueError(f"y: a bandwidth is chosen from at least three points, found {len(y)}")
    if not 1 < effective_sample_size < len(y) - 1:
        raise ValueError(
            f"effective_sample_size: above 1 and below {len(y) - 1} is needed, found {effective_sample_size}"
        )
    apart = math.ceil(len(y) / _SEEN_FROM)
    square = torch.cdist(y[::apart], y).square()
    square[torch.arange(len(square)), torch.arange(0, len(y), apart)] = torch.inf  # itself
    spread = float((y - y.mean(dim=0)).norm(dim=1).max())
    if spread == 0.0:
        raise ValueError(f"y: all {len(y)} points coincide, which tells no bandwidth")

    low, high = math.log(1e-6 * spread), math.log(1e3 * spread)
    for _ in range(30):
        middle = 0.5 * (low + high)
        terms = torch.softmax(-0.5 * square * math.exp(-2 * middle), dim=1)
        seen = float((1 / terms.square().sum(dim=1)).median())
        low, high = (middle, high) if seen < effective_sample_size else (low, middle)
    return math.exp(0.5 * (low + high))
