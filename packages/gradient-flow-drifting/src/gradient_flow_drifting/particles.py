"""Particles that follow the flow by themselves, without a network."""

from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Float
from papertrio_shared.progress import progress
from torch import Tensor

from .bandwidth import choose_bandwidth
from .data import Geometry
from .divergences import Divergence, resolve_divergence
from .drift import drift
from .fields import Field
from .kernels import Gaussian, Kernel, VonMisesFisher, WrappedGaussian
from .manifolds import Euclidean, Manifold, Sphere, Torus
from .ops.kde._checks import check_cloud


def flow_particles(
    x0: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    *,
    steps: int = 500,
    divergence: str | Divergence = "kl_qp",
    kernel: Kernel | None = None,
    manifold: Manifold | None = None,
    field: Field | Literal["density", "exact"] = "density",
    step_size: float = 1.0,
    snapshots: int | None = None,
    **options: Any,
) -> Float[Tensor, "*snapshots n d"]:
    r"""Move particles towards the data, $x \leftarrow \exp_x(\eta v)$, with the particles as their own negatives.

    Args:
        x0: Particles at the start.
        y: Data.
        steps: Number of steps.
        divergence: Name or object, see `divergences`.
        kernel: Kernel of both estimates; where None, three bandwidths, the chosen one of the data (`choose_bandwidth`)
            and two and four times it, by the Gaussian, on the sphere von Mises–Fisher, on the torus wrapped.
        manifold: Space of the points; the kernel's own where None, Euclidean where there is none either.
        field: Of the divergence the `"density"` or the `"exact"` one; or any other field, `SinkhornDrift()` say, which
            needs neither divergence nor kernel.
        step_size: η.
        snapshots: Number of moments to return, equally spaced, from the start to the end; the end alone where None.
        options: Further arguments of `drift`; of another field `self_terms` alone.

    Returns:
        Particles at the end, or at each of the moments.

    Raises:
        ValueError: As `drift` does; if the number of steps, the step size or the number of snapshots is out of range,
            or if particles cease to be finite.

    Example:
        >>> import torch
        >>> start, y = torch.randn(50, 2), torch.randn(200, 2) + 3
        >>> particles = flow_particles(start, y, steps=100)
        >>> bool((particles.mean(0) - 3).norm() < 0.3)
        True
        >>> flow_particles(start, y, steps=4, snapshots=3).shape
        torch.Size([3, 50, 2])
    """
    if steps < 1:
        raise ValueError(f"steps: at least one is needed, found {steps}")
    if not step_size > 0:
        raise ValueError(f"step_size: must be positive, found {step_size}")
    if snapshots is not None and not 2 <= snapshots <= steps + 1:
        raise ValueError(f"snapshots: between 2 and steps + 1 = {steps + 1} are possible, found {snapshots}")
    check_cloud("x0", x0)
    check_cloud("y", y, like=x0)
    if isinstance(field, str):
        kernel = kernel if kernel is not None else _kernel_of(y, manifold)
        manifold = kernel.manifold if manifold is None else manifold
        options |= {
            "divergence": resolve_divergence(divergence),
            "kernel": kernel,
            "manifold": manifold,
            "field": field,
        }
        velocity = partial(_drift_velocity, positives=y, options=options)
    else:
        manifold = Euclidean() if manifold is None else manifold
        geometry: Geometry = "sphere" if isinstance(manifold, Sphere) else "euclidean"
        velocity = partial(_field_velocity, field=field, positives=y, geometry=geometry, options=options)
    wanted = [round(k * steps / (snapshots - 1)) for k in range(snapshots)] if snapshots else []

    x = x0.detach().clone()
    kept = [x] if wanted else []
    with torch.no_grad():
        for step in progress(range(1, steps + 1), "particles"):
            step_velocity, speed = velocity(x)
            x = manifold.expmap(x, step_size * step_velocity)
            if not torch.isfinite(x).all():
                raise ValueError(
                    f"step_size: particles are not finite after step {step}, fastest {float(speed.max()):.3g}; "
                    "take a smaller step or set max_step and log_weight_limit"
                )
            if step in wanted:
                kept.append(x)
    return torch.stack(kept) if wanted else x


def _drift_velocity(x: Tensor, *, positives: Tensor, options: dict[str, Any]) -> tuple[Tensor, Tensor]:
    result = drift(x, positives=positives, negatives=x, **options)
    return result.velocity, result.speed


def _field_velocity(
    x: Tensor, *, field: Field, positives: Tensor, geometry: Geometry, options: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    velocity = field.velocity(x, positives=positives, negatives=x, geometry=geometry, **options)
    return velocity, velocity.norm(dim=1)


def _kernel_of(y: Tensor, manifold: Manifold | None) -> Kernel:
    if isinstance(manifold, Torus):  # chosen by the chords, which know no seam
        h = choose_bandwidth(torch.cat([y.cos(), y.sin()], dim=1), effective_sample_size=min(16.0, len(y) / 2))
        return WrappedGaussian(tuple(factor * h for factor in (1, 2, 4)))
    h = choose_bandwidth(y, effective_sample_size=min(16.0, len(y) / 2))
    if isinstance(manifold, Sphere):
        return VonMisesFisher(tuple((factor * h) ** -2 for factor in (1, 2, 4)))
    return Gaussian(tuple(factor * h for factor in (1, 2, 4)))
