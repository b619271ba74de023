"""QKD: its losses, its two profiles, what it keeps and what it never touches."""

import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from papertrio_shared.run import read_metrics
from qkd_cil import Scenario, Schedule, scenario
from qkd_cil.config import RunConfig
from qkd_cil.data.scenario import ScenarioConfig
from qkd_cil.data.transforms import Augmentation
from qkd_cil.learners.fitting import Batch, Step
from qkd_cil.learners.qkd import (
    PAPER,
    QKD,
    Profile,
    QKDConfig,
    distillation_divergence,
)
from qkd_cil.learners.routing import sparsity_penalty
from qkd_cil.models.adapter import AdapterConfig
from qkd_cil.models.backbone import BackboneConfig
from qkd_cil.models.diagnostics import GateWarning, entropy, gate_diagnostics
from qkd_cil.train import run
from torch import Tensor

TINY = BackboneConfig(
    "vit_tiny_patch16_224",
    weights="random",
    img_size=16,
    patch_size=8,
    embed_dim=24,
    depth=2,
    num_heads=2,
    adapter=AdapterConfig(bottleneck=4),
)
SCHEDULE = Schedule(epochs=2, batch_size=16, learning_rate=0.2)
GOLDEN = Path(__file__).parent / "golden" / "qkd.json"
PROFILE_NAMES: tuple[Profile, ...] = ("robust", "paper")

pytestmark = pytest.mark.filterwarnings("ignore::qkd_cil.models.diagnostics.GateWarning")


@pytest.fixture(scope="module")
def digits() -> Scenario:
    return scenario("digits", base_classes=2, increment=2, train_per_class=12, test_per_class=10)


def make_learner(config: QKDConfig | None = None, profile: Profile = "robust", schedule: Schedule = SCHEDULE) -> QKD:
    torch.manual_seed(0)
    config = config or replace(PAPER if profile == "paper" else QKDConfig(), routing_steps=20)
    return QKD(config, backbone=TINY, schedule=schedule, device="cpu")


def fitted(digits: Scenario, tasks: int = 3, **settings: object) -> QKD:
    learner = make_learner(**settings)  # type: ignore[arg-type]
    for task in digits.train_tasks[:tasks]:
        learner.fit_task(task)
    return learner


def images_of(digits: Scenario) -> Tensor:
    return torch.cat([task.train.images for task in digits.train_tasks[:3]])


# The terms of the loss


def test_divergence_is_that_of_torch_and_points_from_teacher_to_student() -> None:
    teachers, student = torch.randn(3, 5, 7).double(), torch.randn(5, 7).double()
    found = distillation_divergence(teachers, student)
    expected = torch.nn.functional.kl_div(
        student.log_softmax(1).expand(3, 5, 7), teachers.log_softmax(2), reduction="none", log_target=True
    ).sum(2)
    assert torch.allclose(found, expected.T, atol=1e-12)
    assert found.min() > 0
    assert distillation_divergence(student[None], student).abs().max() < 1e-12


def test_sparsity_of_each_kind() -> None:
    alpha = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    assert sparsity_penalty(alpha, "l1").item() == 1.0
    assert sparsity_penalty(alpha, "entropy").item() == pytest.approx(0.5 * torch.tensor(2.0).log().item())
    assert sparsity_penalty(alpha, "none").item() == 0.0
    assert entropy(alpha)[1] == 0


@pytest.mark.parametrize("profile", PROFILE_NAMES)
def test_the_loss_is_what_the_equation_says(digits: Scenario, profile: Profile) -> None:
    steps: list[Step] = []
    learner = make_learner(profile=profile, schedule=replace(SCHEDULE, epochs=1, batch_size=100))
    for task in digits.train_tasks[:2]:
        learner.fit_task(task, on_step=steps.append)
    assert [set(step.losses) for step in steps] == [
        {"cross_entropy"},
        {"cross_entropy", "distillation"} | ({"sparsity"} if profile == "paper" else set()),
    ]
    if profile == "paper":
        assert steps[1].losses["sparsity"] == pytest.approx(0.05)


