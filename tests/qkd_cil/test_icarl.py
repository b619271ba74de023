"""iCaRL's exemplars and LwF's teacher."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from cil_small import QUICK, TINY, small_scenario
from hypothesis import given
from hypothesis import strategies as st
from qkd_cil import Augmentation, Batch, Finetune, FinetuneConfig, ICaRL, ICaRLConfig, LwF, LwFConfig, Schedule
from qkd_cil.learners.icarl import herd
from qkd_cil.learners.lwf import Teacher, soft_cross_entropy

FAST = Schedule(epochs=2, batch_size=8, learning_rate=0.3, weight_decay=0.0)


@given(rows=st.integers(1, 6), count=st.integers(1, 7), seed=st.integers(0, 99))
def test_herding_takes_the_best_of_all_at_each_step(rows: int, count: int, seed: int) -> None:
    features = torch.randn(rows, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    chosen = herd(features, count).tolist()
    assert len(set(chosen)) == len(chosen) == min(rows, count)
    for step in range(len(chosen)):
        distances = {
            row: (features.mean(0) - features[[*chosen[:step], row]].mean(0)).norm().item()
            for row in range(rows)
            if row not in chosen[:step]
        }
        assert distances[chosen[step]] == pytest.approx(min(distances.values()), abs=1e-12)


def test_fewer_exemplars_are_the_first_of_more() -> None:
    features = torch.randn(9, 4)
    assert torch.equal(herd(features, 7)[:3], herd(features, 3))
    assert torch.equal(herd(features, 9).sort().values, torch.arange(9))


@pytest.mark.parametrize("sizes", [(2, 2, 2), (1, 3, 2)])
def test_the_memory_is_shared_by_all_classes(sizes: tuple[int, ...]) -> None:
    learner = ICaRL(ICaRLConfig(memory=13), backbone=TINY, schedule=QUICK)
    earlier: dict[int, torch.Tensor] = {}
    for task in small_scenario(task_sizes=sizes).train_tasks:
        learner.fit_task(task)
        each = min(10, 13 // len(learner.classes))
        labels, counts = learner.exemplar_labels.unique(return_counts=True)
        assert sorted(labels.tolist()) == sorted(learner.classes.tolist())
        assert set(counts.tolist()) == {each}
        for label in labels.tolist():
            now = learner.exemplars[learner.exemplar_labels == label]
            assert torch.equal(now, earlier.get(label, now)[:each])  # the last ones go first
            earlier[label] = now
    task = small_scenario(task_sizes=sizes).train_tasks[-1]
    assert len(learner.training_images(task)) == len(task.train) + 2 * 6


def test_the_nearest_mean_of_exemplars() -> None:
    learner = ICaRL(ICaRLConfig(memory=18), backbone=TINY, schedule=FAST)
    tasks = small_scenario().train_tasks
    for task in tasks:
        learner.fit_task(task)

    def unit(images: torch.Tensor) -> torch.Tensor:
        return F.normalize(learner.backbone.adapted(learner.prepare(images), tasks=[0])[0], dim=1)

    features = unit(learner.exemplars)
    means = torch.stack([features[learner.exemplar_labels == label].mean(0) for label in learner.classes])
    distances = (unit(tasks[1].train.images)[:, None] - F.normalize(means, dim=1)).square().sum(2)
    torch.testing.assert_close(learner.outputs(tasks[1].train.images).logits, -distances, rtol=1e-3, atol=1e-5)


def test_the_paper_loss_of_icarl_by_hand() -> None:
    losses: list[dict[str, float]] = []
    settings = {"backbone": TINY, "schedule": replace(FAST, epochs=1, batch_size=100)}
    learner = ICaRL(ICaRLConfig(memory=6, loss="sigmoid"), **settings)
    tasks = small_scenario().train_tasks
    learner.fit_task(tasks[0])
    images, old = learner.training_images(tasks[1]), learner.classifier.weight.detach().clone()
    values = learner.prepare(images.images)
    answers = learner.answers(values).detach()
    learner.fit_task(tasks[1], on_step=lambda step: losses.append(step.losses))
    grown = Finetune(FinetuneConfig(similarity="linear"), **settings)
    grown.load_state_dict(learner.state_dict(), strict=False)
    assert len(losses) == 1  # one batch of all: the loss before any step
    first = losses[0]["classification"]
    wanted = answers.sigmoid()
    kept = -(wanted * answers.sigmoid().log() + (1 - wanted) * (1 - answers.sigmoid()).log()).sum(1).mean()
    assert len(old) == 2
    assert first > kept.item()  # the old classes' part is the entropy of the old answers, the new classes' is added
    assert first < kept.item() + 2 * 2.0  # two new classes, each near log 2 before it has learned


def test_distillation_is_least_where_the_answers_agree() -> None:
    teacher = torch.randn(5, 4)
    at = soft_cross_entropy(teacher, teacher, temperature=2.0)
    entropy = torch.special.entr((teacher / 2).softmax(1)).sum(1).mean()
    torch.testing.assert_close(at, entropy)
    assert soft_cross_entropy(teacher, teacher + torch.randn(5, 4), temperature=2.0) > at


@pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation(flip=0.5)])
def test_a_teacher_says_what_the_network_said(augmentation: Augmentation) -> None:
    learner = LwF(backbone=TINY, schedule=replace(FAST, augmentation=augmentation))
    first, second, _ = small_scenario().train_tasks
    learner.fit_task(first)
    teacher = Teacher(learner, second)
    rows = torch.tensor([3, 1, 8])
    batch = Batch(learner.prepare(second.train.images[rows]), torch.zeros(3, dtype=torch.int64), rows)
    before = learner.answers(batch.images).detach()
    learner.fit_task(second)
    torch.testing.assert_close(teacher.logits(batch), before, rtol=1e-4, atol=1e-5)
    assert (learner.answers(batch.images)[:, :2] - before).abs().max() > 1e-3


def test_distillation_holds_the_old_answers() -> None:
    """The stronger it is, the less the logits of the old classes move on the new images."""
    moved = []
    settings = replace(FAST, learning_rate=0.05, epochs=4)
    for weight in (0.0, 10.0):
        torch.manual_seed(0)
        learner = LwF(LwFConfig(distillation=weight), backbone=TINY, schedule=settings)
        first, second, _ = small_scenario().train_tasks
        learner.fit_task(first)
        values = learner.prepare(second.train.images)
        before = learner.answers(values).softmax(1).detach()
        learner.fit_task(second)
        moved.append((learner.answers(values)[:, :2].softmax(1) - before).abs().mean().item())
    assert moved[1] < 0.5 * moved[0]


def test_exemplars_are_part_of_the_state() -> None:
    learner = ICaRL(ICaRLConfig(memory=6), backbone=TINY, schedule=QUICK)
    learner.fit_task(small_scenario().train_tasks[0])
    other = ICaRL(ICaRLConfig(memory=6), backbone=TINY, schedule=QUICK)
    other.load_learned_state(learner.learned_state())
    assert torch.equal(other.exemplars, learner.exemplars)
    assert other.exemplars.dtype == torch.uint8


def test_bad_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="lwf: distillation"):
        LwFConfig(temperature=0.0)
    with pytest.raises(ValueError, match="icarl: memory 0"):
        ICaRLConfig(memory=0)
    learner = ICaRL(ICaRLConfig(memory=1), backbone=TINY, schedule=QUICK)
    with pytest.raises(ValueError, match="a memory of 1 images is too small for 2 classes"):
        learner.fit_task(small_scenario().train_tasks[0])
