"""The schedule of noise."""

import itertools
import math

import pytest
import torch
from cbldm.diffusion.schedule import CosineSchedule
from hypothesis import given
from hypothesis import strategies as st


def test_the_cosine_of_the_paper() -> None:
    """Eq. 17 of Nichol and Dhariwal (2021) as it stands; only the last steps are cut."""
    found = CosineSchedule().alpha_bar
    t = torch.arange(1001, dtype=torch.float64)
    f = torch.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2
    assert (found - f / f[0])[:990].abs().max() < 1e-12
    assert (found.diff() < 0).all()
    assert found[0] == 1
    assert 0 < float(found[-1]) < 1e-6


def test_no_step_destroys_more_than_is_allowed() -> None:
    found = CosineSchedule(steps=50).alpha_bar
    assert (1 - found[1:] / found[:-1]).max() <= 0.999 + 1e-12


@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_times_fall_from_end_to_end_without_repetition(steps: int, count: int, data: st.DataObject) -> None:
    stop = data.draw(st.integers(0, steps - 1))
    times = CosineSchedule(steps=steps).times(count, stop=stop)
    assert (times[0], times[-1]) == (steps, stop)
    assert all(a > b for a, b in itertools.pairwise(times))
    assert len(times) == min(count, steps - stop) + 1


def test_noised_latents_have_the_variance_of_the_schedule() -> None:
    schedule = CosineSchedule(steps=100)
    generator = torch.Generator().manual_seed(0)
    clean = 3 * torch.randn(20_000, 2, generator=generator)
    for step in (1, 40, 100):
        t = torch.full((20_000,), step)
        z = schedule.noised(clean, t, torch.randn(20_000, 2, generator=generator))
        share = float(schedule.alpha_bar[step])
        assert float(z.var()) == pytest.approx(9 * share + 1 - share, rel=0.03)
    still = schedule.noised(clean, torch.zeros(20_000, dtype=torch.long), torch.full_like(clean, 1e9))
    assert torch.equal(still, clean)


def test_a_schedule_of_nothing_is_told() -> None:
    with pytest.raises(ValueError, match=r"steps = 0 and offset = 0\.008: give a step at least"):
        CosineSchedule(steps=0)
