r"""Velocity of particles down a divergence between kernel density estimates, and the loss that follows it.

With estimates $p_h$ of the data (*positives*) and $q_h$ of the model (*negatives*) and $r = p_h/q_h$, particles move by
$v = w(r)\, (\nabla\log p_h - \nabla\log q_h)$, w from the divergence (`divergences`). In units of the mean shift that
is $w\, (m_p - m_q)$, without the factor $1/h^2$. Two fields belong to it: `"density"`, v at the particle, is the
velocity of the smoothed densities; `"exact"`, the mean $E_{\varepsilon \sim N(0, I)}\, v(x + h \varepsilon)$, is the
gradient of $D(p_h, q_h)$, the `energy`, with respect to the particles, times minus their number. Of several bandwidths
the mean is taken.

That $m_p - m_q$ is h² times the difference of scores is particular to the Gaussian and its like on the sphere and other
manifolds. With a Laplace or another kernel of longer tails `velocity_unit="mean_shift"` is the Drifting Model's field
and `velocity_unit="score"` the gradient flow; `kernels.radial` says how they differ.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from .checks import check_clouds, require_number, require_whole
from .divergences import Divergence, FDivergence, MeanDiscrepancy, resolve_divergence
from .kernels import Gaussian, Kernel
from .manifolds import Manifold
from .ops.kde import KdeBackend, KdeScore, SelfTerms
from .ops.kde.checks import check_weights

Field = Literal["density", "exact"]
VelocityUnit = Literal["mean_shift", "score"]


@dataclass(frozen=True, eq=False)
class Drift:
    """The velocity of each particle and what it came from; leading axes of bandwidths where several were given.

    Attributes:
        velocity: Mean over bandwidths after the limits, in units of the points (mean shift) or their inverse (score).
        speed: Its length before `max_step`.
        log_ratio: log p_h − log q_h at the particles.
        log_density_positives: log p_h.
        log_density_negatives: log q_h.
    """

    velocity: Float[Tensor, "n d"]
    speed: Float[Tensor, " n"]
    log_ratio: Float[Tensor, "*bandwidths n"]
    log_density_positives: Float[Tensor, "*bandwidths n"]
    log_density_negatives: Float[Tensor, "*bandwidths n"]
    _count_positives: Callable[[], Tensor] = field(repr=False)
    _share_of_itself: Callable[[], Tensor] = field(repr=False)

    @cached_property
    def effective_sample_size(self) -> Float[Tensor, "*bandwidths n"]:
        r"""How many positives each particle sees, $(\sum_j k_j)^2 / \sum_j k_j^2$; worked out when first asked for."""
        return self._count_positives()

    @cached_property
    def self_weight(self) -> Float[Tensor, "*bandwidths n"]:
        r"""The share of a particle's own term in q_h at it; near one it sees nothing of the model but itself.

        Zero where there is no such term: left out, or the first rows of the negatives are others than the particles.
        """
        return self._share_of_itself()


def drift(
    x: Float[Tensor, "n d"],
    *,
    positives: Float[Tensor, "p d"],
    negatives: Float[Tensor, "q d"],
    kernel: Kernel,
    divergence: str | Divergence = "kl_qp",
    manifold: Manifold | None = None,
    positive_weights: Float[Tensor, " p"] | None = None,
    negative_weights: Float[Tensor, " q"] | None = None,
    self_terms: SelfTerms = "keep",
    field: Field = "density",
    draws: int = 4,
    generator: torch.Generator | None = None,
    log_weight_limit: float | None = 3.0,
    max_step: float | Literal["bandwidth"] | None = "bandwidth",
    velocity_unit: VelocityUnit = "mean_shift",
    backend: KdeBackend = "auto",
) -> Drift:
    r"""Velocity of the particles x in the Wasserstein gradient flow of a divergence.

    Args:
        x: Particles.
        positives: Sample of the data p.
        negatives: Sample of the model q: x itself, or an independent batch (cross-fitting).
        kernel: Kernel of both estimates; the same for both, which identifiability needs.
        divergence: Name or object, see `divergences`.
        manifold: Space of the points; the kernel's own where None.
        positive_weights: Weight ≥ 0 of each positive; equal ones where None.
        negative_weights: Weight ≥ 0 of each negative; equal ones where None.
        self_terms: `"leave_one_out"` leaves the term of x itself out of q_h, for which the first rows of `negatives`
            must be x; `"keep"` keeps it, and there is no field where negatives and positives are the same.
        field: `"density"`, or `"exact"`: for f-divergences with the Gaussian kernel, by Monte-Carlo; of `mmd2` the
            density field is the exact one, with any kernel.
        draws: Quasi-random draws for each particle of the exact field; powers of two are stratified best.
        generator: Source of the scrambling of the draws; torch's global one where None.
        log_weight_limit: Each divergence's log w is clamped to ± this; None leaves it.
        max_step: Limit of the velocity's length, in its own units; `"bandwidth"` is the largest bandwidth (over its
            square, where the unit is the score); None leaves it.
        velocity_unit: `"mean_shift"` is w (m_p − m_q), without the factor 1/h² of the Gaussian; `"score"` is
            w (∇log p_h − ∇log q_h).
        backend: Of `kde_score`; kernels other than the Gaussian and von Mises–Fisher have only the reference.

    Returns:
        Velocity, log ratio and diagnostics.

    Raises:
        ValueError: If a cloud is empty, not finite, of another dimension or off the manifold, weights do not match,
            the divergence is unknown, the kernel does not live on the manifold, the exact field does not exist,
            `"leave_one_out"` has fewer than two negatives or others than x, or densities that `mmd2` needs exceed the
            precision's range.

    Example:
        >>> import torch
        >>> x, y = torch.zeros(1, 2), torch.tensor([[0.1, 0.0], [0.3, 0.0]])
        >>> result = drift(x, positives=y, negatives=x, kernel=Gaussian(0.5))
        >>> [round(value, 3) for value in result.velocity[0].tolist()]  # the weighted mean of y, less that of x
        [0.192, 0.0]
    """
    divergence = resolve_divergence(divergence)
    check_kernel(kernel)
    manifold = kernel.manifold if manifold is None else manifold
    check_limits(log_weight_limit, max_step)
    if velocity_unit not in ("mean_shift", "score"):
        raise ValueError(f'velocity_unit: "mean_shift" or "score" is needed, found "{velocity_unit}"')
    _check_clouds(x, positives, negatives, manifold, kernel, self_terms)
    check_weights("positive_weights", positive_weights, "positives", len(positives))
    least = 2 if self_terms == "leave_one_out" else 1
    check_weights("negative_weights", negative_weights, "negatives", len(negatives), least=least)

    def estimates(kernel: Kernel, at: Tensor) -> tuple[KdeScore, KdeScore]:
        estimate = kernel.mean_shift if velocity_unit == "mean_shift" else kernel.score
        p = estimate(at, positives, weights=positive_weights, backend=backend)
        q = estimate(at, negatives, weights=negative_weights, self_terms=self_terms, backend=backend)
        return p, q

    p, q = estimates(kernel, x)
    if field == "density":
        velocity = _velocity(divergence.parts(), p, q, log_weight_limit)
    elif field == "exact":
        velocity = _exact_velocity(
            divergence, x, kernel, p, q, estimates, self_terms, log_weight_limit, draws, generator
        )
    else:
        raise ValueError(f'field: "density" or "exact" is needed, found "{field}"')
    velocity = velocity.mean(dim=0)

    speed = length_of(manifold, x, velocity)
    if max_step == "bandwidth":
        longest = max(kernel.lengths)
        max_step = longest if velocity_unit == "mean_shift" else 1 / longest
    if max_step is not None:
        velocity = velocity * (max_step / speed.clamp_min(max_step))[:, None]
    return Drift(
        velocity=velocity,
        speed=speed,
        log_ratio=p.log_density - q.log_density,
        log_density_positives=p.log_density,
        log_density_negatives=q.log_density,
        _count_positives=lambda: kernel.effective_sample_size(x, positives, weights=positive_weights, backend=backend),
        _share_of_itself=lambda: _self_weight(x, negatives, negative_weights, kernel, self_terms, q.log_density),
    )


def drifting_loss(
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "p d"],
    *,
    kernel: Kernel,
    manifold: Manifold | None = None,
    negatives: Float[Tensor, "q d"] | None = None,
    step_size: float = 1.0,
    **options: object,
) -> Float[Tensor, ""]:
    r"""Mean squared distance of the model's samples x from where one step of the flow takes them.

    $\frac1n \sum_i \mathrm{dist}\bigl(x_i, \mathrm{sg}[\exp_{x_i}(\eta v_i)]\bigr)^2$ with no gradient through the
    target (Deng et al. 2026): its value is $\eta^2$ times the mean squared speed, its gradient $-2\eta v_i / n$.

    Args:
        x: Samples of the model, with their gradient.
        y: Samples of the data.
        kernel: Kernel of both estimates.
        manifold: Space of the points; the kernel's own where None.
        negatives: Sample of the model; x itself where None.
        step_size: η.
        options: Further arguments of `drift`.

    Returns:
        The loss, in squared units of the points.

    Raises:
        ValueError: As `drift` does; if the step size is not positive and finite.

    Example:
        >>> import torch
        >>> x = torch.zeros(1, 2, requires_grad=True)
        >>> drifting_loss(x, torch.tensor([[0.1, 0.0]]), kernel=Gaussian(0.5)).backward()
        >>> [round(value, 3) for value in x.grad[0].tolist()]  # towards the datum, times -2
        [-0.2, 0.0]
    """
    check_kernel(kernel)
    require_number("step_size", step_size, above=0)
    manifold = kernel.manifold if manifold is None else manifold
    with torch.no_grad():
        own = x if negatives is None else negatives
        step = drift(x, positives=y, negatives=own, kernel=kernel, manifold=manifold, **options)  # type: ignore[arg-type]
        target = manifold.expmap(x, step_size * step.velocity)
    return manifold.dist(x, target).square().mean()


Parts = tuple[tuple[float, FDivergence | MeanDiscrepancy], ...]


def _velocity(parts: Parts, p: KdeScore, q: KdeScore, log_weight_limit: float | None) -> Tensor:
    """The density field with a leading axis of bandwidths."""
    terms = (weight * part.velocity(p, q, log_weight_limit) for weight, part in parts)
    total = sum(terms, torch.zeros_like(p.score))
    return total if total.ndim == 3 else total[None]


def _exact_velocity(
    divergence: Divergence,
    x: Tensor,
    kernel: Kernel,
    p: KdeScore,
    q: KdeScore,
    estimates: Callable[[Kernel, Tensor], tuple[KdeScore, KdeScore]],
    self_terms: str,
    log_weight_limit: float | None,
    draws: int,
    generator: torch.Generator | None,
) -> Tensor:
    """The exact field by quasi-random draws, for each bandwidth at points spread by itself."""
    require_whole("draws", draws)
    smoothed, plain = split_parts(divergence)
    velocity = _velocity(plain, p, q, log_weight_limit)  # ½ MMD² is a functional of the points as they are
    if not smoothed:
        return velocity
    if not isinstance(kernel, Gaussian):
        raise ValueError(f'field: "exact" is for the Gaussian kernel; {type(kernel).__name__} has only "density"')
    noise = gaussian_draws(len(x), draws, x.shape[1], generator=generator).to(x)
    fields = []
    for h in kernel.lengths:
        single = kernel.with_lengths(h)
        if self_terms == "keep":
            spread = (x + h * noise).reshape(-1, x.shape[1])
            at_draws = _velocity(smoothed, *estimates(single, spread), log_weight_limit).reshape(noise.shape)
        else:  # a point's own term is told by its row, so that the draws come one after the other
            at_draws = torch.cat(
                [_velocity(smoothed, *estimates(single, x + h * each), log_weight_limit) for each in noise]
            )
        fields.append(at_draws.mean(dim=0))
    return velocity + torch.stack(fields)


def split_parts(
    divergence: Divergence,
) -> tuple[tuple[tuple[float, FDivergence], ...], tuple[tuple[float, MeanDiscrepancy], ...]]:
    """The f-divergences of a sum, which compare smoothed clouds, and what compares the clouds as they are.

    Args:
        divergence: A divergence.

    Returns:
        Both with their weights.
    """
    parts = divergence.parts()
    smoothed = tuple((weight, part) for weight, part in parts if isinstance(part, FDivergence))
    return smoothed, tuple((weight, part) for weight, part in parts if not isinstance(part, FDivergence))


def _self_weight(
    x: Tensor,
    negatives: Tensor,
    negative_weights: Tensor | None,
    kernel: Kernel,
    self_terms: str,
    log_density: Tensor,
) -> Tensor:
    """The term of x itself over q_h; these kernels are as high at one point as at another."""
    if self_terms != "keep" or len(negatives) < len(x) or not torch.equal(negatives[: len(x)], x):
        return torch.zeros_like(log_density)
    share = torch.full_like(x[:, 0], 1 / len(negatives))
    if negative_weights is not None:
        share = (negative_weights / negative_weights.sum())[: len(x)].to(x)
    peak = kernel.score(x[:1], x[:1]).log_density
    return share * torch.exp(peak - log_density)


def length_of(manifold: Manifold, x: Tensor, u: Tensor) -> Tensor:
    """Length of tangent vectors: by the inner product that geoopt's manifolds have, else that of the coordinates.

    Args:
        manifold: The space.
        x: Points.
        u: A tangent vector at each.

    Returns:
        The lengths.
    """
    inner = getattr(manifold, "inner", None)
    if inner is None:
        return u.norm(dim=-1)
    square = inner(x, u, keepdim=True)[..., 0]  # without keepdim geoopt 0.5's ball multiplies all with all
    positive = square > 0
    return torch.where(positive, torch.where(positive, square, 1.0).sqrt(), 0.0)  # no NaN in the gradient at zero


def gaussian_draws(
    points: int, draws: int, dimension: int, *, generator: torch.Generator | None = None
) -> Float[Tensor, "draws points dimension"]:
    """Standard normal numbers, quasi-random for each point: a scrambled Sobol sequence through the normal quantile.

    A block of 2^k numbers of the sequence is stratified by itself, and each point gets one block.

    Args:
        points: Number of points.
        draws: Numbers for each.
        dimension: Coordinates of each.
        generator: Source of the scrambling; torch's global one where None.

    Returns:
        Draws in float64.

    Example:
        >>> import torch
        >>> gaussian_draws(100, 8, 2, generator=torch.Generator().manual_seed(0)).shape
        torch.Size([8, 100, 2])
    """
    seed = int(torch.randint(2**31, (1,), generator=generator, device=generator.device if generator else None))
    sobol = torch.quasirandom.SobolEngine(dimension, scramble=True, seed=seed)
    uniform = sobol.draw(points * draws, dtype=torch.float64).reshape(points, draws, dimension)
    half_step = 2.0**-31  # keeps 0, which the sequence may contain, from minus infinity
    return math.sqrt(2) * torch.erfinv(2 * uniform.clamp(half_step, 1 - half_step) - 1).transpose(0, 1)


def check_limits(log_weight_limit: float | None, max_step: float | str | None) -> None:
    """Hold the two limits of `drift` to what they may be.

    Args:
        log_weight_limit: See `drift`.
        max_step: See `drift`.

    Raises:
        ValueError: If one is out of range.
    """
    if log_weight_limit is not None and not (isinstance(log_weight_limit, float | int) and log_weight_limit >= 0):
        raise ValueError(f"log_weight_limit: a number ≥ 0 or None is needed, found {log_weight_limit}")
    if max_step is not None and max_step != "bandwidth" and not (isinstance(max_step, float | int) and max_step > 0):
        raise ValueError(f'max_step: a number > 0, "bandwidth" or None is needed, found {max_step!r}')


def check_kernel(kernel: object) -> None:
    """Hold a kernel to what `drift` asks of it.

    Args:
        kernel: What was handed over.

    Raises:
        ValueError: If it is none.
    """
    if isinstance(kernel, type) or not hasattr(kernel, "mean_shift"):
        raise ValueError(
            f"kernel: a kernel is needed, Gaussian(0.2) or resolve_kernel(name, 0.2) say, found {kernel!r}"
        )


def _check_clouds(
    x: Tensor, positives: Tensor, negatives: Tensor, manifold: Manifold, kernel: Kernel, self_terms: str
) -> None:
    if isinstance(manifold, type):
        raise ValueError(f"manifold: an object is needed, {manifold.__name__}() say, found the class itself")
    if manifold != kernel.manifold:
        own, other = type(kernel.manifold).__name__, type(manifold).__name__
        other = f"another {own}" if own == other else other
        raise ValueError(f"kernel: {type(kernel).__name__} lives on {own}, manifold is {other}")
    check_clouds(x, positives, negatives, manifold, self_terms)
