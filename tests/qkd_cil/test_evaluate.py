"""Measures against values worked out by hand."""

import numpy as np
import pytest
import torch
from cil_small import QUICK, TINY, small_scenario
from qkd_cil import Evaluation, SimpleCIL, accuracy_matrix, evaluate, summarise
from qkd_cil.evaluate import calibration, probe
from torch import Tensor

LABELS = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2, 2, 2])  # tasks of four, two and four images
TASKS = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2, 2, 2])


def evaluation(predictions: list[int], chosen: list[int] | None = None, given: list[int] | None = None) -> Evaluation:
    """Answers for the first images of the hand-made test set."""
    count = len(predictions)
    return Evaluation(
        labels=LABELS[:count],
        predictions=torch.tensor(predictions),
        tasks=TASKS[:count],
        predictions_given_task=torch.tensor(given or predictions),
        chosen=None if chosen is None else torch.tensor(chosen),
        routing=None if chosen is None else torch.eye(3),
    )


AFTER = [
    evaluation([0, 0, 0, 0], chosen=[0, 0, 0, 0]),  # 4 of 4
    evaluation([0, 0, 0, 1, 1, 0], chosen=[0, 0, 1, 1, 1, 0]),  # 3 of 4, 1 of 2
    evaluation(
        [0, 0, 2, 2, 1, 1, 2, 2, 2, 0], chosen=[0, 2, 2, 2, 1, 1, 2, 2, 2, 2], given=[0] * 4 + [1] * 2 + [2] * 4
    ),
]


def test_accuracy_matrix_by_hand() -> None:
    expected = np.array([[1, np.nan, np.nan], [0.75, 0.5, np.nan], [0.5, 1.0, 0.75]])
    assert np.array_equal(accuracy_matrix(AFTER), expected, equal_nan=True)


def test_summary_by_hand() -> None:
    summary = summarise(AFTER)
    assert summary.average_accuracy == pytest.approx((4 / 4 + 4 / 6 + 7 / 10) / 3)
    assert summary.last_accuracy == pytest.approx(0.7)
    assert summary.mean_task_accuracy == pytest.approx((0.5 + 1 + 0.75) / 3)  # not the last accuracy: tasks are unequal
    assert summary.forgetting == pytest.approx(((1 - 0.5) + (0.5 - 1)) / 2)
    assert summary.backward_transfer == pytest.approx(((0.5 - 1) + (1 - 0.5)) / 2)
    assert summary.last_accuracy_given_task == 1
    assert summary.average_routing_accuracy == pytest.approx((1 + 3 / 6 + 7 / 10) / 3)
    assert summary.last_routing_accuracy == pytest.approx(0.7)


def test_forgetting_counts_from_the_best_and_transfer_from_the_first() -> None:
    rows = [[0, 1, 1, 1], [0, 0, 0, 0, 1, 0], [0, 0, 1, 1, 1, 1, 2, 2, 2, 2]]  # 0.25; 1.0, 0.5; 0.5, 1.0, 1.0
    summary = summarise([evaluation(row) for row in rows])
    assert summary.forgetting == pytest.approx(((1.0 - 0.5) + (0.5 - 1.0)) / 2)
    assert summary.backward_transfer == pytest.approx(((0.5 - 0.25) + (1.0 - 0.5)) / 2)
    assert summary.last_routing_accuracy is None


def test_one_task_has_no_forgetting() -> None:
    summary = summarise(AFTER[:1])
    assert summary.forgetting is None
    assert summary.backward_transfer is None
    with pytest.raises(ValueError, match="no evaluation"):
        summarise([])


def test_task_confusion_by_hand() -> None:
    assert AFTER[2].task_confusion.tolist() == [[1, 0, 3], [0, 2, 0], [0, 0, 4]]  # by the gate
    assert evaluation([0, 0, 2, 2, 1, 1, 2, 2, 2, 0]).task_confusion.tolist() == [[2, 0, 2], [0, 2, 0], [1, 0, 3]]


def test_a_line_says_it_all() -> None:
    assert str(AFTER[1]) == "accuracy 66.67 % (tasks: 75.0 50.0), routing 50.00 %"


class Fixed(SimpleCIL):
    """Answers that a test sets."""

    logits: Tensor
    weights: Tensor | None = None

    def classify(self, features: Tensor) -> object:
        """What the test has set, whatever the images."""
        outputs = super().classify(features)
        routing = None if self.weights is None else self.weights.expand(len(features), -1)
        return outputs._replace(logits=self.logits.expand(len(features), -1), routing=routing)


