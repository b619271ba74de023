"""The protocol of a learner, and the learners that have no file of tests of their own."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from cil_small import QUICK, TINY, small_scenario
from papertrio_shared.checkpoint import load_weights, save_weights
from papertrio_shared.seed import seed_everything
from qkd_cil import (
    APER,
    EASE,
    L2P,
    MOS,
    PROFILES,
    QKD,
    SLCA,
    TUNA,
    AlignmentConfig,
    APERConfig,
    CODAPrompt,
    DualPrompt,
    DualPromptConfig,
    Finetune,
    FinetuneConfig,
    ICaRL,
    ICaRLConfig,
    Joint,
    KeptFeatures,
    L2PConfig,
    LabelledImages,
    Learner,
    LwF,
    MOSConfig,
    MoTE,
    RanPAC,
    RanPACConfig,
    SeenTest,
    SimpleCIL,
    SLCAConfig,
    Step,
    Task,
    TUNAConfig,
    evaluate,
    load,
)
from qkd_cil.data.images import concatenate

Build = Callable[[], Learner]
SHORT = AlignmentConfig(epochs=2, draws=8)
LAYERS = DualPromptConfig(general_layers=(0,), expert_layers=(1,))
LEARNERS: dict[str, Build] = {
    "simple-cil": lambda: SimpleCIL(backbone=TINY, schedule=QUICK),
    "finetune-adapter": lambda: Finetune(backbone=TINY, schedule=QUICK),
    "finetune-full": lambda: Finetune(FinetuneConfig(trains="full", loss_over="seen"), backbone=TINY, schedule=QUICK),
    "joint": lambda: Joint(backbone=TINY, schedule=QUICK),
    "lwf": lambda: LwF(backbone=TINY, schedule=QUICK),
    "icarl": lambda: ICaRL(ICaRLConfig(memory=12), backbone=TINY, schedule=QUICK),
    "slca": lambda: SLCA(SLCAConfig(alignment=SHORT), backbone=TINY, schedule=QUICK),
    "l2p": lambda: L2P(L2PConfig(pool=4, length=2, chosen=2), backbone=TINY, schedule=QUICK),
    "dual-prompt": lambda: DualPrompt(LAYERS, backbone=TINY, schedule=QUICK),
    "coda-prompt": lambda: CODAPrompt(backbone=TINY, schedule=QUICK),
    "aper": lambda: APER(backbone=TINY, schedule=QUICK),
    "aper-ssf": lambda: APER(APERConfig(tuning="ssf"), backbone=TINY, schedule=QUICK),
    "aper-vpt": lambda: APER(APERConfig(tuning="vpt-deep", tokens=2), backbone=TINY, schedule=QUICK),
    "ranpac": lambda: RanPAC(RanPACConfig(projection=50), backbone=TINY, schedule=QUICK),
    "ease": lambda: EASE(backbone=TINY, schedule=QUICK),
    "mote": lambda: MoTE(backbone=TINY, schedule=QUICK),
    "mos": lambda: MOS(MOSConfig(alignment=SHORT), backbone=TINY, schedule=QUICK),
    "tuna": lambda: TUNA(TUNAConfig(alignment=SHORT), backbone=TINY, schedule=QUICK),
    "qkd": lambda: QKD(replace(PROFILES["robust"], routing_steps=5), backbone=TINY, schedule=QUICK),
    "qkd-paper": lambda: QKD(profile="paper", backbone=TINY, schedule=QUICK),
}
pytestmark = pytest.mark.filterwarnings("ignore::qkd_cil.models.diagnostics.GateWarning")


@pytest.fixture(params=LEARNERS, ids=list(LEARNERS))
def build(request: pytest.FixtureRequest) -> Build:
    return LEARNERS[request.param]


def fitted(learner: Learner, tasks: int = 3) -> Learner:
    """A learner after some tasks of the small scenario."""
    for task in small_scenario().train_tasks[:tasks]:
        learner.fit_task(task)
    return learner


def test_a_saved_learner_answers_alike(build: Build, tmp_path: Path) -> None:
    learner = fitted(build())
    seen = small_scenario().test_seen(small_scenario().train_tasks[2])
    learner.save(tmp_path / "learner.safetensors")
    again = load(tmp_path / "learner.safetensors")
    for part in seen.parts:
        ours, theirs = learner.outputs(part.images), again.outputs(part.images)
        assert torch.equal(ours.logits, theirs.logits)
        assert (ours.routing is None) == (theirs.routing is None)
        if ours.routing is not None and theirs.routing is not None:
            assert torch.equal(ours.routing, theirs.routing)
    for (name, ours_), (other, theirs_) in zip(learner.state_dict().items(), again.state_dict().items(), strict=True):
        assert name == other
        assert torch.equal(ours_, theirs_)


def test_a_loaded_learner_goes_on_alike(build: Build, tmp_path: Path) -> None:
    learner = fitted(build(), tasks=2)
    learner.save(tmp_path / "learner.safetensors")
    again = load(tmp_path / "learner.safetensors")
    task = small_scenario().train_tasks[2]
    learner.fit_task(task)
    again.fit_task(task)
    assert torch.equal(learner.outputs(task.train.images).logits, again.outputs(task.train.images).logits)


def test_any_batch_size_gives_the_same_answers(build: Build) -> None:
    learner = fitted(build())
    images = small_scenario().train_tasks[1].train.images
    whole = learner.outputs(images)
    learner.schedule = replace(learner.schedule, evaluation_batch_size=7)
    parts = learner.outputs(images)
    torch.testing.assert_close(parts.logits, whole.logits, rtol=1e-4, atol=1e-4)
    assert torch.equal(learner.predict(images[:1]), learner.predict(images)[:1])


def test_an_answer_depends_on_no_other_image(build: Build) -> None:
    """Whatever comes along in a batch, be it of one task or of several, an image gets the same logits and weights."""
    learner = fitted(build())
    first, second, third = (task.train.images for task in small_scenario().train_tasks)
    asked = second[:4]
    mixed = torch.cat([first[:2], third[:2]])
    found = [learner.outputs(torch.cat([asked, others])) for others in (second[4:8], mixed, torch.zeros_like(mixed))]
    for other in found[1:]:
        assert torch.equal(other.logits[:4], found[0].logits[:4])
        if other.routing is not None and found[0].routing is not None:
            assert torch.equal(other.routing[:4], found[0].routing[:4])


def test_labels_and_tasks_of_test_images_reach_no_answer(build: Build) -> None:
    learner = fitted(build())
    seen = small_scenario().test_seen(small_scenario().train_tasks[2])
    parts = [LabelledImages(part.images, part.labels.flip(0)) for part in seen.parts]
    true = evaluate(learner, seen)
    false = evaluate(learner, SeenTest((parts[2], parts[0], parts[1]), seen.classes))
    assert torch.equal(false.predictions.roll(-10), true.predictions)
    if true.chosen is not None and false.chosen is not None:
        assert torch.equal(false.chosen.roll(-10), true.chosen)


def test_only_joint_training_looks_at_earlier_images(build: Build) -> None:
    learner, alone = build(), build()
    tasks = small_scenario().train_tasks[:2]
    if isinstance(learner, Joint):
        pytest.skip("the upper bound may")
    seed_everything(0)
    alone.load_state_dict(learner.state_dict())
    for task in tasks:
        learner.fit_task(task)
        alone.fit_task(replace(task, earlier=()))
    expected = learner.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in alone.state_dict().items())


def test_no_image_is_kept(build: Build) -> None:
    """As many numbers lie in a learner after twenty images a class as after ten: none is of an image."""
    if isinstance(build(), ICaRL):
        pytest.skip("the one method with exemplars")

    def held(per_class: int) -> int:
        learner, scenario = build(), small_scenario(per_class=per_class)
        for task in scenario.train_tasks:
            learner.fit_task(task)
        return sum(tensor.numel() for tensor in tensors_in(learner))

    assert held(10) == held(20) > 0


def tensors_in(value: object) -> Iterator[torch.Tensor]:
    """All tensors that can be reached from an object through its attributes, lists and dictionaries."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from tensors_in(each)
    elif isinstance(value, (list, tuple, set)):
        for each in value:
            yield from tensors_in(each)
    elif isinstance(value, (torch.nn.Module, LabelledImages, Task)):
        yield from tensors_in(vars(value))


