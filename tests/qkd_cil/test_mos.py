"""MOS: merging, retrieval, and what its public code does to the stored adapters; TUNA's merging and choice."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from cil_small import QUICK, TINY, small_scenario
from hypothesis import given
from hypothesis import strategies as st
from qkd_cil import MOS, TUNA, AlignmentConfig, Learner, MOSConfig, Schedule, TUNAConfig, evaluate
from qkd_cil.learners.mos import contrast, refine
from qkd_cil.learners.tuna import universal_weights

SHORT = AlignmentConfig(epochs=2, draws=8)
FAST = Schedule(epochs=2, batch_size=8, learning_rate=0.3)


def fitted(learner: Learner, sizes: tuple[int, ...] = (2, 2, 2)) -> Learner:
    """A learner after all tasks."""
    for task in small_scenario(task_sizes=sizes).train_tasks:
        learner.fit_task(task)
    return learner


def numbers(learner: Learner, adapter: int) -> torch.Tensor:
    """All weights of an adapter in a row."""
    return torch.cat([parameter.detach().flatten() for parameter in learner.backbone.adapter_parameters(adapter)])


def one_image(start: int, following: list[int], steps: int) -> int:
    """The retrieval as a loop over the steps of one image."""
    task = start
    for step in range(1, steps + 1):
        named = following[task]
        if step == steps or named == task:
            break
        task = named
    return task


@given(data=st.data(), tasks=st.integers(1, 5), steps=st.integers(1, 6))
def test_retrieval_is_the_loop_over_each_image(data: st.DataObject, tasks: int, steps: int) -> None:
    some = st.integers(0, tasks - 1)
    start = data.draw(st.lists(some, min_size=1, max_size=6))
    following = [data.draw(st.lists(some, min_size=tasks, max_size=tasks)) for _ in start]
    found = refine(torch.tensor(start), torch.tensor(following), steps=steps)
    assert found.tolist() == [one_image(s, f, steps) for s, f in zip(start, following, strict=True)]


@pytest.mark.parametrize("method", [MOS, TUNA])
def test_earlier_adapters_keep_their_bits(method: type) -> None:
    config = MOSConfig(alignment=SHORT) if method is MOS else TUNAConfig(alignment=SHORT)
    learner = method(config, backbone=TINY, schedule=FAST)
    scenario, kept = small_scenario(), []
    for task in scenario.train_tasks:
        learner.fit_task(task)
        evaluate(learner, scenario.test_seen(task))
        learner.predict(task.train.images)
        kept.append(numbers(learner, task.index))
        assert all(torch.equal(numbers(learner, index), adapter) for index, adapter in enumerate(kept))


def test_a_merging_goes_a_share_of_the_way_to_the_mean() -> None:
    learner = fitted(MOS(MOSConfig(momentum=0.3, alignment=SHORT), backbone=TINY, schedule=FAST))
    before = [numbers(learner, index) for index in range(3)]
    learner.after_step()
    torch.testing.assert_close(numbers(learner, 2), 0.7 * before[2] + 0.3 * (before[0] + before[1]) / 2)
    assert torch.equal(numbers(learner, 1), before[1])


def test_every_step_merges() -> None:
    """With the whole share the adapter of a later task is the mean of the earlier ones, whatever it learned."""
    learner = fitted(MOS(MOSConfig(momentum=1.0, alignment=SHORT), backbone=TINY, schedule=FAST))
    torch.testing.assert_close(numbers(learner, 1), numbers(learner, 0))
    torch.testing.assert_close(numbers(learner, 2), numbers(learner, 0))
    assert numbers(learner, 0).abs().max() > 0


def test_the_public_code_changes_stored_adapters_while_it_judges() -> None:
    """One pass takes an adapter 1 − 0.9ᴸ of the way to its predecessors' mean, L being the number of blocks."""
    learner = fitted(MOS(MOSConfig(merging="forward", alignment=SHORT), backbone=TINY, schedule=FAST))
    before = [numbers(learner, index) for index in range(3)]
    images = small_scenario().test_seen(small_scenario().train_tasks[2]).parts[0].images
    learner.predict(images)
    share = 0.9 ** len(learner.backbone.vit.blocks)
    assert torch.equal(numbers(learner, 0), before[0])
    expected = share * before[2] + (1 - share) * learner.originals[:2].mean(0)
    torch.testing.assert_close(numbers(learner, 2), expected, rtol=1e-4, atol=1e-6)
    assert ((numbers(learner, 2) - before[2]).norm() / before[2].norm()) > 0.01
    learner.predict(images)
    assert not torch.equal(numbers(learner, 2), expected)
    assert not learner.keeps_features


def test_the_answer_of_mos_by_hand() -> None:
    learner = fitted(MOS(MOSConfig(alignment=SHORT), backbone=TINY, schedule=FAST), sizes=(1, 3, 2))
    images = small_scenario().train_tasks[1].train.images[:6]
    values = learner.prepare(images)
    found = learner.outputs(images)
    prior = learner.prototypes(learner.backbone(values))
    of = learner.task_of_class
    for row in range(6):
        under = [learner.classifier(learner.backbone.adapted(values, tasks=[t])[0][row]) for t in range(3)]
        task = one_image(int(of[prior[row].argmax()]), [int(of[logits.argmax()]) for logits in under], 4)
        expected = under[task].softmax(0) + (3 * prior[row]).softmax(0)
        torch.testing.assert_close(found.logits[row], expected, rtol=1e-4, atol=1e-5)
        assert found.routing is not None
        assert found.routing[row].argmax() == task


