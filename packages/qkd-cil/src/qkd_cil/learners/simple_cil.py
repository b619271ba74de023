"""SimpleCIL: the nearest mean of each class among frozen features (Zhou et al. 2023, arXiv 2303.07338)."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from qkd_cil.data.scenario import Task
from qkd_cil.learners.features import class_means, features_of, new_positions
from qkd_cil.learners.fitting import Schedule
from qkd_cil.learners.learner import Learner, Outputs
from qkd_cil.models.backbone import BackboneConfig
from qkd_cil.models.classifier import Classifier


@dataclass(frozen=True)
class SimpleCILConfig:
    """SimpleCIL has no number of its own."""

    def build(self, backbone: BackboneConfig, schedule: Schedule, *, seed: int, device: str) -> "SimpleCIL":
        """The learner, before its first task."""
        return SimpleCIL(self, backbone=backbone, schedule=schedule, seed=seed, device=device)


class SimpleCIL(Learner):
    r"""Frozen network, cosine classifier whose rows are the classes' mean features: $z_c = \cos(w_c, f(x))$.

    Nothing is trained. The public code takes images unnormalised; here they are normalised as the weights want it.

    >>> from qkd_cil import scenario
    >>> digits = scenario("digits", base_classes=2, increment=2)
    >>> learner = SimpleCIL(backbone=BackboneConfig("vit_tiny_patch16_224", weights="random", img_size=32, depth=1))
    >>> learner.fit_task(digits.train_tasks[0])
    >>> learner.predict(digits.train_tasks[0].train.images[:5]).shape
    torch.Size([5])
    """

    keeps_features = True

    def __init__(self, config: SimpleCILConfig | None = None, **settings: Any) -> None:
        super().__init__(config or SimpleCILConfig(), **settings)
        self.classifier = Classifier(self.backbone.dim, scale=1.0).to(self.device)

    def parameters_to_train(self) -> list[nn.Parameter]:
        """None."""
        return []

    def end_task(self, task: Task) -> None:
        """A row for each new class: the mean of its features."""
        self.classifier.grow(len(task.classes))
        means = class_means(self, task, features_of(self, task.train, self.backbone))
        self.classifier.set_rows(new_positions(self), means)

    def encode(self, images: Tensor, kept: Tensor | None = None) -> Tensor:
        """Features of the frozen network."""
        return kept if kept is not None and kept.numel() else self.backbone(self.prepare(images))

    def classify(self, features: Tensor) -> Outputs:
        """Cosine to each class's mean."""
        return Outputs(self.classifier(features))
