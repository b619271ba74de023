"""Every method learns the digits, and a run of the strongest that was cut off ends with the same bits."""

from dataclasses import replace
from pathlib import Path

import pytest
import qkd_cil
from cil_small import QUICK, TINY
from qkd_cil import AlignmentConfig, BackboneConfig, LearnerConfig, Schedule, train
from qkd_cil.config import RunConfig
from qkd_cil.data.datasets import DigitsConfig
from qkd_cil.data.scenario import ScenarioConfig

BRIEF = AlignmentConfig(epochs=4, draws=32)
SGD = Schedule(epochs=2, batch_size=16, learning_rate=0.1)
SLOW = replace(SGD, learning_rate=0.01)
ADAM = Schedule(epochs=3, batch_size=8, optimizer="adam", decay="constant", learning_rate=0.005, weight_decay=0.0)
# The least last accuracy over ten digits in tasks of four, three and three; chance is 0.1. Methods that guard what was
# learned come to 0.8 and more, the others forget.
METHODS: dict[str, tuple[LearnerConfig, Schedule, float]] = {
    "lwf": (qkd_cil.LwFConfig(), SGD, 0.4),
    "lwf-full": (qkd_cil.LwFConfig(trains="full"), replace(SGD, learning_rate=0.005), 0.25),
    "icarl": (qkd_cil.ICaRLConfig(memory=100), SGD, 0.7),
    "icarl-sigmoid": (qkd_cil.ICaRLConfig(memory=100, loss="sigmoid"), SGD, 0.7),
    "slca": (qkd_cil.SLCAConfig(alignment=BRIEF), SLOW, 0.7),
    "l2p": (qkd_cil.L2PConfig(), ADAM, 0.3),
    "dual-prompt": (qkd_cil.DualPromptConfig(), ADAM, 0.4),
    "coda-prompt": (qkd_cil.CODAPromptConfig(), ADAM, 0.4),
    "aper": (qkd_cil.APERConfig(), SGD, 0.8),
    "aper-ssf": (qkd_cil.APERConfig(tuning="ssf"), SGD, 0.8),
    "aper-vpt": (qkd_cil.APERConfig(tuning="vpt-deep"), SGD, 0.8),
    "ranpac": (qkd_cil.RanPACConfig(projection=500), SGD, 0.85),
    "ease": (qkd_cil.EASEConfig(), SGD, 0.8),
    "mote": (qkd_cil.MoTEConfig(), SGD, 0.8),
    "mos": (qkd_cil.MOSConfig(alignment=BRIEF), SGD, 0.8),
    "tuna": (qkd_cil.TUNAConfig(alignment=BRIEF), SGD, 0.7),
}


VARIANTS = {"lwf-full", "icarl-sigmoid", "aper-ssf", "aper-vpt"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in VARIANTS else []) for name in METHODS]
)
def test_it_learns_the_digits(name: str) -> None:
    config, schedule, least = METHODS[name]
    digits = qkd_cil.scenario("digits", task_sizes=(4, 3, 3), train_per_class=48, test_per_class=20)
    learner = config.build(qkd_cil.GLYPH_VIT, schedule, seed=1993, device="cpu")
    kept = qkd_cil.KeptFeatures()
    for task in digits.train_tasks:
        learner.fit_task(task)
        found = qkd_cil.evaluate(learner, digits.test_seen(task), kept=kept)
        if task.index == 0:
            assert found.accuracy > 0.8  # four digits
    assert found.accuracy > least
    if found.routing_accuracy is not None and name != "dual-prompt":
        assert found.routing_accuracy > 0.45  # chance is a third


class CutError(Exception):
    """What stands for a crash."""


@pytest.mark.parametrize("name", ["ease", "mos", "icarl", "coda-prompt"])
def test_a_run_cut_off_ends_with_the_same_bits(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network: BackboneConfig = replace(TINY, depth=2)
    tasks = ScenarioConfig(task_sizes=(4, 3, 3), train_per_class=6, test_per_class=4)
    config = RunConfig(DigitsConfig(), tasks, network, METHODS[name][0], QUICK)
    train.run(config, tmp_path / "whole")
    evaluate, calls = train.evaluate, []

    def cut(*arguments: object, **settings: object) -> object:
        calls.append(None)
        if len(calls) > 2:
            raise CutError
        return evaluate(*arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(train, "evaluate", cut)
        with pytest.raises(CutError):
            train.run(config, tmp_path / "cut")
    train.resume(tmp_path / "cut")
    for file in ("learner.safetensors", "predictions.npz"):
        assert (tmp_path / "cut" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), file