def test_contrast_is_least_for_rows_that_stand_apart() -> None:
    assert contrast(10 * torch.eye(3)) < 1e-5
    torch.testing.assert_close(contrast(torch.ones(4, 2)), torch.tensor(4.0).log())


def test_the_classifier_of_mos_learns_at_a_rate_of_its_own() -> None:
    learner = MOS(MOSConfig(head_rate=0.0, alignment=SHORT), backbone=TINY, schedule=replace(FAST, weight_decay=0.0))
    task = small_scenario().train_tasks[0]
    learner.fit_task(task)
    other = MOS(MOSConfig(head_rate=0.0, alignment=SHORT), backbone=TINY, schedule=replace(FAST, epochs=0))
    other.fit_task(task)
    assert torch.equal(learner.classifier.weight, other.classifier.weight)
    assert numbers(learner, 0).norm() > 1.01 * numbers(other, 0).norm()


@given(count=st.integers(1, 4), seed=st.integers(0, 50))
def test_universal_weights_one_by_one(count: int, seed: int) -> None:
    adapters = torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))
    found = universal_weights(adapters)
    for index in range(6):
        column = adapters[:, index].tolist()
        sign = 1 if sum(column) > 0 else -1
        assert found[index].item() == sign * max(abs(x) for x in column if x * sign > 0)
    torch.testing.assert_close(universal_weights(adapters.flip(0)), found)


def test_the_universal_adapter_of_one_task_is_that_tasks() -> None:
    learner = TUNA(TUNAConfig(alignment=SHORT), backbone=TINY, schedule=QUICK)
    learner.fit_task(small_scenario().train_tasks[0])
    assert learner.backbone.adapter_count == 2
    torch.testing.assert_close(numbers(learner, 1), numbers(learner, 0))


def test_the_answer_of_tuna_by_hand() -> None:
    learner = fitted(TUNA(TUNAConfig(alignment=SHORT), backbone=TINY, schedule=FAST), sizes=(1, 3, 2))
    assert learner.backbone.adapter_count == 4
    merged = universal_weights(torch.stack([numbers(learner, t) for t in range(3)]))
    torch.testing.assert_close(numbers(learner, 3), merged)
    images = small_scenario().train_tasks[1].train.images[:6]
    under = learner.backbone.adapted(learner.prepare(images), tasks=range(4))
    rows = F.normalize(learner.classifier.weight, dim=1)
    answers = (20 * F.normalize(under, dim=2) @ rows.T).softmax(2)
    found = learner.outputs(images)
    for row in range(6):
        entropies = torch.stack([-(answers[t, row] * answers[t, row].log()).sum() for t in range(3)])
        surest = int(entropies.argmin())
        torch.testing.assert_close(found.logits[row], answers[surest, row] + answers[3, row], rtol=1e-4, atol=1e-5)
        assert found.routing is not None
        assert found.routing[row, surest] == 1


def test_the_decay_of_the_means_and_its_published_sign() -> None:
    learners = {
        kind: fitted(TUNA(TUNAConfig(mean_decay=kind, alignment=SHORT), backbone=TINY, schedule=QUICK))
        for kind in ("task", "none", "wrong-sign")
    }
    factors = {kind: (each._shortened_means() / each.means)[:, 0] for kind, each in learners.items()}
    tasks = torch.tensor([0, 0, 1, 1, 2, 2])
    torch.testing.assert_close(factors["task"], 0.9 + 0.1 * (tasks + 1) / 3)
    torch.testing.assert_close(factors["none"], torch.ones(6))
    published = torch.tensor([(c // (4 - 6) + 1) / 3 * 0.1 + 0.9 for c in range(6)])  # seen before 4, after 6 classes
    torch.testing.assert_close(factors["wrong-sign"], published)
    assert factors["wrong-sign"][-1] < factors["wrong-sign"][0]  # the newest is shortened most


def test_a_new_adapter_of_tuna_is_held_apart_from_the_earlier() -> None:
    losses: list[dict[str, float]] = []
    learner = TUNA(TUNAConfig(orthogonality=2.0, alignment=SHORT), backbone=TINY, schedule=FAST)
    for task in small_scenario().train_tasks[:2]:
        learner.fit_task(task, on_step=lambda step: losses.append(step.losses))
    assert [set(each) for each in losses] == [{"classification"}] * 6 + [{"classification", "orthogonality"}] * 6
    learner.backbone.drop_adapters(2)
    ups = [[block.adapters[t].up.weight for block in learner.backbone.parallel_adapters()] for t in range(2)]
    cosines = [
        (F.normalize(new, dim=1) @ F.normalize(old, dim=1).T).mean().abs() for old, new in zip(*ups, strict=True)
    ]
    torch.testing.assert_close(learner._overlap(), torch.stack(cosines).mean())


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="mos: momentum 2"):
        MOSConfig(momentum=2.0)
    with pytest.raises(ValueError, match="tuna: scale 0"):
        TUNAConfig(scale=0.0)
