"""Samplers against closed forms: for Gaussian data the exact noise is known, and what each sampler makes of it."""

import itertools

import pytest
import torch
from cbldm.diffusion.samplers import (
    Ddim,
    Ddpm,
    Estimate,
    PriorJump,
    PriorOnly,
    draw,
    estimate,
    prior_jump,
    reverse_step,
)
from cbldm.diffusion.schedule import CosineSchedule
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

MEAN = torch.tensor([1.5, -0.5], dtype=torch.float64)
COVARIANCE = torch.tensor([[0.50, 0.35], [0.35, 0.40]], dtype=torch.float64)
UNIT = torch.eye(2, dtype=torch.float64)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Exact:
    """The noise that is expected given z_t where the data is N(MEAN, COVARIANCE), and the steps it was asked at."""

    def __init__(self, schedule: CosineSchedule, prediction: str = "epsilon") -> None:
        self.alpha_bar, self.prediction, self.asked = schedule.alpha_bar, prediction, []

    def __call__(self, z: Tensor, t: Tensor) -> Tensor:
        assert t.shape == z.shape[:1]
        assert (t == t[0]).all()
        self.asked.append(int(t[0]))
        share = self.alpha_bar[t[0]]
        spread = share * COVARIANCE + (1 - share) * UNIT
        noise = (1 - share).sqrt() * (z - share.sqrt() * MEAN) @ torch.linalg.inv(spread)
        if self.prediction == "epsilon":
            return noise
        clean = (z - (1 - share).sqrt() * noise) / share.sqrt()
        return share.sqrt() * noise - (1 - share).sqrt() * clean


def root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.sqrt() @ vectors.mT


def flow(start: Tensor, schedule: CosineSchedule) -> Tensor:
    """Where the probability flow takes noise: the matrices commute, so each eigendirection keeps its quantile."""
    share = schedule.alpha_bar[-1]
    spread = share * COVARIANCE + (1 - share) * UNIT
    return MEAN + (start - share.sqrt() * MEAN) @ torch.linalg.inv(root(spread)) @ root(COVARIANCE)


def affine(schedule: CosineSchedule, denoiser: Exact, times: list[int], stochastic: bool) -> tuple[Tensor, Tensor]:
    """Mean and covariance of what a sampler gives, propagated exactly: each of its steps is an affine map and noise."""
    mean, covariance = torch.zeros(2, dtype=torch.float64), UNIT
    for now, then in itertools.pairwise(times):
        a, b = float(schedule.alpha_bar[now]), float(schedule.alpha_bar[then])
        probes = torch.cat([torch.zeros(1, 2, dtype=torch.float64), UNIT])
        noise = denoiser(probes, torch.full((3,), now))
        clean = (probes - (1 - a) ** 0.5 * noise) / a**0.5
        variance = (1 - b) / (1 - a) * (1 - a / b) if stochastic else 0.0
        # Ho et al. (2020), Eq. 7, in terms of x₀ and z_t, where it is random.
        if stochastic:
            weight = b**0.5 * (1 - a / b) / (1 - a), (a / b) ** 0.5 * (1 - b) / (1 - a)
            moved = weight[0] * clean + weight[1] * probes
        else:
            moved = b**0.5 * clean + (1 - b) ** 0.5 * noise
        matrix, shift = moved[1:] - moved[0], moved[0]
        mean, covariance = mean @ matrix + shift, matrix.mT @ covariance @ matrix + variance * UNIT
    return mean, covariance


