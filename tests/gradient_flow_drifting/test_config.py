"""Configs refuse what cannot be run, in one line, and survive a run folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gradient_flow_drifting.baselines import BiSoftmax, SinkhornDrift
from gradient_flow_drifting.config import TrainConfig
from gradient_flow_drifting.data import ArrayFile, ImageFolder, SphereMixture, Toy
from gradient_flow_drifting.feature_fields import BiSoftmaxFeatures, KernelFeatures
from gradient_flow_drifting.fields import KernelField
from gradient_flow_drifting.guidance import Guidance
from gradient_flow_drifting.models import GeneratorConfig
from gradient_flow_drifting.presets import DEMO, PRESETS, SMOKE
from gradient_flow_drifting.stretches import Drifting, FeatureDrifting, ParticleFlow, Regression
from papertrio_shared.run import config_to_dict, dict_to_config


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ParticleFlow(particles=0), r"flow.particles = 0: give a positive number"),
        (lambda: ParticleFlow(bandwidth_end=-0.1), r"flow.bandwidth_end = -0.1: give a positive number"),
        (lambda: ParticleFlow(steps=-1), r"flow.steps = -1: give zero or more"),
        (lambda: ParticleFlow(particles=10, pool=20), r"flow.pool = 20 exceeds flow.particles = 10"),
        (lambda: ParticleFlow(pool=1), r"flow.pool = 1: leaving a particle out of its own field needs at least 2"),
        (lambda: ParticleFlow(divergence=(("kl", 1.0),)), r'divergence: "kl" is unknown; did you mean "kl_'),
        (lambda: Regression(learning_rate=float("nan")), r"regression.learning_rate = nan: give a positive number"),
        (lambda: KernelField(bandwidths=()), r"field.bandwidths: at least one number is needed"),
        (lambda: KernelField(bandwidths=(0.1, 0.0)), r"field.bandwidths: must be positive and finite, found 0.0"),
        (lambda: Drifting(negatives="same", batch=1), r"objective.batch = 1: leaving a sample out"),
        (lambda: KernelField(divergence=(("kl_qp", -1.0), ("kl_pq", 1.0))), r"the weight of kl_qp must be positive"),
        (lambda: KernelField(divergence=()), r"at least one divergence is needed"),
        (lambda: KernelField(max_step=0.0), r'max_step: a number > 0, "bandwidth" or None is needed, found 0.0'),
        (lambda: KernelField(log_weight_limit=-1.0), r"log_weight_limit: a number ≥ 0 or None is needed, found -1.0"),
        (lambda: ParticleFlow(max_step=-3.0), r'max_step: a number > 0, "bandwidth" or None is needed, found -3.0'),
        (lambda: TrainConfig(ema_decay=1.0), r"ema_decay = 1.0: give a number in \[0, 1\)"),
        (lambda: TrainConfig(draws=0), r"^draws = 0: give a positive number"),
        (lambda: Regression(pairing="ot"), r'regression.pairing = "ot": give one of transport, flow'),
        (lambda: Regression(pairs=0), r"regression.pairs = 0: give a positive number"),
        (lambda: TrainConfig(flow=ParticleFlow(steps=0)), r"regression needs the pairs of a particle flow"),
        (
            lambda: TrainConfig(
                flow=ParticleFlow(steps=0), regression=Regression(steps=0), objective=Drifting(steps=0)
            ),
            r"the run has no step",
        ),
    ],
)
def test_what_cannot_be_run_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("config", [*PRESETS.values(), DEMO, SMOKE])
def test_a_preset_survives_a_run_folder(config: TrainConfig) -> None:
    assert dict_to_config(config_to_dict(config), TrainConfig) == config


def test_the_kind_of_data_survives_too() -> None:
    for data in (Toy("moons"), SphereMixture(20.0), ArrayFile(Path("a.npy"), geometry="sphere")):
        config = TrainConfig(data=data, objective=Drifting(field=KernelField(max_step="bandwidth", bandwidths=(0.3,))))
        assert dict_to_config(config_to_dict(config), TrainConfig) == config


def test_the_network_of_every_preset_is_the_same() -> None:
    perceptrons = [each.generator for each in PRESETS.values() if isinstance(each.generator, GeneratorConfig)]
    assert {(each.width, each.depth) for each in perceptrons} == {(256, 3)}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Drifting(negatives="cross"), "objective.negatives = 'cross': give one of 'same', 'cross_fit'"),
        (lambda: FeatureDrifting(decay="cos"), "objective.decay = 'cos': give one of 'cosine', 'constant'"),
        (lambda: BiSoftmax(force="none"), "field.force = 'none': give one of 'normalised', 'raw'"),
        (
            lambda: TrainConfig(generator=GeneratorConfig(activation="tanh")),
            "generator.activation = 'tanh': give one of 'relu', 'silu'",
        ),
        (lambda: TrainConfig(precision="16"), "^precision = '16': give one of '32-true', 'bf16-mixed'"),
        (lambda: ImageFolder(channels=2), "data.channels = 2: give one of 1, 3"),
        (lambda: Regression(steps="a"), "regression.steps = a: give zero or more, a whole number"),
        (lambda: Drifting(batch=2.5), "objective.batch = 2.5: give a positive number, a whole one"),
        (lambda: SinkhornDrift(blur=None), "field.blur = None: give a positive number"),
        (lambda: Guidance(largest="a"), "guidance.largest = a: give zero or more"),
        (lambda: KernelField(divergence=5), "divergence: names with weights are needed, .* found 5"),
        (lambda: KernelFeatures(log_weight_limit="a"), "log_weight_limit: a number ≥ 0 or None is needed, found a"),
    ],
)
def test_what_no_annotation_allows_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_one_scale_stands_for_a_tuple_of_one() -> None:
    assert KernelFeatures(bandwidths=0.2) == KernelFeatures(bandwidths=(0.2,))  # type: ignore[arg-type]
    assert BiSoftmaxFeatures(temperatures=0.2) == BiSoftmaxFeatures(temperatures=(0.2,))  # type: ignore[arg-type]
    assert BiSoftmax(temperatures=0.2) == BiSoftmax(temperatures=(0.2,))  # type: ignore[arg-type]
