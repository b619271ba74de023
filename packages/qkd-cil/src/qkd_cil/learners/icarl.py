"""iCaRL: exemplars by herding, distillation, and the nearest mean of exemplars (Rebuffi et al. 2017, 1611.07725)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from qkd_cil.data.images import LabelledImages, concatenate
from qkd_cil.data.scenario import Task
from qkd_cil.learners.features import features_of, new_positions
from qkd_cil.learners.finetune import Finetune, FinetuneConfig
from qkd_cil.learners.fitting import Batch, Schedule
from qkd_cil.learners.learner import Outputs
from qkd_cil.learners.lwf import Teacher, soft_cross_entropy
from qkd_cil.models.backbone import BackboneConfig
from qkd_cil.models.classifier import Similarity


@dataclass(frozen=True)
class ICaRLConfig:
    """iCaRL's numbers.

    Args:
        trains: One adapter that all tasks share, or the whole network, as published (it wants a far lower learning
            rate).
        memory: Images kept in all, as many of each class.
        loss: `softmax`: cross-entropy and distilled logits of the old classes, as all public code does; `sigmoid`: a
            binary cross-entropy for each class, for old ones against the old network's answers, as the paper does.
        temperature: Of the distilled logits (`softmax` alone).
        similarity: Of the classifier that trains the network; published is `linear`.

    Raises:
        ValueError: If a number is not positive.

    >>> ICaRLConfig().memory
    2000
    """

    trains: Literal["adapter", "full"] = "adapter"
    memory: int = 2000
    loss: Literal["softmax", "sigmoid"] = "softmax"
    temperature: float = 2.0
    similarity: Similarity = "linear"

    def __post_init__(self) -> None:
        if self.memory < 1 or not self.temperature > 0:
            raise ValueError(f"icarl: memory {self.memory} and temperature {self.temperature}: both must be positive")

    def build(self, backbone: BackboneConfig, schedule: Schedule, *, seed: int, device: str) -> "ICaRL":
        """The learner, before its first task."""
        return ICaRL(self, backbone=backbone, schedule=schedule, seed=seed, device=device)


class ICaRL(Finetune):
    r"""The one method here that keeps images: as many of each class as fit into a memory of fixed size.

    A task is trained on its images and all exemplars, the old network's answers for the old classes being distilled.
    Then each class gives up its last exemplars, and the new ones choose theirs one by one, so that their mean comes
    nearest to that of the class (`herd`). An image belongs to the class whose exemplars' mean is nearest, features and
    means of length one. Published: 2,000 images for 100 classes.

    >>> from qkd_cil import scenario
    >>> backbone = BackboneConfig("vit_tiny_patch16_224", weights="random", img_size=32, depth=1)
    >>> learner = ICaRL(ICaRLConfig(memory=8), backbone=backbone, schedule=Schedule(epochs=1))
    >>> for task in scenario("digits", increment=2, train_per_class=4).train_tasks[:2]:
    ...     learner.fit_task(task)
    >>> learner.exemplar_labels.unique(return_counts=True)[1].tolist()
    [2, 2, 2, 2]
    """

    exemplars: UInt8[Tensor, "n 3 height width"]
    exemplar_labels: Int64[Tensor, " n"]
    means: Float[Tensor, "class dim"]

    def __init__(self, config: ICaRLConfig | None = None, **settings: Any) -> None:
        self.icarl = config or ICaRLConfig()
        super().__init__(FinetuneConfig(self.icarl.trains, "seen", self.icarl.similarity), **settings)
        self.config = self.icarl
        self.register_buffer("exemplars", torch.zeros(0, 3, 0, 0, dtype=torch.uint8, device=self.device))
        self.register_buffer("exemplar_labels", torch.zeros(0, dtype=torch.int64, device=self.device))
        self.register_buffer("means", torch.zeros(0, self.backbone.dim, device=self.device))
        self.teacher: Teacher | None = None

    def check(self, classes: int) -> None:
        """The memory must hold an image of every class."""
        if self.icarl.memory < classes:
            raise ValueError(
                f"icarl: a memory of {self.icarl.memory} images is too small for {classes} classes; give one for each "
                "at least"
            )

    def begin_task(self, task: Task) -> None:
        """Rows for the new classes; from the second task on the network as it is becomes the teacher."""
        self.check(len(self.classes))
        self.teacher = Teacher(self, task) if self.task_count > 1 else None
        super().begin_task(task)

    def training_images(self, task: Task) -> LabelledImages:
        """The task's images and the exemplars."""
        kept = LabelledImages(self.exemplars.cpu(), self.exemplar_labels.cpu())
        return concatenate([task.train, kept]) if len(kept) else task.train

    def training_step(self, batch: Batch) -> Mapping[str, Tensor]:
        """Cross-entropy over all classes; the old network's answers over the old ones."""
        logits, old = self.answers(batch.images), len(self.means)
        answers = None if self.teacher is None else self.teacher.logits(batch)
        if self.icarl.loss == "sigmoid":
            wanted = F.one_hot(batch.targets, len(self.classes)).to(logits)
            if answers is not None:
                wanted = torch.cat([answers.sigmoid(), wanted[:, old:]], dim=1)
            each = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
            return {"classification": each.sum(dim=1).mean()}
        losses = {"classification": F.cross_entropy(logits, batch.targets)}
        if answers is not None:
            losses["distillation"] = soft_cross_entropy(answers, logits[:, :old], temperature=self.icarl.temperature)
        return losses

    def end_task(self, task: Task) -> None:
        """Fewer exemplars of the old classes, some of the new ones, and the means of all."""
        self.teacher = None
        each = self.icarl.memory // len(self.classes)
        parts = []
        if len(self.exemplars):
            kept = LabelledImages(self.exemplars, self.exemplar_labels)
            parts.append(kept.first_per_class(each))
        features = self._unit_features(task.train)
        for position in new_positions(self):
            rows = (self.positions(task.train.labels) == position).nonzero()[:, 0]
            chosen = rows[herd(features[rows], each)].cpu()
            images = task.train.rows(chosen)
            parts.append(LabelledImages(images.images.to(self.device), images.labels.to(self.device)))
        memory = concatenate(parts)
        self.exemplars, self.exemplar_labels = memory.images, memory.labels
        known = self._unit_features(memory)
        groups = [known[self.positions(memory.labels) == position] for position in range(len(self.classes))]
        self.means = F.normalize(torch.stack([group.mean(dim=0) for group in groups]), dim=1)

    def classify(self, features: Tensor) -> Outputs:
        """Minus the squared distance to the mean of each class's exemplars."""
        return Outputs(-torch.cdist(F.normalize(features, dim=1), self.means).square())

    def _unit_features(self, images: LabelledImages) -> Float[Tensor, "n dim"]:
        return F.normalize(features_of(self, images, self._features), dim=1)


def herd(features: Float[Tensor, "n dim"], count: int) -> Int64[Tensor, " chosen"]:
    r"""Rows chosen one after another so that the mean of those chosen is as near as can be to the mean of all.

    $p_k = \arg\min_x \lVert \mu - \frac1k (x + \sum_{j<k} p_j) \rVert$ (Rebuffi et al. 2017, Algorithm 4), each row
    once.

    Args:
        features: One row for each image of a class.
        count: How many to choose; all if there are fewer.

    Returns:
        Their numbers, the most important first.

    >>> herd(torch.tensor([[0.0], [1.0], [5.0]]), 2).tolist()
    [1, 2]
    """
    mean, total = features.mean(dim=0), torch.zeros_like(features[0])
    left = torch.ones(len(features), dtype=torch.bool, device=features.device)
    chosen = []
    for number in range(1, min(count, len(features)) + 1):
        distances = (mean - (features + total) / number).norm(dim=1).masked_fill(~left, torch.inf)
        best = distances.argmin()
        chosen.append(best)
        left[best] = False
        total = total + features[best]
    return torch.stack(chosen)
