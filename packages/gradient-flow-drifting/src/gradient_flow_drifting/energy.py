r"""The value of a divergence between kernel density estimates, which the exact field of `drift` descends.

For an f-divergence $D(p_h, q_h) = \int q_h\, f(r)$, $r = p_h / q_h$, the points z at which it is read come in equal
shares from both estimates, $z = x + h\varepsilon$ and $z = y + h\varepsilon$, and each counts by the balance heuristic
(Veach and Guibas 1995):

$$\int q_h\, f(r) = E_{z \sim \frac12 (p_h + q_h)} \frac{2 f(r)}{1 + r}.$$

With the f that has $f(1) = f'(1) = 0$ no term is negative, all vanish where the estimates agree, and what p has and q
lacks counts however little of q lies there: draws from $q_h$ alone, the plain way, would miss it.

A limit on the weight belongs to a divergence of its own: where $\log w = \log r^2 f''(r)$ is clamped, f goes on with
constant $r^2 f''$, that is as $-c \log r + A r + B$. So the field with limits has an energy too.
"""

import math
from collections.abc import Callable
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from .checks import check_on_manifold, require_whole
from .divergences import Divergence, FDivergence, alpha, resolve_divergence
from .drift import check_kernel, check_limits, gaussian_draws, split_parts
from .kernels import Gaussian, Kernel
from .ops.kde import KdeBackend, SelfTerms
from .ops.kde.checks import check_cloud, check_weights


def energy(
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    *,
    kernel: Kernel,
    divergence: str | Divergence = "kl_qp",
    negative_weights: Float[Tensor, " n"] | None = None,
    positive_weights: Float[Tensor, " m"] | None = None,
    self_terms: SelfTerms = "keep",
    draws: int = 8,
    generator: torch.Generator | None = None,
    log_weight_limit: float | None = None,
    backend: KdeBackend = "auto",
) -> Float[Tensor, "*bandwidths"]:
    r"""Divergence $D(p_h, q_h)$ of the model's samples x from the data y, both smoothed by the kernel.

    Its gradient with respect to $x_i$ is −1/n of the exact field, `drift` with `field="exact", velocity_unit="score"`,
    in expectation over the draws. The density field descends it as a rule, but is not its gradient. Of `mmd2` it is the
    closed form $\frac12 \iint k\,(p - q)(p - q)$ over the clouds as they are.

    Args:
        x: Samples of the model, q.
        y: Sample of the data, p.
        kernel: Kernel of both estimates; the Gaussian for all but `mmd2`.
        divergence: Name or object, see `divergences`.
        negative_weights: Weight ≥ 0 of each of x; equal ones where None.
        positive_weights: Weight ≥ 0 of each of y; equal ones where None.
        self_terms: Of `mmd2`: `"leave_one_out"` leaves the pairs i = i of both clouds out, which makes it unbiased.
        draws: Quasi-random draws for each point of both clouds.
        generator: Source of the scrambling of the draws; torch's global one where None.
        log_weight_limit: The energy of the field whose log w are clamped to ± this; None for the divergence itself.
        backend: Of `kde_score`.

    Returns:
        The divergence, ≥ 0 (but for an unbiased `mmd2`, which is in units of a density), for each bandwidth where
        several were given.

    Raises:
        ValueError: If a cloud cannot be used, weights do not match, the divergence is unknown or without its f, or the
            kernel is another than the Gaussian and the divergence compares densities.

    Example:
        >>> import torch
        >>> x, y = torch.zeros(1, 1), torch.full((1, 1), 0.3)
        >>> value = energy(x, y, kernel=Gaussian(0.5), draws=256, generator=torch.Generator().manual_seed(0))
        >>> abs(float(value) - 0.3**2 / (2 * 0.5**2)) < 0.01  # KL of two Gaussians
        True
    """
    divergence = resolve_divergence(divergence)
    check_kernel(kernel)
    check_limits(log_weight_limit, None)
    for name, cloud in (("x", x), ("y", y)):
        check_cloud(name, cloud, like=None if name == "x" else x)
        check_on_manifold(name, cloud, kernel.manifold)
    least = 2 if self_terms == "leave_one_out" else 1
    check_weights("negative_weights", negative_weights, "x", len(x), least=least)
    check_weights("positive_weights", positive_weights, "y", len(y), least=least)
    smoothed, plain = split_parts(divergence)
    if smoothed and not isinstance(kernel, Gaussian):
        raise ValueError(
            f"kernel: the energy of {smoothed[0][1].name} is for the Gaussian kernel, found {type(kernel).__name__}"
        )
    if smoothed and self_terms != "keep":
        raise ValueError(
            f'self_terms: the energy of {smoothed[0][1].name} has no pairs to leave out; "keep" is needed, '
            f'found "{self_terms}"'
        )
    require_whole("draws", draws)
    shares = (_shares(negative_weights, x), _shares(positive_weights, y))
    total = torch.zeros(len(kernel.lengths), dtype=x.dtype, device=x.device)
    if smoothed:
        total = total + _smoothed(smoothed, x, y, shares, kernel, log_weight_limit, draws, generator, backend)
    for weight, _ in plain:
        total = total + weight * _mean_discrepancy(x, y, shares, kernel, self_terms, backend)
    single = kernel.score(x[:1], x[:1], backend=backend).log_density.ndim == 1
    return total[0] if single else total


