"""Means and their uncertainty; nothing that belongs to one field."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats


class Interval(NamedTuple):
    """A value and the limits of its confidence interval."""

    value: float
    low: float
    high: float


class RunningMean:
    """Weighted mean of values that come one at a time.

    Example:
        >>> mean = RunningMean()
        >>> mean.update(1.0, weight=3); mean.update(5.0)
        >>> mean.value
        2.0
    """

    def __init__(self) -> None:
        self.total, self.weight = 0.0, 0.0

    def update(self, value: float, weight: float = 1.0) -> None:
        """Add a value; a mean over a batch has the batch's size as its weight."""
        self.total += float(value) * weight
        self.weight += weight

    @property
    def value(self) -> float:
        """The mean so far; NaN where nothing has come."""
        return self.total / self.weight if self.weight else float("nan")


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    r"""Mean over seeds with Student's interval, $\bar x \pm t_{n-1} s / \sqrt n$.

    Args:
        values: One figure for each seed.
        confidence: Probability that the interval is to cover the mean.

    Returns:
        Mean and limits; with one value the limits are infinite.

    Raises:
        ValueError: If there is no value, or `confidence` is not between 0 and 1.

    Example:
        >>> [round(x, 3) for x in mean_interval([1.0, 2.0, 3.0])]
        [2.0, -0.484, 4.484]
    """
    data = _checked(values, confidence)
    mean = float(data.mean())
    if len(data) == 1:
        return Interval(mean, -np.inf, np.inf)
    half = float(stats.t.ppf(0.5 + confidence / 2, len(data) - 1) * data.std(ddof=1) / np.sqrt(len(data)))
    return Interval(mean, mean - half, mean + half)


def bootstrap_interval(
    values: Sequence[float] | NDArray[np.floating],
    statistic: Callable[..., ArrayLike] = np.mean,
    confidence: float = 0.95,
    resamples: int = 9999,
    seed: int = 0,
) -> Interval:
    """A statistic with its percentile bootstrap interval (Efron 1979).

    For two methods on the same cases give the differences: their interval says whether zero is left out.

    Args:
        values: One figure for each case.
        statistic: Function of the values and `axis`, as `np.mean` and `np.median` are.
        confidence: Probability that the interval is to cover the statistic.
        resamples: How many samples are drawn with replacement.
        seed: Seed of the draws.

    Returns:
        The statistic and its limits.

    Raises:
        ValueError: If there is no value, or `confidence` is not between 0 and 1.

    Example:
        >>> result = bootstrap_interval(np.arange(100.0))
        >>> result.low < result.value == 49.5 < result.high
        True
    """
    data = _checked(values, confidence)
    value = float(np.asarray(statistic(data, axis=0)))
    if len(data) == 1:
        return Interval(value, value, value)
    generator = np.random.default_rng(seed)
    result = stats.bootstrap(
        (data,), statistic, n_resamples=resamples, confidence_level=confidence, rng=generator, method="percentile"
    ).confidence_interval
    return Interval(value, float(result.low), float(result.high))


def _checked(values: Sequence[float] | NDArray[np.floating], confidence: float) -> NDArray[np.floating]:
    data = np.asarray(values, dtype=float)
    if data.ndim != 1 or len(data) == 0:
        raise ValueError(f"values have shape {data.shape}: give a list of at least one number")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}: give a number between 0 and 1")
    return data
