"""L2P: prompts chosen from a pool by an image's frozen feature (Wang et al. 2022, arXiv 2112.08654)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Int64
from torch import Tensor, nn

from qkd_cil.data.scenario import Task
from qkd_cil.learners.features import Queries
from qkd_cil.learners.fitting import Batch, Schedule
from qkd_cil.learners.learner import Learner, Outputs
from qkd_cil.models.backbone import BackboneConfig
from qkd_cil.models.classifier import Classifier, OldRows
from qkd_cil.models.prompt import nearest_keys

Selection = Literal["image", "batch"]


@dataclass(frozen=True)
class L2PConfig:
    """L2P's numbers.

    Args:
        pool: Number of prompts.
        length: Tokens of a prompt.
        chosen: Prompts of an image.
        selection: By each `image`'s own nearest keys, as the paper has it; or those most often chosen in a `batch`, as
            all public code does, in judging too: there an answer depends on what else is asked.
        pull: Weight of the loss that draws chosen keys to the features that chose them.

    Raises:
        ValueError: If a number is out of range.

    >>> L2PConfig().pool
    10
    """

    pool: int = 10
    length: int = 5
    chosen: int = 5
    selection: Selection = "image"
    pull: float = 0.1

    def __post_init__(self) -> None:
        if not (1 <= self.chosen <= self.pool and self.length >= 1 and self.pull >= 0):
            raise ValueError(
                f"l2p: chosen {self.chosen} must be from 1 to pool {self.pool}, length {self.length} positive, pull "
                f"{self.pull} not negative"
            )

    def build(self, backbone: BackboneConfig, schedule: Schedule, *, seed: int, device: str) -> "L2P":
        """The learner, before its first task."""
        return L2P(self, backbone=backbone, schedule=schedule, seed=seed, device=device)


class L2P(Learner):
    r"""Prompts that all tasks share, each with a key; an image gets those whose keys are nearest to its feature.

    The frozen network's feature $q$ chooses; the prompts go through the network beside the image's tokens, and the mean
    of what becomes of them is the feature. $\mathrm{CE} - \lambda \sum_k \cos(q, k)$ over the new classes and the
    chosen keys. Published: Adam, constant learning rate 0.001875, 5 epochs, batches of 16 (`Schedule(optimizer="adam",
    decay="constant", weight_decay=0, …)`). The frozen features are computed once.

    >>> from qkd_cil import scenario
    >>> backbone = BackboneConfig("vit_tiny_patch16_224", weights="random", img_size=32, depth=1)
    >>> learner = L2P(backbone=backbone, schedule=Schedule(epochs=1))
    >>> learner.fit_task(scenario("digits", increment=2, train_per_class=4).train_tasks[0])
    >>> learner.prompts.shape
    torch.Size([10, 5, 192])
    """

    keeps_features = True

    def __init__(self, config: L2PConfig | None = None, **settings: Any) -> None:
        self.l2p = config or L2PConfig()
        super().__init__(self.l2p, **settings)
        dim, numbers = self.backbone.dim, self.generator("prompts")
        self.prompts = nn.Parameter(torch.empty(self.l2p.pool, self.l2p.length, dim).uniform_(-1, 1, generator=numbers))
        self.keys = nn.Parameter(torch.empty(self.l2p.pool, dim).uniform_(-1, 1, generator=numbers))
        self.classifier = Classifier(dim, similarity="linear")
        self.queries: Queries | None = None
        self.old_rows: OldRows | None = None
        self.to(self.device)

    def begin_task(self, task: Task) -> None:
        """Rows for the new classes."""
        self.queries, self.old_rows = Queries(self, task), OldRows(self.classifier)
        self.classifier.grow(len(task.classes), self.generator("classifier"))

    def training_step(self, batch: Batch) -> Mapping[str, Tensor]:
        """Cross-entropy over the new classes; the chosen keys drawn to the features."""
        assert self.queries is not None
        features, cosines = self._prompted(batch.images, self.queries.of(batch))
        first = len(self.classes) - int(self.task_sizes[-1])
        return {
            "classification": F.cross_entropy(self.classifier(features)[:, first:], batch.targets - first),
            "pull": -self.l2p.pull * cosines.sum(dim=1).mean(),
        }

    def after_step(self) -> None:
        """The earlier classes' rows stand still."""
        assert self.old_rows is not None
        self.old_rows.restore(self.classifier)

    def end_task(self, task: Task) -> None:  # noqa: ARG002
        """Nothing is to be kept of the images."""
        self.queries = self.old_rows = None

    def encode(self, images: Tensor, kept: Tensor | None = None) -> Tensor:
        """The frozen features, which stay, and the prompted ones as they are now."""
        values, dim = self.prepare(images), self.backbone.dim
        query = kept[:, :dim] if kept is not None and kept.numel() else self.backbone(values)
        return torch.cat([query, self._prompted(values, query)[0]], dim=1)

    def classify(self, features: Tensor) -> Outputs:
        """Logits of the one classifier."""
        return Outputs(self.classifier(features[:, self.backbone.dim :]))

    def _prompted(self, values: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """Features with the chosen prompts, and the cosines of their keys."""
        cosines, rows = nearest_keys(query, self.keys, self.l2p.chosen)
        if self.l2p.selection == "batch":
            rows = most_chosen(rows, self.l2p.chosen).expand(len(rows), -1)
            cosines = (F.normalize(query, dim=1) @ F.normalize(self.keys, dim=1).T).gather(1, rows)
        tokens, vit = self.backbone.embed(values), self.backbone.vit
        self.backbone.activate(())
        after = vit.norm(vit.blocks(torch.cat([tokens, self.prompts[rows].flatten(1, 2)], dim=1)))
        return vit.fc_norm(after[:, tokens.shape[1] :].mean(dim=1)), cosines


def most_chosen(rows: Int64[Tensor, "batch chosen"], count: int) -> Int64[Tensor, " {count}"]:
    """The numbers that stand most often in a batch of choices, the smaller of equals first.

    Args:
        rows: What each image chose.
        count: How many to take.

    >>> most_chosen(torch.tensor([[2, 0], [2, 1], [1, 2]]), 2).tolist()
    [2, 1]
    """
    return torch.bincount(rows.flatten(), minlength=count).argsort(descending=True, stable=True)[:count]