def _shares(weights: Tensor | None, cloud: Tensor) -> Tensor:
    weights = cloud.new_ones(len(cloud)) if weights is None else weights.to(cloud)
    return weights / weights.sum()


def _smoothed(
    parts: tuple[tuple[float, FDivergence], ...],
    x: Tensor,
    y: Tensor,
    shares: tuple[Tensor, Tensor],
    kernel: Kernel,
    log_weight_limit: float | None,
    draws: int,
    generator: torch.Generator | None,
    backend: KdeBackend,
) -> Tensor:
    """The f-divergences for each bandwidth, at points spread by itself around both clouds."""
    clouds = torch.cat([x, y])
    noise = gaussian_draws(len(clouds), draws, x.shape[1], generator=generator).to(x)
    counts = 0.5 * torch.cat(shares).double()
    values = []
    for h in kernel.lengths:
        single = kernel.with_lengths(h)
        at = (clouds + h * noise).reshape(-1, x.shape[1])
        log_p = single.score(at, y, weights=shares[1], backend=backend).log_density
        log_q = single.score(at, x, weights=shares[0], backend=backend).log_density
        log_r = (log_p - log_q).double()  # the integrand cancels to the second order near r = 1
        terms = sum((weight * 2 * integrand(part, log_r, log_weight_limit) for weight, part in parts), 0 * log_r)
        values.append((counts * terms.reshape(draws, -1).mean(dim=0)).sum().to(x.dtype))
    return torch.stack(values)


def _mean_discrepancy(
    x: Tensor,
    y: Tensor,
    shares: tuple[Tensor, Tensor],
    kernel: Kernel,
    self_terms: SelfTerms,
    backend: KdeBackend,
) -> Tensor:
    """½ MMD² from the means of the kernel within and between the clouds."""

    def mean_kernel(a: Tensor, b: Tensor, share_a: Tensor, share_b: Tensor, self_terms: SelfTerms) -> Tensor:
        density = kernel.score(a, b, weights=share_b, self_terms=self_terms, backend=backend).log_density.exp()
        return (density * share_a).sum(dim=-1)

    of_x, of_y = shares
    within = mean_kernel(x, x, of_x, of_x, self_terms) + mean_kernel(y, y, of_y, of_y, self_terms)
    return 0.5 * within - mean_kernel(x, y, of_x, of_y, "keep")