def test_5_the_cross_entropy_never_reaches_the_gate(digits: Scenario) -> None:
    """Of the terms of the published loss, distillation alone has a gradient with respect to the circuit's weights."""
    learner = fitted(digits, 2, config=replace(PAPER, gate=replace(PAPER.gate, layers=3, temperature=0.1)))
    seen: dict[str, Tensor | None] = {}
    step = learner.training_step

    def look(batch: Batch) -> Mapping[str, Tensor]:
        losses = step(batch)
        for name, loss in losses.items():
            (seen[name],) = torch.autograd.grad(loss, [learner.gate.theta], retain_graph=True, allow_unused=True)
        return losses

    learner.training_step = look  # type: ignore[method-assign]
    learner.fit_task(digits.train_tasks[2])
    assert seen["cross_entropy"] is None
    assert seen["sparsity"] is not None
    assert seen["sparsity"].abs().max() < 1e-8
    assert seen["distillation"] is not None
    assert seen["distillation"].abs().max() > 1e-7


def test_6_the_unified_head_forgets_and_aligned_heads_do_not(digits: Scenario) -> None:
    """Share of all images that are told to belong to the last task: a third is right."""
    test = images_of(digits)

    def share(learner: QKD) -> float:
        return (learner.outputs(test).logits.argmax(1) >= 4).float().mean().item()

    schedule = replace(SCHEDULE, epochs=8)
    published = share(fitted(digits, profile="paper", schedule=schedule))
    aligned = share(fitted(digits, profile="robust", schedule=schedule))
    assert published > 0.6
    assert abs(aligned - 1 / 3) < 0.12


# What is kept and what is never touched


@pytest.mark.parametrize("profile", PROFILE_NAMES)
def test_earlier_adapters_keep_their_bits(digits: Scenario, profile: Profile) -> None:
    learner = make_learner(profile=profile)
    learner.fit_task(digits.train_tasks[0])
    frozen = {name: value.clone() for name, value in learner.backbone.state_dict().items()}
    features = learner.encode(images_of(digits))
    for task in digits.train_tasks[1:3]:
        learner.fit_task(task)
    later = learner.backbone.state_dict()
    assert all(torch.equal(later[name], value) for name, value in frozen.items())
    assert torch.equal(learner.encode(images_of(digits))[:, :24], features)
    changed = [
        (new - old).abs().max() > 1e-4
        for new, old in zip(learner.backbone.adapter_parameters(2), learner.backbone.adapter_parameters(1), strict=True)
    ]
    assert any(changed)


@pytest.mark.parametrize("profile", PROFILE_NAMES)
def test_state_goes_round(digits: Scenario, profile: Profile) -> None:
    learner = fitted(digits, profile=profile)
    fresh = make_learner(profile=profile)
    fresh.load_state_dict(learner.state_dict())
    first, second = learner.outputs(images_of(digits)), fresh.outputs(images_of(digits))
    assert torch.equal(first.logits, second.logits)
    assert first.routing is not None
    assert second.routing is not None
    assert torch.equal(first.routing, second.routing)


@pytest.mark.parametrize("profile", PROFILE_NAMES)
def test_a_restored_learner_goes_on_to_the_same_bits(digits: Scenario, profile: Profile) -> None:
    straight = fitted(digits, profile=profile)
    resumed = make_learner(profile=profile)
    resumed.load_state_dict(fitted(digits, 2, profile=profile).state_dict())
    resumed.fit_task(digits.train_tasks[2])
    found, expected = resumed.state_dict(), straight.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_kept_features_give_the_same_bits(digits: Scenario) -> None:
    learner = fitted(digits, 2)
    images = images_of(digits)
    kept = learner.encode(images)
    learner.fit_task(digits.train_tasks[2])
    assert torch.equal(learner.encode(images, kept), learner.encode(images))
    assert torch.equal(learner.encode(images, learner.encode(images)), learner.encode(images))


@pytest.mark.parametrize("profile", PROFILE_NAMES)
def test_any_batch_gives_the_same_logits(digits: Scenario, profile: Profile) -> None:
    learner = fitted(digits, profile=profile)
    images = images_of(digits)
    apart = torch.cat([learner.outputs(part).logits for part in images.split(7)])
    whole = learner.outputs(images)
    assert torch.allclose(whole.logits, apart, rtol=1e-4, atol=1e-4)
    assert whole.routing is not None
    assert torch.allclose(whole.routing.sum(1), torch.ones(len(images)))


def test_cached_teachers_are_the_teachers(digits: Scenario) -> None:
    learner = fitted(digits, 2)
    rows = torch.tensor([3, 0, 8])
    kept: list[Tensor] = []

    def look(_: Step) -> None:
        assert learner.teacher_features is not None
        kept.append(learner.teacher_features[:, rows])

    learner.fit_task(digits.train_tasks[2], on_step=look)
    expected = learner.backbone.adapted(learner.prepare(digits.train_tasks[2].train.images[rows]), tasks=[0, 1])
    assert torch.allclose(kept[0], expected, atol=1e-5)
    assert torch.equal(kept[0], kept[-1])


