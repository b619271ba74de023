"""APER (first called ADAM): a network tuned on the first task beside the frozen one (Zhou et al. 2023, 2303.07338)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qkd_cil.data.scenario import Task
from qkd_cil.learners.features import class_means, features_of, new_positions
from qkd_cil.learners.fitting import Batch, Schedule
from qkd_cil.learners.learner import Learner, Outputs
from qkd_cil.models.backbone import BackboneConfig
from qkd_cil.models.classifier import Classifier
from qkd_cil.models.tuning import Tuning, TuningKind


@dataclass(frozen=True)
class APERConfig:
    """What APER tunes.

    Args:
        tuning: What the first task may change of the network.
        tokens: Number of prompts of the `vpt` kinds.
        scale: Factor of the cosines of the first task's classifier at the start; it is learned.

    Raises:
        ValueError: If nothing is to be tuned (that is SimpleCIL), or a number is not positive.

    >>> APERConfig(tuning="vpt-deep").tokens
    5
    """

    tuning: TuningKind = "adapter"
    tokens: int = 5
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.tuning == "none":
            raise ValueError("aper: tuning none leaves nothing to tune; take SimpleCIL")
        if self.tokens < 1 or not self.scale > 0:
            raise ValueError(f"aper: tokens {self.tokens} and scale {self.scale}: both must be positive")

    def build(self, backbone: BackboneConfig, schedule: Schedule, *, seed: int, device: str) -> "APER":
        """The learner, before its first task."""
        return APER(self, backbone=backbone, schedule=schedule, seed=seed, device=device)


class APER(Learner):
    r"""Nearest class mean by cosine on two networks' features side by side, $[f(x), f^\ast(x)]$.

    $f$ is the frozen network, $f^\ast$ the same tuned on the first task with a cosine classifier that is thrown away
    then; later tasks train nothing. Published: 20 epochs, batches of 48, learning rate 0.01, cosine decay.

    >>> from qkd_cil import scenario
    >>> learner = APER(backbone=BackboneConfig("vit_tiny_patch16_224", weights="random", img_size=32, depth=1))
    >>> task = scenario("digits", increment=2, train_per_class=4).train_tasks[0]
    >>> learner.fit_task(task)
    >>> learner.classifier.weight.shape
    torch.Size([2, 384])
    """

    keeps_features = True

    def __init__(self, config: APERConfig | None = None, **settings: Any) -> None:
        config = config or APERConfig()
        super().__init__(config, **settings)
        self.scale = config.scale
        numbers = self.generator("tuning")
        self.tuning = Tuning(self.backbone, config.tuning, tokens=config.tokens, generator=numbers).to(self.device)
        self.head = self._new_head()
        self.classifier = Classifier(2 * self.backbone.dim, scale=1.0).to(self.device)

    def begin_task(self, task: Task) -> None:
        """Rows for the new classes."""
        self.classifier.grow(len(task.classes))
        if self.task_count == 1:
            self.head.grow(len(task.classes), self.generator("classifier"))

    def parameters_to_train(self) -> list[nn.Parameter]:
        """In the first task what is tuned and its classifier, later nothing."""
        first = self.task_count == 1
        return [*self.tuning.trained(self.backbone), *self.head.parameters()] if first else []

    def training_step(self, batch: Batch) -> Mapping[str, Tensor]:
        """Cross-entropy."""
        features = self.tuning(self.backbone, batch.images)
        return {"classification": F.cross_entropy(self.head(features), batch.targets)}

    def end_task(self, task: Task) -> None:
        """The means of the new classes."""
        self.head = self._new_head()
        self.classifier.set_rows(
            new_positions(self), class_means(self, task, features_of(self, task.train, self._both))
        )

    def encode(self, images: Tensor, kept: Tensor | None = None) -> Tensor:
        """Features of both networks, which never change after the first task."""
        return kept if kept is not None and kept.numel() else self._both(self.prepare(images))

    def classify(self, features: Tensor) -> Outputs:
        """Cosine to each class's mean."""
        return Outputs(self.classifier(features))

    def _both(self, values: Tensor) -> Tensor:
        return torch.cat([self.backbone(values), self.tuning(self.backbone, values)], dim=1)

    def _new_head(self) -> Classifier:
        return Classifier(self.backbone.dim, scale=self.scale).to(self.device)
