"""Particles that follow the flow by themselves, without a network."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from papertrio_shared.progress import progress
from torch import Tensor

from .bandwidth import Schedule, choose_bandwidth, multiscale
from .checks import require_number, require_whole
from .data import Geometry
from .divergences import Divergence, resolve_divergence
from .drift import check_kernel, drift, length_of
from .energy import energy
from .fields import Field
from .kernels import (
    Gaussian,
    GeodesicGaussian,
    InverseMultiquadric,
    Kernel,
    Laplace,
    SharpLaplace,
    VonMisesFisher,
    WrappedGaussian,
)
from .manifolds import Euclidean, Manifold, Sphere, Torus
from .ops.kde.checks import check_cloud


def flow_particles(
    x0: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    *,
    steps: int = 500,
    divergence: str | Divergence = "kl_qp",
    kernel: Kernel | None = None,
    manifold: Manifold | None = None,
    field: Field | Literal["density", "exact"] = "density",
    schedule: Schedule | None = None,
    negatives: Literal["same", "cross_fit"] = "same",
    step_size: float = 1.0,
    step_rule: Literal["fixed", "backtracking"] = "fixed",
    snapshots: int | None = None,
    generator: torch.Generator | None = None,
    **options: Any,
) -> Float[Tensor, "*snapshots n d"]:
    r"""Move particles towards the data, $x \leftarrow \exp_x(\eta v)$, with the particles as their own negatives.

    By `step_rule="backtracking"` each step of the exact field is halved until the energy, read at the same draws before
    and after, falls by 10⁻⁴ of what its slope promises (Armijo 1966), and left out where twelve halvings do not do.
    The density field is no gradient of it: beside that field the energy is only watched.

    Args:
        x0: Particles at the start.
        y: Data.
        steps: Number of steps.
        divergence: Name or object, see `divergences`.
        kernel: Kernel of both estimates; where None, three bandwidths, the chosen one of the data (`choose_bandwidth`)
            and two and four times it, by the Gaussian, von Mises–Fisher on the sphere, the wrapped Gaussian on the
            torus, and on other manifolds the Gaussian of their distance.
        manifold: Space of the points; the kernel's own where None, Euclidean where there is none either.
        field: Of the divergence the `"density"` or the `"exact"` one; or any other field, `SinkhornDrift()` say, which
            needs neither divergence nor kernel.
        schedule: Bandwidths over the way, `Annealed(...)` say, in place of the kernel's own.
        negatives: `"cross_fit"` halves the particles anew at each step, and each half sees only the other as negatives.
        step_size: η; with backtracking the longest.
        step_rule: `"fixed"`, or `"backtracking"` along the energy, which needs the exact field.
        snapshots: Number of moments to return, equally spaced, from the start to the end; the end alone where None.
        generator: Source of draws and halves; torch's global one where None.
        options: Further arguments of `drift`; of another field `self_terms` alone.

    Returns:
        Particles at the end, or at each of the moments.

    Raises:
        ValueError: As `drift` does; if the number of steps, the step size or the number of snapshots is out of range,
            there is no energy to search along, or particles cease to be finite.

    Example:
        >>> import torch
        >>> start, y = torch.randn(50, 2), torch.randn(200, 2) + 3
        >>> particles = flow_particles(start, y, steps=100)
        >>> bool((particles.mean(0) - 3).norm() < 0.3)
        True
        >>> flow_particles(start, y, steps=4, snapshots=3).shape
        torch.Size([3, 50, 2])
    """
    require_whole("steps", steps)
    require_number("step_size", step_size, above=0)
    if snapshots is not None:
        require_whole("snapshots", snapshots, least=2)
        if snapshots > steps + 1:
            raise ValueError(f"snapshots: between 2 and steps + 1 = {steps + 1} are possible, found {snapshots}")
    check_cloud("x0", x0)
    check_cloud("y", y, like=x0)
    way = _way_of(y, divergence, kernel, manifold, field, schedule, negatives, step_rule, generator, len(x0), options)
    wanted = [round(k * steps / (snapshots - 1)) for k in range(snapshots)] if snapshots else []

    x = x0.detach().clone()
    kept = [x] if wanted else []
    with torch.no_grad():
        for step in progress(range(1, steps + 1), "particles"):
            x, speed = way.step(x, step_size, (step - 1) / steps)
            if not torch.isfinite(x).all():
                raise ValueError(
                    f"step_size: particles are not finite after step {step}, fastest {float(speed.max()):.3g}; "
                    "take a smaller step or set max_step and log_weight_limit"
                )
            if step in wanted:
                kept.append(x)
    return torch.stack(kept) if wanted else x


Velocity = Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]  # of x, negatives and the share done; and its speed


@dataclass(frozen=True)
class _Way:
    """How a step is taken."""

    velocity: Velocity
    manifold: Manifold
    negatives: str
    energy: Callable[[Tensor, float, int], float] | None
    generator: torch.Generator | None

    def step(self, x: Tensor, step_size: float, done: float) -> tuple[Tensor, Tensor]:
        """Where the particles go, and how fast before the limits."""
        if self.negatives == "same":
            velocity, speed = self.velocity(x, x, done)
        else:
            velocity, speed = torch.empty_like(x), torch.empty_like(x[:, 0])
            halves = torch.randperm(len(x), generator=self.generator).to(x.device).tensor_split(2)
            for half, other in (halves, halves[::-1]):
                velocity[half], speed[half] = self.velocity(x[half], x[other], done)
        if self.energy is None:
            return self.manifold.expmap(x, step_size * velocity), speed
        seed = int(torch.randint(2**31, (1,), generator=self.generator))
        before = self.energy(x, done, seed)
        slope = float((speed * length_of(self.manifold, x, velocity)).mean())
        for halvings in range(13):
            step = step_size / 2**halvings
            there = self.manifold.expmap(x, step * velocity)
            if self.energy(there, done, seed) <= before - 1e-4 * step * slope:
                return there, speed
        return x, speed


def _way_of(
    y: Tensor,
    divergence: str | Divergence,
    kernel: Kernel | None,
    manifold: Manifold | None,
    field: Field | str,
    schedule: Schedule | None,
    negatives: str,
    step_rule: str,
    generator: torch.Generator | None,
    count: int,
    options: dict[str, Any],
) -> _Way:
    if negatives not in ("same", "cross_fit"):
        raise ValueError(f'negatives: "same" or "cross_fit" is needed, found "{negatives}"')
    if negatives == "cross_fit" and count < 2:
        raise ValueError(f"x0: cross-fitting needs at least two particles, found {count}")
    if negatives == "cross_fit" and options.get("self_terms", "keep") != "keep":
        raise ValueError('self_terms: a half of the particles is not among its negatives; leave it at "keep"')
    if schedule is not None and not callable(schedule):
        raise ValueError(f"schedule: a function of the share done is needed, Annealed(...) say, found {schedule!r}")
    if step_rule not in ("fixed", "backtracking"):
        raise ValueError(f'step_rule: "fixed" or "backtracking" is needed, found "{step_rule}"')
    if step_rule == "backtracking" and field != "exact":
        found = f'"{field}"' if isinstance(field, str) else type(field).__name__
        raise ValueError(
            f'step_rule: only the "exact" field is the gradient of an energy to search along, found {found}; '
            "there the energy is only watched"
        )
    if step_rule == "backtracking" and negatives != "same":
        raise ValueError('step_rule: the energy is that of all particles; negatives must be "same"')
    if not isinstance(field, str):
        if isinstance(field, type) or not hasattr(field, "velocity"):
            raise ValueError(f'field: "density", "exact" or a field, SinkhornDrift() say, is needed, found {field!r}')
        if schedule is not None:
            raise ValueError(f"schedule: {type(field).__name__} has its own scales; leave it out")
        manifold = Euclidean() if manifold is None else manifold
        geometry = _geometry_of(manifold, field)

        def other(x: Tensor, negatives: Tensor, done: float) -> tuple[Tensor, Tensor]:  # noqa: ARG001
            velocity = field.velocity(x, positives=y, negatives=negatives, geometry=geometry, **options)
            return velocity, velocity.norm(dim=1)

        return _Way(other, manifold, negatives, None, generator)

    kernel = kernel if kernel is not None else _kernel_of(y, manifold)
    check_kernel(kernel)
    manifold = kernel.manifold if manifold is None else manifold
    options = options | {"divergence": resolve_divergence(divergence), "manifold": manifold, "field": field}

    def kernel_at(done: float) -> Kernel:
        return kernel if schedule is None else kernel.with_lengths(schedule(done))

    def own(x: Tensor, negatives: Tensor, done: float) -> tuple[Tensor, Tensor]:
        result = drift(x, positives=y, negatives=negatives, kernel=kernel_at(done), generator=generator, **options)
        return result.velocity, result.speed

    search = _energy_along(y, kernel, kernel_at, options) if step_rule == "backtracking" else None
    return _Way(own, manifold, negatives, search, generator)


def _geometry_of(manifold: Manifold, field: Field) -> Geometry:
    for space, name in ((Euclidean, "euclidean"), (Sphere, "sphere"), (Torus, "torus")):
        if isinstance(manifold, space):
            return name  # type: ignore[return-value]
    raise ValueError(f"manifold: {type(field).__name__} does not know {type(manifold).__name__}")


def _energy_along(
    y: Tensor, kernel: Kernel, kernel_at: Callable[[float], Kernel], options: dict[str, Any]
) -> Callable[[Tensor, float, int], float]:
    """The energy in the field's unit, a mean over bandwidths, at draws that a seed tells."""
    by_squares = options.get("velocity_unit", "mean_shift") == "mean_shift"
    if by_squares and isinstance(kernel, Laplace | SharpLaplace | InverseMultiquadric):
        raise ValueError(
            f'velocity_unit: the mean shift of {type(kernel).__name__} is the gradient of no energy; take "score"'
        )
    shared = {
        name: options[name]
        for name in ("divergence", "positive_weights", "negative_weights", "self_terms", "backend")
        if name in options
    }

    def value(x: Tensor, done: float, seed: int) -> float:
        kernel = kernel_at(done)
        each = energy(
            x,
            y,
            kernel=kernel,
            draws=max(8, options.get("draws", 8)),
            generator=torch.Generator().manual_seed(seed),
            log_weight_limit=options.get("log_weight_limit", 3.0),
            **shared,
        )
        return float((each * each.new_tensor([h**2 if by_squares else 1.0 for h in kernel.lengths])).mean())

    return value


def _kernel_of(y: Tensor, manifold: Manifold | None) -> Kernel:
    distance = None if isinstance(manifold, Sphere) else manifold  # of the sphere the chord, as in its kernel
    h = choose_bandwidth(y, effective_sample_size=min(16.0, len(y) / 2), manifold=distance)
    scales = multiscale(h)
    if manifold is None or isinstance(manifold, Euclidean):
        return Gaussian(scales)
    if isinstance(manifold, Sphere):
        return VonMisesFisher(1.0).with_lengths(scales)
    if isinstance(manifold, Torus):
        return WrappedGaussian(scales)
    return GeodesicGaussian(scales, manifold)