def test_what_is_kept_gives_the_same_bits(build: Build) -> None:
    scenario, learner, kept = small_scenario(), build(), KeptFeatures()
    for task in scenario.train_tasks:
        learner.fit_task(task)
        ours = evaluate(learner, scenario.test_seen(task), kept=kept)
        anew = evaluate(learner, scenario.test_seen(task))
        assert torch.equal(ours.predictions, anew.predictions)
        if ours.routing is not None and anew.routing is not None:
            assert torch.equal(ours.routing, anew.routing)
    assert kept.tasks == (3 if learner.keeps_features else 0)


def test_the_frozen_network_stays_as_it_was(build: Build) -> None:
    learner = build()
    if learner.trains_backbone:
        pytest.skip("this one trains the network")
    before = learner.backbone.fingerprint()
    assert fitted(learner).backbone.fingerprint() == before


def test_predictions_are_labels_of_the_data_set(build: Build) -> None:
    learner = fitted(build(), tasks=2)
    tasks = small_scenario().train_tasks
    found = learner.predict(concatenate([tasks[0].train, tasks[1].train]).images)
    assert set(found.tolist()) <= {*tasks[0].classes, *tasks[1].classes}
    assert learner.predict(tasks[0].train.images.permute(0, 2, 3, 1).numpy()).dtype == torch.int64


