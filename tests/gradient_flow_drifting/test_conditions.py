"""Class conditions and guidance of generators, the weight of unconditional negatives, and the memory of positives."""

import math
from typing import Any

import pytest
import torch
from gradient_flow_drifting.config import TrainConfig
from gradient_flow_drifting.data import Digits, GeneratedLatents, Toy
from gradient_flow_drifting.guidance import Guidance, unconditional_weight
from gradient_flow_drifting.memory import Memory
from gradient_flow_drifting.models import (
    AnyGenerator,
    Generator,
    GeneratorConfig,
    OneStep,
    ResidualConfig,
    TransformerConfig,
    load_generator,
    save_generator,
)
from gradient_flow_drifting.stretches import Drifting, FeatureDrifting, ParticleFlow, Regression
from torch import Tensor

KINDS: list[AnyGenerator] = [
    GeneratorConfig(width=8, depth=2, condition="class_and_guidance"),
    ResidualConfig(width=8, depth=2, latents=4, condition="class_and_guidance"),
    TransformerConfig(image=(1, 4, 4), width=16, depth=2, heads=2, registers=2),
]


def perturbed(config: AnyGenerator) -> OneStep:
    """A generator whose gates are open, as after some training."""
    generator = config.build(dimension=16, classes=3)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return generator


@pytest.mark.parametrize("config", KINDS)
def test_class_and_guidance_reach_the_samples_and_the_file(config: AnyGenerator, tmp_path: Any) -> None:
    generator = perturbed(config)
    plain = generator.sample(6, seed=1, labels=0)
    assert plain.shape == (6, 16)
    assert not torch.allclose(plain, generator.sample(6, seed=1, labels=1))
    assert not torch.allclose(plain, generator.sample(6, seed=1, labels=0, guidance=2.0))
    assert torch.allclose(plain, generator.sample(6, seed=1, labels=[0] * 6, guidance=1.0, chunk=4), atol=1e-5)
    save_generator(tmp_path / "a.safetensors", generator)
    assert torch.equal(load_generator(tmp_path / "a.safetensors").sample(6, labels=2), generator.sample(6, labels=2))


def test_labels_are_drawn_where_none_are_given() -> None:
    labels, strengths = perturbed(KINDS[0]).told(3000, seed=0)
    assert labels is not None
    assert strengths is None
    assert (torch.bincount(labels, minlength=3) / 1000 - 1).abs().max() < 0.1


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        ({"labels": 3}, r"labels: there is no class 3: labels are 0 to 2"),
        ({"labels": [0, 1]}, r"labels: one, or 5 of them are needed, found the shape \(2,\)"),
        ({"labels": 0, "guidance": 0.5}, r"guidance = 0.5: give a number from 1, which is none"),
        ({"labels": 0, "guidance": math.nan}, r"guidance = nan: give a number from 1"),
    ],
)
def test_what_a_generator_does_not_know_is_told(ask: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        perturbed(KINDS[0]).sample(5, **ask)


def test_conditions_are_refused_where_there_are_none() -> None:
    plain = Generator(GeneratorConfig(width=4), dimension=2)
    with pytest.raises(ValueError, match=r"labels: this generator was trained without classes: leave them out"):
        plain.sample(2, labels=0)
    with pytest.raises(ValueError, match=r"guidance = 1.5: this generator was trained without: leave it out"):
        plain.sample(2, guidance=1.5)
    with pytest.raises(
        ValueError, match=r"generator.condition = class: the data has no labels: give some, or set it to none"
    ):
        GeneratorConfig(condition="class").build(dimension=2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Guidance(largest=1.0), r"guidance.largest = 1.0: give a number above 1"),
        (lambda: Guidance(power=-1.0), r"guidance.power = -1.0: give zero or more"),
        (lambda: Guidance(plain=1.5), r"guidance.plain = 1.5: give a share from 0 to 1"),
        (lambda: Guidance(unconditional=0), r"guidance.unconditional = 0: give at least 1"),
        (lambda: ResidualConfig(latents=0), r"generator latents = 0: give at least 1"),
        (lambda: TransformerConfig(patch=3), r"height and width must be multiples of patch = 3"),
        (lambda: TransformerConfig(width=20, heads=6), r"generator width = 20: give a multiple of 4 · heads = 24"),
        (lambda: TransformerConfig().build(dimension=64, classes=2), r"a point of the data has 64 coordinates"),
        (lambda: ResidualConfig().build(dimension=3, geometry="sphere"), r"images lie in Euclidean space"),
        (lambda: GeneratedLatents(classes=0), r"give positive sides and classes"),
        (
            lambda: TrainConfig(generator=GeneratorConfig(condition="class")),
            r"generator.condition = class: flow knows no classes",
        ),
        (
            lambda: TrainConfig(data=Digits(), generator=ResidualConfig()),
            r"a flow moves latents of the data's own space",
        ),
        (
            lambda: TrainConfig(
                generator=GeneratorConfig(condition="class"),
                flow=ParticleFlow(steps=0),
                regression=Regression(steps=0),
                objective=Drifting(),
            ),
            r"drifting knows no classes",
        ),
        (lambda: FeatureDrifting(samples=1), r"objective.samples = 1: leaving a sample out"),
        (
            lambda: FeatureDrifting(memory=8, positives=16),
            r"objective.memory = 8: keep at least objective.positives = 16",
        ),
        (lambda: FeatureDrifting(patches=(1,)), r"objective.patches = \(1,\): give sides of at least 2"),
        (lambda: FeatureDrifting(clip=0.0), r"objective.clip = 0.0: give a positive number, or None"),
        (lambda: FeatureDrifting(beta2=1.0), r"objective.beta2 = 1.0: give a number in \[0, 1\)"),
    ],
)
def test_what_cannot_be_run_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


