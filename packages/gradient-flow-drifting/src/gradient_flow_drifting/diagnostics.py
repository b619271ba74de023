"""What is watched while a run goes on, and what ends it."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from .data import Distribution
from .drift import drift
from .geometry import kernel_of, space_of
from .metrics import mode_shares


class DivergedError(FloatingPointError):
    """A run whose diagnostics say that going on is useless; the message is one line."""


def field_diagnostics(
    points: Float[Tensor, "n d"],
    real: Float[Tensor, "m d"],
    distribution: Distribution,
    *,
    bandwidths: tuple[float, ...],
) -> dict[str, float]:
    """Figures of the drifting field of a cloud that stands for the model.

    The drifting loss is constant by design once it is normalised; these are not.

    Args:
        points: The model's points.
        real: As many or more real ones.
        distribution: The data, for its geometry and modes.
        bandwidths: Scales; all but the velocity is of the middle one.

    Returns:
        `velocity_squared`, the mean of ‖V‖² for KL(q‖p), mean shift, no limit; `energy`, the estimate of KL(q‖p) at
        the points; `log_ratio_05`, `log_ratio_50`, `log_ratio_95`; `effective_sample_size` of the real points;
        `self_weight`, the mean share that a point would have in the model's density at itself (near one a field that
        keeps self terms sees nothing of the model); where modes are known `coverage`, `high_quality`, `least_mode` and
        `largest_mode` and the mass of each, `mode_00` and so on (in fair shares).

    Raises:
        ValueError: If a cloud is empty, not finite or of another dimension, or there is one point alone.

    Example:
        >>> from gradient_flow_drifting.data import Toy
        >>> real, points = Toy("moons").sample(600, torch.Generator().manual_seed(0)).split(300)
        >>> abs(field_diagnostics(points, real, Toy("moons"), bandwidths=(0.2,))["energy"]) < 0.3
        True
    """
    geometry, modes = distribution.geometry, distribution.modes
    kernel = kernel_of(geometry, bandwidths)
    result = drift(
        points,
        positives=real,
        negatives=points,
        divergence="kl_qp",
        kernel=kernel,
        manifold=space_of(geometry),
        self_terms="leave_one_out",
        log_weight_limit=None,
        max_step=None,
    )
    middle = len(bandwidths) // 2
    peak = kernel.score(points[:1], points[:1]).log_density  # these kernels are as high at one point as at another
    excess = peak - math.log(max(len(points) - 1, 1)) - result.log_density_negatives
    log_ratio, size, excess = (
        each[middle] if each.ndim == 2 else each for each in (result.log_ratio, result.effective_sample_size, excess)
    )
    low, median, high = torch.quantile(log_ratio, torch.tensor([0.05, 0.5, 0.95], device=log_ratio.device)).tolist()
    figures = {
        "velocity_squared": float(result.velocity.square().sum(1).mean()),
        "energy": float(-log_ratio.mean()),
        "log_ratio_05": low,
        "log_ratio_50": median,
        "log_ratio_95": high,
        "effective_sample_size": float(size.mean()),
        "self_weight": float(torch.sigmoid(excess).mean()),  # k₀ over k₀ + (n − 1) q
    }
    if modes is not None:
        shares = mode_shares(points.cpu(), modes, geometry=geometry) * len(modes.centres)
        figures |= {
            "coverage": float((shares >= 0.5).float().mean()),
            "high_quality": float(shares.mean()),
            "least_mode": float(shares.min()),
            "largest_mode": float(shares.max()),
            **{f"mode_{i:02d}": share for i, share in enumerate(shares.tolist())},
        }
    return figures


GUARDED = ("loss", "velocity_squared")


def blown_up(figures: dict[str, float], limit: float) -> str | None:
    """The first guarded figure that is not finite or beyond the limit, in words.

    Args:
        figures: Diagnostics by name.
        limit: The largest magnitude that is still a run.

    Returns:
        None where all is well.

    Example:
        >>> blown_up({"loss": 0.1, "velocity_squared": float("nan")}, limit=1e4)
        'velocity_squared blew up (nan)'
        >>> blown_up({"loss": 2e4}, limit=1e4)
        'loss blew up (20000, the limit is 10000)'
    """
    for name in GUARDED:
        value = figures.get(name, 0.0)
        if not math.isfinite(value):
            return f"{name} blew up ({value})"
        if abs(value) > limit:
            return f"{name} blew up ({value:.6g}, the limit is {limit:.6g})"
    return None