def test_the_same_seed_gives_the_same_bits() -> None:
    runs = []
    for _ in range(2):
        torch.manual_seed(0)
        runs.append(fitted(Finetune(backbone=TINY, schedule=QUICK, seed=5), tasks=2).state_dict())
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])
    torch.manual_seed(0)
    other = fitted(Finetune(backbone=TINY, schedule=QUICK, seed=6), tasks=2).state_dict()
    assert any(not torch.equal(runs[0][name], other[name]) for name in other)


def test_simple_cil_is_the_nearest_mean_by_cosine() -> None:
    learner = fitted(SimpleCIL(backbone=TINY, schedule=QUICK))
    tasks = small_scenario().train_tasks
    train = concatenate([task.train for task in tasks])
    features = learner.backbone(learner.prepare(train.images))
    images = small_scenario().test_seen(tasks[2]).parts[1].images
    rows = learner.backbone(learner.prepare(images))
    classes = torch.tensor([label for task in tasks for label in task.classes])
    means = torch.stack([features[train.labels == label].mean(0) for label in classes])
    cosines = F.cosine_similarity(rows[:, None], means[None], dim=-1)
    torch.testing.assert_close(learner.outputs(images).logits, cosines)
    assert torch.equal(learner.predict(images), classes[cosines.argmax(1)])


def test_finetuning_over_new_classes_leaves_the_old_rows() -> None:
    learner = Finetune(backbone=TINY, schedule=replace(QUICK, weight_decay=0.0))
    tasks = small_scenario().train_tasks
    learner.fit_task(tasks[0])
    before = learner.classifier.weight.detach().clone()
    learner.fit_task(tasks[1])
    assert torch.equal(learner.classifier.weight[:2], before)
    assert learner.backbone.adapter_count == 1


def test_full_finetuning_changes_and_saves_the_network(tmp_path: Path) -> None:
    learner = Finetune(FinetuneConfig(trains="full"), backbone=TINY, schedule=QUICK)
    before = learner.backbone.fingerprint()
    learner.fit_task(small_scenario().train_tasks[0])
    assert learner.backbone.fingerprint() != before
    learner.save(tmp_path / "full.safetensors")
    assert load(tmp_path / "full.safetensors").backbone.fingerprint() == learner.backbone.fingerprint()


def test_a_saved_learner_holds_no_frozen_weight(tmp_path: Path) -> None:
    weights = tmp_path / "vit.safetensors"
    learner = SimpleCIL(backbone=TINY)
    save_weights(
        weights, {name.replace(".mlp.mlp.", ".mlp."): t for name, t in learner.backbone.vit.state_dict().items()}, {}
    )
    learner = fitted(SimpleCIL(backbone=replace(TINY, weights=str(weights)), schedule=QUICK))
    learner.save(tmp_path / "learner.safetensors")
    state, _ = load_weights(tmp_path / "learner.safetensors")
    assert not [name for name in state if name.startswith("backbone.")]
    moved = weights.rename(tmp_path / "moved.safetensors")
    with pytest.raises(FileNotFoundError, match="no such file"):
        load(tmp_path / "learner.safetensors")
    assert load(tmp_path / "learner.safetensors", weights=moved).task_count == 3
    other = Finetune(backbone=TINY).backbone.vit.state_dict()
    save_weights(moved, {name.replace(".mlp.mlp.", ".mlp."): tensor + 1 for name, tensor in other.items()}, {})
    with pytest.raises(ValueError, match="is not the expected"):
        load(tmp_path / "learner.safetensors", weights=moved)


