"""Features of images, batch by batch, and the class means made of them."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from qkd_cil.data.scenario import Task

if TYPE_CHECKING:
    from qkd_cil.data.images import LabelledImages
    from qkd_cil.learners.fitting import Batch
    from qkd_cil.learners.learner import Learner


@torch.no_grad()
def features_of(
    learner: "Learner", images: "LabelledImages", network: Callable[[Tensor], Tensor]
) -> Float[Tensor, "n dim"]:
    """What a network gives for images as they are, without augmentation.

    Args:
        learner: It prepares the images.
        images: Any number.
        network: Takes prepared images.
    """
    parts = images.batches(learner.schedule.evaluation_batch_size)
    return torch.cat([network(learner.prepare(part)) for part in parts])


def under_adapter(learner: "Learner", adapter: int) -> Callable[[Tensor], Tensor]:
    """The network with one of its adapters."""
    return lambda values: learner.backbone.adapted(values, tasks=[adapter])[0]


def new_positions(learner: "Learner") -> Int64[Tensor, " class"]:
    """Places of the newest task's classes in the order of the logits."""
    last = len(learner.classes)
    return torch.arange(last - int(learner.task_sizes[-1]), last, device=learner.device)


def class_means(
    learner: "Learner", task: Task, features: Float[Tensor, "n *space dim"]
) -> Float[Tensor, "class *space dim"]:
    """Mean feature of each class of the newest task, in the order of the logits.

    Args:
        learner: It has begun the task.
        task: The newest.
        features: One row for each of its training images.
    """
    targets = learner.positions(task.train.labels)
    return torch.stack([features[targets == position].mean(dim=0) for position in new_positions(learner)])


@torch.no_grad()
def adapter_features(
    learner: "Learner", images: UInt8[Tensor, "batch 3 height width"], kept: Tensor | None, *, count: int
) -> Float[Tensor, "batch columns"]:
    """Features under the first adapters, side by side.

    Args:
        learner: Its adapters never change once their task is over.
        images: As they come.
        kept: As `Learner.encode` takes it, its columns beginning with such features. With None all adapters go through
            the network in one batched pass.
        count: How many adapters.
    """
    dim = learner.backbone.dim
    if kept is not None:
        known = min(kept.shape[1] // dim, count)
        if known == count:
            return kept[:, : count * dim]
        values = learner.prepare(images)
        new = [learner.backbone.adapted(values, tasks=[adapter])[0] for adapter in range(known, count)]
        return torch.cat([kept[:, : known * dim].to(values), *new], dim=1)
    parts = images.split(max(1, learner.schedule.evaluation_batch_size // count))
    return torch.cat([side_by_side(learner, part, range(count)) for part in parts])


class Queries:
    """The frozen network's features of a task's training images, computed once where nothing is augmented.

    Args:
        learner: It has begun the task.
        task: The newest.
    """

    def __init__(self, learner: "Learner", task: Task) -> None:
        self._network = learner.backbone
        augmented = learner.schedule.augmentation.changes
        self._kept = None if augmented else features_of(learner, learner.training_images(task), learner.backbone)

    @torch.no_grad()
    def of(self, batch: "Batch") -> Float[Tensor, "batch dim"]:
        """Features of a batch's images."""
        return self._network(batch.images) if self._kept is None else self._kept[batch.rows.to(self._kept.device)]


def side_by_side(learner: "Learner", images: Tensor, adapters: Sequence[int]) -> Float[Tensor, "batch columns"]:
    """Features under some adapters in one batched pass, those of an image in one row."""
    return learner.backbone.adapted(learner.prepare(images), tasks=adapters).transpose(0, 1).flatten(1)
