"""RanPAC: ridge regression on random projections of a network's features (McDonnell et al. 2023, arXiv 2307.02251)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from qkd_cil.data.scenario import Task
from qkd_cil.learners.features import features_of
from qkd_cil.learners.fitting import Batch, Schedule
from qkd_cil.learners.learner import Learner, Outputs
from qkd_cil.models.backbone import BackboneConfig
from qkd_cil.models.classifier import Classifier
from qkd_cil.models.tuning import Tuning, TuningKind


@dataclass(frozen=True)
class RanPACConfig:
    """RanPAC's numbers.

    Args:
        projection: Number of random features.
        ridges: Strengths λ of the ridge to choose from, for each task by the squared error on `validation`.
        validation: Share of a task's images that λ is chosen on.
        tuning: What the first task may change of the network, before its features are projected.
        tokens: Number of prompts of the `vpt` kinds.
        scale: Factor of the cosines of the first task's classifier at the start; it is learned.

    Raises:
        ValueError: If a number is out of range.

    >>> RanPACConfig().projection
    10000
    """

    projection: int = 10_000
    ridges: tuple[float, ...] = tuple(10.0**power for power in range(-8, 9))
    validation: float = 0.2
    tuning: TuningKind = "adapter"
    tokens: int = 5
    scale: float = 1.0

    def __post_init__(self) -> None:
        if min(self.projection, self.tokens) < 1 or not self.scale > 0:
            raise ValueError(
                f"ranpac: projection {self.projection}, tokens {self.tokens}, scale {self.scale}: all must be positive"
            )
        if not self.ridges or min(self.ridges) <= 0 or not 0 < self.validation < 1:
            raise ValueError("ranpac: give positive ridges, at least one, and a validation share between 0 and 1")

    def build(self, backbone: BackboneConfig, schedule: Schedule, *, seed: int, device: str) -> "RanPAC":
        """The learner, before its first task."""
        return RanPAC(self, backbone=backbone, schedule=schedule, seed=seed, device=device)


class RanPAC(Learner):
    r"""The first task tunes the network; then $z = W^\top h$ with $W = (G + \lambda I)^{-1} Q$.

    $h = \mathrm{ReLU}(f(x) R)$ are features through a fixed random matrix, $G = \sum h h^\top$ and
    $Q = \sum h y^\top$ sums over all images so far, in double precision: no order of the tasks, no size of the batches
    matters to them. λ is that of the newest task's validation, as published; its seventeen regressions are made from
    one decomposition of the smaller of the two Gram matrices. Published: 20 epochs, batches of 48, learning rate 0.01.

    >>> from qkd_cil import scenario
    >>> backbone = BackboneConfig("vit_tiny_patch16_224", weights="random", img_size=32, depth=1)
    >>> learner = RanPAC(RanPACConfig(projection=100), backbone=backbone, schedule=Schedule(epochs=1))
    >>> learner.fit_task(scenario("digits", increment=2, train_per_class=8).train_tasks[0])
    >>> learner.weights.shape
    torch.Size([100, 2])
    """

    keeps_features = True
    directions: Float[Tensor, "dim random"]
    gram: Float[Tensor, "random random"]
    moments: Float[Tensor, "random class"]
    weights: Float[Tensor, "random class"]

    def __init__(self, config: RanPACConfig | None = None, **settings: Any) -> None:
        self.ranpac = config or RanPACConfig()
        super().__init__(self.ranpac, **settings)
        dim, width, numbers = self.backbone.dim, self.ranpac.projection, self.generator("tuning")
        self.tuning = Tuning(self.backbone, self.ranpac.tuning, tokens=self.ranpac.tokens, generator=numbers)
        self.head = Classifier(dim, scale=self.ranpac.scale)
        self.register_buffer("directions", torch.randn(dim, width, generator=self.generator("directions")))
        self.register_buffer("gram", torch.zeros(width, width, dtype=torch.float64))
        self.register_buffer("moments", torch.zeros(width, 0, dtype=torch.float64))
        self.register_buffer("weights", torch.zeros(width, 0))
        self.to(self.device)

    def begin_task(self, task: Task) -> None:
        """With the first task a classifier to tune by."""
        if self.task_count == 1:
            self.head.grow(len(task.classes), self.generator("classifier"))

    def parameters_to_train(self) -> list[nn.Parameter]:
        """In the first task what is tuned and its classifier, later nothing."""
        tuned = self.tuning.trained(self.backbone)
        return [*tuned, *self.head.parameters()] if tuned and self.task_count == 1 else []

    def training_step(self, batch: Batch) -> Mapping[str, Tensor]:
        """Cross-entropy."""
        features = self.tuning(self.backbone, batch.images)
        return {"classification": F.cross_entropy(self.head(features), batch.targets)}

    def end_task(self, task: Task) -> None:
        """Add the new images to the sums and solve anew."""
        self.head = Classifier(self.backbone.dim, scale=self.ranpac.scale).to(self.device)
        features = features_of(self, task.train, lambda values: self.tuning(self.backbone, values))
        random = self._project(features).double()
        wanted = F.one_hot(self.positions(task.train.labels), len(self.classes)).double()
        self.gram += random.T @ random
        grown = self.moments.shape[1]
        self.moments = F.pad(self.moments, (0, len(self.classes) - grown)) + random.T @ wanted
        order = torch.randperm(len(random), generator=self.generator("validation")).to(self.device)
        ridge = best_ridge(random[order], wanted[order], self.ranpac.ridges, validation=self.ranpac.validation)
        self.weights = ridge_regression(self.gram, self.moments, ridge).to(self.weights)
        self.diagnostics = {"ridge": ridge}

    def encode(self, images: Tensor, kept: Tensor | None = None) -> Tensor:
        """Features of the tuned network, which never change after the first task."""
        return kept if kept is not None and kept.numel() else self.tuning(self.backbone, self.prepare(images))

    def classify(self, features: Tensor) -> Outputs:
        """The regression's answer for each class."""
        return Outputs(self._project(features) @ self.weights)

    def _project(self, features: Tensor) -> Tensor:
        return torch.relu(features @ self.directions)


