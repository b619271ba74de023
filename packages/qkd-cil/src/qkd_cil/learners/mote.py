"""MoTE: experts for the tasks, of which those answer that know their own (Li et al. 2025, arXiv 2506.11038)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from qkd_cil.data.scenario import Task
from qkd_cil.learners.features import adapter_features, class_means, features_of, new_positions, under_adapter
from qkd_cil.learners.fitting import Batch, Schedule
from qkd_cil.learners.learner import Learner, Outputs
from qkd_cil.models.backbone import BackboneConfig
from qkd_cil.models.classifier import Classifier


@dataclass(frozen=True)
class MoTEConfig:
    """MoTE's numbers.

    Args:
        filtering: Experts that may answer: those who see a class of their own `task`, as the paper has it, or, with
            `none`, all, as the last version of the public code does.
        confidence_scale: Factor of the cosines that an expert's confidence is the largest softmax of.
        others: Factor of the confidence of every expert but the surest.
        scale: Factor of the cosines of the classifier that trains an adapter, at the start; it is learned.

    Raises:
        ValueError: If a number is out of range.

    >>> MoTEConfig().others
    0.1
    """

    filtering: Literal["task", "none"] = "task"
    confidence_scale: float = 10.0
    others: float = 0.1
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not (self.confidence_scale > 0 and self.others >= 0 and self.scale > 0):
            raise ValueError(
                f"mote: confidence_scale {self.confidence_scale} and scale {self.scale} must be positive, others "
                f"{self.others} not negative"
            )

    def build(self, backbone: BackboneConfig, schedule: Schedule, *, seed: int, device: str) -> "MoTE":
        """The learner, before its first task."""
        return MoTE(self, backbone=backbone, schedule=schedule, seed=seed, device=device)


class MoTE(Learner):
    r"""An adapter for each task; the features of those that are sure of a class of their own are mixed.

    A class's prototype is its mean feature under its own task's adapter, and all adapters' features are held against
    all prototypes. Expert $i$ may answer if the nearest prototype is of its own task; the features of those experts are
    added with the weights of `expert_weights`, and the prototype nearest to the sum is the answer. Published:
    bottleneck 64, 20 epochs, batches of 32, learning rate 0.01.

    >>> from qkd_cil import scenario
    >>> backbone = BackboneConfig("vit_tiny_patch16_224", weights="random", img_size=32, depth=1)
    >>> learner = MoTE(backbone=backbone, schedule=Schedule(epochs=1))
    >>> for task in scenario("digits", increment=2, train_per_class=4).train_tasks[:2]:
    ...     learner.fit_task(task)
    >>> learner.outputs(task.train.images).routing.shape
    torch.Size([8, 2])
    """

    keeps_features = True

    def __init__(self, config: MoTEConfig | None = None, **settings: Any) -> None:
        self.mote = config or MoTEConfig()
        super().__init__(self.mote, **settings)
        self.head = self._new_head()
        self.prototypes = Classifier(self.backbone.dim, scale=1.0).to(self.device)

    def begin_task(self, task: Task) -> None:
        """A new adapter and a classifier for it."""
        self.backbone.add_adapter(self.generator("adapter"))
        self.head.grow(len(task.classes), self.generator("classifier"))
        self.prototypes.grow(len(task.classes))

    def parameters_to_train(self) -> list[nn.Parameter]:
        """The new adapter and its classifier."""
        return [*self.backbone.adapter_parameters(self.task_count - 1), *self.head.parameters()]

    def training_step(self, batch: Batch) -> Mapping[str, Tensor]:
        """Cross-entropy over the new classes."""
        features = self.backbone.adapted(batch.images, tasks=[self.task_count - 1])[0]
        first = len(self.classes) - self.head.class_count
        return {"classification": F.cross_entropy(self.head(features), batch.targets - first)}

    def end_task(self, task: Task) -> None:
        """The new classes' prototypes under the new adapter."""
        self.head = self._new_head()
        features = features_of(self, task.train, under_adapter(self, self.task_count - 1))
        self.prototypes.set_rows(new_positions(self), class_means(self, task, features))

    def encode(self, images: Tensor, kept: Tensor | None = None) -> Tensor:
        """Features under every adapter, side by side; those of earlier adapters never change."""
        return adapter_features(self, images, kept, count=self.task_count)

    def classify(self, features: Tensor) -> Outputs:
        """Cosines of the mixed features to the prototypes."""
        experts = features.unflatten(1, (self.task_count, -1))
        answers = (self.mote.confidence_scale * self.prototypes(experts)).softmax(dim=2)
        best = answers.max(dim=2)
        weights = expert_weights(
            best.values,
            self.task_of_class[best.indices],
            others=self.mote.others,
            filtered=self.mote.filtering == "task",
        )
        return Outputs(self.prototypes(torch.einsum("bt,btd->bd", weights, experts)), weights)

    def _new_head(self) -> Classifier:
        return Classifier(self.backbone.dim, scale=self.mote.scale).to(self.device)


def expert_weights(
    confidences: Float[Tensor, "batch task"], named: Int64[Tensor, "batch task"], *, others: float, filtered: bool
) -> Float[Tensor, "batch task"]:
    """Weights of the experts: a softmax of their confidences, those of all but the surest made smaller first.

    Args:
        confidences: Of each expert.
        named: Task of the class that it sees.
        others: Factor of the confidence of all but the surest.
        filtered: Whether only experts who name their own task take part; where none does, the surest is alone.

    Returns:
        Rows that sum to one.

    >>> expert_weights(torch.tensor([[0.9, 0.5]]), torch.tensor([[1, 1]]), others=0.1, filtered=True)
    tensor([[0., 1.]])
    """
    experts = torch.arange(confidences.shape[1], device=confidences.device)
    allowed = named == experts if filtered else torch.ones_like(named, dtype=torch.bool)
    alone = F.one_hot(confidences.argmax(dim=1), len(experts)).bool()
    allowed = torch.where(allowed.any(dim=1, keepdim=True), allowed, alone)
    surest = confidences.masked_fill(~allowed, -1).argmax(dim=1, keepdim=True)
    scaled = torch.where(experts == surest, confidences, others * confidences)
    return scaled.masked_fill(~allowed, -torch.inf).softmax(dim=1)
