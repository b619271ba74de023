"""DualPrompt: prefixes that all tasks share, and those of the nearest task (Wang et al. 2022, arXiv 2204.04799)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from qkd_cil.data.scenario import Task
from qkd_cil.learners.features import Queries
from qkd_cil.learners.fitting import Batch, Schedule
from qkd_cil.learners.l2p import Selection, most_chosen
from qkd_cil.learners.learner import Learner, Outputs
from qkd_cil.models.backbone import BackboneConfig
from qkd_cil.models.classifier import Classifier, OldRows
from qkd_cil.models.prompt import Prefixes, nearest_keys, present_layers


@dataclass(frozen=True)
class DualPromptConfig:
    """DualPrompt's numbers.

    Args:
        general_layers: Blocks, from 0, whose prefixes all tasks share; those a shallow network has not are left out.
        general_length: Keys and values of a shared prefix.
        expert_layers: Blocks whose prefixes are the tasks' own.
        expert_length: Keys and values of a task's prefix.
        selection: The task of an image is that of the nearest key, for each `image` as the paper has it, or the one
            most often chosen in a `batch`, as all public code does, so that an answer depends on what else is asked.
        pull: Weight of the loss that draws a task's key to its images' features.

    Raises:
        ValueError: If a number is out of range, or a block has both kinds.

    >>> DualPromptConfig().expert_layers
    (2, 3, 4)
    """

    general_layers: tuple[int, ...] = (0, 1)
    general_length: int = 5
    expert_layers: tuple[int, ...] = (2, 3, 4)
    expert_length: int = 5
    selection: Selection = "image"
    pull: float = 0.1

    def __post_init__(self) -> None:
        if both := set(self.general_layers) & set(self.expert_layers):
            raise ValueError(f"dual-prompt: block {min(both)} has both kinds of prefixes; give each block one")
        if min(self.general_length, self.expert_length) < 1 or not self.pull >= 0:
            raise ValueError(
                f"dual-prompt: general_length {self.general_length} and expert_length {self.expert_length} must be "
                f"positive, pull {self.pull} not negative"
            )

    def build(self, backbone: BackboneConfig, schedule: Schedule, *, seed: int, device: str) -> "DualPrompt":
        """The learner, before its first task."""
        return DualPrompt(self, backbone=backbone, schedule=schedule, seed=seed, device=device)


class DualPrompt(Learner):
    r"""Prefixes in the attention of the first blocks: general ones in some, a task's own in others.

    A task trains the general prefixes, its own, which start where the task before left them, and its key, which is
    drawn to the frozen features $q$ of its images: $\mathrm{CE} - \lambda \cos(q, k_t)$ over the new classes. An image
    gets the prefixes of the task with the nearest key. The public pool ends at ten tasks, this one grows. Published:
    Adam, constant learning rate 0.001, 5 epochs, batches of 24.

    >>> from qkd_cil import scenario
    >>> backbone = BackboneConfig("vit_tiny_patch16_224", weights="random", img_size=32, depth=3)
    >>> learner = DualPrompt(backbone=backbone, schedule=Schedule(epochs=1))
    >>> for task in scenario("digits", increment=2, train_per_class=4).train_tasks[:2]:
    ...     learner.fit_task(task)
    >>> learner.keys.shape, learner.experts.shape
    (torch.Size([2, 192]), torch.Size([2, 1, 2, 5, 192]))
    """

    keeps_features = True
    experts: Float[Tensor, "task layer 2 token dim"]
    keys: Float[Tensor, "task dim"]

    def __init__(self, config: DualPromptConfig | None = None, **settings: Any) -> None:
        self.dual = config or DualPromptConfig()
        super().__init__(self.dual, **settings)
        dim, depth = self.backbone.dim, len(self.backbone.vit.blocks)
        self.general_layers = present_layers(self.dual.general_layers, depth, "dual-prompt: general_layers")
        self.expert_layers = present_layers(self.dual.expert_layers, depth, "dual-prompt: expert_layers")
        numbers = self.generator("prompts")
        general = torch.empty(len(self.general_layers), 2, self.dual.general_length, dim)
        expert = torch.empty(len(self.expert_layers), 2, self.dual.expert_length, dim)
        self.general = nn.Parameter(general.uniform_(-1, 1, generator=numbers))
        self.expert = nn.Parameter(expert.uniform_(-1, 1, generator=numbers))
        self.key = nn.Parameter(torch.zeros(dim))
        self.register_buffer("experts", torch.zeros(0, *expert.shape))
        self.register_buffer("keys", torch.zeros(0, dim))
        self.classifier = Classifier(dim, similarity="linear")
        self.prefixes = Prefixes(self.backbone)
        self.queries: Queries | None = None
        self.old_rows: OldRows | None = None
        self.to(self.device)

    def begin_task(self, task: Task) -> None:
        """A new key and rows for the new classes; the task's prefixes go on from those of the task before."""
        with torch.no_grad():
            self.key.copy_(torch.empty(self.key.shape).uniform_(-1, 1, generator=self.generator("key")))
        self.queries, self.old_rows = Queries(self, task), OldRows(self.classifier)
        self.classifier.grow(len(task.classes), self.generator("classifier"))

    def training_step(self, batch: Batch) -> Mapping[str, Tensor]:
        """Cross-entropy over the new classes; the task's key drawn to the features."""
        assert self.queries is not None
        features = self._prefixed(batch.images, self.expert.expand(len(batch.images), -1, -1, -1, -1))
        first = len(self.classes) - int(self.task_sizes[-1])
        cosines = F.cosine_similarity(self.queries.of(batch), self.key[None])
        return {
            "classification": F.cross_entropy(self.classifier(features)[:, first:], batch.targets - first),
            "pull": -self.dual.pull * cosines.mean(),
        }

    def after_step(self) -> None:
        """The earlier classes' rows stand still."""
        assert self.old_rows is not None
        self.old_rows.restore(self.classifier)

    def end_task(self, task: Task) -> None:  # noqa: ARG002
        """Keep the task's prefixes and key."""
        self.experts = torch.cat([self.experts, self.expert.detach()[None]])
        self.keys = torch.cat([self.keys, self.key.detach()[None]])
        self.queries = self.old_rows = None

    def encode(self, images: Tensor, kept: Tensor | None = None) -> Tensor:
        """The frozen features, which stay, and the prefixed ones as they are now."""
        values, dim = self.prepare(images), self.backbone.dim
        query = kept[:, :dim] if kept is not None and kept.numel() else self.backbone(values)
        return torch.cat([query, self._prefixed(values, self.experts[self._tasks(query)])], dim=1)

    def classify(self, features: Tensor) -> Outputs:
        """Logits of the one classifier, and the task of the nearest key."""
        query, prefixed = features.split(self.backbone.dim, dim=1)
        return Outputs(self.classifier(prefixed), F.one_hot(self._tasks(query), self.task_count).to(prefixed))

    def _tasks(self, query: Tensor) -> Int64[Tensor, " batch"]:
        rows = nearest_keys(query, self.keys, 1)[1]
        if self.dual.selection == "batch":
            rows = most_chosen(rows, 1).expand(len(rows), -1)
        return rows[:, 0]

    def _prefixed(self, values: Tensor, experts: Float[Tensor, "batch layer 2 token dim"]) -> Tensor:
        general = {
            layer: self.general[index].expand(len(values), -1, -1, -1)
            for index, layer in enumerate(self.general_layers)
        }
        own = {layer: experts[:, index] for index, layer in enumerate(self.expert_layers)}
        with self.prefixes.using({**general, **own}):
            return self.backbone(values)
