"""How well a learner does on all tasks seen so far, and what a sequence of such results comes to."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from qkd_cil.data.images import LabelledImages
from qkd_cil.data.scenario import SeenTest
from qkd_cil.learners.learner import Learner, Outputs, concatenate_outputs


@dataclass(frozen=True)
class Evaluation:
    """A learner's answers on the test images of all tasks seen.

    Attributes:
        labels: What is right.
        predictions: What the learner says, the task being unknown.
        tasks: Task of each image.
        predictions_given_task: What it says if only the classes of the true task are allowed.
        routing: Mean weight that images of each task (row) give to each task (column); None without routing.
        chosen: Task of the largest weight for each image; None without routing.
        largest: That weight.
        entropies: Entropy of each image's weights over that of equal ones.
    """

    labels: Int64[Tensor, " n"]
    predictions: Int64[Tensor, " n"]
    tasks: Int64[Tensor, " n"]
    predictions_given_task: Int64[Tensor, " n"]
    routing: Float[Tensor, "task task"] | None = None
    chosen: Int64[Tensor, " n"] | None = None
    largest: Float[Tensor, " n"] | None = None
    entropies: Float[Tensor, " n"] | None = None

    def __str__(self) -> str:
        routing = "" if self.routing_accuracy is None else f", routing {100 * self.routing_accuracy:.2f} %"
        each = " ".join(f"{100 * value:.1f}" for value in self.task_accuracy)
        return f"accuracy {100 * self.accuracy:.2f} % (tasks: {each}){routing}"

    @property
    def accuracy(self) -> float:
        """Share of all test images that are told right."""
        return _share(self.predictions == self.labels)

    @property
    def accuracy_given_task(self) -> float:
        """The same if the true task is known."""
        return _share(self.predictions_given_task == self.labels)

    @property
    def task_accuracy(self) -> tuple[float, ...]:
        """Share told right among the images of each task."""
        right = self.predictions == self.labels
        return tuple(_share(right[self.tasks == task]) for task in range(int(self.tasks.max()) + 1))

    @property
    def routing_accuracy(self) -> float | None:
        """Share of the images whose own task has the largest weight; None without routing."""
        return None if self.chosen is None else _share(self.chosen == self.tasks)

    @property
    def gate_entropy(self) -> float | None:
        """Mean entropy of the weights over that of equal ones, from 0 to 1; None without routing."""
        return None if self.entropies is None else self.entropies.double().mean().item()

    @property
    def gate_calibration_error(self) -> float | None:
        """Expected calibration error of the largest weight as probability of the right task; None without routing."""
        bins = self.gate_calibration
        count = sum(number for number, _, _ in bins)
        return sum(number * abs(weight - right) for number, weight, right in bins) / count if count else None

    @property
    def gate_calibration(self) -> tuple[tuple[int, float, float], ...]:
        """Images by their largest weight: how many, mean weight, share sent to the right task."""
        if self.largest is None or self.chosen is None:
            return ()
        return calibration(self.largest, self.chosen == self.tasks)

    @property
    def task_confusion(self) -> Int64[Tensor, "task task"]:
        """Images of each task (row) by the task they were sent to (column): by weight, else by the predicted class."""
        count = int(self.tasks.max()) + 1
        sent = self.chosen if self.chosen is not None else self._predicted_task()
        return torch.bincount(self.tasks * count + sent, minlength=count * count).reshape(count, count)

    def _predicted_task(self) -> Tensor:
        task_of = torch.zeros(int(self.labels.max()) + 1, dtype=torch.int64)
        task_of[self.labels] = self.tasks
        return task_of[self.predictions]


class KeptFeatures:
    """Features of test images that no later task can change, kept between evaluations where the learner allows it.

    >>> kept = KeptFeatures()
    >>> kept.tasks
    0
    """

    def __init__(self) -> None:
        self._parts: dict[int, list[Tensor]] = {}

    @property
    def tasks(self) -> int:
        """Number of tasks whose features are kept."""
        return len(self._parts)

    def outputs(self, learner: Learner, task: int, images: LabelledImages) -> Outputs:
        """Outputs for the test images of one task, made from what was kept of them and keeping what can be kept."""
        size = learner.schedule.evaluation_batch_size
        nothing = [torch.empty(len(part), 0) if learner.keeps_features else None for part in images.labels.split(size)]
        old = self._parts.get(task, nothing)
        new = [learner.encode(batch, kept) for batch, kept in zip(images.batches(size), old, strict=True)]
        if learner.keeps_features:
            self._parts[task] = new
        return concatenate_outputs([learner.classify_of_task(features, task) for features in new])


@torch.no_grad()
def evaluate(learner: Learner, seen: SeenTest, *, kept: KeptFeatures | None = None) -> Evaluation:
    """Let a learner answer for the test images of all tasks seen.

    Args:
        learner: It must have learned these tasks, in this order.
        seen: `Scenario.test_seen(task)`.
        kept: Features from earlier evaluations of this learner on this scenario; it is brought up to date.

    Returns:
        The answers; `str` of it is a line with the accuracies.

    Raises:
        ValueError: If the learner has learned other classes than those of `seen`.

    >>> from qkd_cil import BackboneConfig, SimpleCIL, scenario
    >>> digits = scenario("digits", increment=2)
    >>> learner = SimpleCIL(backbone=BackboneConfig("vit_tiny_patch16_224", weights="random", img_size=32, depth=1))
    >>> learner.fit_task(digits.train_tasks[0])
    >>> evaluate(learner, digits.test_seen(digits.train_tasks[0])).accuracy > 0.5
    True
    """
    expected = [label for classes in seen.classes for label in classes]
    if learner.classes.tolist() != expected:
        raise ValueError(
            f"the learner has learned {len(learner.classes)} classes, the test images show {len(expected)}; "
            "evaluate on scenario.test_seen(task) of the task it learned last"
        )
    learner.eval()
    kept = KeptFeatures() if kept is None else kept
    parts = [kept.outputs(learner, task, images) for task, images in enumerate(seen.parts)]
    outputs = concatenate_outputs(parts)
    sizes = torch.tensor([len(part) for part in seen.parts])
    tasks = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
    logits, classes = outputs.logits.cpu(), learner.classes.cpu()
    allowed = learner.task_of_class.cpu()[None] == tasks[:, None]
    weights = None if outputs.routing is None else outputs.routing.cpu()
    equal = math.log(max(2, learner.task_count))
    return Evaluation(
        labels=torch.cat([part.labels for part in seen.parts]),
        predictions=classes[logits.argmax(1)],
        tasks=tasks,
        predictions_given_task=classes[logits.masked_fill(~allowed, -torch.inf).argmax(1)],
        routing=None if weights is None else torch.stack([part.mean(0) for part in weights.split(sizes.tolist())]),
        chosen=None if weights is None else weights.argmax(1),
        largest=None if weights is None else weights.amax(1),
        entropies=None if weights is None else torch.special.entr(weights).sum(1) / equal,
    )


def calibration(
    weights: Float[Tensor, " n"], right: Bool[Tensor, " n"], *, bins: int = 15
) -> tuple[tuple[int, float, float], ...]:
    """How often a weight that is meant as a probability is right (Guo et al. 2017, Sec. 2).

    Args:
        weights: From 0 to 1.
        right: Whether what has this weight is right.
        bins: Number of equal parts of the range.

    Returns:
        For each part that is not empty: how many, mean weight, share that is right.

    >>> calibration(torch.tensor([0.75, 0.75, 0.25]), torch.tensor([True, False, False]), bins=2)
    ((1, 0.25, 0.0), (2, 0.75, 0.5))
    """
    part = (weights.double() * bins).floor().clamp(0, bins - 1)
    groups = [part == number for number in range(bins)]
    return tuple(
        (int(group.sum()), weights[group].double().mean().item(), _share(right[group]))
        for group in groups
        if bool(group.any())
    )


@torch.no_grad()
def probe(
    encode: Callable[[UInt8[Tensor, "n 3 height width"]], Tensor],
    train: LabelledImages,
    test: LabelledImages,
    *,
    per_class: int = 10,
) -> float:
    """What features are worth for classes that no classifier knows yet: the nearest class mean by cosine.

    Args:
        encode: Features of images.
        train: Images of these classes whose means are taken.
        test: Images to be told apart.
        per_class: Only the first so many of each class, in both.

    Returns:
        Share told right.

    >>> images = LabelledImages(torch.eye(3, dtype=torch.uint8).reshape(3, 3, 1, 1), torch.arange(3))
    >>> probe(lambda some: some.flatten(1).float(), images, images)
    1.0
    """
    few, asked = train.first_per_class(per_class), test.first_per_class(per_class)
    classes = few.labels.unique()
    known, rows = (torch.cat([encode(batch) for batch in part.batches(128)]) for part in (few, asked))
    means = torch.stack([known[few.labels.to(known.device) == label].mean(0) for label in classes])
    nearest = (F.normalize(rows, dim=1) @ F.normalize(means, dim=1).T).argmax(1).cpu()
    return _share(classes[nearest] == asked.labels)


@dataclass(frozen=True)
class Summary:
    r"""What a run comes to; $R_{tj}$ is the accuracy on task j after task t, $A_t$ that on all images seen after t.

    Attributes:
        average_accuracy: $\frac1T \sum_t A_t$, "average incremental accuracy" (Rebuffi et al. 2017).
        last_accuracy: $A_T$.
        mean_task_accuracy: $\frac1T \sum_j R_{Tj}$, the other "average accuracy" (Lopez-Paz and Ranzato 2017).
        forgetting: $\frac{1}{T-1} \sum_{j<T} (\max_{t<T} R_{tj} - R_{Tj})$ (Chaudhry et al. 2018); None for one task.
        backward_transfer: $\frac{1}{T-1} \sum_{j<T} (R_{Tj} - R_{jj})$ (Lopez-Paz and Ranzato 2017); None for one task.
        last_accuracy_given_task: $A_T$ if the true task is known.
        average_routing_accuracy: Mean over t of the routing accuracy; None without routing.
        last_routing_accuracy: Routing accuracy after the last task; None without routing.
        forward_transfer: $\frac{1}{T-1} \sum_{j>1} (R_{j-1,j} - b_j)$ (Lopez-Paz and Ranzato 2017). A classifier
            without an entry for classes to come would have $R_{j-1,j} = 0$, so both terms are of `probe`: with the
            learner's features before task j, and with those of the untouched network. None for one task or if not
            measured.
        last_gate_entropy: Mean entropy of the weights over that of equal ones; None without routing.
        last_gate_calibration_error: Of the largest weight as the probability of the right task; None without routing.
    """

    average_accuracy: float
    last_accuracy: float
    mean_task_accuracy: float
    forgetting: float | None
    backward_transfer: float | None
    last_accuracy_given_task: float
    average_routing_accuracy: float | None
    last_routing_accuracy: float | None
    forward_transfer: float | None = None
    last_gate_entropy: float | None = None
    last_gate_calibration_error: float | None = None


def accuracy_matrix(evaluations: list[Evaluation]) -> Float[np.ndarray, "task task"]:
    """Accuracy on each task (column) after each task (row); NaN where the task had not come yet.

    Args:
        evaluations: One after each task, in order.

    >>> labels = torch.tensor([0, 1])
    >>> both = Evaluation(labels, torch.tensor([0, 0]), tasks=labels, predictions_given_task=labels)
    >>> accuracy_matrix([both, both]).tolist()
    [[1.0, 0.0], [1.0, 0.0]]
    """
    matrix = np.full((len(evaluations), len(evaluations)), np.nan)
    for row, evaluation in zip(matrix, evaluations, strict=True):
        row[: len(evaluation.task_accuracy)] = evaluation.task_accuracy
    return matrix


def summarise(evaluations: list[Evaluation], probes: Sequence[float] = (), baselines: Sequence[float] = ()) -> Summary:
    """What the evaluations after each task come to.

    Args:
        evaluations: One after each task, in order.
        probes: `probe` of the learner before each task from the second on.
        baselines: `probe` of the untouched network on these tasks.

    Returns:
        Shares between 0 and 1.

    Raises:
        ValueError: If there is none.

    >>> labels = torch.tensor([0, 0, 1, 1])
    >>> first = Evaluation(labels[:2], labels[:2], torch.zeros(2, dtype=torch.int64), labels[:2])
    >>> then = Evaluation(labels, torch.tensor([0, 1, 1, 1]), labels, labels)
    >>> summary = summarise([first, then])
    >>> summary.average_accuracy, summary.last_accuracy, summary.forgetting
    (0.875, 0.75, 0.5)
    """
    if not evaluations:
        raise ValueError("there is no evaluation to summarise; evaluate after every task")
    matrix = accuracy_matrix(evaluations)
    several = len(evaluations) > 1
    last, earlier = matrix[-1], matrix[:-1]
    routing = [each.routing_accuracy for each in evaluations if each.routing_accuracy is not None]
    probed = several and len(probes) == len(baselines) == len(evaluations) - 1
    return Summary(
        average_accuracy=float(np.mean([each.accuracy for each in evaluations])),
        last_accuracy=evaluations[-1].accuracy,
        mean_task_accuracy=float(last.mean()),
        forgetting=float((np.nanmax(earlier[:, :-1], axis=0) - last[:-1]).mean()) if several else None,
        backward_transfer=float((last - matrix.diagonal())[:-1].mean()) if several else None,
        last_accuracy_given_task=evaluations[-1].accuracy_given_task,
        average_routing_accuracy=float(np.mean(routing)) if routing else None,
        last_routing_accuracy=routing[-1] if routing else None,
        forward_transfer=float(np.mean(np.subtract(probes, baselines))) if probed else None,
        last_gate_entropy=evaluations[-1].gate_entropy,
        last_gate_calibration_error=evaluations[-1].gate_calibration_error,
    )


def _share(right: Tensor) -> float:
    return right.double().mean().item()
