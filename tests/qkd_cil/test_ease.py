"""EASE's prototypes and logits, and APER's, by hand."""

import pytest
import torch
import torch.nn.functional as F
from cil_small import QUICK, TINY, small_scenario
from hypothesis import given
from hypothesis import strategies as st
from qkd_cil import APER, EASE, APERConfig, EASEConfig, Schedule
from qkd_cil.data.images import concatenate
from qkd_cil.learners.ease import complement_prototypes


def by_hand(means: torch.Tensor, task_of_class: torch.Tensor, *, later: bool) -> torch.Tensor:
    """The same class by class."""
    full = means.clone()
    for space in range(len(means)):
        for c, task in enumerate(task_of_class.tolist()):
            if task >= space:
                continue
            known = [k for k, of in enumerate(task_of_class.tolist()) if (of >= space if later else of == space)]
            cosines = torch.stack([F.cosine_similarity(means[task, c], means[task, k], dim=0) for k in known])
            weights = cosines.exp() / cosines.exp().sum()
            full[space, c] = sum(w * means[space, k] for w, k in zip(weights, known, strict=True))
    return full


@given(sizes=st.lists(st.integers(1, 3), min_size=1, max_size=4), later=st.booleans(), seed=st.integers(0, 99))
def test_the_complement_is_the_one_by_hand(sizes: list[int], later: bool, seed: int) -> None:
    tasks = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    means = torch.randn(len(sizes), len(tasks), 5, generator=torch.Generator().manual_seed(seed))
    ours = complement_prototypes(means, tasks, later=later)
    torch.testing.assert_close(ours, by_hand(means, tasks, later=later))
    known = tasks[None] >= torch.arange(len(sizes))[:, None]
    assert torch.equal(ours[known], means[known])  # what was seen with an adapter stays
    torch.testing.assert_close(complement_prototypes(ours, tasks, later=later), ours)  # doing it again changes nothing


def test_the_complement_knows_no_order_within_a_task() -> None:
    tasks = torch.tensor([0, 0, 0, 1, 1, 2])
    means = torch.randn(3, 6, 4)
    order = torch.tensor([2, 0, 1, 4, 3, 5])
    ours = complement_prototypes(means, tasks, later=True)
    torch.testing.assert_close(complement_prototypes(means[:, order], tasks, later=True), ours[:, order])


@pytest.mark.parametrize("sizes", [(2, 2, 2), (1, 3, 2)])
def test_logits_are_the_weighted_cosines(sizes: tuple[int, ...]) -> None:
    tasks = small_scenario(task_sizes=sizes).train_tasks
    learner = EASE(EASEConfig(alpha=0.4), backbone=TINY, schedule=Schedule(epochs=3, batch_size=8, learning_rate=0.5))
    for task in tasks:
        learner.fit_task(task)
    images = tasks[1].train.images[:4]
    under = learner.backbone.adapted(learner.prepare(images), tasks=range(3))
    assert (under[0] - under[2]).abs().max() > 1e-3  # the adapters differ
    train = concatenate([task.train for task in tasks])
    spaces = learner.backbone.adapted(learner.prepare(train.images), tasks=range(3))
    targets = learner.positions(train.labels)
    means = torch.stack([spaces[:, targets == c].mean(1) for c in range(6)], dim=1)
    of = learner.task_of_class
    prototypes = by_hand(means, of, later=True)
    torch.testing.assert_close(learner.prototypes, prototypes, rtol=1e-4, atol=1e-5)
    for c in range(6):
        cosines = F.cosine_similarity(under, prototypes[:, None, c], dim=-1)
        weights = torch.where(torch.arange(3) == of[c], 1.0, 0.4 / 2)
        expected = (weights[:, None] * cosines).sum(0)
        torch.testing.assert_close(learner.outputs(images).logits[:, c], expected, rtol=1e-4, atol=1e-5)


def test_earlier_adapters_keep_their_bits() -> None:
    learner = EASE(backbone=TINY, schedule=QUICK)
    kept: list[list[torch.Tensor]] = []
    for task in small_scenario().train_tasks:
        learner.fit_task(task)
        for index, adapter in enumerate(kept):
            assert all(map(torch.equal, learner.backbone.adapter_parameters(index), adapter))
        kept.append([parameter.clone() for parameter in learner.backbone.adapter_parameters(task.index)])
    assert sum("adapters.2." in name for name in learner.state_dict()) == 2 * 4  # all of them are in the state


@pytest.mark.parametrize("tuning", ["adapter", "ssf", "vpt-shallow", "vpt-deep"])
def test_aper_is_the_nearest_mean_of_two_networks(tuning: str) -> None:
    tasks = small_scenario().train_tasks
    settings = Schedule(epochs=2, batch_size=8, learning_rate=0.5)
    learner = APER(APERConfig(tuning=tuning), backbone=TINY, schedule=settings)
    for task in tasks:
        learner.fit_task(task)

    def both(images: torch.Tensor) -> torch.Tensor:
        values = learner.prepare(images)
        frozen, tuned = learner.backbone(values), learner.tuning(learner.backbone, values)
        assert (frozen - tuned).abs().max() > 1e-3
        return torch.cat([frozen, tuned], dim=1)

    train = concatenate([task.train for task in tasks])
    features, targets = both(train.images), learner.positions(train.labels)
    means = torch.stack([features[targets == c].mean(0) for c in range(6)])
    expected = F.cosine_similarity(both(tasks[1].train.images)[:, None], means[None], dim=-1)
    torch.testing.assert_close(learner.outputs(tasks[1].train.images).logits, expected, rtol=1e-4, atol=1e-5)
    assert learner.head.class_count == 0


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="ease: alpha"):
        EASEConfig(alpha=-1)
    with pytest.raises(ValueError, match="aper: tuning none"):
        APERConfig(tuning="none")
    with pytest.raises(ValueError, match="aper: tokens 0"):
        APERConfig(tokens=0)
