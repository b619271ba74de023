"""EASE: a subspace for each task, earlier classes brought into the new ones (Zhou et al. 2024, arXiv 2403.12030)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from qkd_cil.data.scenario import Task
from qkd_cil.learners.features import adapter_features, class_means, features_of, new_positions
from qkd_cil.learners.fitting import Batch, Schedule
from qkd_cil.learners.learner import Learner, Outputs
from qkd_cil.models.backbone import BackboneConfig
from qkd_cil.models.classifier import Classifier


@dataclass(frozen=True)
class EASEConfig:
    """EASE's numbers.

    Args:
        alpha: Weight of the cosines in the other tasks' subspaces, all of them together; the own one has one.
        complement: Classes whose prototypes an earlier one is composed of in a newer subspace: `later`: of all tasks
            from that subspace's own on, anew after each task, as the public code does; `own`: of that subspace's own
            task, once.
        scale: Factor of the cosines of the classifier that trains an adapter, at the start; it is learned.

    Raises:
        ValueError: If a number is out of range.

    >>> EASEConfig().alpha
    0.1
    """

    alpha: float = 0.1
    complement: Literal["later", "own"] = "later"
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not (self.alpha >= 0 and self.scale > 0):
            raise ValueError(f"ease: alpha {self.alpha} must not be negative, scale {self.scale} must be positive")

    def build(self, backbone: BackboneConfig, schedule: Schedule, *, seed: int, device: str) -> "EASE":
        """The learner, before its first task."""
        return EASE(self, backbone=backbone, schedule=schedule, seed=seed, device=device)


class EASE(Learner):
    r"""An adapter for each task, prototypes of all classes in the space of each adapter, cosines added up.

    $z_c = \cos(f_{t(c)}, p_c^{t(c)}) + \frac{\alpha}{T - 1} \sum_{j \ne t(c)} \cos(f_j, p_c^j)$ with $f_j$ the features
    under adapter $j$ and $p_c^j$ the prototype of class $c$ there: its mean feature if the class was seen with that
    adapter, else composed of the means of classes that were (`complement_prototypes`). An adapter is trained with a
    cosine classifier over its own classes alone, which is thrown away. Published: bottleneck 64, 20 epochs, batches of
    48, learning rate 0.025. In the public code the old adapters lie in a list and are lost with a checkpoint.

    >>> from qkd_cil import scenario
    >>> backbone = BackboneConfig("vit_tiny_patch16_224", weights="random", img_size=32, depth=1)
    >>> learner = EASE(backbone=backbone, schedule=Schedule(epochs=1))
    >>> for task in scenario("digits", increment=2, train_per_class=4).train_tasks[:2]:
    ...     learner.fit_task(task)
    >>> learner.prototypes.shape
    torch.Size([2, 4, 192])
    """

    keeps_features = True
    prototypes: Float[Tensor, "space class dim"]

    def __init__(self, config: EASEConfig | None = None, **settings: Any) -> None:
        self.ease = config or EASEConfig()
        super().__init__(self.ease, **settings)
        self.head = self._new_head()
        self.register_buffer("prototypes", torch.zeros(0, 0, self.backbone.dim, device=self.device))

    def begin_task(self, task: Task) -> None:
        """A new adapter and a classifier for it."""
        self.backbone.add_adapter(self.generator("adapter"))
        self.head.grow(len(task.classes), self.generator("classifier"))

    def parameters_to_train(self) -> list[nn.Parameter]:
        """The new adapter and its classifier."""
        return [*self.backbone.adapter_parameters(self.task_count - 1), *self.head.parameters()]

    def training_step(self, batch: Batch) -> Mapping[str, Tensor]:
        """Cross-entropy over the new classes."""
        features = self.backbone.adapted(batch.images, tasks=[self.task_count - 1])[0]
        first = len(self.classes) - self.head.class_count
        return {"classification": F.cross_entropy(self.head(features), batch.targets - first)}

    def end_task(self, task: Task) -> None:
        """The new classes' prototypes in all subspaces, the earlier ones' in the new one."""
        self.head = self._new_head()
        spaces, first = self.task_count, int(new_positions(self)[0])
        features = features_of(self, task.train, lambda values: self._spaces(values).transpose(0, 1))
        grown = F.pad(self.prototypes, (0, 0, 0, len(self.classes) - first, 0, 1))
        grown[:, first:] = class_means(self, task, features).transpose(0, 1)
        self.prototypes = complement_prototypes(grown, self.task_of_class, later=self.ease.complement == "later")
        assert len(self.prototypes) == spaces

    def encode(self, images: Tensor, kept: Tensor | None = None) -> Tensor:
        """Features under every adapter, side by side; those of earlier adapters never change."""
        return adapter_features(self, images, kept, count=self.task_count)

    def classify(self, features: Tensor) -> Outputs:
        """The weighted sum of the cosines in all subspaces."""
        spaces = F.normalize(features.unflatten(1, (self.task_count, -1)), dim=2)
        cosines = torch.einsum("bsd,scd->bsc", spaces, F.normalize(self.prototypes, dim=2))
        own = F.one_hot(self.task_of_class, self.task_count).T.to(cosines)
        weights = own + (1 - own) * self.ease.alpha / max(1, self.task_count - 1)
        return Outputs((weights * cosines).sum(dim=1))

    def _spaces(self, values: Tensor) -> Float[Tensor, "space batch dim"]:
        each = max(1, self.schedule.evaluation_batch_size // self.task_count)
        adapters = range(self.task_count)
        return torch.cat([self.backbone.adapted(part, tasks=adapters) for part in values.split(each)], dim=1)

    def _new_head(self) -> Classifier:
        return Classifier(self.backbone.dim, scale=self.ease.scale).to(self.device)


def complement_prototypes(
    prototypes: Float[Tensor, "space class dim"], task_of_class: Int64[Tensor, " class"], *, later: bool
) -> Float[Tensor, "space class dim"]:
    r"""Prototypes of classes in the subspaces that came after them, composed of those of classes that are known there.

    $p_c^j = \sum_k \sigma_k(\cos(p_c^i, p_k^i)) \, p_k^j$ with σ the softmax over the classes $k$ known in subspace $j$
    and $i$ the subspace of the task of $c$ (Zhou et al. 2024). No image of class $c$ is needed.

    Args:
        prototypes: Those in a class's own and in earlier subspaces are means; the others are overwritten.
        task_of_class: Task of each class, which is the number of its own subspace.
        later: Whether $k$ runs over all classes from subspace $j$'s task on, or over that task's alone.

    >>> means = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [3.0, 0.0]]])
    >>> complement_prototypes(means, torch.tensor([0, 1]), later=True)[1, 0]
    tensor([3., 0.])
    """
    full = prototypes.clone()
    for space in range(1, len(prototypes)):
        known = task_of_class >= space if later else task_of_class == space
        for task in range(space):
            own = task_of_class == task
            from_own, from_known = (F.normalize(prototypes[task, chosen], dim=1) for chosen in (own, known))
            full[space, own] = (from_own @ from_known.T).softmax(dim=1) @ prototypes[space, known]
    return full
