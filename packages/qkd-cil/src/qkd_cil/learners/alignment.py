"""Training a classifier again on features drawn from one Gaussian for each class, so that no task is in its favour."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from qkd_cil.models.classifier import Classifier

Covariance = Literal["full", "diagonal"]
JITTER = 1e-4  # added to every variance, as all public code does


@dataclass(frozen=True)
class AlignmentConfig:
    """How a classifier is aligned after a task (Zhang et al. 2023, arXiv 2303.05118, Sec. 4.3).

    Args:
        epochs: Passes over fresh draws; 0: no alignment.
        draws: Features drawn for each class in an epoch, which are also the size of a batch.
        learning_rate: At the first epoch, on a cosine down to zero.
        covariance: What is stored of a class: the matrix, or its diagonal alone.

    Raises:
        ValueError: If a number is out of range.

    >>> AlignmentConfig().covariance
    'full'
    """

    epochs: int = 30
    draws: int = 240
    learning_rate: float = 0.005
    covariance: Covariance = "full"

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.draws < 1 or not self.learning_rate > 0:
            raise ValueError(
                f"alignment: epochs {self.epochs}, draws {self.draws}, learning_rate {self.learning_rate}: epochs must "
                "not be negative, the others must be positive"
            )


class ClassGaussians(NamedTuple):
    """A mean and a covariance for each class.

    Attributes:
        means: One for each class.
        covariances: Matrices, or their diagonals.
    """

    means: Float[Tensor, "class dim"]
    covariances: Float[Tensor, "class dim *rest"]


def class_gaussians(
    features: Float[Tensor, "n dim"], targets: Int64[Tensor, " n"], *, covariance: Covariance
) -> ClassGaussians:
    """Mean and covariance of each class, the classes in ascending order; a single feature has no spread.

    Args:
        features: One row for each image.
        targets: Class of each.
        covariance: What to keep of it.

    >>> features = torch.tensor([[0.0, 0.0], [2.0, 4.0], [5.0, 5.0]])
    >>> class_gaussians(features, torch.tensor([0, 0, 1]), covariance="diagonal").covariances
    tensor([[2., 8.],
            [0., 0.]])
    """
    groups = [features[targets == target] for target in targets.unique()]
    if covariance == "diagonal":
        spreads = [group.var(dim=0, correction=min(1, len(group) - 1)) for group in groups]
    else:
        spreads = [group.T.cov(correction=min(1, len(group) - 1)).reshape(2 * group.shape[1:]) for group in groups]
    return ClassGaussians(torch.stack([group.mean(dim=0) for group in groups]), torch.stack(spreads))


def recency(task_of_class: Int64[Tensor, " class"]) -> Float[Tensor, " class"]:
    r"""Factors that shorten the means of older classes, $0.9 + 0.1 \, (t + 1) / T$ for task $t$ of $T$.

    Args:
        task_of_class: Task of each class.

    >>> recency(torch.tensor([0, 1]))
    tensor([0.9500, 1.0000])
    """
    return 0.9 + 0.1 * (task_of_class + 1) / (task_of_class.max() + 1)


def align(
    classifier: Classifier,
    gaussians: ClassGaussians,
    config: AlignmentConfig,
    *,
    generator: torch.Generator,
    logits: Callable[[Tensor], Tensor] = lambda values: values,
    weight_decay: float = 5e-4,
) -> None:
    """Train all rows of a classifier on draws from the classes' Gaussians, each class as often as every other.

    Args:
        classifier: Its rows are in the order of the Gaussians.
        gaussians: Of every class.
        config: How long and how fast.
        generator: Random numbers, on the CPU.
        logits: What becomes of the classifier's logits before the cross-entropy.
        weight_decay: Of the classifier.
    """
    means, spread = gaussians
    count, dim = means.shape
    if spread.ndim == 2:
        factors = (spread + JITTER).sqrt()
    else:
        factors = torch.linalg.cholesky(spread + JITTER * torch.eye(dim, device=spread.device))
    trained: list[nn.Parameter] = [parameter for parameter in classifier.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=config.learning_rate, momentum=0.9, weight_decay=weight_decay)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, config.epochs))
    with torch.enable_grad():
        for _ in range(config.epochs):
            noise = torch.randn(count, config.draws, dim, generator=generator).to(means)
            off = noise * factors[:, None] if spread.ndim == 2 else noise @ factors.mT
            features = (means[:, None] + off).flatten(0, 1)
            for rows in torch.randperm(len(features), generator=generator).to(means.device).split(config.draws):
                loss = F.cross_entropy(logits(classifier(features[rows])), rows // config.draws)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            decay.step()