@given(st.floats(0.01, 0.95), st.floats(0.01, 0.99), st.floats(-3, 3), st.floats(-3, 3))
def test_a_random_step_is_bayes_rule(share: float, above: float, clean: float, z: float) -> None:
    """q(z_s | z_t, x₀) from the product of q(z_s | x₀) and q(z_t | z_s), by precisions."""
    then = share + above * (0.999 - share)
    step = share / then
    precision = 1 / (1 - then) + step / (1 - step)
    mean = (then**0.5 * clean / (1 - then) + step**0.5 * z / (1 - step)) / precision
    found = Estimate(
        torch.tensor([clean], dtype=torch.float64),
        torch.tensor([(z - share**0.5 * clean) / (1 - share) ** 0.5], dtype=torch.float64),
    )
    noise = torch.tensor([0.7], dtype=torch.float64)
    moved = float(reverse_step(found, now=share, then=then, noise=noise))
    assert moved == pytest.approx(mean + 0.7 / precision**0.5, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("prediction", ["epsilon", "velocity"])
def test_ddim_follows_the_probability_flow(prediction: str) -> None:
    """For Gaussian data the flow is known; the more steps, the nearer, in proportion."""
    schedule = CosineSchedule()
    start = torch.randn(64, 2, generator=generator(), dtype=torch.float64)
    errors = []
    for steps in (50, 100, 200):
        denoiser = Exact(schedule, prediction)
        found = draw(
            denoiser,
            start,
            schedule,
            sampler=Ddim(steps),
            generator=generator(),
            prediction=prediction,  # type: ignore[arg-type]
        )
        errors.append(float((found - flow(start, schedule)).abs().max()))
        assert len(denoiser.asked) == steps
    assert errors[2] < 0.02
    assert all(1.5 < coarse / fine < 2.7 for coarse, fine in itertools.pairwise(errors))


@pytest.mark.parametrize("sampler", [Ddpm(), Ddpm(10), Ddim(10)])
def test_moments_are_those_of_the_exact_recursion(sampler: Ddpm | Ddim) -> None:
    schedule, count = CosineSchedule(steps=100), 40_000
    start = torch.randn(count, 2, generator=generator(), dtype=torch.float64)
    found = draw(Exact(schedule), start, schedule, sampler=sampler, generator=generator(1))
    times = schedule.times(sampler.steps or 100)
    mean, covariance = affine(schedule, Exact(schedule), times, isinstance(sampler, Ddpm))
    assert (found.mean(0) - mean).abs().max() < 4 * (covariance.diagonal().max() / count).sqrt()
    assert (torch.cov(found.mT) - covariance).abs().max() < 4 * float(covariance.max()) * (2 / count) ** 0.5


def test_ddpm_with_all_steps_gives_the_data() -> None:
    schedule = CosineSchedule(steps=1000)
    mean, covariance = affine(schedule, Exact(schedule), schedule.times(1000), stochastic=True)
    assert (mean - MEAN).abs().max() < 1e-3
    assert (covariance - COVARIANCE).abs().max() < 0.01


def test_every_step_is_asked_once_down_to_the_first() -> None:
    schedule = CosineSchedule(steps=30)
    denoiser = Exact(schedule)
    draw(denoiser, torch.zeros(3, 2, dtype=torch.float64), schedule, sampler=Ddpm(), generator=generator())
    assert denoiser.asked == list(range(30, 0, -1))


def test_a_batch_is_each_of_its_samples() -> None:
    schedule = CosineSchedule(steps=20)
    start = torch.randn(5, 2, generator=generator(), dtype=torch.float64)
    together = draw(Exact(schedule), start, schedule, sampler=Ddim(7), generator=generator())
    alone = [draw(Exact(schedule), z[None], schedule, sampler=Ddim(7), generator=generator()) for z in start]
    assert torch.allclose(together, torch.cat(alone), atol=1e-14)


def test_noise_differs_within_a_batch_and_repeats_with_its_seed() -> None:
    schedule = CosineSchedule(steps=20)
    start = torch.zeros(4, 2, dtype=torch.float64)
    first, again, other = (
        draw(Exact(schedule), start, schedule, sampler=Ddpm(), generator=generator(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len(first.unique(dim=0)) == 4


def test_both_predictions_say_the_same() -> None:
    z, noise, share = torch.randn(3, 4), torch.randn(3, 4), 0.3
    clean = (z - (1 - share) ** 0.5 * noise) / share**0.5
    velocity = share**0.5 * noise - (1 - share) ** 0.5 * clean
    for found in (estimate(z, noise, share=share), estimate(z, velocity, share=share, prediction="velocity")):
        assert torch.allclose(found.clean, clean, atol=1e-5)
        assert torch.allclose(found.noise, noise, atol=1e-5)


def test_a_limit_keeps_the_latent_what_it_is() -> None:
    z, noise, share = torch.randn(3, 4), 5 * torch.randn(3, 4), 0.01
    found = estimate(z, noise, share=share, limit=2.0)
    assert found.clean.abs().max() == 2
    assert torch.allclose(share**0.5 * found.clean + (1 - share) ** 0.5 * found.noise, z, atol=1e-5)


@given(st.floats(0.01, 0.98), st.floats(0.01, 0.99))
def test_a_jump_keeps_the_noise_and_takes_the_prior(share: float, above: float) -> None:
    then = share + above * (0.999 - share)
    prior, noise = torch.randn(2, 5, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)
    z = share**0.5 * prior + (1 - share) ** 0.5 * noise
    found = prior_jump(z, prior, now=share, then=then)
    assert torch.allclose(found, then**0.5 * prior + (1 - then) ** 0.5 * noise, atol=1e-9)


def test_the_jump_stands_in_the_way_and_saves_what_it_passes() -> None:
    schedule = CosineSchedule(steps=50)
    denoiser = Exact(schedule)
    start = torch.randn(6, 2, generator=generator(), dtype=torch.float64)
    prior = MEAN + torch.randn(6, 2, generator=generator(2), dtype=torch.float64) @ root(COVARIANCE)
    options = {"sampler": Ddpm(), "generator": generator(), "jump": PriorJump(45, 40)}
    draw(denoiser, start, schedule, prior=prior, **options)  # type: ignore[arg-type]
    assert denoiser.asked == [*range(50, 45, -1), *range(40, 0, -1)]
    with pytest.raises(ValueError, match=r"a jump by the prior needs the prior's draws"):
        draw(denoiser, start, schedule, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"jump from step 60 to 40: give steps of 0 to 50"):
        draw(denoiser, start, schedule, prior=prior, **(options | {"jump": PriorJump(60, 40)}))  # type: ignore[arg-type]


@pytest.mark.parametrize(("jump", "steps"), [(PriorJump(45, 40), 9), (PriorJump(50, 10), 4), (PriorJump(30, 0), 4)])
def test_few_steps_are_shared_before_and_after_a_jump(jump: PriorJump, steps: int) -> None:
    schedule = CosineSchedule(steps=50)
    denoiser = Exact(schedule)
    zeros = torch.zeros(2, 2, dtype=torch.float64)
    found = draw(denoiser, zeros, schedule, sampler=Ddim(steps), generator=generator(), jump=jump, prior=zeros + MEAN)
    assert len(denoiser.asked) == steps
    assert not [t for t in denoiser.asked if jump.stop < t <= jump.start]
    assert found.isfinite().all()


def test_a_jump_to_the_end_is_the_prior() -> None:
    """With all of the way jumped, prior-only decoding remains."""
    schedule = CosineSchedule(steps=50)
    prior = torch.randn(3, 2, dtype=torch.float64)
    found = draw(
        Exact(schedule),
        torch.randn(3, 2, dtype=torch.float64),
        schedule,
        sampler=Ddim(5),
        generator=generator(),
        jump=PriorJump(50, 0),
        prior=prior,
    )
    assert torch.allclose(found, prior, atol=1e-12)


def test_the_prior_alone_asks_no_network() -> None:
    schedule = CosineSchedule(steps=10)
    denoiser = Exact(schedule)
    start, prior = (torch.randn(3, 2, generator=generator(seed), dtype=torch.float64) for seed in (0, 1))
    found = draw(denoiser, start, schedule, sampler=PriorOnly(), generator=generator(), jump=PriorJump(), prior=prior)
    assert torch.equal(found, prior)
    assert denoiser.asked == []
    with pytest.raises(ValueError, match=r"sampling by the prior alone needs the prior's draws"):
        draw(denoiser, start, schedule, sampler=PriorOnly(), generator=generator())
