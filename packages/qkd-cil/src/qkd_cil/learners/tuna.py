"""TUNA: the most certain of the tasks' adapters and one merged of all (Wang et al. 2025, arXiv 2508.08165)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from qkd_cil.data.scenario import Task
from qkd_cil.learners.alignment import AlignmentConfig, ClassGaussians, align, class_gaussians, recency
from qkd_cil.learners.features import adapter_features, features_of, side_by_side, under_adapter
from qkd_cil.learners.fitting import Batch, Schedule
from qkd_cil.learners.learner import Learner, Outputs
from qkd_cil.models.adapter import Adapter
from qkd_cil.models.backbone import BackboneConfig
from qkd_cil.models.classifier import Classifier


@dataclass(frozen=True)
class TUNAConfig:
    r"""TUNA's numbers.

    Args:
        scale: Factor of the cosines, not learned.
        margin: Taken from the cosine of the right class in training.
        orthogonality: Weight of the loss that holds a new adapter apart from the earlier ones; it is also multiplied
            by $e^{-T}$ with $T$ the number of tasks, as the public code does.
        mean_decay: Means of older classes in the alignment: shortened by their `task`'s age; `none`: as they are;
            `wrong-sign`: as the public code has it, which divides by the negative of the newest task's number of
            classes and so shortens those of newer classes.
        alignment: Of the classifier after each task but the first.

    Raises:
        ValueError: If a number is out of range.

    >>> TUNAConfig().mean_decay
    'task'
    """

    scale: float = 20.0
    margin: float = 0.0
    orthogonality: float = 1e-3
    mean_decay: Literal["task", "none", "wrong-sign"] = "task"
    alignment: AlignmentConfig = field(default_factory=AlignmentConfig)

    def __post_init__(self) -> None:
        if not (self.scale > 0 and self.margin >= 0 and self.orthogonality >= 0):
            raise ValueError(
                f"tuna: scale {self.scale} must be positive, margin {self.margin} and orthogonality "
                f"{self.orthogonality} not negative"
            )

    def build(self, backbone: BackboneConfig, schedule: Schedule, *, seed: int, device: str) -> "TUNA":
        """The learner, before its first task."""
        return TUNA(self, backbone=backbone, schedule=schedule, seed=seed, device=device)


class TUNA(Learner):
    r"""An adapter for each task and a universal one; the answers of the surest and of the universal one are added.

    A task trains its adapter and the new rows of a cosine classifier $g$; all rows are aligned on the classes'
    Gaussians then. The universal adapter takes for each weight the sign of the mean over the adapters and the largest
    magnitude among those of that sign (`universal_weights`). The answer is
    $\sigma(g(f_{i^\ast})) + \sigma(g(f_u))$ with $i^\ast$ the adapter whose answer has the least entropy. Published:
    bottleneck 16, 10 epochs, batches of 32, learning rate 0.02 on ImageNet-R.

    >>> from qkd_cil import scenario
    >>> backbone = BackboneConfig("vit_tiny_patch16_224", weights="random", img_size=32, depth=1)
    >>> config = TUNAConfig(alignment=AlignmentConfig(epochs=1, draws=8))
    >>> learner = TUNA(config, backbone=backbone, schedule=Schedule(epochs=1))
    >>> for task in scenario("digits", increment=2, train_per_class=4).train_tasks[:2]:
    ...     learner.fit_task(task)
    >>> learner.backbone.adapter_count
    3
    """

    keeps_features = True
    means: Float[Tensor, "class dim"]
    covariances: Float[Tensor, "class dim *rest"]

    def __init__(self, config: TUNAConfig | None = None, **settings: Any) -> None:
        self.tuna = config or TUNAConfig()
        super().__init__(self.tuna, **settings)
        dim = self.backbone.dim
        self.classifier = Classifier(dim, scale=self.tuna.scale).to(self.device)
        self.classifier.scale.requires_grad_(False)  # type: ignore[union-attr]
        spread = (0, dim, dim) if self.tuna.alignment.covariance == "full" else (0, dim)
        self.register_buffer("means", torch.zeros(0, dim, device=self.device))
        self.register_buffer("covariances", torch.zeros(spread, device=self.device))

    def begin_task(self, task: Task) -> None:
        """A new adapter in the place of the universal one, and rows for the new classes."""
        self.backbone.drop_adapters(self.task_count - 1)
        self.backbone.add_adapter(self.generator("adapter"))
        self.classifier.grow(len(task.classes), self.generator("classifier"))

    def parameters_to_train(self) -> list[nn.Parameter]:
        """The new adapter and the classifier's rows."""
        return [*self.backbone.adapter_parameters(self.task_count - 1), self.classifier.weight]

    def training_step(self, batch: Batch) -> Mapping[str, Tensor]:
        """Cross-entropy with a margin over the new classes; the new adapter held apart from the earlier ones."""
        features = self.backbone.adapted(batch.images, tasks=[self.task_count - 1])[0]
        first = len(self.means)
        logits, targets = self.classifier(features)[:, first:], batch.targets - first
        logits = logits - self.tuna.scale * self.tuna.margin * F.one_hot(targets, logits.shape[1])
        losses = {"classification": F.cross_entropy(logits, targets)}
        if self.task_count > 1 and self.tuna.orthogonality:
            weight = self.tuna.orthogonality * math.exp(-self.task_count)
            losses["orthogonality"] = weight * self._overlap()
        return losses

    def end_task(self, task: Task) -> None:
        """The universal adapter, the new classes' Gaussians, the aligned classifier."""
        features = features_of(self, task.train, under_adapter(self, self.task_count - 1))
        targets = self.positions(task.train.labels)
        new = class_gaussians(features, targets, covariance=self.tuna.alignment.covariance)
        self.means = torch.cat([self.means, new.means])
        self.covariances = torch.cat([self.covariances, new.covariances])
        every = [self.backbone.adapter_parameters(index) for index in range(self.task_count)]
        universal = self.backbone.add_adapter(self.generator("universal"))
        for own, others in zip(self.backbone.adapter_parameters(universal), zip(*every, strict=True), strict=True):
            own.copy_(universal_weights(torch.stack(others)))
        if self.task_count > 1:
            known = ClassGaussians(self._shortened_means(), self.covariances)
            align(self.classifier, known, self.tuna.alignment, generator=self.generator("alignment"))

    def encode(self, images: Tensor, kept: Tensor | None = None) -> Tensor:
        """Features under every adapter, then under the universal one, which alone changes with each task."""
        count, dim = self.task_count, self.backbone.dim
        if kept is None:
            return adapter_features(self, images, None, count=count + 1)
        known = kept[:, : max(0, kept.shape[1] - dim)]
        if known.shape[1] == count * dim:
            return kept
        own = adapter_features(self, images, known, count=count)
        return torch.cat([own, side_by_side(self, images, [count])], dim=1)

    def classify(self, features: Tensor) -> Outputs:
        """The answer of the adapter with the least entropy and the universal one's."""
        answers = self.classifier(features.unflatten(1, (self.task_count + 1, -1))).softmax(dim=2)
        surest = torch.special.entr(answers[:, :-1]).sum(dim=2).argmin(dim=1)
        specific = answers[torch.arange(len(answers), device=answers.device), surest]
        return Outputs(specific + answers[:, -1], F.one_hot(surest, self.task_count).to(answers))

    def _shortened_means(self) -> Tensor:
        if self.tuna.mean_decay == "none":
            return self.means
        tasks = self.task_of_class
        if self.tuna.mean_decay == "wrong-sign":
            number = torch.arange(len(tasks), device=self.device) // -int(self.task_sizes[-1])
            factors = 0.9 + 0.1 * (number + 1) / self.task_count
        else:
            factors = recency(tasks)
        return factors[:, None] * self.means

    def _overlap(self) -> Tensor:
        """Size of the mean cosine between the upper matrices' rows of the new adapter and of each earlier one."""
        total = self.means.new_zeros(())
        blocks = self.backbone.parallel_adapters()
        for block in blocks:
            *earlier, new = [
                F.normalize(adapter.up.weight, dim=1) for adapter in block.adapters if isinstance(adapter, Adapter)
            ]
            total = total + sum((new @ old.T).mean().abs() for old in earlier) / len(blocks)
        return total


def universal_weights(adapters: Float[Tensor, "adapter ..."]) -> Float[Tensor, "..."]:
    """For each weight the sign of the mean over the adapters, and the largest magnitude among those of that sign.

    A mean of zero counts as negative (Huang et al. 2024, arXiv 2405.17461; TUNA has it from there).

    Args:
        adapters: The same weights of all adapters.

    >>> universal_weights(torch.tensor([[3.0, -1.0], [-1.0, -2.0], [1.0, 1.0]]))
    tensor([ 3., -2.])
    """
    sign = torch.where(adapters.mean(dim=0) > 0, 1.0, -1.0)
    return sign * (adapters * sign).clamp_min(0).max(dim=0).values