def ridge_regression(
    gram: Float[Tensor, "feature feature"], moments: Float[Tensor, "feature target"], ridge: float
) -> Float[Tensor, "feature target"]:
    r"""$(G + \lambda I)^{-1} Q$.

    Args:
        gram: $G = H^\top H$.
        moments: $Q = H^\top Y$.
        ridge: λ, above zero.

    >>> ridge_regression(torch.eye(2), torch.ones(2, 1), ridge=1.0).T
    tensor([[0.5000, 0.5000]])
    """
    shifted = gram + ridge * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    factor, failed = torch.linalg.cholesky_ex(shifted)
    return torch.linalg.solve(shifted, moments) if failed else torch.cholesky_solve(moments, factor)


def best_ridge(
    features: Float[Tensor, "n feature"],
    targets: Float[Tensor, "n target"],
    ridges: tuple[float, ...],
    *,
    validation: float,
) -> float:
    """The λ whose regression on the first rows has the least squared error on the last ones.

    Args:
        features: Rows in random order.
        targets: What they are to give.
        ridges: λ to choose from.
        validation: Share of the rows that judge.

    Returns:
        One of `ridges`; the first of equals. With a single row there is nothing to judge by: the largest.

    >>> best_ridge(torch.ones(10, 1).double(), torch.ones(10, 1).double(), (1e-6, 1e3), validation=0.2)
    1e-06
    """
    fitted = int(len(features) * (1 - validation))
    if not 0 < fitted < len(features):
        return max(ridges)
    h, held = features[:fitted], features[fitted:]
    y, wanted = targets[:fitted], targets[fitted:]
    if len(h) < h.shape[1]:  # (HᵀH + λ)⁻¹Hᵀ = Hᵀ(HHᵀ + λ)⁻¹: decompose the smaller of the two
        values, vectors = torch.linalg.eigh(h @ h.T)
        left, right = held @ h.T @ vectors, vectors.T @ y
    else:
        values, vectors = torch.linalg.eigh(h.T @ h)
        left, right = held @ vectors, vectors.T @ (h.T @ y)
    values = values.clamp_min(0)
    errors = [(left @ (right / (values + ridge)[:, None]) - wanted).square().mean().item() for ridge in ridges]
    return ridges[errors.index(min(errors))]
