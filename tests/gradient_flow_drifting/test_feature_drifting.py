"""Runs of images: resumed to the same bits, judged, drawn, and ended when they diverge."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from gradient_flow_drifting import report
from gradient_flow_drifting.config import TrainConfig
from gradient_flow_drifting.data import Digits
from gradient_flow_drifting.diagnostics import DivergedError
from gradient_flow_drifting.encoders import LearntEncoder
from gradient_flow_drifting.feature_fields import KernelFeatures
from gradient_flow_drifting.models import GeneratorConfig, ResidualConfig
from gradient_flow_drifting.presets import PRESETS
from gradient_flow_drifting.sample import load
from gradient_flow_drifting.stretches import FeatureDrifting, ParticleFlow, Regression
from gradient_flow_drifting.train import CHECKPOINT, Trainer, resume, train
from papertrio_shared.checkpoint import load_state
from papertrio_shared.run import read_metrics

ENCODER = LearntEncoder(width=4, steps=3, batch=8)
SHORT = TrainConfig(
    data=Digits(),
    generator=ResidualConfig(width=16, depth=1, condition="class_and_guidance"),
    flow=ParticleFlow(steps=0),
    regression=Regression(steps=0),
    objective=FeatureDrifting(steps=12, samples=4, positives=6, memory=8, refresh=4, encoder=ENCODER),
    checkpoint_every=5,
    log_every=4,
    frames=3,
    shown=20,
    watched=32,
    samples=20,
    draws=1,
)


@pytest.mark.parametrize("stop", [2, 8])
def test_an_interrupted_run_resumes_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    """Before the first checkpoint, with the encoder trained anew, and after it."""
    whole, step = train(SHORT, tmp_path / "whole"), Trainer.step

    def interrupted(self: Trainer) -> float:
        if self.steps_done == stop:
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(Trainer, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(SHORT, tmp_path / "cut")
    monkeypatch.undo()
    cut = resume(tmp_path / "cut")
    one, other = load_state(whole / CHECKPOINT), load_state(cut / CHECKPOINT)
    for kind in ("encoder", "memory"):
        a, b = one["stretches"][0][kind], other["stretches"][0][kind]
        assert [name for name in a if not torch.equal(torch.as_tensor(a[name]), torch.as_tensor(b[name]))] == []
    assert torch.equal(load(whole).sample(20, labels=3), load(cut).sample(20, labels=3))
    assert read_metrics(whole) == read_metrics(cut)


def test_the_encoder_stays_as_it_was_trained() -> None:
    trainer = Trainer(SHORT)
    trainer.step()
    before = trainer.state_dict()["stretches"][0]["encoder"]
    before = {name: each.clone() for name, each in before.items()}
    for _ in range(3):
        trainer.step()
    after = trainer.state_dict()["stretches"][0]["encoder"]
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("field", [None, KernelFeatures()])
def test_drifting_brings_samples_near_the_images(field: KernelFeatures | None) -> None:
    objective = replace(SHORT.objective, steps=120, samples=8, positives=16, memory=16, learning_rate=5e-3, warmup=10)
    if field is not None:
        objective = replace(objective, field=field)
    trainer = Trainer(replace(SHORT, generator=replace(SHORT.generator, width=64), objective=objective))
    before = trainer.diagnostics()["energy"]
    for _ in range(120):
        trainer.step()
    assert trainer.diagnostics()["energy"] < 0.5 * before


def test_a_run_of_images_is_judged_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradient_flow_drifting.judge._CONFIG", LearntEncoder(width=8, steps=40))
    folder = train(SHORT, tmp_path / "a")
    evaluation = report.write_results(folder)
    assert {"precision", "recall", "frechet", "kernel"} <= evaluation.figures().keys()
    assert len(report.write_verdict(folder)) == 2
    verdict = json.loads((folder / "verdict.json").read_text())
    assert sum(verdict["shares"]) == pytest.approx(10, abs=1e-3)
    assert verdict["accuracy"] > 0.5
    assert {"samples.png", "nearest.png", "diagnostics.png", "report.html", "judge.safetensors"} <= {
        path.name for path in folder.iterdir()
    }


def test_a_generator_without_classes_learns_all_as_one() -> None:
    trainer = Trainer(replace(SHORT, generator=ResidualConfig(width=16, depth=1)))
    assert [trainer.step() for _ in range(3)][-1] > 0
    assert trainer.stretches[0].state_dict()["memory"] is None


def test_a_perceptron_learns_classes_too() -> None:
    trainer = Trainer(replace(SHORT, generator=GeneratorConfig(width=16, condition="class")))
    assert trainer.step() > 0


def test_a_run_that_diverges_ends(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"blew up"):
        train(replace(SHORT, objective=replace(SHORT.objective, learning_rate=1e30, clip=None)), tmp_path / "a")


def test_the_large_recipe_runs_on_generated_latents() -> None:
    trainer = Trainer(replace(PRESETS["imagenet-latents-smoke"], precision="32-true", threads=1))
    assert torch.isfinite(torch.tensor([trainer.step() for _ in range(2)])).all()
    assert PRESETS["imagenet-latents"].objective.label == trainer.config.objective.label
