"""QKD: quantum-gated task-interaction knowledge distillation (Li, Xiao, Cao et al. 2026, arXiv 2604.11112)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
import tyro
from jaxtyping import Float, Int64
from torch import Tensor, nn

from qkd_cil.data.scenario import Task
from qkd_cil.learners.features import adapter_features
from qkd_cil.learners.fitting import Batch, Schedule
from qkd_cil.learners.learner import Learner, Outputs
from qkd_cil.learners.routing import Sparsity, learn_routing, sparsity_penalty
from qkd_cil.models.adapter import Adapter
from qkd_cil.models.backbone import BackboneConfig
from qkd_cil.models.classical_gates import GateConfig, OracleGateConfig
from qkd_cil.models.classifier import Classifier, Similarity
from qkd_cil.models.diagnostics import gate_diagnostics
from qkd_cil.models.gate import QuantumGate, QuantumGateConfig, task_embedding
from qkd_cil.models.gaussian import (
    SHRINKAGE,
    Discriminant,
    Gaussians,
    affine_map,
    discriminant,
    merge,
    moments,
    transport,
)

Profile = Literal["robust", "paper"]
Fusion = Literal["logits", "block", "top1"]


@dataclass(frozen=True)
class QKDConfig:
    """The switches of QKD; the defaults are the profile `robust`.

    Args:
        gate: The circuit-induced gate, or one of those it is held against.
        fusion: How adapters answer together. `logits`: their logits, weighted by α; `top1`: the adapter of the largest
            weight alone; `block`: adapters weighted by α inside every block, one pass beside that of the gate.
        gate_gradient: What the gate learns from. `distillation`: the distillation loss alone, as published; it selects
            the teacher that already agrees. `routing`: after each task, telling the tasks of Gaussian draws apart.
        distillation: Weight λ_kd of the distillation loss.
        sparsity: `l1`: ‖α‖₁, as published, which is one for every α and so without gradient; `entropy`; `none`.
        sparsity_weight: λ_s.
        rank: Of the truncated singular value decomposition behind a task's embedding.
        similarity: Form of the unified classifier, which the paper leaves open.
        loss_over: Classes in the cross-entropy: all `seen` so far, as published, or the `new` ones alone.
        adapter_start: A new adapter starts at `zero`, or at the weights of the `previous` one.
        alignment: `none`, as published: every adapter is judged by the unified classifier; `gaussian`: by a
            discriminant of its own over the moments of the classes in its feature space.
        directions: Main directions of its own spread that each class keeps for this, beside its mean and the covariance
            that all share; 0: the discriminant is linear.
        own_spread: How much of a class's covariance is its own.
        ridge: How strongly the map that takes earlier classes into a new adapter's space is held to no change.
        routing_steps: Steps of the gate after each task.
        routing_learning_rate: Of these steps, Adam.

    Raises:
        ValueError: If a number is out of range.

    >>> QKDConfig().gate.ending, PAPER.gate.ending
    ('data', 'entangle')
    """

    gate: tyro.conf.AvoidSubcommands[GateConfig] = field(default_factory=QuantumGateConfig)
    fusion: Fusion = "logits"
    gate_gradient: Literal["distillation", "routing"] = "routing"
    distillation: float = 1.0
    sparsity: Sparsity = "entropy"
    sparsity_weight: float = 0.05
    rank: int = 12
    similarity: Similarity = "cosine"
    loss_over: Literal["new", "seen"] = "new"
    adapter_start: Literal["zero", "previous"] = "previous"
    alignment: Literal["none", "gaussian"] = "gaussian"
    directions: int = 4
    own_spread: float = 0.1
    ridge: float = 0.1
    routing_steps: int = 300
    routing_learning_rate: float = 3e-3

    def __post_init__(self) -> None:
        weights = (self.distillation, self.sparsity_weight)
        if not 0 < self.ridge < math.inf:
            raise ValueError(f"qkd: ridge {self.ridge}; it must be positive")
        if not all(0 <= weight < math.inf for weight in weights) or min(self.rank, self.routing_steps) < 1:
            raise ValueError("qkd: weights must not be negative, rank and routing_steps must be positive")
        if self.directions < 0 or not 0 <= self.own_spread < 1:
            raise ValueError(
                f"qkd: directions {self.directions} and own_spread {self.own_spread}; give 0 or more, and a share from "
                "0 to below 1"
            )
        if not 0 < self.routing_learning_rate < math.inf:
            raise ValueError(f"qkd: routing_learning_rate {self.routing_learning_rate}; it must be positive")
        if self.fusion == "block" and isinstance(self.gate, OracleGateConfig):
            raise ValueError("qkd: with the oracle gate one adapter has all the weight; take fusion logits, the same")

    def build(self, backbone: BackboneConfig, schedule: Schedule, *, seed: int, device: str) -> "QKD":
        """The learner, before its first task."""
        return QKD(self, backbone=backbone, schedule=schedule, seed=seed, device=device)


PAPER = QKDConfig(
    gate=QuantumGateConfig(ending="entangle", projection="first", temperature=1.0, learn_temperature=False),
    gate_gradient="distillation",
    sparsity="l1",
    loss_over="seen",
    adapter_start="zero",
    alignment="none",
)
PROFILES: dict[Profile, QKDConfig] = {"robust": QKDConfig(), "paper": PAPER}


class QKD(Learner):
    r"""An adapter for each task, taught by the earlier ones; a circuit weighs teachers and, in the end, logits.

    In task $t$ the adapter $A_t$ and the unified classifier minimise

    $$\mathrm{CE} + \lambda_{kd} \sum_{i<t} \alpha_i \, \mathrm{KL}(\sigma(z^{(i)}) \,\|\, \sigma(z^{(t)}))
    + \lambda_s \Omega(\alpha), \qquad \alpha = \mathrm{softmax}(p(h) / \tau), \quad h = f(x; A_1),$$

    with $z^{(i)}$ the logits of adapter $i$; while it trains, α is over the teachers alone. A label is the largest
    entry of $\sum_i \alpha_i z^{(i)}$ (`fusion` names two other ways). What the profile `robust` changes is told switch
    by switch in `QKDConfig`. Teachers are frozen: without augmentation their features are computed once for a task;
    with it they go through one batched pass in each step.

    Args:
        config: The switches; None: those of `profile`.
        profile: `robust`, or `paper`: what is published.
        settings: Backbone, schedule, seed and device, as every learner takes them.

    >>> from qkd_cil import scenario
    >>> digits = scenario("digits", base_classes=2, increment=2, train_per_class=4, test_per_class=4)
    >>> tiny = BackboneConfig("vit_tiny_patch16_224", weights="random", img_size=16, depth=1)
    >>> learner = QKD(backbone=tiny, schedule=Schedule(epochs=1))
    >>> learner.fit_task(digits.train_tasks[0])
    >>> learner.outputs(digits.train_tasks[0].train.images).routing.shape
    torch.Size([8, 1])
    """

    keeps_features = True
    means: Float[Tensor, "task class dim"]
    scatter: Float[Tensor, "task dim dim"]
    totals: Float[Tensor, " task"]
    directions: Float[Tensor, "task class dim rank"]
    head_weights: Float[Tensor, "task class dim"]
    head_biases: Float[Tensor, "task class"]
    head_directions: Float[Tensor, "task class dim rank"]
    head_offsets: Float[Tensor, "task class rank"]

    def __init__(self, config: QKDConfig | None = None, *, profile: Profile = "robust", **settings: Any) -> None:
        self.qkd = config or PROFILES[profile]
        super().__init__(self.qkd, **settings)
        dim, rank = self.backbone.dim, self.qkd.directions
        self.classifier = Classifier(dim, similarity=self.qkd.similarity).to(self.device)
        self.gate = self.qkd.gate.build(dim, generator=self.generator("gate")).to(self.device)
        for name, shape in (
            ("means", (0, 0, dim)),
            ("scatter", (0, dim, dim)),
            ("totals", (0,)),
            ("directions", (0, 0, dim, rank)),
            ("head_weights", (0, 0, dim)),
            ("head_biases", (0, 0)),
            ("head_directions", (0, 0, dim, rank)),
            ("head_offsets", (0, 0, rank)),
        ):
            self.register_buffer(name, torch.zeros(shape, device=self.device))
        self.teacher_features: Tensor | None = None

    # ---- the hooks

    def check(self, classes: int) -> None:  # noqa: ARG002
        """The circuit must run here."""
        if isinstance(self.gate, QuantumGate):
            self.gate.check()

    def begin_task(self, task: Task) -> None:
        """A new adapter, rows for the new classes, and the teachers' features where they can be kept."""
        index = self.backbone.add_adapter(self.generator("adapter"))
        if index and self.qkd.adapter_start == "previous":
            new, old = (self.backbone.adapter_parameters(which) for which in (index, index - 1))
            with torch.no_grad():
                for parameter, start in zip(new, old, strict=True):
                    parameter.copy_(start)
        self.classifier.grow(len(task.classes), self.generator("classifier"))
        self.teacher_features = self._features(task, range(index))
        if self.qkd.alignment == "gaussian":
            features = self._features(task, [index])[0]
            first = self.classifier.class_count - len(task.classes)
            targets = self.positions(task.train.labels) - first
            rows = moments(features, targets, classes=len(task.classes)).means
            self.classifier.set_rows(torch.arange(first, self.classifier.class_count), rows)

    def parameters_to_train(self) -> list[nn.Parameter]:
        """The new adapter and the classifier; the gate where it learns from distillation."""
        chosen = [*self.backbone.adapter_parameters(self.task_count - 1), *self.classifier.parameters()]
        if self.qkd.gate_gradient == "distillation" and self.gate.task_count:
            chosen += [parameter for parameter in self.gate.parameters() if parameter.requires_grad]
        return chosen

    def training_step(self, batch: Batch) -> Mapping[str, Tensor]:
        """Cross-entropy, distillation from the gated teachers, sparsity of the gate."""
        index = self.task_count - 1
        logits = self.classifier(self.backbone.adapted(batch.images, tasks=[index])[0])
        losses = {"cross_entropy": self._cross_entropy(logits, batch.targets)}
        if not index:
            return losses
        teachers = self._teachers(batch)
        alpha = self.gate.over_teachers(teachers[0])
        if self.qkd.gate_gradient == "routing":
            alpha = alpha.detach()
        divergence = distillation_divergence(self.classifier(teachers).detach(), logits)
        losses["distillation"] = self.qkd.distillation * (alpha * divergence).sum(dim=1).mean()
        if self.qkd.gate_gradient == "distillation":
            losses["sparsity"] = self.qkd.sparsity_weight * sparsity_penalty(alpha, self.qkd.sparsity)
        return losses

    def end_task(self, task: Task) -> None:
        """The task's embedding; then, where asked for, the aligned classifiers and the routing of the gate."""
        index = self.task_count - 1
        matrices = [
            matrix
            for block in self.backbone.parallel_adapters()
            if isinstance(adapter := block.adapters[index], Adapter)
            for matrix in (adapter.down.weight.T, adapter.up.weight)
        ]
        self.gate.add_task(task_embedding(matrices, rank=self.qkd.rank))
        assert self.teacher_features is not None
        features = torch.cat([self.teacher_features, self._features(task, [index])])
        self.teacher_features = None
        if self.qkd.alignment == "gaussian" or self.qkd.gate_gradient == "routing":
            self._update_moments(features, self.positions(task.train.labels))
        if self.qkd.alignment == "gaussian":
            self._align()
        if self.qkd.gate_gradient == "routing" and index:
            with torch.enable_grad():
                self._route()
        self.diagnostics = gate_diagnostics(self.gate, features[0]) if self.gate.routes else {}

    def encode(self, images: Tensor, kept: Tensor | None = None) -> Tensor:
        """Features under every adapter, side by side; those of earlier adapters never change.

        With the fusion `block`: those of the first adapter, and of all mixed by the gate.
        """
        if self.qkd.fusion != "block":
            return adapter_features(self, images, kept, count=self.task_count)
        first = adapter_features(self, images, kept, count=1)
        return torch.cat([first, self.backbone.mixed(self.prepare(images), self.gate(first))], dim=1)

    def classify(self, features: Tensor) -> Outputs:
        """Logits of all adapters, mixed by the gate."""
        return self._classify(features, None)

    def classify_of_task(self, features: Tensor, task: int) -> Outputs:
        """The same; the oracle gate looks at the task."""
        return self._classify(features, task)

    def discriminants(self) -> Discriminant:
        """What every adapter judges by where they are aligned, adapter by adapter."""
        return Discriminant(self.head_weights, self.head_biases, self.head_directions, self.head_offsets)

    # ---- its parts

    def _classify(self, features: Float[Tensor, "batch columns"], task: int | None) -> Outputs:
        by_task = features.unflatten(1, (-1, self.backbone.dim))
        alpha = self.gate(by_task[:, 0], task=task)
        if self.qkd.fusion == "block":  # one feature, judged by all adapters' discriminants
            by_task = by_task[:, 1:].expand(-1, self.task_count, -1)
        judge = self.discriminants() if self.qkd.alignment == "gaussian" else self.classifier
        logits = judge(by_task)
        weights = alpha
        if self.qkd.fusion == "top1":
            weights = F.one_hot(alpha.argmax(dim=1), self.task_count).to(alpha)
        return Outputs(torch.einsum("bt,btc->bc", weights, logits), alpha)

    def _cross_entropy(self, logits: Tensor, targets: Tensor) -> Tensor:
        first = self.classifier.class_count - int(self.task_sizes[-1]) if self.qkd.loss_over == "new" else 0
        return F.cross_entropy(logits[:, first:], targets - first)

    @torch.no_grad()
    def _features(self, task: Task, adapters: range | list[int]) -> Float[Tensor, "task n dim"]:
        """Features of the training images as they are, under some adapters."""
        if not adapters:
            return torch.zeros(0, len(task.train), self.backbone.dim, device=self.device)
        parts = task.train.batches(max(1, self.schedule.evaluation_batch_size // len(adapters)))
        return torch.cat([self.backbone.adapted(self.prepare(part), tasks=adapters) for part in parts], dim=1)

    @torch.no_grad()
    def _teachers(self, batch: Batch) -> Float[Tensor, "task batch dim"]:
        if self.schedule.augmentation.changes:
            return self.backbone.adapted(batch.images, tasks=range(self.task_count - 1))
        assert self.teacher_features is not None
        return self.teacher_features[:, batch.rows.to(self.device)]

    def _update_moments(self, features: Float[Tensor, "task n dim"], targets: Int64[Tensor, " n"]) -> None:
        """Add the new classes in every adapter's space, and bring the earlier ones into the new adapter's space.

        Earlier classes are known in the spaces of the adapters that stood when they came. Into the new one their
        moments go by the affine map between the two spaces that the present images show.
        """
        new = int(self.task_sizes[-1])
        old = len(self.classes) - new
        rank = self.qkd.directions
        each = [moments(part.double(), targets - old, classes=new, rank=rank) for part in features]
        if spaces := self._spaces():
            affine = affine_map(features[-2].double(), features[-1].double(), ridge=self.qkd.ridge)
            spaces.append(transport(spaces[-1], affine))
            each = [merge(space, fresh) for space, fresh in zip(spaces, each, strict=True)]
        kept = [torch.stack(parts).to(self.means) for parts in zip(*each, strict=True)]
        self.means, self.scatter, self.totals, self.directions = kept

    def _spaces(self) -> list[Gaussians]:
        """What is kept of all classes in each adapter's space."""
        kept = (self.means, self.scatter, self.totals, self.directions)
        return [Gaussians(*(part.double() for part in space)) for space in zip(*kept, strict=True)]

    def _align(self) -> None:
        """For each adapter the discriminant of all classes in its space."""
        each = [discriminant(space, shrinkage=SHRINKAGE, own=self.qkd.own_spread) for space in self._spaces()]
        heads = [torch.stack(parts).to(self.means) for parts in zip(*each, strict=True)]
        self.head_weights, self.head_biases, self.head_directions, self.head_offsets = heads

    def _route(self) -> None:
        """Teach the gate to tell tasks apart, on draws from the Gaussians of all classes under the first adapter."""
        learn_routing(
            self.gate,
            Gaussians(self.means[0], self.scatter[0], self.totals[0], self.directions[0]),
            self.task_of_class,
            steps=self.qkd.routing_steps,
            learning_rate=self.qkd.routing_learning_rate,
            sparsity=self.qkd.sparsity,
            sparsity_weight=self.qkd.sparsity_weight,
            generator=self.generator("routing"),
        )


def distillation_divergence(
    teachers: Float[Tensor, "task batch class"], student: Float[Tensor, "batch class"]
) -> Float[Tensor, "batch task"]:
    r"""$\mathrm{KL}(\sigma(z^{(i)}) \,\|\, \sigma(z^{(t)}))$ of each teacher $i$ from the student $t$.

    Args:
        teachers: Logits $z^{(i)}$.
        student: Logits $z^{(t)}$.

    Returns:
        Nats, zero where they agree.

    >>> distillation_divergence(torch.tensor([[[0.0, 0.0]]]), torch.tensor([[0.0, 0.0]]))
    tensor([[0.]])
    """
    teacher = teachers.log_softmax(dim=-1)
    return (teacher.exp() * (teacher - student.log_softmax(dim=-1))).sum(dim=-1).T