def test_the_weight_makes_the_share_that_the_strength_asks_for() -> None:
    """γ = Uw / (N − 1 + Uw) and α = 1 / (1 − γ)."""
    strength, n, u = torch.tensor([1.0, 1.5, 4.0]), 64, 16
    weight = unconditional_weight(strength, negatives=n, unconditional=u)
    share = u * weight / (n - 1 + u * weight)
    assert torch.allclose(1 / (1 - share), strength)


@pytest.mark.parametrize("power", [1.0, 3.0])
def test_strengths_follow_their_density(power: float) -> None:
    """The share below a is the integral of the density from 1 to a."""
    drawn = Guidance(largest=4.0, power=power, plain=0.0).draw(20_000, torch.Generator().manual_seed(0))
    grid = torch.linspace(1, 4, 30_001, dtype=torch.float64)
    mass = (grid**-power).cumsum(0) / (grid**-power).sum()
    for a in (1.2, 2.0, 3.0):
        expected = float(mass[int((a - 1) / 3 * 30_000)])
        assert float((drawn < a).double().mean()) == pytest.approx(expected, abs=0.015)
    some = Guidance(plain=0.3).draw(20_000, torch.Generator().manual_seed(0))
    assert float((some == 1).double().mean()) == pytest.approx(0.3, abs=0.015)


def test_a_memory_forgets_the_oldest_and_gives_each_point_once() -> None:
    stream = torch.Generator().manual_seed(0)
    memory = Memory(Toy("8gaussians"), size=3, unconditional=4, generator=stream)
    for value in range(5):
        memory.push(torch.full((1, 2), float(value)), torch.tensor([6]))
    assert sorted(memory.draw(torch.tensor([6]), 3, stream)[0, :, 0].tolist()) == [2.0, 3.0, 4.0]
    assert sorted(memory.draw_unconditional(4, stream)[:, 0].tolist()) == [1.0, 2.0, 3.0, 4.0]
    other = Memory(Toy("8gaussians"), size=3, unconditional=4, generator=stream)
    other.load_state_dict(memory.state_dict())
    for each in (memory, other):
        each.push(torch.full((1, 2), 9.0), torch.tensor([6]))
    assert torch.equal(other.of_class, memory.of_class)
    assert torch.equal(other.of_all, memory.of_all)
    with pytest.raises(ValueError, match=r"memory.of_class: \(8, 2, 2\) is needed, found \(8, 3, 2\)"):
        Memory(Toy("8gaussians"), size=2, unconditional=4, generator=stream).load_state_dict(memory.state_dict())


@pytest.mark.parametrize("power", [1 - 1e-7, 1 + 1e-7, 1 + 1e-4])
def test_strengths_near_the_power_one_keep_their_digits(power: float) -> None:
    def draw(power: float) -> Tensor:
        return Guidance(power=power, plain=0.0).draw(1000, torch.Generator().manual_seed(0))

    assert torch.allclose(draw(power), draw(1.0), rtol=1e-3)
    assert draw(power).max() <= 3


def test_a_memory_needs_labels() -> None:
    with pytest.raises(ValueError, match="has no labels: class conditions need"):
        Memory(Toy("swissroll"), size=4, unconditional=8, generator=torch.Generator())
