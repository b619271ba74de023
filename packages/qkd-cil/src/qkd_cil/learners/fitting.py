"""The loop over epochs and batches that every trained method shares."""

import math
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int64
from papertrio_shared.devices import is_writer
from papertrio_shared.progress import progress
from papertrio_shared.seed import restore_rng_state, rng_state
from torch import Tensor, nn

from qkd_cil.data.scenario import Task
from qkd_cil.data.transforms import Augmentation, augment, normalise
from qkd_cil.devices import part_of

if TYPE_CHECKING:
    from lightning_fabric import Fabric

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
        decay: The learning rate goes on a cosine down to zero with every step or, as in LAMDA-PILOT, with every epoch;
            or stays constant.
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
    decay: Literal["cosine", "cosine-by-epoch", "constant"] = "cosine"
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


class Training:
    """The way through a task's batches: where it stands, and how it is taken up again.

    Args:
        learner: Its `training_step` says what is minimised.
        task: The task it has begun.
        start: What `state` gave in the same task of an equal learner, to go on from there.
        fabric: Of a run on several devices; each takes its part of every batch.

    Raises:
        ValueError: If `start` is of another task or learner.
    """

    def __init__(
        self,
        learner: "Learner",
        task: Task,
        *,
        start: Mapping[str, Any] | None = None,
        fabric: "Fabric | None" = None,
    ) -> None:
        self.learner, self.task, self.fabric = learner, task, fabric
        self.images = learner.training_images(task)
        self.targets = learner.positions(self.images.labels)
        schedule = learner.schedule
        self.steps = schedule.epochs * math.ceil(len(self.images) / schedule.batch_size)
        self.step = 0
        self.order = torch.empty(0, dtype=torch.int64)
        if start is not None:
            if start["task"] != task.index:
                raise ValueError(f"the state is of task {start['task']}, but task {task.index} is trained")
            learner.load_learned_state(start["learner"])
            learner.train()
        self.optimizer = _optimizer(learner.parameter_groups(), schedule)
        self.decay = None
        if schedule.decay != "constant":
            length = self.steps if schedule.decay == "cosine" else schedule.epochs
            self.decay = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, length)
        if start is not None:
            self.step, self.order = start["step"], start["order"]
            self.optimizer.load_state_dict(start["optimizer"])
            if self.decay is not None:
                self.decay.load_state_dict(start["decay"])
            streams = {name: learner.generator(name) for name in start["rng"]["generators"]}
            restore_rng_state(start["rng"], **streams)

    def state(self) -> dict[str, Any]:
        """All that the next step depends on, beside what `begin_task` makes."""
        return {
            "task": self.task.index,
            "step": self.step,
            "order": self.order,
            "learner": self.learner.learned_state(),
            "optimizer": self.optimizer.state_dict(),
            "decay": None if self.decay is None else self.decay.state_dict(),
            "rng": rng_state(**self.learner.streams),
        }

    def run(self, on_step: Callable[[Step], None] | None) -> None:
        """Go through the batches that are left.

        Raises:
            FloatingPointError: If the loss is no longer finite.
        """
        size = self.learner.schedule.batch_size
        epoch = math.ceil(len(self.images) / size)
        losses_of = _on_all(self.learner, self.fabric)
        name = f"task {self.task.index}"
        writes = is_writer()
        with progress(range(self.steps), name, initial=self.step) if writes else nullcontext() as bar:
            while self.step < self.steps:
                if self.step % epoch == 0:
                    self.order = torch.randperm(len(self.images), generator=self.learner.generator("order"))
                place = self.step % epoch
                losses = self._step(self.order[place * size : (place + 1) * size], losses_of)
                if not all(map(math.isfinite, losses.values())):
                    raise FloatingPointError(
                        f"task {self.task.index}, step {self.step}: the loss is not finite ({losses}); lower the "
                        "learning rate"
                    )
                self.step += 1
                if on_step is not None:
                    on_step(Step(self.task.index, self.step - 1, losses))
                if bar is not None:
                    bar.update()

    def _step(self, rows: Tensor, losses_of: "Callable[[Batch], Mapping[str, Tensor]]") -> dict[str, float]:
        inputs = _inputs(self.learner, self.images, rows)
        places, share = part_of(self.fabric, torch.arange(len(rows)))
        rows = rows[places]
        losses = losses_of(Batch(inputs[places], self.targets[rows], rows))
        each = share * torch.stack(list(losses.values()))
        self.optimizer.zero_grad()
        if self.fabric is None:
            each.sum().backward()
        else:
            self.fabric.backward(each.sum())
            each = torch.as_tensor(self.fabric.all_reduce(each.detach(), reduce_op="mean"))
        self.optimizer.step()
        ends_epoch = (self.step + 1) % (self.steps // self.learner.schedule.epochs) == 0
        if self.decay is not None and (ends_epoch or self.learner.schedule.decay == "cosine"):
            self.decay.step()
        with torch.no_grad():
            self.learner.after_step()
        return dict(zip(losses, each.tolist(), strict=True))


def fit(
    learner: "Learner",
    task: Task,
    on_step: Callable[[Step], None] | None = None,
    *,
    start: Mapping[str, Any] | None = None,
    fabric: "Fabric | None" = None,
) -> None:
    """Train what the learner wants trained on the images of a task.

    Args:
        learner: Its `training_step` says what is minimised.
        task: The task it has begun.
        on_step: Called after every step; within it `learner.training_state()` is what `start` takes.
        start: Where to go on.
        fabric: Of a run on several devices.

    Raises:
        FloatingPointError: If the loss is no longer finite.
        ValueError: If `start` is of another task or learner.
    """
    if not learner.parameters_to_train() or not learner.schedule.epochs:
        return
    learner.loop = Training(learner, task, start=start, fabric=fabric)
    try:
        learner.loop.run(on_step)
    finally:
        learner.loop = None


class _Losses(nn.Module):
    """A learner's training step as the forward pass of a module, which is what Fabric spreads over devices."""

    def __init__(self, learner: "Learner") -> None:
        super().__init__()
        self.learner = learner

    def forward(self, batch: Batch) -> Mapping[str, Tensor]:
        return self.learner.training_step(batch)


def _on_all(learner: "Learner", fabric: "Fabric | None") -> "Callable[[Batch], Mapping[str, Tensor]]":
    """The training step, its gradients averaged over the devices."""
    if fabric is None:
        return learner.training_step
    with warnings.catch_warnings():  # torch 2.15 has a new name for it, which 2.6 does not know
        warnings.filterwarnings("ignore", message=".*broadcast_buffers")
        return fabric.setup_module(_Losses(learner), move_to_device=False)


def _optimizer(groups: list[dict[str, Any]], schedule: Schedule) -> torch.optim.Optimizer:
    rate, shrink = schedule.learning_rate, schedule.weight_decay
    if schedule.optimizer == "adam":
        return torch.optim.Adam(groups, lr=rate, weight_decay=shrink)
    return torch.optim.SGD(groups, lr=rate, momentum=schedule.momentum, weight_decay=shrink)


def _inputs(learner: "Learner", images: "LabelledImages", rows: Tensor) -> Tensor:
    chosen = images.at(rows)
    augmentation = learner.schedule.augmentation
    if not augmentation.changes:
        return learner.prepare(chosen)
    size = learner.backbone.config.img_size
    values = augment(chosen.to(learner.device), size, augmentation, learner.generator("augmentation"))
    return normalise(values, learner.backbone.mean, learner.backbone.std)