def test_answers_become_labels_through_the_order_of_the_classes() -> None:
    scenario = small_scenario(task_sizes=(2, 3))
    learner = Fixed(backbone=TINY, schedule=QUICK)
    for task in scenario.train_tasks:
        learner.fit_task(task)
    learner.logits = torch.tensor([0.0, 2.0, 0.0, 3.0, 1.0])  # position 3 wins; among the first task's, position 1
    learner.weights = torch.tensor([0.3, 0.7])
    order = scenario.class_order
    found = evaluate(learner, scenario.test_seen(scenario.train_tasks[1]))
    assert set(found.predictions.tolist()) == {order[3]}
    assert found.predictions_given_task.tolist() == [order[1]] * 10 + [order[3]] * 15
    assert found.accuracy == pytest.approx(5 / 25)
    assert found.accuracy_given_task == pytest.approx(10 / 25)
    assert found.routing_accuracy == pytest.approx(15 / 25)
    torch.testing.assert_close(found.routing, torch.tensor([[0.3, 0.7], [0.3, 0.7]]))
    entropy = -(0.3 * np.log(0.3) + 0.7 * np.log(0.7)) / np.log(2)
    assert found.gate_entropy == pytest.approx(entropy, rel=1e-6)
    ((count, weight, right),) = found.gate_calibration
    assert (count, weight, right) == (25, pytest.approx(0.7), pytest.approx(15 / 25))
    assert found.gate_calibration_error == pytest.approx(0.7 - 0.6, abs=1e-6)
    learner.logits = torch.tensor([0.0, 5.0, 0.0, 3.0, 1.0])  # position 1 wins; among the second task's, position 3
    found = evaluate(learner, scenario.test_seen(scenario.train_tasks[1]))
    assert found.predictions_given_task.tolist() == [order[1]] * 10 + [order[3]] * 15


def test_other_classes_than_those_learned_are_refused() -> None:
    scenario = small_scenario()
    learner = SimpleCIL(backbone=TINY, schedule=QUICK)
    learner.fit_task(scenario.train_tasks[0])
    with pytest.raises(ValueError, match="has learned 2 classes, the test images show 4"):
        evaluate(learner, scenario.test_seen(scenario.train_tasks[1]))


def test_transfer_to_tasks_to_come_is_against_the_untouched_network() -> None:
    summary = summarise(AFTER, probes=[0.6, 0.9], baselines=[0.5, 0.7])
    assert summary.forward_transfer == pytest.approx(0.15)
    assert summarise(AFTER).forward_transfer is None
    assert summarise(AFTER, probes=[0.6], baselines=[0.5, 0.7]).forward_transfer is None
    assert summarise(AFTER[:1]).forward_transfer is None


def test_a_probe_is_the_nearest_mean_of_few_images() -> None:
    scenario = small_scenario()
    task, test = scenario.train_tasks[1], scenario.test_seen(scenario.train_tasks[1]).parts[1]

    def colour(images: Tensor) -> Tensor:
        return images.double().mean((2, 3))

    means = torch.stack([colour(task.train.of_classes([label]).images[:4]).mean(0) for label in sorted(task.classes)])
    cosines = torch.nn.functional.cosine_similarity(colour(test.images)[:, None], means[None], dim=2)
    expected = torch.tensor(sorted(task.classes))[cosines.argmax(1)] == test.labels
    assert probe(colour, task.train, test, per_class=4) == pytest.approx(
        expected[torch.isin(torch.arange(10), _first(test.labels, 4))].double().mean().item()
    )
    assert probe(lambda some: torch.ones(len(some), 2), task.train, test) == pytest.approx(0.5)


def _first(labels: Tensor, count: int) -> Tensor:
    return torch.cat([(labels == label).nonzero()[:count, 0] for label in labels.unique()])


def test_calibration_by_hand() -> None:
    weights = torch.tensor([0.05, 0.55, 0.5, 1.0, 1.0], dtype=torch.float64)
    right = torch.tensor([False, True, False, True, False])
    found = calibration(weights, right, bins=10)
    assert found == ((1, 0.05, 0.0), (2, pytest.approx(0.525), 0.5), (2, 1.0, 0.5))
    assert calibration(weights[:0], right[:0]) == ()
