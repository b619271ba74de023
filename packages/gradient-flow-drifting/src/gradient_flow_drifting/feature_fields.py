r"""Fields of many problems at once: for each class and feature vector some dozens of samples among as many others.

Features are normalised to a mean distance of $\sqrt c$, so temperatures and bandwidths are shares of that distance.
The first rows of the negatives are the samples themselves; none acts on itself. A negative of weight w acts as w of
weight one would.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from .drift import check_limits
from .fields import Weights, divergence_of
from .ops.kde import KdeScore
from .ops.kde.checks import positive_numbers


class FeatureField(Protocol):
    """A frozen config that can say where samples go in the space of a feature."""

    def velocities(
        self,
        x: Float[Tensor, "b n c"],
        *,
        positives: Float[Tensor, "b p c"],
        negatives: Float[Tensor, "b q c"],
        negative_weights: Float[Tensor, "b q"],
    ) -> Float[Tensor, "scales b n c"]:
        """Velocity of the samples x of each problem, at each of the field's scales.

        Args:
            x: Normalised features of samples.
            positives: Those of real points.
            negatives: x, then any others.
            negative_weights: How much each negative counts.

        Returns:
            The velocities, in the units of the features.
        """


@dataclass(frozen=True)
class BiSoftmaxFeatures:
    r"""The Drifting Model's field: a Laplace kernel normalised over others and over samples (Deng et al. 2026, Alg. 2).

    With $A = \sqrt{\mathrm{softmax}_y(\ell)\, \mathrm{softmax}_x(\ell)}$, $\ell = -\lVert x - y\rVert / (\tau\sqrt c)$
    over positives and negatives together, $V = \sum_{+-} A_+ A_- (y_+ - y_-)$.

    Attributes:
        temperatures: τ, each a scale of its own.

    Example:
        >>> x, y = torch.zeros(1, 2, 3), torch.ones(1, 2, 3)
        >>> field, weights = BiSoftmaxFeatures((0.2,)), torch.ones(1, 2)
        >>> field.velocities(x, positives=y, negatives=x, negative_weights=weights).min() > 0
        tensor(True)
    """

    temperatures: tuple[float, ...] = (0.02, 0.05, 0.2)

    def __post_init__(self) -> None:
        object.__setattr__(self, "temperatures", positive_numbers("field.temperatures", self.temperatures))

    def velocities(
        self,
        x: Float[Tensor, "b n c"],
        *,
        positives: Float[Tensor, "b p c"],
        negatives: Float[Tensor, "b q c"],
        negative_weights: Float[Tensor, "b q"],
    ) -> Float[Tensor, "scales b n c"]:
        """Velocity of the samples x of each problem; see `FeatureField`."""
        others, log_weights = torch.cat([positives, negatives], 1), _log_weights(x, positives, negative_weights)
        distances = torch.cdist(x, others)
        count, fields = positives.shape[1], []
        for temperature in self.temperatures:
            logits = -distances / (temperature * math.sqrt(x.shape[-1]))
            by_other = (logits + log_weights).logsumexp(2, keepdim=True)
            masked = torch.where(log_weights == -math.inf, log_weights, logits)
            by_sample = masked.logsumexp(1, keepdim=True).clamp_min(torch.finfo(x.dtype).min)
            affinity = (log_weights + logits - 0.5 * (by_other + by_sample)).exp()
            to_real, to_model = affinity.split([count, others.shape[1] - count], 2)
            pull = (to_real * to_model.sum(2, keepdim=True)) @ positives
            push = (to_model * to_real.sum(2, keepdim=True)) @ negatives
            fields.append(pull - push)
        return torch.stack(fields)


@dataclass(frozen=True)
class KernelFeatures:
    r"""The velocity of a divergence between Gaussian kernel density estimates of the features, in mean-shift units.

    Attributes:
        bandwidths: In units of $\sqrt c$, each a scale of its own.
        divergence: Names of divergences with their weights.
        log_weight_limit: Bound of each divergence's log weight; None for no bound.

    Example:
        >>> x, y = torch.zeros(1, 2, 1), torch.full((1, 2, 1), 0.1)
        >>> KernelFeatures((1.0,)).velocities(x, positives=y, negatives=x, negative_weights=torch.ones(1, 2))[0, 0, 0]
        tensor([0.1000])
    """

    bandwidths: tuple[float, ...] = (0.1, 0.2, 0.4)
    divergence: Weights = (("kl_qp", 1.0),)
    log_weight_limit: float | None = 3.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "bandwidths", positive_numbers("field.bandwidths", self.bandwidths))
        divergence_of(self.divergence)
        check_limits(self.log_weight_limit, None)

    def velocities(
        self,
        x: Float[Tensor, "b n c"],
        *,
        positives: Float[Tensor, "b p c"],
        negatives: Float[Tensor, "b q c"],
        negative_weights: Float[Tensor, "b q"],
    ) -> Float[Tensor, "scales b n c"]:
        """Velocity of the samples x of each problem; see `FeatureField`."""
        log_weights = _log_weights(x, positives, negative_weights)
        of_real, of_model = log_weights.split([positives.shape[1], negatives.shape[1]], 2)
        fields = []
        for share in self.bandwidths:
            h = share * math.sqrt(x.shape[-1])
            p, q = _estimate(x, positives, of_real, h), _estimate(x, negatives, of_model, h)
            parts = divergence_of(self.divergence).parts()
            terms = [weight * part.velocity(p, q, self.log_weight_limit) for weight, part in parts]
            fields.append(h**2 * torch.stack(terms).sum(0))
        return torch.stack(fields)


def _log_weights(x: Tensor, positives: Tensor, negative_weights: Tensor) -> Tensor:
    """Log weight of every other for every sample: that of itself is minus infinity."""
    of_model = negative_weights.log()[:, None, :].repeat(1, x.shape[1], 1)
    own = torch.arange(x.shape[1], device=x.device)
    of_model[:, own, own] = -math.inf
    return torch.cat([x.new_zeros(len(x), x.shape[1], positives.shape[1]), of_model], 2)


def _estimate(x: Tensor, y: Tensor, log_weights: Tensor, h: float) -> KdeScore:
    """Score and log density, but for a constant that both clouds share."""
    squared = torch.cdist(x, y).square()
    logits = log_weights - squared / (2 * h**2)
    mean = logits.softmax(2) @ y
    return KdeScore((mean - x) / h**2, logits.logsumexp(2) - log_weights.logsumexp(2))