def integrand(part: FDivergence, log_r: Tensor, log_weight_limit: float | None) -> Tensor:
    """f(r) / (1 + r), of the divergence itself or of the one whose weight is the clamped one.

    Args:
        part: The divergence.
        log_r: log r.
        log_weight_limit: log w is clamped to ± this; None leaves it.

    Returns:
        The integrand, ≥ 0.

    Raises:
        ValueError: If the divergence comes without its f.

    Example:
        >>> from gradient_flow_drifting import alpha
        >>> far = torch.tensor([2.0, 700.0], dtype=torch.float64)
        >>> [round(each, 2) for each in integrand(alpha(2.0), far, 3.0).tolist()]  # f ~ r² / 2 without the limit
        [2.29, 7.96]
    """
    if part.integrand is None:
        raise ValueError(f"divergence: {part.name} was made without an integrand and has no energy")
    if log_weight_limit is None:
        return part.integrand(log_r)
    low, high = _unlimited(part, log_weight_limit)
    if low >= high:  # clamped everywhere
        level = part.log_weight(torch.zeros(1, dtype=torch.float64)).clamp(-log_weight_limit, log_weight_limit)
        return math.exp(float(level)) * alpha(0.0).integrand(log_r)  # type: ignore[misc]
    inside = part.integrand(log_r.clamp(low, high))
    inside = torch.where(log_r > high, _continued(log_r, part, high, log_weight_limit), inside)
    inside = torch.where(log_r < low, _continued(log_r, part, low, log_weight_limit), inside)
    if low <= 0 <= high:
        return inside
    value, slope = _value_and_slope(lambda u: _continued(u, part, low if low > 0 else high, log_weight_limit), 0.0)
    return inside - value * torch.sigmoid(-log_r) - slope * torch.tanh(log_r / 2)


_FAR = 500.0


@cache
def _unlimited(part: FDivergence, limit: float) -> tuple[float, float]:
    """Between which log r the weight of a divergence is within its limit, by bisection."""

    def log_weight(u: float) -> float:
        return float(part.log_weight(torch.tensor([u], dtype=torch.float64)))

    rising = log_weight(_FAR) >= log_weight(-_FAR)

    def first_above(level: float) -> float:
        low, high = -_FAR, _FAR
        for _ in range(60):
            middle = 0.5 * (low + high)
            low, high = (low, middle) if (log_weight(middle) > level) == rising else (middle, high)
        return 0.5 * (low + high)

    if abs(log_weight(_FAR)) <= limit and abs(log_weight(-_FAR)) <= limit:
        return -_FAR, _FAR
    ends = sorted((first_above(-limit), first_above(limit)))
    inside = abs(log_weight(0.5 * (ends[0] + ends[1]))) <= limit
    return (ends[0], ends[1]) if inside else (_FAR, _FAR)


def _continued(log_r: Tensor, part: FDivergence, start: float, limit: float) -> Tensor:
    """f / (1 + r) beyond the start, where r² f'' stays what it is there: f = f₀ − c (u − u₀) + A (e^{u−u₀} − 1)."""
    assert part.integrand is not None
    value, slope = _value_and_slope(part.integrand, start)
    c = math.exp(float(part.log_weight(torch.tensor([start], dtype=torch.float64)).clamp(-limit, limit)))
    one_over = torch.sigmoid(-log_r)
    grown = math.exp(-start) * torch.sigmoid(log_r) - one_over
    return (value - c * (log_r - start)) * one_over + (slope + c) * grown


def _value_and_slope(integrand: Callable[[Tensor], Tensor], log_r: float) -> tuple[float, float]:
    """f and its derivative with respect to log r, from f / (1 + r)."""
    u = torch.tensor([log_r], dtype=torch.float64, requires_grad=True)
    with torch.enable_grad():
        value = integrand(u) * (1 + torch.exp(u))
    (slope,) = torch.autograd.grad(value, u)
    return float(value.detach()), float(slope)
