"""CODA-Prompt: prefixes weighed together from components of all tasks (Smith et al. 2023, arXiv 2211.13218)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from qkd_cil.data.scenario import Task
from qkd_cil.learners.features import Queries
from qkd_cil.learners.fitting import Batch, Schedule
from qkd_cil.learners.learner import Learner, Outputs
from qkd_cil.models.backbone import BackboneConfig
from qkd_cil.models.classifier import Classifier, OldRows
from qkd_cil.models.prompt import Prefixes, present_layers


@dataclass(frozen=True)
class CODAPromptConfig:
    """CODA-Prompt's numbers.

    Args:
        components: New components of each task (published: 100 over ten tasks).
        length: Keys and values of a prefix together, half of them each.
        layers: Blocks, from 0, that have a prefix; those a shallow network has not are left out.
        orthogonality: Weight of the loss that holds components apart; the paper has 0.1, the public code 0.

    Raises:
        ValueError: If a number is out of range.

    >>> CODAPromptConfig().length
    8
    """

    components: int = 10
    length: int = 8
    layers: tuple[int, ...] = (0, 1, 2, 3, 4)
    orthogonality: float = 0.1

    def __post_init__(self) -> None:
        if self.components < 1 or self.length < 2 or self.length % 2 or not self.orthogonality >= 0:
            raise ValueError(
                f"coda-prompt: components {self.components} must be positive, length {self.length} even, "
                f"orthogonality {self.orthogonality} not negative"
            )

    def build(self, backbone: BackboneConfig, schedule: Schedule, *, seed: int, device: str) -> "CODAPrompt":
        """The learner, before its first task."""
        return CODAPrompt(self, backbone=backbone, schedule=schedule, seed=seed, device=device)


class CODAPrompt(Learner):
    r"""A prefix for each image, $\sum_m \cos(q \odot A_m, K_m) \, P_m$ over the components of all tasks.

    $q$ is the frozen network's feature; each task adds components, that is attentions $A$, keys $K$ and prefixes $P$,
    orthogonal to the earlier ones at the start, and those are frozen. The loss is the cross-entropy over the new
    classes and $\lambda \sum_{B \in \{A, K, P\}} \mathrm{mean} (B B^\top - I)^2$ (`orthogonality_loss`). Published:
    Adam, learning rate 0.001 on a cosine, 20 epochs, batches of 128.

    >>> from qkd_cil import scenario
    >>> backbone = BackboneConfig("vit_tiny_patch16_224", weights="random", img_size=32, depth=1)
    >>> learner = CODAPrompt(backbone=backbone, schedule=Schedule(epochs=1))
    >>> for task in scenario("digits", increment=2, train_per_class=4).train_tasks[:2]:
    ...     learner.fit_task(task)
    >>> learner.old_prefixes.shape
    torch.Size([1, 20, 1536])
    """

    keeps_features = True
    old_attentions: Float[Tensor, "layer component dim"]
    old_keys: Float[Tensor, "layer component dim"]
    old_prefixes: Float[Tensor, "layer component numbers"]

    def __init__(self, config: CODAPromptConfig | None = None, **settings: Any) -> None:
        self.coda = config or CODAPromptConfig()
        super().__init__(self.coda, **settings)
        dim, count = self.backbone.dim, self.coda.components
        self.layers = present_layers(self.coda.layers, len(self.backbone.vit.blocks), "coda-prompt: layers")
        for name, width in (("attentions", dim), ("keys", dim), ("prefixes", self.coda.length * dim)):
            setattr(self, name, nn.Parameter(torch.zeros(len(self.layers), count, width)))
            self.register_buffer(f"old_{name}", torch.zeros(len(self.layers), 0, width))
        self.classifier = Classifier(dim, similarity="linear")
        self.network = Prefixes(self.backbone)
        self.queries: Queries | None = None
        self.old_rows: OldRows | None = None
        self.to(self.device)

    def begin_task(self, task: Task) -> None:
        """New components, orthogonal to the old ones, and rows for the new classes."""
        numbers = self.generator("components")
        with torch.no_grad():
            for new, old in self._components():
                for layer in range(len(self.layers)):
                    new[layer] = orthonormal(old[layer], len(new[layer]), generator=numbers)
        self.queries, self.old_rows = Queries(self, task), OldRows(self.classifier)
        self.classifier.grow(len(task.classes), self.generator("classifier"))

    def training_step(self, batch: Batch) -> Mapping[str, Tensor]:
        """Cross-entropy over the new classes; components held apart."""
        assert self.queries is not None
        every = [torch.cat([old, new], dim=1) for new, old in self._components()]
        features = self._prefixed(batch.images, self.queries.of(batch), *every)
        first = len(self.classes) - int(self.task_sizes[-1])
        losses = {"classification": F.cross_entropy(self.classifier(features)[:, first:], batch.targets - first)}
        if self.coda.orthogonality:
            losses["orthogonality"] = self.coda.orthogonality * sum(map(orthogonality_loss, every), torch.zeros(()))
        return losses

    def after_step(self) -> None:
        """The earlier classes' rows stand still."""
        assert self.old_rows is not None
        self.old_rows.restore(self.classifier)

    def end_task(self, task: Task) -> None:  # noqa: ARG002
        """The task's components join the old ones."""
        for name in ("attentions", "keys", "prefixes"):
            old = getattr(self, f"old_{name}")
            setattr(self, f"old_{name}", torch.cat([old, getattr(self, name).detach()], dim=1))
        self.queries = self.old_rows = None

    def encode(self, images: Tensor, kept: Tensor | None = None) -> Tensor:
        """The frozen features, which stay, and the prefixed ones as they are now."""
        values, dim = self.prepare(images), self.backbone.dim
        query = kept[:, :dim] if kept is not None and kept.numel() else self.backbone(values)
        prefixed = self._prefixed(values, query, self.old_attentions, self.old_keys, self.old_prefixes)
        return torch.cat([query, prefixed], dim=1)

    def classify(self, features: Tensor) -> Outputs:
        """Logits of the one classifier."""
        return Outputs(self.classifier(features[:, self.backbone.dim :]))

    def _components(self) -> list[tuple[Tensor, Tensor]]:
        """New and old attentions, keys and prefixes."""
        names = ("attentions", "keys", "prefixes")
        return [(getattr(self, name), getattr(self, f"old_{name}")) for name in names]

    def _prefixed(self, values: Tensor, query: Tensor, attentions: Tensor, keys: Tensor, prefixes: Tensor) -> Tensor:
        weighed = {}
        for index, layer in enumerate(self.layers):
            weights = component_weights(query, attentions[index], keys[index])
            weighed[layer] = (weights @ prefixes[index]).unflatten(1, (2, self.coda.length // 2, -1))
        with self.network.using(weighed):
            return self.backbone(values)


def component_weights(
    query: Float[Tensor, "batch dim"], attentions: Float[Tensor, "component dim"], keys: Float[Tensor, "component dim"]
) -> Float[Tensor, "batch component"]:
    r"""$\cos(q \odot A_m, K_m)$ (Smith et al. 2023, Eq. 5).

    Args:
        query: Features of images.
        attentions: $A$.
        keys: $K$.

    >>> component_weights(torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]]))
    tensor([[0.7071]])
    """
    return F.cosine_similarity(query[:, None] * attentions, keys[None], dim=2)


def orthogonality_loss(components: Float[Tensor, "layer component numbers"]) -> Float[Tensor, ""]:
    r"""Mean square of $B B^\top - I$ in each layer, added up over the layers.

    Args:
        components: $B$ of each layer.

    >>> orthogonality_loss(torch.eye(3)[None]), orthogonality_loss(2 * torch.eye(3)[None])
    (tensor(0.), tensor(3.))
    """
    identity = torch.eye(components.shape[1], device=components.device)
    return (components @ components.mT - identity).square().mean(dim=(1, 2)).sum()


def orthonormal(old: Float[Tensor, "old dim"], count: int, *, generator: torch.Generator) -> Float[Tensor, "new dim"]:
    """Random rows of length one, orthogonal to one another and to the old ones while there is room for such.

    Args:
        old: Rows that are there.
        count: How many are wanted.
        generator: Random numbers, on the CPU.

    Returns:
        The new rows; where old and new are more than their width, they are merely random.

    >>> new = orthonormal(torch.eye(3)[:2], 1, generator=torch.Generator().manual_seed(0))
    >>> new.abs()
    tensor([[0., 0., 1.]])
    """
    random = torch.randn(count, old.shape[1], generator=generator).to(old)
    if len(old) + count > old.shape[1]:
        return F.normalize(random, dim=1)
    basis = torch.linalg.qr(torch.cat([old, random]).T.double()).Q
    return basis[:, len(old) :].T.to(old)
