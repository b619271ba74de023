"""RanPAC against the regression it stands for."""

import itertools
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from cil_small import QUICK, TINY, small_scenario
from qkd_cil import RanPAC, RanPACConfig, Task
from qkd_cil.data.images import concatenate
from qkd_cil.learners.ranpac import best_ridge, ridge_regression

PLAIN = RanPACConfig(projection=40, tuning="none", ridges=(10.0,))


def fitted(order: tuple[int, ...] = (0, 1, 2), config: RanPACConfig = PLAIN) -> RanPAC:
    """A learner after the tasks in some order; the network has the same random weights each time."""
    torch.manual_seed(0)
    learner = RanPAC(config, backbone=TINY, schedule=QUICK)
    for index, task in enumerate(order):
        learner.fit_task(replace(small_scenario().train_tasks[task], index=index, earlier=()))
    return learner


def test_it_is_the_ridge_regression_on_all_images_at_once() -> None:
    learner = fitted()
    train = concatenate([task.train for task in small_scenario().train_tasks])
    features = learner.backbone(learner.prepare(train.images))
    h = torch.relu(features @ learner.directions).double()
    y = F.one_hot(learner.positions(train.labels), 6).double()
    direct = torch.linalg.lstsq(  # the ridge as rows of its own: another way to the same solution
        torch.cat([h, 10.0**0.5 * torch.eye(40, dtype=torch.float64)]), torch.cat([y, torch.zeros(40, 6)])
    ).solution
    torch.testing.assert_close(learner.weights.double(), direct, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(learner.gram, h.T @ h, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3)))[1:])
def test_the_order_of_the_tasks_does_not_matter(order: tuple[int, ...]) -> None:
    ours, other = fitted(), fitted(order)
    images = small_scenario().train_tasks[1].train.images
    place = other.positions(ours.classes)
    torch.testing.assert_close(
        other.outputs(images).logits[:, place], ours.outputs(images).logits, rtol=1e-4, atol=1e-5
    )
    assert torch.equal(other.predict(images), ours.predict(images))


def test_one_task_or_three_are_the_same() -> None:
    tasks = small_scenario().train_tasks
    torch.manual_seed(0)
    whole = RanPAC(PLAIN, backbone=TINY, schedule=QUICK)
    whole.fit_task(Task(0, tuple(c for task in tasks for c in task.classes), concatenate([t.train for t in tasks])))
    torch.testing.assert_close(whole.weights, fitted().weights, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("rows", "width", "noise"), [(50, 8, 6), (20, 60, 10)])
def test_the_best_ridge_is_that_of_as_many_regressions(rows: int, width: int, noise: int) -> None:
    random = torch.Generator().manual_seed(rows)
    h = torch.randn(rows, width, generator=random).double()
    y = h @ torch.randn(width, 3, generator=random).double() + noise * torch.randn(rows, 3, generator=random).double()
    ridges = tuple(10.0**power for power in range(-3, 5))
    cut = int(rows * 0.8)
    errors = []
    for ridge in ridges:
        weights = torch.linalg.solve(h[:cut].T @ h[:cut] + ridge * torch.eye(width).double(), h[:cut].T @ y[:cut])
        errors.append((h[cut:] @ weights - y[cut:]).square().mean())
    expected = ridges[int(torch.stack(errors).argmin())]
    assert best_ridge(h, y, ridges, validation=0.2) == expected
    assert ridges[0] < expected < ridges[-1]  # the noise makes a choice that is neither end


def test_a_single_image_a_class_is_enough() -> None:
    tasks = small_scenario(per_class=1).train_tasks
    learner = RanPAC(RanPACConfig(projection=30), backbone=TINY, schedule=QUICK)
    for task in tasks:
        learner.fit_task(task)
    assert learner.outputs(tasks[0].train.images).logits.isfinite().all()


def test_a_gram_matrix_of_low_rank_is_solved() -> None:
    gram = torch.ones(3, 3, dtype=torch.float64)
    gram[0, 0] -= 1e-9  # rounding has made it indefinite: Cholesky fails
    found = ridge_regression(gram, torch.ones(3, 1, dtype=torch.float64), ridge=1e-10)
    assert found.isfinite().all()


def test_only_the_first_task_tunes_the_network() -> None:
    tasks = small_scenario().train_tasks
    learner = RanPAC(RanPACConfig(projection=30), backbone=TINY, schedule=QUICK)
    learner.fit_task(tasks[0])
    adapter = [parameter.clone() for parameter in learner.backbone.adapter_parameters(0)]
    assert any(parameter.abs().max() > 0 for parameter in adapter[2::4])  # the upper matrix has left zero
    steps: list[object] = []
    learner.fit_task(tasks[1], on_step=steps.append)
    assert steps == []
    assert all(map(torch.equal, learner.backbone.adapter_parameters(0), adapter))
    assert learner.head.class_count == 0


@pytest.mark.parametrize("change", [{"projection": 0}, {"ridges": ()}, {"ridges": (0.0,)}, {"validation": 1.0}])
def test_numbers_out_of_range_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="ranpac: "):
        RanPACConfig(**change)