def test_every_step_is_reported() -> None:
    steps: list[Step] = []
    learner = Finetune(backbone=TINY, schedule=QUICK)
    for task in small_scenario().train_tasks[:2]:
        learner.fit_task(task, on_step=steps.append)
    assert [(step.task, step.number) for step in steps] == [(task, number) for task in (0, 1) for number in range(6)]
    assert all(set(step.losses) == {"classification"} for step in steps)


def test_joint_sees_all_tasks_and_starts_afresh() -> None:
    learner = Joint(backbone=TINY, schedule=QUICK)
    tasks = small_scenario().train_tasks
    for task in tasks:
        learner.fit_task(task)
    assert len(learner.training_images(tasks[2])) == 60
    assert learner.backbone.adapter_count == 1
    assert learner.classifier.class_count == 6


def test_tasks_come_in_their_order_and_once() -> None:
    learner = SimpleCIL(backbone=TINY, schedule=QUICK)
    tasks = small_scenario().train_tasks
    with pytest.raises(ValueError, match="task 1 cannot follow 0 learned tasks"):
        learner.fit_task(tasks[1])
    with pytest.raises(ValueError, match="has seen no task yet"):
        learner.predict(tasks[0].train.images)
    learner.fit_task(tasks[0])
    with pytest.raises(ValueError, match="was learned before"):
        learner.fit_task(replace(tasks[0], index=1))
    with pytest.raises(ValueError, match="give 8-bit values"):
        learner.predict(torch.zeros(1, 3, 8, 8))


def test_a_loss_that_is_not_finite_stops_the_training() -> None:
    learner = Finetune(backbone=TINY, schedule=replace(QUICK, learning_rate=1e30))
    with pytest.raises(FloatingPointError, match=r"the loss is not finite .*; lower the learning rate"):
        fitted(learner)


def test_a_foreign_file_is_no_learner(tmp_path: Path) -> None:
    learner = fitted(SimpleCIL(backbone=TINY, schedule=QUICK), tasks=1)
    path = tmp_path / "learner.safetensors"
    learner.save(path)
    state, config = load_weights(path)
    save_weights(path, state, {**config, "format": 99})
    with pytest.raises(ValueError, match=r"is no learner of format 1 \(found 99\)"):
        load(path)
    save_weights(path, state, {**config, "learner": {"class": "SimpleCILConfig", "extra": 1}})
    with pytest.raises(ValueError, match="its config cannot be read"):
        load(path)
    save_weights(path, {name: tensor for name, tensor in state.items() if name != "classifier.weight"}, config)
    with pytest.raises(ValueError, match=r"the state is of another learner: classifier.weight is missing"):
        load(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        load(path)


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="device 'cuda:99' cannot be used here"):
        SimpleCIL(backbone=TINY, device="cuda:99")


@pytest.mark.parametrize("change", [{"epochs": -1}, {"batch_size": 0}, {"learning_rate": 0.0}])
def test_a_schedule_out_of_range_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="all must be positive"):
        replace(QUICK, **change)


class Own(Finetune):
    """A method of a user's, which the package cannot rebuild."""


def test_a_learner_that_load_cannot_rebuild_says_so(tmp_path: Path) -> None:
    learner, path = Own(backbone=TINY, schedule=QUICK), tmp_path / "own.safetensors"
    task = small_scenario().train_tasks[0]
    learner.fit_task(task)
    learner.save(path)
    with pytest.raises(ValueError, match=r"was written by Own, but its config builds a Finetune"):
        load(path)
    again = Own(backbone=TINY, schedule=QUICK)
    again.load_learned_state(load_weights(path)[0])  # the advice helps
    assert torch.equal(again.predict(task.train.images), learner.predict(task.train.images))
