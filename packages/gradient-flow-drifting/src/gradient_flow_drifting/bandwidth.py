"""The bandwidth: from the data, several scales from one, and one that falls while particles flow.

The same one serves both clouds, always: estimates of different widths differ where the clouds agree.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor

from .checks import check_on_manifold, require_number, require_whole
from .manifolds import Euclidean, Manifold
from .ops.kde.checks import check_cloud, positive_numbers

Schedule = Callable[[float], float | tuple[float, ...]]
"""Bandwidth or bandwidths, in the units of the points, when a share (0 to 1) of the way is done."""

_SUBSAMPLE, _SEEN_FROM = 2048, 512


def choose_bandwidth(
    y: Float[Tensor, "m d"], *, effective_sample_size: float = 16.0, manifold: Manifold | None = None
) -> float:
    r"""Bandwidth at which a point of the data sees a given number of others, at the median.

    The number is $(\sum_j k_j)^2 / \sum_j k_j^2$ of the Gaussian of the distance, itself left out. The median distance,
    a usual choice, makes the kernel flat from about 16 dimensions on. To be chosen once, on data against data, and used
    for both clouds. At most 2,048 points, equally spaced in the order of y, are looked at, from at most 512 of them.

    Args:
        y: Data.
        effective_sample_size: Number wanted, above 1 and below that of the others.
        manifold: Whose distance counts; Euclidean where None.

    Returns:
        h, in the units of the points.

    Raises:
        ValueError: If y is not a finite cloud of at least three points that do not all coincide, the number is out of
            reach, or points lie off the manifold.

    Example:
        >>> import torch
        >>> grid = torch.arange(100.0)[:, None]
        >>> 2.0 < choose_bandwidth(grid, effective_sample_size=8.0) < 3.0  # 2 √π h of them, less itself
        True
    """
    check_cloud("y", y)
    if manifold is not None and (isinstance(manifold, type | Tensor) or not hasattr(manifold, "dist")):
        raise ValueError(f"manifold: Sphere(), Torus() or another manifold is needed, found {manifold!r}")
    if manifold is not None:
        check_on_manifold("y", y, manifold)
    require_number("effective_sample_size", effective_sample_size)
    y = y.detach()[:: math.ceil(len(y) / _SUBSAMPLE)]
    if len(y) < 3:
        raise ValueError(f"y: a bandwidth is chosen from at least three points, found {len(y)}")
    if not 1 < effective_sample_size < len(y) - 1:
        raise ValueError(
            f"effective_sample_size: above 1 and below {len(y) - 1} is needed, found {effective_sample_size}"
        )
    apart = math.ceil(len(y) / _SEEN_FROM)
    square = _distances(y[::apart], y, manifold).double().square()
    spread = float(square.max().sqrt())
    square[torch.arange(len(square)), torch.arange(0, len(y), apart)] = torch.inf  # itself
    if bool((y == y[0]).all()):
        raise ValueError(f"y: all {len(y)} points coincide, which tells no bandwidth")

    low, high = math.log(1e-6 * spread), math.log(1e3 * spread)
    for _ in range(30):
        middle = 0.5 * (low + high)
        terms = torch.softmax(-0.5 * square * math.exp(-2 * middle), dim=1)
        seen = float((1 / terms.square().sum(dim=1)).median())
        low, high = (middle, high) if seen < effective_sample_size else (low, middle)
    return math.exp(0.5 * (low + high))


def _distances(x: Tensor, y: Tensor, manifold: Manifold | None) -> Tensor:
    """Of all pairs, row by row where they are a manifold's, whose intermediate results are vectors."""
    if manifold is None or isinstance(manifold, Euclidean):
        return torch.cdist(x.double(), y.double())
    return torch.stack([manifold.dist(each.expand_as(y), y) for each in x])


def multiscale(h: float, *, count: int = 3, ratio: float = 2.0) -> tuple[float, ...]:
    r"""Bandwidths h, ratio · h, ratio² · h, …; one that reaches from mode to mode belongs among them.

    Mass between modes L apart settles with a kernel of width τ after a time that grows as $e^{1.5 L/\tau}$, so that the
    finest scale alone keeps a wrong share.

    Args:
        h: The finest, in the units of the points.
        count: How many.
        ratio: Of one to the next.

    Returns:
        The bandwidths, from the finest.

    Raises:
        ValueError: If h or the ratio is not positive and finite, or the count below one.

    Example:
        >>> multiscale(0.1, count=3, ratio=4.0)
        (0.1, 0.4, 1.6)
    """
    positive_numbers("h", h)
    positive_numbers("ratio", ratio)
    require_whole("count", count)
    return tuple(h * ratio**k for k in range(count))


@dataclass(frozen=True)
class Annealed:
    r"""Bandwidths that fall exponentially, $\sigma_0 e^{-r t}$ t the share of the way that is done, to a least one.

    Attributes:
        start: σ₀ in the units of the points, or several.
        rate: r ≥ 0; over the whole way the bandwidth falls by $e^{-r}$.
        least: Below which none falls.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> schedule = Annealed.between(1.0, 0.1, until=0.5)
        >>> [round(schedule(t), 3) for t in (0.0, 0.25, 0.5, 1.0)]
        [1.0, 0.316, 0.1, 0.1]
    """

    start: float | tuple[float, ...]
    rate: float
    least: float = 0.0

    def __post_init__(self) -> None:
        positive_numbers("start", self.start)
        for name in ("rate", "least"):
            value = getattr(self, name)
            if not (isinstance(value, float | int) and math.isfinite(value) and value >= 0):
                raise ValueError(f"{name}: a finite number ≥ 0 is needed, found {value!r}")

    @classmethod
    def between(cls, start: float, end: float, *, until: float = 1.0) -> Self:
        """The schedule that falls from one bandwidth to another and stays there.

        Args:
            start: At the start, in the units of the points.
            end: At the end, not above the start.
            until: The share of the way after which the end is reached, above 0 and up to 1.

        Returns:
            The schedule.

        Raises:
            ValueError: If a number is out of range.
        """
        positive_numbers("start", start)
        positive_numbers("end", end)
        if end > start:
            raise ValueError(f"end: at most the start, {start}, is needed, found {end}")
        if not 0 < until <= 1:
            raise ValueError(f"until: above 0 and up to 1 is needed, found {until}")
        return cls(start, math.log(start / end) / until, end)

    def __call__(self, done: float) -> float | tuple[float, ...]:
        """Bandwidth, or bandwidths, when this share of the way is done.

        Args:
            done: From 0 to 1.

        Returns:
            In the units of the points.
        """
        fall = math.exp(-self.rate * done)
        if isinstance(self.start, tuple):
            return tuple(max(each * fall, self.least) for each in self.start)
        return max(self.start * fall, self.least)
