"""Samplers of a latent diffusion: DDPM, DDIM, the jump by a conditional prior and the prior alone, for batches."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .schedule import CosineSchedule

Denoiser = Callable[[Float[Tensor, "*latent"], Int[Tensor, " batch"]], Float[Tensor, "*latent"]]
"""A network's prediction from a batch of z_t and the step of each."""
Prediction = Literal["epsilon", "velocity"]
"""What it predicts: the noise ε, or v = √ᾱ ε − √(1 − ᾱ) x₀ (Salimans and Ho 2022), which keeps its sense at ᾱ = 0."""


@dataclass(frozen=True)
class Ddpm:
    """Ancestral sampling of Ho, Jain and Abbeel (2020): noise is added after each step.

    Attributes:
        steps: Evaluations of the network; by default every step of the schedule.
    """

    steps: int | None = None


@dataclass(frozen=True)
class Ddim:
    """Deterministic sampling of Song, Meng and Ermon (2021), good in few steps.

    Attributes:
        steps: Evaluations of the network.
    """

    steps: int = 20


@dataclass(frozen=True)
class PriorOnly:
    """No diffusion: a draw from the conditional prior is the sample."""


Sampler = Ddpm | Ddim | PriorOnly


@dataclass(frozen=True)
class PriorJump:
    """One step in which a draw from the conditional prior stands for x₀ (Cao et al., arXiv 2509.01370).

    Attributes:
        start: Step from which it is taken.
        stop: Step that it leads to.
    """

    start: int = 900
    stop: int = 800


class Estimate(NamedTuple):
    """What a prediction says about a latent.

    Attributes:
        clean: x₀.
        noise: ε.
    """

    clean: Float[Tensor, "*latent"]
    noise: Float[Tensor, "*latent"]


def estimate(
    z: Float[Tensor, "*latent"],
    predicted: Float[Tensor, "*latent"],
    *,
    share: float,
    prediction: Prediction = "epsilon",
    limit: float | None = None,
) -> Estimate:
    r"""x₀ and ε of which a latent is made, $z = \sqrt{\bar\alpha}\, x_0 + \sqrt{1 - \bar\alpha}\, \epsilon$.

    Args:
        z: Latent.
        predicted: The network's output.
        share: ᾱ of the latent's step.
        prediction: What the output is.
        limit: Largest |x₀|; where the estimate is beyond it, it is cut, and ε follows.

    Returns:
        Both.

    >>> estimate(torch.tensor([1.0]), torch.tensor([0.5]), share=0.75).clean
    tensor([0.8660])
    """
    signal, noise = share**0.5, (1 - share) ** 0.5
    clean = signal * z - noise * predicted if prediction == "velocity" else (z - noise * predicted) / signal
    if limit is not None:
        clean = clean.clamp(-limit, limit)
    elif prediction == "epsilon":
        return Estimate(clean, predicted)
    return Estimate(clean, (z - signal * clean) / max(noise, 1e-12))


def reverse_step(
    found: Estimate, *, now: float, then: float, noise: Float[Tensor, "*latent"] | None = None
) -> Float[Tensor, "*latent"]:
    r"""One step from $\bar\alpha_t$ to $\bar\alpha_s$, s < t.

    With noise: a draw of $q(z_s \mid z_t, x_0)$, of variance
    $\sigma^2 = \frac{1 - \bar\alpha_s}{1 - \bar\alpha_t} \left(1 - \frac{\bar\alpha_t}{\bar\alpha_s}\right)$ (Ho et al.
    2020, Eq. 7, for any s). Without: $\sigma = 0$, the step of Song et al. (2021, Eq. 12). Either way
    $z_s = \sqrt{\bar\alpha_s}\, x_0 + \sqrt{1 - \bar\alpha_s - \sigma^2}\, \epsilon + \sigma \cdot \mathrm{noise}$.

    Args:
        found: x₀ and ε at t.
        now: ᾱ_t.
        then: ᾱ_s, the larger.
        noise: Standard normal, or None.

    Returns:
        z_s.
    """
    if noise is None:
        return then**0.5 * found.clean + (1 - then) ** 0.5 * found.noise
    variance = (1 - then) / (1 - now) * (1 - now / then)
    return then**0.5 * found.clean + max(1 - then - variance, 0.0) ** 0.5 * found.noise + variance**0.5 * noise


