"""Seeds, named streams, and states that come back."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from papertrio_shared.checkpoint import load_state, save_state
from papertrio_shared.seed import generator, numpy_generator, restore_rng_state, rng_state, seed_everything


def _draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_seeding_repeats_all_three_generators() -> None:
    seed_everything(7)
    first = _draw()
    seed_everything(7)
    assert _draw() == first
    seed_everything(8)
    assert all(a != b for a, b in zip(_draw(), first, strict=True))


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_told(seed: int) -> None:
    with pytest.raises(ValueError, match=f"seed {seed} is out of range"):
        seed_everything(seed)


def test_streams_are_repeatable_and_differ_by_name_and_seed() -> None:
    draws = {
        (seed, name): tuple(torch.rand(4, generator=generator(seed, name)).tolist())
        for seed in (0, 1)
        for name in ("data", "model")
    }
    assert len(set(draws.values())) == 4
    assert draws[0, "data"] == tuple(torch.rand(4, generator=generator(0, "data")).tolist())
    assert numpy_generator(0, "data").random() == numpy_generator(0, "data").random()
    assert numpy_generator(0, "data").random() != numpy_generator(0, "noise").random()


def test_a_state_survives_a_file_and_restores_every_generator(tmp_path: Path) -> None:
    seed_everything(3)
    data = generator(3, "data")
    np.random.randn()  # leaves a cached normal behind, which is a part of the state
    save_state(tmp_path / "state.pt", rng_state(data=data))
    expected = (*_draw(), float(np.random.randn()), float(torch.rand((), generator=data)))
    restore_rng_state(load_state(tmp_path / "state.pt"), data=data)
    assert (*_draw(), float(np.random.randn()), float(torch.rand((), generator=data))) == expected


def test_a_generator_missing_from_the_state_is_named() -> None:
    with pytest.raises(ValueError, match="no generator 'data'"):
        restore_rng_state(rng_state(), data=generator(0, "data"))
