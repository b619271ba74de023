"""Joint training on all tasks so far (the upper end of the comparison)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from qkd_cil.data.images import LabelledImages, concatenate
from qkd_cil.data.scenario import Task
from qkd_cil.learners.fitting import Batch, Schedule
from qkd_cil.learners.learner import Learner, Outputs
from qkd_cil.models.backbone import BackboneConfig
from qkd_cil.models.classifier import Classifier, Similarity


@dataclass(frozen=True)
class JointConfig:
    """What joint training is made of.

    Args:
        similarity: Of the classifier.

    >>> JointConfig().similarity
    'cosine'
    """

    similarity: Similarity = "cosine"

    def build(self, backbone: BackboneConfig, schedule: Schedule, *, seed: int, device: str) -> "Joint":
        """The learner, before its first task."""
        return Joint(self, backbone=backbone, schedule=schedule, seed=seed, device=device)


class Joint(Learner):
    """After every task a new adapter and a new classifier, trained on the images of all tasks so far.

    It breaks the rule of the game on purpose: `Task.earlier` holds what the other methods may not see again.

    >>> from qkd_cil import scenario
    >>> backbone = BackboneConfig("vit_tiny_patch16_224", weights="random", img_size=32, depth=1)
    >>> learner = Joint(backbone=backbone, schedule=Schedule(epochs=1))
    >>> tasks = scenario("digits", increment=2, train_per_class=8).train_tasks
    >>> len(learner.training_images(tasks[1]))
    32
    """

    def __init__(self, config: JointConfig | None = None, **settings: Any) -> None:
        config = config or JointConfig()
        super().__init__(config, **settings)
        self.similarity = config.similarity
        self.classifier = Classifier(self.backbone.dim, similarity=self.similarity).to(self.device)

    def begin_task(self, task: Task) -> None:  # noqa: ARG002
        """Start afresh."""
        self.backbone.clear_adapters()
        self.backbone.add_adapter(self.generator("adapter"))
        self.classifier = Classifier(self.backbone.dim, similarity=self.similarity).to(self.device)
        self.classifier.grow(len(self.classes), self.generator("classifier"))

    def training_images(self, task: Task) -> LabelledImages:
        """The images of all tasks so far."""
        return concatenate([each.train for each in (*task.earlier, task)])

    def training_step(self, batch: Batch) -> Mapping[str, Tensor]:
        """Cross-entropy over all classes."""
        logits = self.classifier(self.backbone.adapted(batch.images, tasks=[0])[0])
        return {"classification": F.cross_entropy(logits, batch.targets)}

    def encode(self, images: Tensor, kept: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Features of the network as it is now; what was kept is out of date."""
        return self.backbone.adapted(self.prepare(images), tasks=[0])[0]

    def classify(self, features: Tensor) -> Outputs:
        """Logits of the one classifier."""
        return Outputs(self.classifier(features))