def test_augmented_images_go_through_the_teachers(digits: Scenario) -> None:
    """A mirror image has features of its own, so that the losses differ from those of the kept ones."""

    def losses(flip: float) -> dict[str, float]:
        steps: list[Step] = []
        learner = make_learner(schedule=replace(SCHEDULE, epochs=1, augmentation=Augmentation(flip=flip)))
        for task in digits.train_tasks[:2]:
            learner.fit_task(task, on_step=steps.append)
        return steps[-1].losses

    assert losses(1.0)["distillation"] > 0
    assert losses(1.0)["distillation"] != pytest.approx(losses(0.0)["distillation"], rel=1e-3)


def test_moments_are_what_stays_of_the_features(digits: Scenario) -> None:
    learner = fitted(digits)
    assert {"means", "scatter", "totals"} <= set(learner.learned_state())
    assert learner.means.shape == (3, 6, 24)
    assert learner.scatter.shape == (3, 24, 24)
    assert learner.teacher_features is None


# What the gate tells about itself


def test_the_published_gate_warns_that_it_does_not_route(digits: Scenario) -> None:
    learner = make_learner(profile="paper")
    learner.fit_task(digits.train_tasks[0])
    with pytest.warns(GateWarning) as caught:
        learner.fit_task(digits.train_tasks[1])
    messages = [str(each.message) for each in caught]
    assert any("the gate does not route: its largest weight is 0.5" in message for message in messages)
    learner = make_learner(config=replace(PAPER, gate=replace(PAPER.gate, layers=1)))
    learner.fit_task(digits.train_tasks[0])
    with pytest.warns(GateWarning, match="the circuit's weights do not matter"):
        learner.fit_task(digits.train_tasks[1])


def test_the_robust_gate_routes_and_does_not_warn(digits: Scenario) -> None:
    learner = make_learner(config=QKDConfig(routing_steps=150))
    with warnings.catch_warnings():
        warnings.simplefilter("error", GateWarning)
        for task in digits.train_tasks[:3]:
            learner.fit_task(task)
    test = images_of(digits)
    routing = learner.outputs(test).routing
    assert routing is not None
    tasks = torch.arange(3).repeat_interleave(24)
    assert (routing.argmax(1) == tasks).float().mean() > 0.7
    found = learner.diagnostics
    assert found == gate_diagnostics(learner.gate, learner.encode(digits.train_tasks[2].train.images)[:, :24])
    assert 0 < found["fidelity_spread"] < 1
    assert 0 < found["gate_entropy"] < 1
    assert found["uniform_weight"] < found["largest_weight"] <= 1
    assert found["theta_gradient"] > 0


def test_a_run_logs_what_the_gate_tells(tmp_path: Path) -> None:
    config = RunConfig(
        tasks=ScenarioConfig(task_sizes=(5, 5), train_per_class=6, test_per_class=4),
        backbone=TINY,
        learner=QKDConfig(routing_steps=20),
        schedule=replace(SCHEDULE, epochs=1),
    )
    run(config, tmp_path / "run")
    rows = [row for row in read_metrics(tmp_path / "run") if "gate_entropy" in row]
    assert [row["uniform_weight"] for row in rows] == [1.0, 0.5]


def test_numbers_out_of_range() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        QKDConfig(distillation=-1.0)


# A short training run, step by step


@pytest.mark.parametrize("profile", PROFILE_NAMES)
def test_golden_training(digits: Scenario, profile: Profile) -> None:
    """The losses of a few steps; PAPERTRIO_REGENERATE=1 in the environment writes them anew."""
    steps: list[Step] = []
    learner = make_learner(profile=profile, schedule=replace(SCHEDULE, epochs=1))
    for task in digits.train_tasks[:3]:
        learner.fit_task(task, on_step=steps.append)
    found = [{name: round(value, 6) for name, value in step.losses.items()} for step in steps]
    known = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if os.environ.get("PAPERTRIO_REGENERATE"):
        GOLDEN.write_text(json.dumps(known | {profile: found}, indent=1) + "\n")
        return
    assert len(found) == len(known[profile])
    for ours, expected in zip(found, known[profile], strict=True):
        assert ours == pytest.approx(expected, rel=1e-3, abs=1e-5)
