"""The loop over epochs and batches that every trained method shares."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int64
from papertrio_shared.progress import progress
from torch import Tensor

from qkd_cil.data.scenario import Task
from qkd_cil.data.transforms import Augmentation, augment, normalise

if TYPE_CHECKING:
    from qkd_cil.data.images import LabelledImages
    from qkd_cil.learners.learner import Learner


@dataclass(frozen=True)
class Schedule:
    """How a task is trained.

    Args:
        epochs: Passes over the task's images.
        batch_size: Images of a step.
        optimizer: Stochastic gradient descent, or Adam (the prompt methods are published with it).
        learning_rate: At the first step.
        decay: The learning rate goes on a cosine down to zero, or stays constant.
        momentum: Of the gradient descent; Adam has its own.
        weight_decay: Of every trained parameter.
        augmentation: Random changes of the training images.
        evaluation_batch_size: Images of one pass when nothing is trained.

    Raises:
        ValueError: If a number is out of range.

    >>> Schedule(epochs=5).batch_size
    32
    """

    epochs: int = 20
    batch_size: int = 32
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = 0.05
    decay: Literal["cosine", "constant"] = "cosine"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    augmentation: Augmentation = field(default_factory=Augmentation)
    evaluation_batch_size: int = 128

    def __post_init__(self) -> None:
        if not (0 <= self.momentum < 1 and 0 <= self.weight_decay < math.inf):
            raise ValueError(
                f"schedule: momentum {self.momentum} and weight_decay {self.weight_decay}: give a momentum from 0 to "
                "below 1 and a weight decay that is not negative"
            )
        rate = 0 < self.learning_rate < math.inf
        if self.epochs < 0 or self.batch_size < 1 or self.evaluation_batch_size < 1 or not rate:
            raise ValueError(
                f"schedule: epochs {self.epochs}, batch_size {self.batch_size}, evaluation_batch_size "
                f"{self.evaluation_batch_size}, learning_rate {self.learning_rate}: all must be positive"
            )


class Batch(NamedTuple):
    """What a training step sees.

    Attributes:
        images: As the network takes them.
        targets: Place of each label in the order of the logits.
        rows: Row of each image among the `training_images` of the task.
    """

    images: Float[Tensor, "batch 3 size size"]
    targets: Int64[Tensor, " batch"]
    rows: Int64[Tensor, " batch"]


class Step(NamedTuple):
    """What a training step gave.

    Attributes:
        task: The task, from 0.
        number: The step within the task, from 0.
        losses: Terms of the loss by name.
    """

    task: int
    number: int
    losses: dict[str, float]


def fit(learner: "Learner", task: Task, on_step: Callable[[Step], None] | None = None) -> None:
    """Train what the learner wants trained on the images of a task.

    Args:
        learner: Its `training_step` says what is minimised.
        task: The task it has begun.
        on_step: Called after every step.

    Raises:
        FloatingPointError: If the loss is no longer finite.
    """
    schedule = learner.schedule
    if not learner.parameters_to_train() or not schedule.epochs:
        return
    images = learner.training_images(task)
    targets = learner.positions(images.labels)
    optimizer = _optimizer(learner.parameter_groups(), schedule)
    steps = schedule.epochs * math.ceil(len(images) / schedule.batch_size)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps) if schedule.decay == "cosine" else None
    step = 0
    with progress(range(steps), f"task {task.index}") as bar:
        for _ in range(schedule.epochs):
            for rows in torch.randperm(len(images), generator=learner.generator("order")).split(schedule.batch_size):
                losses = learner.training_step(Batch(_inputs(learner, images, rows), targets[rows], rows))
                total = torch.stack(list(losses.values())).sum()
                optimizer.zero_grad()
                total.backward()
                optimizer.step()
                if decay is not None:
                    decay.step()
                with torch.no_grad():
                    learner.after_step()
                values = {name: value.item() for name, value in losses.items()}
                if not all(map(math.isfinite, values.values())):
                    raise FloatingPointError(
                        f"task {task.index}, step {step}: the loss is not finite ({values}); lower the learning rate"
                    )
                if on_step is not None:
                    on_step(Step(task.index, step, values))
                step += 1
                bar.update()


def _optimizer(groups: list[dict[str, Any]], schedule: Schedule) -> torch.optim.Optimizer:
    rate, shrink = schedule.learning_rate, schedule.weight_decay
    if schedule.optimizer == "adam":
        return torch.optim.Adam(groups, lr=rate, weight_decay=shrink)
    return torch.optim.SGD(groups, lr=rate, momentum=schedule.momentum, weight_decay=shrink)


def _inputs(learner: "Learner", images: "LabelledImages", rows: Tensor) -> Tensor:
    chosen = images.images[rows]
    augmentation = learner.schedule.augmentation
    if not augmentation.changes:
        return learner.prepare(chosen)
    size = learner.backbone.config.img_size
    values = augment(chosen.to(learner.device), size, augmentation, learner.generator("augmentation"))
    return normalise(values, learner.backbone.mean, learner.backbone.std)
