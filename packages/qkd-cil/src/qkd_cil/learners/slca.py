"""SLCA: a slow learner and an aligned classifier (Zhang et al. 2023, arXiv 2303.05118)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from qkd_cil.data.scenario import Task
from qkd_cil.learners.alignment import AlignmentConfig, ClassGaussians, align, class_gaussians, recency
from qkd_cil.learners.features import features_of
from qkd_cil.learners.fitting import Batch, Schedule
from qkd_cil.learners.learner import Learner, Outputs
from qkd_cil.models.backbone import BackboneConfig
from qkd_cil.models.classifier import Classifier, OldRows


@dataclass(frozen=True)
class SLCAConfig:
    """SLCA's numbers.

    Args:
        network_rate: Learning rate of the network over that of the classifier.
        logit_norm: Temperature of the logits in the alignment, which are brought to one length there; 0: as they are.
        alignment: Of the classifier after each task but the first.

    Raises:
        ValueError: If a number is out of range.

    >>> SLCAConfig().network_rate
    0.01
    """

    network_rate: float = 0.01
    logit_norm: float = 0.1
    alignment: AlignmentConfig = field(default_factory=lambda: AlignmentConfig(epochs=3, draws=256, learning_rate=0.01))

    def __post_init__(self) -> None:
        if not (self.network_rate > 0 and self.logit_norm >= 0):
            raise ValueError(
                f"slca: network_rate {self.network_rate} must be positive, logit_norm {self.logit_norm} not negative"
            )

    def build(self, backbone: BackboneConfig, schedule: Schedule, *, seed: int, device: str) -> "SLCA":
        """The learner, before its first task."""
        return SLCA(self, backbone=backbone, schedule=schedule, seed=seed, device=device)


class SLCA(Learner):
    r"""The whole network goes on learning, a hundred times more slowly than the classifier.

    Each task trains its own rows of a linear classifier; the earlier ones stand still. After a task a copy of all rows
    is aligned on the classes' Gaussians, with the means of older classes shortened by up to a tenth; the copy answers,
    and the next task goes on from the rows that were never aligned, as in the public code. The Gaussians are those of
    the network at the time a class came: it is slow for this to hold. Published: 20 epochs, batches of 64, learning
    rate 0.01, a tenth of it from epoch 18 on (here a cosine).

    >>> from qkd_cil import scenario
    >>> backbone = BackboneConfig("vit_tiny_patch16_224", weights="random", img_size=32, depth=1)
    >>> learner = SLCA(backbone=backbone, schedule=Schedule(epochs=1))
    >>> learner.fit_task(scenario("digits", increment=2, train_per_class=4).train_tasks[0])
    >>> learner.covariances.shape
    torch.Size([2, 192, 192])
    """

    trains_backbone = True
    means: Float[Tensor, "class dim"]
    covariances: Float[Tensor, "class dim *rest"]

    def __init__(self, config: SLCAConfig | None = None, **settings: Any) -> None:
        self.slca = config or SLCAConfig()
        super().__init__(self.slca, **settings)
        dim = self.backbone.dim
        self.backbone.vit.requires_grad_(True)
        self.classifier = Classifier(dim, similarity="linear").to(self.device)
        self.aligned = Classifier(dim, similarity="linear").to(self.device)
        spread = (0, dim, dim) if self.slca.alignment.covariance == "full" else (0, dim)
        self.register_buffer("means", torch.zeros(0, dim, device=self.device))
        self.register_buffer("covariances", torch.zeros(spread, device=self.device))
        self.old_rows: OldRows | None = None

    def begin_task(self, task: Task) -> None:
        """Rows for the new classes."""
        self.old_rows = OldRows(self.classifier)
        self.classifier.grow(len(task.classes), self.generator("classifier"))

    def parameters_to_train(self) -> list[torch.nn.Parameter]:
        """The network and the classifier that is not aligned."""
        return [*self.backbone.parameters(), *self.classifier.parameters()]

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The network learns more slowly."""
        rate = self.schedule.learning_rate * self.slca.network_rate
        network, classifier = list(self.backbone.parameters()), list(self.classifier.parameters())
        return [{"params": network, "lr": rate}, {"params": classifier}]

    def training_step(self, batch: Batch) -> Mapping[str, Tensor]:
        """Cross-entropy over the new classes."""
        first = len(self.means)
        logits = self.classifier(self.backbone(batch.images))[:, first:]
        return {"classification": F.cross_entropy(logits, batch.targets - first)}

    def after_step(self) -> None:
        """The earlier rows stand still."""
        assert self.old_rows is not None
        self.old_rows.restore(self.classifier)

    def end_task(self, task: Task) -> None:
        """The new classes' Gaussians and the aligned copy of the classifier."""
        self.old_rows = None
        features = features_of(self, task.train, self.backbone)
        new = class_gaussians(features, self.positions(task.train.labels), covariance=self.slca.alignment.covariance)
        self.means = torch.cat([self.means, new.means])
        self.covariances = torch.cat([self.covariances, new.covariances])
        self.aligned = Classifier(self.backbone.dim, similarity="linear").to(self.device)
        self.aligned.grow(len(self.classes))
        self.aligned.load_state_dict(self.classifier.state_dict())
        if self.task_count > 1:
            known = ClassGaussians(recency(self.task_of_class)[:, None] * self.means, self.covariances)
            config, numbers = self.slca.alignment, self.generator("alignment")
            align(self.aligned, known, config, generator=numbers, logits=self._normed)

    def encode(self, images: Tensor, kept: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Features of the network as it is now; what was kept is out of date."""
        return self.backbone(self.prepare(images))

    def classify(self, features: Tensor) -> Outputs:
        """Logits of the aligned classifier."""
        return Outputs(self.aligned(features))

    def _normed(self, logits: Tensor) -> Tensor:
        temperature = self.slca.logit_norm
        return normed_logits(logits, self.task_sizes, temperature=temperature) if temperature else logits


def normed_logits(
    logits: Float[Tensor, "batch class"], task_sizes: Int64[Tensor, " task"], *, temperature: float
) -> Float[Tensor, "batch class"]:
    r"""$z / (\tau \, \frac1T \sum_t \lVert z_t \rVert)$ with $z_t$ the logits of the classes of task $t$.

    Args:
        logits: Of all classes, those of a task together.
        task_sizes: Classes of each task.
        temperature: τ.

    >>> normed_logits(torch.tensor([[3.0, 4.0, 5.0]]), torch.tensor([2, 1]), temperature=1.0)
    tensor([[0.6000, 0.8000, 1.0000]])
    """
    norms = [part.norm(dim=1) for part in logits.split(task_sizes.tolist(), dim=1)]
    return logits / (temperature * (torch.stack(norms).mean(dim=0) + 1e-7)[:, None])
