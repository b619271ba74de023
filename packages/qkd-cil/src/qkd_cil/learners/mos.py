"""MOS: adapters merged while they are trained, and a retrieval that corrects itself (Sun et al. 2024, 2412.09441)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from qkd_cil.data.scenario import Task
from qkd_cil.learners.alignment import AlignmentConfig, ClassGaussians, align, class_gaussians
from qkd_cil.learners.features import adapter_features, class_means, features_of, new_positions, under_adapter
from qkd_cil.learners.fitting import Batch, Schedule
from qkd_cil.learners.learner import Learner, Outputs
from qkd_cil.models.backbone import BackboneConfig
from qkd_cil.models.classifier import Classifier


@dataclass(frozen=True)
class MOSConfig:
    """MOS's numbers.

    Args:
        momentum: Share of the earlier adapters' mean in a merging.
        merging: When: after each `step` of the optimizer, as the paper has it; or in each `forward` pass, once for
            every block, as the public code does. There the stored adapters change whenever an image is judged, so that
            answers depend on what was asked before.
        contrast: Weight of a loss that holds a batch's features and the classes' means apart; it stands in the public
            code alone.
        head_rate: Learning rate of the classifier over that of the adapter.
        steps: Most adapters the retrieval tries for an image.
        ensemble: Whether the frozen network's prototypes have a say, as published.
        alignment: Of the classifier after each task but the first.

    Raises:
        ValueError: If a number is out of range.

    >>> MOSConfig().merging
    'step'
    """

    momentum: float = 0.1
    merging: Literal["step", "forward"] = "step"
    contrast: float = 0.1
    head_rate: float = 0.1
    steps: int = 4
    ensemble: bool = True
    alignment: AlignmentConfig = field(default_factory=AlignmentConfig)

    def __post_init__(self) -> None:
        if not (0 <= self.momentum <= 1 and self.contrast >= 0 and self.head_rate >= 0 and self.steps >= 1):
            raise ValueError(
                f"mos: momentum {self.momentum} must be from 0 to 1, contrast {self.contrast} and head_rate "
                f"{self.head_rate} not negative, steps {self.steps} positive"
            )

    def build(self, backbone: BackboneConfig, schedule: Schedule, *, seed: int, device: str) -> "MOS":
        """The learner, before its first task."""
        return MOS(self, backbone=backbone, schedule=schedule, seed=seed, device=device)


class MOS(Learner):
    r"""An adapter for each task, drawn towards the earlier ones; the adapter of an image is the one that agrees.

    After each step $A_t \leftarrow (1 - m) A_t + \frac{m}{t - 1} \sum_{i<t} A_i$. The one linear classifier $g$ is
    trained on the task's own classes and then aligned on Gaussians of all. An image begins with the task of the nearest
    prototype of the frozen network; the class that $g$ sees in the features under that task's adapter names the next
    task, until one names itself. The answer is $\sigma(g(f_{t^\ast})) + \sigma(T \cos(f, p))$ over $T$ tasks. All
    adapters' answers are in one table, so that retrieval is a few look-ups. Published: bottleneck 16, 20 epochs,
    batches of 48, learning rate 0.03.

    >>> from qkd_cil import scenario
    >>> backbone = BackboneConfig("vit_tiny_patch16_224", weights="random", img_size=32, depth=1)
    >>> config = MOSConfig(alignment=AlignmentConfig(epochs=1, draws=8))
    >>> learner = MOS(config, backbone=backbone, schedule=Schedule(epochs=1))
    >>> for task in scenario("digits", increment=2, train_per_class=4).train_tasks[:2]:
    ...     learner.fit_task(task)
    >>> learner.outputs(task.train.images).routing.sum(dim=1)
    tensor([1., 1., 1., 1., 1., 1., 1., 1.])
    """

    means: Float[Tensor, "class dim"]
    covariances: Float[Tensor, "class dim *rest"]
    originals: Float[Tensor, "task number"]

    def __init__(self, config: MOSConfig | None = None, **settings: Any) -> None:
        self.mos = config or MOSConfig()
        super().__init__(self.mos, **settings)
        dim = self.backbone.dim
        self.keeps_features = self.mos.merging == "step"
        self.classifier = Classifier(dim, similarity="linear").to(self.device)
        self.prototypes = Classifier(dim, scale=1.0).to(self.device)
        spread = (0, dim, dim) if self.mos.alignment.covariance == "full" else (0, dim)
        self.register_buffer("means", torch.zeros(0, dim, device=self.device))
        self.register_buffer("covariances", torch.zeros(spread, device=self.device))
        self.register_buffer("originals", torch.zeros(0, 0, device=self.device))

    def begin_task(self, task: Task) -> None:
        """A new adapter and rows for the new classes."""
        self.backbone.add_adapter(self.generator("adapter"))
        self.classifier.grow(len(task.classes), self.generator("classifier"))
        self.prototypes.grow(len(task.classes))

    def parameters_to_train(self) -> list[nn.Parameter]:
        """The new adapter and the classifier."""
        return [*self.backbone.adapter_parameters(self.task_count - 1), *self.classifier.parameters()]

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The classifier learns more slowly."""
        adapter = self.backbone.adapter_parameters(self.task_count - 1)
        rate = self.schedule.learning_rate * self.mos.head_rate
        return [{"params": adapter}, {"params": list(self.classifier.parameters()), "lr": rate}]

    def training_step(self, batch: Batch) -> Mapping[str, Tensor]:
        """Cross-entropy over the new classes; features and means held apart."""
        if self.mos.merging == "forward":
            self._merge(self.task_count - 1, times=len(self.backbone.vit.blocks))
        features = self.backbone.adapted(batch.images, tasks=[self.task_count - 1])[0]
        first = len(self.means)
        losses = {"classification": F.cross_entropy(self.classifier(features)[:, first:], batch.targets - first)}
        if self.mos.contrast:
            losses["contrast"] = self.mos.contrast * contrast(torch.cat([self.means, features]))
        return losses

    def after_step(self) -> None:
        """Draw the new adapter towards the earlier ones."""
        self._merge(self.task_count - 1)

    def end_task(self, task: Task) -> None:
        """The classes' Gaussians under the new adapter and prototypes without any; the aligned classifier."""
        features = features_of(self, task.train, under_adapter(self, self.task_count - 1))
        new = class_gaussians(features, self.positions(task.train.labels), covariance=self.mos.alignment.covariance)
        self.means = torch.cat([self.means, new.means])
        self.covariances = torch.cat([self.covariances, new.covariances])
        if self.mos.merging == "forward":
            own = self._numbers(self.task_count - 1)[None]
            self.originals = torch.cat([self.originals, own]) if self.task_count > 1 else own
        if self.task_count > 1:
            known = ClassGaussians(self.means, self.covariances)
            align(self.classifier, known, self.mos.alignment, generator=self.generator("alignment"))
        frozen = class_means(self, task, features_of(self, task.train, self.backbone))
        self.prototypes.set_rows(new_positions(self), frozen)

    def encode(self, images: Tensor, kept: Tensor | None = None) -> Tensor:
        """Features of the frozen network, then under every adapter; those of earlier adapters never change."""
        if self.mos.merging == "forward":
            for adapter in range(1, self.task_count):
                self._merge(adapter, times=len(self.backbone.vit.blocks))
        dim = self.backbone.dim
        if kept is not None and kept.shape[1]:
            return torch.cat([kept[:, :dim], adapter_features(self, images, kept[:, dim:], count=self.task_count)], 1)
        frozen = self.backbone(self.prepare(images))
        return torch.cat([frozen, adapter_features(self, images, kept, count=self.task_count)], dim=1)

    def classify(self, features: Tensor) -> Outputs:
        """The answer under the adapter that the retrieval ends at, and the prototypes'."""
        spaces = features.unflatten(1, (self.task_count + 1, -1))
        prior = self.prototypes(spaces[:, 0])
        under = self.classifier(spaces[:, 1:])
        chosen = refine(self.task_of_class[prior.argmax(1)], self.task_of_class[under.argmax(2)], steps=self.mos.steps)
        logits = under[torch.arange(len(under), device=under.device), chosen]
        if self.mos.ensemble:
            logits = logits.softmax(dim=1) + (self.task_count * prior).softmax(dim=1)
        return Outputs(logits, F.one_hot(chosen, self.task_count).to(logits))

    @torch.no_grad()
    def _merge(self, adapter: int, *, times: int = 1) -> None:
        """Draw an adapter towards the mean of those before it."""
        if not adapter:
            return
        share = (1 - self.mos.momentum) ** times
        forward = self.mos.merging == "forward"
        earlier = self.originals[:adapter] if forward else torch.stack([self._numbers(i) for i in range(adapter)])
        merged = torch.lerp(earlier.mean(dim=0), self._numbers(adapter), share)
        parameters = self.backbone.adapter_parameters(adapter)
        for own, new in zip(parameters, merged.split([each.numel() for each in parameters]), strict=True):
            own.copy_(new.view_as(own))

    def _numbers(self, adapter: int) -> Float[Tensor, " number"]:
        """All weights of an adapter in a row."""
        return nn.utils.parameters_to_vector(self.backbone.adapter_parameters(adapter)).detach()


def contrast(rows: Float[Tensor, "n dim"]) -> Float[Tensor, ""]:
    r"""Cross-entropy of each row's inner products with all rows, over 0.8, its own being the right one.

    Args:
        rows: Class means and features.

    >>> contrast(torch.eye(2) * 9) < 1e-6
    tensor(True)
    """
    return F.cross_entropy(rows @ rows.T / 0.8, torch.arange(len(rows), device=rows.device))


def refine(
    start: Int64[Tensor, " batch"], following: Int64[Tensor, "batch task"], *, steps: int
) -> Int64[Tensor, " batch"]:
    """The task that a chain of tasks ends at: the first that names itself, or the last of as many as may be tried.

    Args:
        start: First task of each image.
        following: Task that each task's adapter names for each image.
        steps: Most tasks to try.

    >>> refine(torch.tensor([0, 0]), torch.tensor([[1, 2, 2], [1, 0, 2]]), steps=4)
    tensor([2, 1])
    """
    chosen = start
    for _ in range(steps - 1):  # a task that names itself stays
        chosen = following.gather(1, chosen[:, None])[:, 0]
    return chosen
