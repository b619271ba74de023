"""Finetuning: one network goes on learning whatever comes (the lower end of the comparison)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor

from qkd_cil.data.scenario import Task
from qkd_cil.learners.fitting import Batch, Schedule
from qkd_cil.learners.learner import Learner, Outputs
from qkd_cil.models.backbone import BackboneConfig
from qkd_cil.models.classifier import Classifier, Similarity


@dataclass(frozen=True)
class FinetuneConfig:
    """What finetuning changes.

    Args:
        trains: One adapter that all tasks share, or the whole network (it wants a far lower learning rate).
        loss_over: Cross-entropy over the task's own classes, rows of earlier ones standing still (Zhou et al. 2023,
            arXiv 2303.07338, *Finetune Adapter*), or over all classes seen.
        similarity: Of the classifier.

    >>> FinetuneConfig().trains
    'adapter'
    """

    trains: Literal["adapter", "full"] = "adapter"
    loss_over: Literal["new", "seen"] = "new"
    similarity: Similarity = "cosine"

    def build(self, backbone: BackboneConfig, schedule: Schedule, *, seed: int, device: str) -> "Finetune":
        """The learner, before its first task."""
        return Finetune(self, backbone=backbone, schedule=schedule, seed=seed, device=device)


class Finetune(Learner):
    """One adapter, or the whole network, and a classifier that grows; nothing guards what was learned before.

    >>> from qkd_cil import scenario
    >>> backbone = BackboneConfig("vit_tiny_patch16_224", weights="random", img_size=32, depth=1)
    >>> learner = Finetune(backbone=backbone, schedule=Schedule(epochs=1))
    >>> learner.fit_task(scenario("digits", increment=2, train_per_class=8).train_tasks[0])
    >>> len(learner.classes)
    2
    """

    def __init__(self, config: FinetuneConfig | None = None, **settings: Any) -> None:
        config = config or FinetuneConfig()
        super().__init__(config, **settings)
        self.trains, self.loss_over = config.trains, config.loss_over
        self.trains_backbone = config.trains == "full"
        self.backbone.vit.requires_grad_(self.trains_backbone)
        self.classifier = Classifier(self.backbone.dim, similarity=config.similarity).to(self.device)

    def begin_task(self, task: Task) -> None:
        """Rows for the new classes; with the first task the one adapter."""
        if self.trains == "adapter" and not self.backbone.adapter_count:
            self.backbone.add_adapter(self.generator("adapter"))
        self.classifier.grow(len(task.classes), self.generator("classifier"))

    def training_step(self, batch: Batch) -> Mapping[str, Tensor]:
        """Cross-entropy."""
        logits = self.answers(batch.images)
        first = 0 if self.loss_over == "seen" else len(self.classes) - int(self.task_sizes[-1])
        return {"classification": F.cross_entropy(logits[:, first:], batch.targets - first)}

    def encode(self, images: Tensor, kept: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Features of the network as it is now; what was kept is out of date."""
        return self._features(self.prepare(images))

    def classify(self, features: Tensor) -> Outputs:
        """Logits of the one classifier."""
        return Outputs(self.classifier(features))

    def answers(self, values: Tensor) -> Tensor:
        """Logits of prepared images."""
        return self.classifier(self._features(values))

    def _features(self, images: Tensor) -> Tensor:
        return self.backbone.adapted(images, tasks=[0])[0] if self.trains == "adapter" else self.backbone(images)