def prior_jump(
    z: Float[Tensor, "*latent"], prior: Float[Tensor, "*latent"], *, now: float, then: float
) -> Float[Tensor, "*latent"]:
    r"""From $t_1$ to $t_2 < t_1$ with the prior's draw $z_p$ in the place of $x_0$ (Cao et al., arXiv 2509.01370).

    $z_{t_2} = \sqrt{\bar\alpha_2}\, z_p + \sqrt{1 - \bar\alpha_2}\,
    (z_{t_1} - \sqrt{\bar\alpha_1}\, z_p) / \sqrt{1 - \bar\alpha_1}$: a DDIM step whose ε follows from $z_p$.

    Args:
        z: Latents at t₁.
        prior: Draws of the conditional prior.
        now: ᾱ at t₁.
        then: ᾱ at t₂.

    Returns:
        Latents at t₂.

    >>> prior_jump(torch.tensor([0.5]), torch.tensor([0.5]), now=0.36, then=1.0)
    tensor([0.5000])
    """
    return reverse_step(Estimate(prior, (z - now**0.5 * prior) / (1 - now) ** 0.5), now=now, then=then)


@torch.no_grad()
def draw(
    denoiser: Denoiser,
    start: Float[Tensor, "*latent"],
    schedule: CosineSchedule,
    *,
    sampler: Sampler,
    generator: torch.Generator,
    prediction: Prediction = "epsilon",
    limit: float | None = None,
    jump: PriorJump | None = None,
    prior: Float[Tensor, "*latent"] | None = None,
) -> Float[Tensor, "*latent"]:
    """Take pure noise to latents; or, where the prior alone is asked for, take its draws.

    Each step of the way is evaluated once, the last one, from which the data follows, included.

    Args:
        denoiser: The network with its condition bound.
        start: Standard normal noise, which step T is.
        schedule: The noise that it was trained with.
        sampler: Which one, and how many steps.
        generator: Of the noise that DDPM adds; on the CPU.
        prediction: What the network predicts.
        limit: Largest |x₀| of an estimate.
        jump: Where the conditional prior takes over for one step, if it does; means nothing for the prior alone.
        prior: Its draws.

    Returns:
        Latents at step 0.

    Raises:
        ValueError: If a jump lies outside of the schedule, or the prior is asked for and has no draws.
    """
    if isinstance(sampler, PriorOnly):
        if prior is None:
            raise ValueError("sampling by the prior alone needs the prior's draws; give prior, or another sampler")
        return prior
    z, alpha_bar = start, schedule.alpha_bar.tolist()
    for now, then in _legs(schedule, sampler, jump):
        if jump is not None and (now, then) == (jump.start, jump.stop):
            if prior is None:
                raise ValueError("a jump by the prior needs the prior's draws; give prior, or no jump")
            z = prior_jump(z, prior, now=alpha_bar[now], then=alpha_bar[then])
            continue
        t = torch.full((len(z),), now, dtype=torch.long, device=z.device)
        found = estimate(z, denoiser(z, t), share=alpha_bar[now], prediction=prediction, limit=limit)
        fresh = None
        if isinstance(sampler, Ddpm):
            fresh = torch.randn(z.shape, generator=generator, dtype=z.dtype).to(z.device)
        z = reverse_step(found, now=alpha_bar[now], then=alpha_bar[then], noise=fresh)
    return z


def _legs(schedule: CosineSchedule, sampler: Ddpm | Ddim, jump: PriorJump | None) -> list[tuple[int, int]]:
    """Pairs of steps, from where to where."""
    count = sampler.steps or schedule.steps
    if jump is None:
        times = schedule.times(count)
    else:
        if not 0 <= jump.stop < jump.start <= schedule.steps:
            raise ValueError(
                f"jump from step {jump.start} to {jump.stop}: give steps of 0 to {schedule.steps}, the first the larger"
            )
        before = [] if jump.start == schedule.steps else schedule.times(_share(count, schedule, jump), stop=jump.start)
        after = [] if jump.stop == 0 else schedule.times(max(1, count - max(0, len(before) - 1)), start=jump.stop)
        times = [*before[:-1], jump.start, jump.stop, *after[1:]]
    return list(itertools.pairwise(times))


def _share(count: int, schedule: CosineSchedule, jump: PriorJump) -> int:
    """How many of the steps lie before a jump."""
    above = schedule.steps - jump.start
    return max(1, round(count * above / (above + jump.stop)))
