"""Measures of how well a structure explains a curve."""

import math

import numpy as np
from jaxtyping import Float


def rw(observed: Float[np.ndarray, " points"], calculated: Float[np.ndarray, " points"]) -> float:
    r"""Residual of a fit, unweighted.

    $R_w = \sqrt{\sum_i (G^{obs}_i - G^{calc}_i)^2 / \sum_i (G^{obs}_i)^2}$ (Egami and Billinge, *Underneath the Bragg
    Peaks*, 2012, with unit weights).

    Args:
        observed: Measured G on the points of the fit, Å⁻².
        calculated: G of the model on the same points, Å⁻².

    Returns:
        0 for a perfect fit, 1 for a model that says nothing.

    Raises:
        ValueError: If the curves differ in length, are empty, or nothing was observed.

    >>> rw(np.array([3.0, 4.0]), np.array([3.0, 4.5]))
    0.1
    """
    if observed.shape != calculated.shape or observed.size == 0:
        raise ValueError(f"rw: curves of {observed.shape} and {calculated.shape} points; give two of the same length")
    total = float(np.square(observed).sum())
    if total == 0.0:
        raise ValueError("rw: the observed curve is zero everywhere; give a measured one")
    return float(np.sqrt(np.square(observed - calculated).sum() / total))


def penalised_score(rw: float, *, free_parameters: int, independent_points: float) -> float:
    r"""Rw with a penalty for free parameters: the Bayesian information criterion of a fit.

    $n \ln R_w^2 + k \ln n$ (Schwarz, Ann. Statist. 6, 461, 1978, for equal errors of unknown size) with k parameters
    and $n = (r_\max - r_\min)(q_\max - q_\min)/\pi$ independent points, however finely G is sampled. One parameter
    more pays for itself where it lowers the sum of squares by more than the factor $n^{-1/n}$.

    Args:
        rw: Residual of the fit.
        free_parameters: How many were refined.
        independent_points: How much the curve can tell.

    Returns:
        The score; lower is better, and only differences on the same curve mean anything.

    >>> three = penalised_score(0.200, free_parameters=3, independent_points=140)
    >>> four = penalised_score(0.199, free_parameters=4, independent_points=140)
    >>> three < four
    True
    """
    n = independent_points
    return n * math.log(max(rw, 1e-12) ** 2) + free_parameters * math.log(n)
