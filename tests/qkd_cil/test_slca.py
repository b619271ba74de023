"""SLCA's two classifiers and rates; MoTE's experts."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from cil_small import QUICK, TINY, small_scenario
from hypothesis import given
from hypothesis import strategies as st
from qkd_cil import SLCA, AlignmentConfig, MoTE, MoTEConfig, Schedule, SLCAConfig
from qkd_cil.data.images import concatenate
from qkd_cil.learners.mote import expert_weights
from qkd_cil.learners.slca import normed_logits

FAST = Schedule(epochs=2, batch_size=8, learning_rate=0.1)


def test_the_earlier_rows_stand_still_and_the_aligned_copy_answers() -> None:
    learner = SLCA(SLCAConfig(alignment=AlignmentConfig(epochs=2, draws=8)), backbone=TINY, schedule=FAST)
    first, second, _ = small_scenario().train_tasks
    learner.fit_task(first)
    assert torch.equal(learner.aligned.weight, learner.classifier.weight)  # nothing to align after one task
    rows, bias = learner.classifier.weight[:2].clone(), learner.classifier.bias[:2].clone()
    learner.fit_task(second)
    assert torch.equal(learner.classifier.weight[:2], rows)  # in spite of weight decay
    assert torch.equal(learner.classifier.bias[:2], bias)
    assert not torch.equal(learner.aligned.weight[:2], rows)
    features = learner.backbone(learner.prepare(first.train.images))
    torch.testing.assert_close(learner.outputs(first.train.images).logits, learner.aligned(features))


def test_the_network_learns_more_slowly_than_the_classifier() -> None:
    moved = {}
    for rate in (0.01, 0.1):
        torch.manual_seed(0)
        plain = replace(FAST, epochs=1, batch_size=100, weight_decay=0.0)
        learner = SLCA(SLCAConfig(network_rate=rate), backbone=TINY, schedule=plain)
        before = {name: tensor.clone() for name, tensor in learner.backbone.state_dict().items()}
        learner.fit_task(small_scenario().train_tasks[0])  # a single step
        after = learner.backbone.state_dict()
        moved[rate] = torch.cat([(after[name] - before[name]).flatten() for name in before])
    torch.testing.assert_close(moved[0.1], 10 * moved[0.01], rtol=0.01, atol=1e-6)
    assert moved[0.1].abs().max() > 0


def test_normed_logits_have_a_mean_length_of_one_over_the_temperature() -> None:
    logits, sizes = torch.randn(4, 6), torch.tensor([1, 3, 2])
    found = normed_logits(logits, sizes, temperature=0.1)
    lengths = torch.stack([part.norm(dim=1) for part in found.split([1, 3, 2], dim=1)]).mean(0)
    torch.testing.assert_close(lengths, torch.full((4,), 10.0))
    torch.testing.assert_close(normed_logits(7 * logits, sizes, temperature=0.1), found)


def one_image(confidences: list[float], named: list[int], others: float, filtered: bool) -> torch.Tensor:
    """The weights of the experts of one image, expert by expert."""
    valid = [t for t, of in enumerate(named) if of == t] if filtered else list(range(len(named)))
    if not valid:
        valid = [max(range(len(named)), key=lambda t: confidences[t])]
    surest = max(valid, key=lambda t: confidences[t])
    raw = torch.tensor([confidences[t] * (1 if t == surest else others) for t in valid])
    weights = torch.zeros(len(named))
    weights[valid] = raw.softmax(0)
    return weights


@given(data=st.data(), experts=st.integers(1, 4), filtered=st.booleans())
def test_expert_weights_one_by_one(data: st.DataObject, experts: int, filtered: bool) -> None:
    each = st.tuples(st.floats(0.0625, 1, width=32), st.integers(0, experts - 1))
    rows = data.draw(st.lists(st.lists(each, min_size=experts, max_size=experts), min_size=1, max_size=3))
    confidences = [[confidence for confidence, _ in row] for row in rows]
    named = [[task for _, task in row] for row in rows]
    found = expert_weights(torch.tensor(confidences), torch.tensor(named), others=0.1, filtered=filtered)
    expected = [one_image(c, n, 0.1, filtered) for c, n in zip(confidences, named, strict=True)]
    torch.testing.assert_close(found, torch.stack(expected))
    torch.testing.assert_close(found.sum(1), torch.ones(len(rows)))


def test_the_answer_of_mote_by_hand() -> None:
    learner = MoTE(backbone=TINY, schedule=Schedule(epochs=3, batch_size=8, learning_rate=0.5))
    tasks = small_scenario(task_sizes=(1, 3, 2)).train_tasks
    for task in tasks:
        learner.fit_task(task)
    train = concatenate([task.train for task in tasks])
    spaces = learner.backbone.adapted(learner.prepare(train.images), tasks=range(3))
    targets, of = learner.positions(train.labels), learner.task_of_class
    means = torch.stack([spaces[of[c], targets == c].mean(0) for c in range(6)])
    torch.testing.assert_close(learner.prototypes.weight, means, rtol=1e-4, atol=1e-5)
    images = tasks[1].train.images[:6]
    found = learner.outputs(images)
    experts = learner.backbone.adapted(learner.prepare(images), tasks=range(3))
    for row in range(6):
        answers = [(10 * F.cosine_similarity(experts[t, row], means)).softmax(0) for t in range(3)]
        confidences, named = [a.max().item() for a in answers], [int(of[a.argmax()]) for a in answers]
        weights = one_image(confidences, named, 0.1, True)
        torch.testing.assert_close(found.routing[row], weights, rtol=1e-4, atol=1e-5)
        expected = F.cosine_similarity(weights @ experts[:, row], means)
        torch.testing.assert_close(found.logits[row], expected, rtol=1e-4, atol=1e-5)


def test_all_experts_answer_without_the_filter() -> None:
    learner = MoTE(MoTEConfig(filtering="none"), backbone=TINY, schedule=QUICK)
    for task in small_scenario().train_tasks:
        learner.fit_task(task)
    assert (learner.outputs(task.train.images).routing > 0).all()


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="slca: network_rate 0"):
        SLCAConfig(network_rate=0.0)
    with pytest.raises(ValueError, match="mote: confidence_scale 0"):
        MoTEConfig(confidence_scale=0.0)
