"""The network, its average and its file."""

from pathlib import Path
from typing import Any

import pytest
import torch
from gradient_flow_drifting.models import (
    Ema,
    Generator,
    GeneratorConfig,
    even_latents,
    latents,
    load_generator,
    save_generator,
)
from gradient_flow_drifting.sample import load, write_samples
from papertrio_shared.checkpoint import CheckpointError, load_weights, save_weights
from papertrio_shared.seed import generator as seeded

SMALL = GeneratorConfig(width=8, depth=2)


def test_the_default_is_the_perceptron_of_the_figures() -> None:
    shapes = [
        tuple(each.weight.shape) for each in Generator(GeneratorConfig(), dimension=2).layers if hasattr(each, "weight")
    ]
    assert shapes == [(256, 2), (256, 256), (256, 256), (2, 256)]


def test_samples_depend_on_the_seed_and_not_on_the_chunk() -> None:
    net = Generator(SMALL, dimension=2)
    samples = net.sample(100, seed=3)
    assert torch.allclose(samples, net.sample(100, seed=3, chunk=7), atol=1e-6)
    assert not torch.equal(samples, net.sample(100, seed=4))


def test_samples_come_in_the_units_of_the_data() -> None:
    net = Generator(SMALL, dimension=2, location=torch.tensor([5.0, -3.0]), scale=10.0)
    points = net(net.latents(50, seeded(0, "latents")))
    assert torch.allclose(net.sample(50, seed=0), torch.tensor([5.0, -3.0]) + 10 * points, atol=1e-5)


@pytest.mark.parametrize(("geometry", "dimension"), [("euclidean", 2), ("sphere", 3), ("torus", 2)])
def test_even_latents_have_the_law_of_latents_with_less_noise(geometry: Any, dimension: int) -> None:
    shape = {"dimension": dimension, "geometry": geometry}
    even = even_latents(4096, generator=seeded(0, "even"), **shape)
    random = latents(4096, generator=seeded(0, "random"), **shape)
    assert even.dtype == random.dtype
    assert even.mean(0).norm() < min(2e-3, random.mean(0).norm())
    assert torch.allclose(even.T @ even / 4096, random.T @ random / 4096, atol=0.12 if geometry == "torus" else 0.06)
    assert float(even.abs().max()) <= (6 if geometry == "euclidean" else torch.pi)
    levels = torch.linspace(0.05, 0.95, 19)
    assert torch.allclose(even.quantile(levels, dim=0), random.quantile(levels, dim=0), atol=0.2)
    assert not torch.equal(even, even_latents(4096, generator=seeded(1, "even"), **shape))
    with pytest.raises(ValueError, match="count = 0: ask for at least one point"):
        even_latents(0, generator=seeded(0, "even"), **shape)


def test_the_sphere_is_not_left() -> None:
    net = Generator(SMALL, dimension=3, geometry="sphere")
    for points in (net.sample(50), net.latents(50, seeded(0, "latents"))):
        assert (points.norm(dim=1) - 1).abs().max() < 1e-5


def test_the_torus_is_not_left_and_has_no_seam() -> None:
    net = Generator(SMALL, dimension=2, geometry="torus")
    latents = net.latents(2000, seeded(0, "latents"))
    for points in (net.sample(50), latents):
        assert points.abs().max() <= torch.pi
    assert float(latents.cos().mean().abs()) < 0.1  # uniform on the circle
    assert float(latents.abs().max()) > 3.1
    apart = torch.remainder(net(latents) - net(latents + 2 * torch.pi) + 1, 2 * torch.pi) - 1
    assert apart.abs().max() < 1e-4


def test_a_file_gives_the_same_generator(tmp_path: Path) -> None:
    net = Generator(SMALL, dimension=2, location=torch.tensor([1.0, 2.0]), scale=3.0)
    save_generator(tmp_path / "a.safetensors", net)
    assert torch.equal(load(tmp_path / "a.safetensors").sample(20), net.sample(20))


def test_weights_that_do_not_match_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_generator(path, Generator(SMALL, dimension=2))
    tensors, config = load_weights(path)
    config["generator"]["width"] = 9
    save_weights(path, tensors, config)
    with pytest.raises(CheckpointError, match=r"a.safetensors: holds no generator of this package"):
        load_generator(path)
    save_weights(path, tensors, {})
    with pytest.raises(CheckpointError, match=r"a.safetensors: holds no generator of this package"):
        load_generator(path)


def test_a_run_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none: holds no run"):
        load(tmp_path / "none")


@pytest.mark.parametrize("count", [0, -3])
def test_at_least_one_sample_must_be_asked_for(tmp_path: Path, count: int) -> None:
    with pytest.raises(ValueError, match=rf"count = {count}: ask for at least one point"):
        write_samples(Generator(SMALL, dimension=2), count, tmp_path / "a.npy")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=r"a.txt: samples are written as .npy"):
        write_samples(Generator(SMALL, dimension=2), 3, tmp_path / "a.txt")


def test_a_shape_without_layers_is_refused() -> None:
    with pytest.raises(ValueError, match=r"generator depth = 0: give at least 1"):
        GeneratorConfig(depth=0)


def test_the_average_is_that_of_the_formula() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    ema = Ema(model, decay=0.5)
    expected = float(model.weight.detach())
    for t, value in enumerate([1.0, 2.0, 3.0, -1.0, 0.5, 2.0, 4.0, 1.0, 2.0, 5.0]):
        model.weight.data.fill_(value)
        ema.update(model)
        decay = min(0.5, (1 + t) / (10 + t))
        expected = decay * expected + (1 - decay) * value
        assert float(ema.model.weight) == pytest.approx(expected, rel=1e-6)
    other = Ema(torch.nn.Linear(1, 1, bias=False), decay=0.5)
    other.load_state_dict(ema.state_dict())
    other.update(model)
    ema.update(model)
    assert torch.equal(other.model.weight, ema.model.weight)
    with pytest.raises(ValueError, match=r"ema_decay = 1: give a number in \[0, 1\)"):
        Ema(model, decay=1)
