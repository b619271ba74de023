"""LwF: the network that was teaches the one that will be, on the new task's images (Li and Hoiem 2016, 1606.09282)."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from qkd_cil.data.scenario import Task
from qkd_cil.learners.features import features_of
from qkd_cil.learners.finetune import Finetune, FinetuneConfig
from qkd_cil.learners.fitting import Batch, Schedule
from qkd_cil.models.backbone import BackboneConfig
from qkd_cil.models.classifier import Similarity


@dataclass(frozen=True)
class LwFConfig:
    """LwF's numbers.

    Args:
        trains: One adapter that all tasks share, or the whole network, as published (it wants a far lower learning
            rate).
        distillation: Weight of the old network's answers.
        temperature: That both networks' logits are divided by.
        similarity: Of the classifier; published is `linear`.

    Raises:
        ValueError: If a number is out of range.

    >>> LwFConfig().distillation
    3.0
    """

    trains: Literal["adapter", "full"] = "adapter"
    distillation: float = 3.0
    temperature: float = 2.0
    similarity: Similarity = "linear"

    def __post_init__(self) -> None:
        if not (self.distillation >= 0 and self.temperature > 0):
            raise ValueError(
                f"lwf: distillation {self.distillation} must not be negative, temperature {self.temperature} must be "
                "positive"
            )

    def build(self, backbone: BackboneConfig, schedule: Schedule, *, seed: int, device: str) -> "LwF":
        """The learner, before its first task."""
        return LwF(self, backbone=backbone, schedule=schedule, seed=seed, device=device)


class LwF(Finetune):
    r"""Finetuning that is to go on giving the old network's answers.

    $\mathrm{CE} + \lambda H(\sigma(z^{old} / \tau), \sigma(z / \tau))$: the cross-entropy runs over the new classes,
    the old answers over the old ones, all on the images of the new task (λ = 3, τ = 2 in PyCIL; λ = 1, τ = 2 in the
    paper). The old network's answers are computed once for a task where nothing is augmented.

    >>> from qkd_cil import scenario
    >>> backbone = BackboneConfig("vit_tiny_patch16_224", weights="random", img_size=32, depth=1)
    >>> learner = LwF(backbone=backbone, schedule=Schedule(epochs=1))
    >>> for task in scenario("digits", increment=2, train_per_class=4).train_tasks[:2]:
    ...     learner.fit_task(task)
    >>> len(learner.classes)
    4
    """

    def __init__(self, config: LwFConfig | None = None, **settings: Any) -> None:
        self.lwf = config or LwFConfig()
        super().__init__(FinetuneConfig(self.lwf.trains, "new", self.lwf.similarity), **settings)
        self.config = self.lwf
        self.teacher: Teacher | None = None

    def begin_task(self, task: Task) -> None:
        """Rows for the new classes; from the second task on the network as it is becomes the teacher."""
        self.teacher = Teacher(self, task) if self.task_count > 1 else None
        super().begin_task(task)

    def training_step(self, batch: Batch) -> Mapping[str, Tensor]:
        """Cross-entropy over the new classes and the old network's answers over the old ones."""
        logits = self.answers(batch.images)
        old = len(self.classes) - int(self.task_sizes[-1])
        losses = {"classification": F.cross_entropy(logits[:, old:], batch.targets - old)}
        if self.teacher is not None:
            answers = self.teacher.logits(batch)
            losses["distillation"] = self.lwf.distillation * soft_cross_entropy(
                answers, logits[:, :old], temperature=self.lwf.temperature
            )
        return losses

    def end_task(self, task: Task) -> None:  # noqa: ARG002
        """The teacher has done its work."""
        self.teacher = None


class Teacher:
    """A learner's logits as they are before a task, for the images of the task.

    Args:
        learner: What it gives now is what is taught.
        task: The task that begins. Without augmentation the logits are computed here, with it a copy of the learner
            answers anew for each batch.
    """

    def __init__(self, learner: Finetune, task: Task) -> None:
        augmented = learner.schedule.augmentation.changes
        self._learner = deepcopy(learner).requires_grad_(False) if augmented else None
        images = learner.training_images(task)
        self._kept = None if augmented else features_of(learner, images, learner.answers)

    @torch.no_grad()
    def logits(self, batch: Batch) -> Float[Tensor, "batch class"]:
        """Logits of the old classes for a batch."""
        if self._learner is not None:
            return self._learner.answers(batch.images)
        assert self._kept is not None
        return self._kept[batch.rows.to(self._kept.device)]


def soft_cross_entropy(
    teacher: Float[Tensor, "batch class"], student: Float[Tensor, "batch class"], *, temperature: float
) -> Float[Tensor, ""]:
    r"""$-\frac1n \sum_b \sigma(z^{teacher}_b / \tau) \cdot \log \sigma(z^{student}_b / \tau)$.

    Args:
        teacher: Logits that are right.
        student: Logits that are to become so.
        temperature: τ.

    >>> soft_cross_entropy(torch.zeros(1, 2), torch.zeros(1, 2), temperature=2.0)
    tensor(0.6931)
    """
    wanted = (teacher / temperature).softmax(dim=1)
    return -(wanted * (student / temperature).log_softmax(dim=1)).sum(dim=1).mean()
