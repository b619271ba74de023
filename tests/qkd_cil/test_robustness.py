"""Laws that every learner keeps, whatever the tasks and the batches are."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cil_small import QUICK, TINY, coloured
from hypothesis import given, settings
from hypothesis import strategies as st
from qkd_cil import (
    EASE,
    MOS,
    PROFILES,
    QKD,
    TUNA,
    AlignmentConfig,
    ImageDataset,
    Learner,
    MOSConfig,
    MoTE,
    RanPAC,
    RanPACConfig,
    Scenario,
    SimpleCIL,
    TUNAConfig,
    evaluate,
    load,
)
from qkd_cil.data.scenario import ScenarioConfig

SHORT = AlignmentConfig(epochs=1, draws=8)
ONCE = replace(QUICK, epochs=1)
ROUTED = replace(PROFILES["robust"], routing_steps=3)
BUILD: dict[str, Callable[[], Learner]] = {
    "ease": lambda: EASE(backbone=TINY, schedule=ONCE),
    "mote": lambda: MoTE(backbone=TINY, schedule=ONCE),
    "mos": lambda: MOS(MOSConfig(alignment=SHORT), backbone=TINY, schedule=ONCE),
    "tuna": lambda: TUNA(TUNAConfig(alignment=SHORT), backbone=TINY, schedule=ONCE),
    "qkd": lambda: QKD(ROUTED, backbone=TINY, schedule=ONCE),
    "qkd-block": lambda: QKD(replace(ROUTED, fusion="block"), backbone=TINY, schedule=ONCE),
    "qkd-paper": lambda: QKD(profile="paper", backbone=TINY, schedule=ONCE),
    "ranpac": lambda: RanPAC(RanPACConfig(projection=30), backbone=TINY, schedule=ONCE),
    "simple-cil": lambda: SimpleCIL(backbone=TINY, schedule=ONCE),
}
WITH_ADAPTERS = ["ease", "mote", "mos", "qkd"]
QUICKER = ("ease", "qkd", "qkd-block", "ranpac")
pytestmark = pytest.mark.filterwarnings("ignore::qkd_cil.models.diagnostics.GateWarning")
task_sizes = st.lists(st.integers(1, 3), min_size=1, max_size=4).map(tuple).filter(lambda sizes: 2 <= sum(sizes) <= 8)


def a_scenario(sizes: tuple[int, ...], *, seed: int = 1) -> Scenario:
    classes = sum(sizes)
    names = tuple(map(str, range(classes)))
    dataset = ImageDataset("small", coloured(4, classes, seed), coloured(3, classes, seed + 1), names)
    return Scenario(dataset, ScenarioConfig(task_sizes=sizes, class_order_seed=seed))


@pytest.mark.parametrize("name", WITH_ADAPTERS)
def test_an_adapter_keeps_its_bits_once_its_task_is_over(name: str) -> None:
    learner, scenario = BUILD[name](), a_scenario((2, 1, 3, 2))
    kept: list[list[torch.Tensor]] = []
    for task in scenario.train_tasks:
        learner.fit_task(task)
        evaluate(learner, scenario.test_seen(task))
        for index, before in enumerate(kept):
            now = learner.backbone.adapter_parameters(index)
            assert all(torch.equal(ours, old) for ours, old in zip(now, before, strict=True)), f"adapter {index}"
        kept.append([each.detach().clone() for each in learner.backbone.adapter_parameters(task.index)])
    assert len(kept) == learner.backbone.adapter_count == 4


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=[] if each in QUICKER else pytest.mark.slow) for each in BUILD]
)
@settings(max_examples=3)
@given(sizes=task_sizes, batch=st.integers(1, 7))
def test_any_tasks_any_batch(
    tmp_path_factory: pytest.TempPathFactory, name: str, sizes: tuple[int, ...], batch: int
) -> None:
    """Unequal tasks, a single class among them; the same answers from any batch size, and from the saved learner."""
    learner, scenario = BUILD[name](), a_scenario(sizes)
    for task in scenario.train_tasks:
        learner.fit_task(task)
        found = evaluate(learner, scenario.test_seen(task))
        assert 0 <= found.accuracy <= found.accuracy_given_task <= 1
    images = scenario.dataset.test.images
    whole = learner.predict(images)
    assert torch.equal(torch.cat([learner.predict(part) for part in images.split(batch)]), whole)
    outputs = learner.outputs(images)
    assert outputs.logits.shape == (len(images), sum(sizes))
    if outputs.routing is not None:
        torch.testing.assert_close(outputs.routing.sum(1), torch.ones(len(images)))
    path = tmp_path_factory.mktemp("saved") / "learner.safetensors"
    learner.save(path)
    again = load(path)
    assert torch.equal(again.predict(images), whole)
    state, other = learner.state_dict(), again.state_dict()
    assert state.keys() == other.keys()
    assert all(torch.equal(tensor, other[key]) for key, tensor in state.items())


def test_a_learner_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    learner, scenario = BUILD["qkd"](), a_scenario((2, 2))
    path = tmp_path / "learner.safetensors"
    learner.fit_task(scenario.train_tasks[0])
    learner.save(path)
    before = path.read_bytes()
    learner.fit_task(scenario.train_tasks[1])
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(OSError, match="No space left on device"):
            learner.save(path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["learner.safetensors"]


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 2)])
def test_one_image_of_each_class_is_enough(sizes: tuple[int, ...]) -> None:
    """No class has a spread then; a batch is larger than a task."""
    learner = QKD(replace(ROUTED, routing_steps=2), backbone=TINY, schedule=ONCE)
    scenario = a_scenario(sizes)
    few = Scenario(scenario.dataset, replace(scenario.config, train_per_class=1))
    for task in few.train_tasks:
        learner.fit_task(task)
        assert learner.outputs(task.train.images).logits.isfinite().all()
    assert evaluate(learner, few.test_seen(task)).accuracy > 0.5
