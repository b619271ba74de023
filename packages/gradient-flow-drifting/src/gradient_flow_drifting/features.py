r"""Feature vectors of an encoder's maps, and the drifting loss in their space.

A sample goes through a frozen encoder; each of its maps gives vectors at several places and scales, and for each of
them a field is worked out,
$L = \sum_j \lVert \tilde\phi_j(x) - \mathrm{sg}[\tilde\phi_j(x) + \tilde V_j]\rVert^2 / c_j$
(Deng et al. 2026, Eq. 14 and 26). Features are normalised to a mean distance of $\sqrt{c_j}$ (Eq. 21), velocities to a
mean square of one in each coordinate at each scale, then summed over scales (Eq. 25).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from .feature_fields import FeatureField

_BUDGET = 2**25  # numbers in one matrix of distances


def feature_vectors(output: Any, *, patches: tuple[int, ...] = (2, 4)) -> dict[str, Float[Tensor, "n places c"]]:
    """What an encoder gives, as sets of vectors.

    A matrix [n, c] is one vector for each image; tokens [n, l, c] are l of them, with their mean and deviation; a map
    [n, c, h, w] is h·w of them, with mean and deviation over the whole and over patches (Deng et al. 2026, A.5).

    Args:
        output: A tensor, or a mapping or sequence of tensors.
        patches: Sides of the patches of a map over which mean and deviation are taken.

    Returns:
        Vectors by name; those of one name share their normalisation.

    Raises:
        ValueError: If there is no feature, or one is of another kind.

    Example:
        >>> {name: tuple(v.shape) for name, v in feature_vectors({"a": torch.randn(5, 3, 4, 4)}, patches=(2,)).items()}
        {'a': (5, 16, 3), 'a/all': (5, 2, 3), 'a/2': (5, 8, 3)}
    """
    if isinstance(output, Tensor):
        output = {"features": output}
    elif isinstance(output, Sequence):
        output = {str(i): each for i, each in enumerate(output)}
    if not isinstance(output, Mapping) or not output:
        raise ValueError("encoder: returns no feature: give a tensor, or a dictionary or list of tensors")
    vectors: dict[str, Tensor] = {}
    for name, feature in output.items():
        if not isinstance(feature, Tensor) or feature.ndim not in (2, 3, 4) or 0 in feature.shape[1:]:
            found = tuple(feature.shape) if isinstance(feature, Tensor) else type(feature).__name__
            raise ValueError(f"encoder: feature {name!r} is {found}: give [n, c], [n, l, c] or [n, c, h, w]")
        feature = feature.float()
        if feature.ndim == 2:
            vectors[name] = feature[:, None]
        elif feature.ndim == 3:
            vectors[name] = feature
            if feature.shape[1] > 1:
                vectors[f"{name}/all"] = torch.stack([feature.mean(1), _deviation(feature, 1)], 1)
        else:
            vectors |= _of_map(name, feature, patches)
    return vectors


def _of_map(name: str, feature: Tensor, patches: tuple[int, ...]) -> dict[str, Tensor]:
    height, width = feature.shape[2:]
    flat = feature.flatten(2).transpose(1, 2)
    vectors = {name: flat}
    if height * width > 1:
        vectors[f"{name}/all"] = torch.stack([flat.mean(1), _deviation(flat, 1)], 1)
    for side in patches:
        if side < min(height, width) and height % side == 0 and width % side == 0:
            mean = avg_pool2d(feature, side)
            deviation = (avg_pool2d(feature.square(), side) - mean.square()).clamp_min(0).add(1e-6).sqrt()
            vectors[f"{name}/{side}"] = torch.cat([mean, deviation], 1).unflatten(1, (2, -1)).flatten(3).movedim(2, 3)
            vectors[f"{name}/{side}"] = vectors[f"{name}/{side}"].flatten(1, 2)
    return vectors


def _deviation(feature: Tensor, dim: int) -> Tensor:
    """With a floor, for the root has no slope at zero."""
    return (feature.var(dim, correction=0) + 1e-6).sqrt()


@dataclass(frozen=True, eq=False)
class FeatureDrift:
    """Where the samples of every class go, in the normalised space of one set of vectors.

    Attributes:
        scale: What the features are divided by.
        velocity: Normalised to a mean square of one at each scale, then summed over the scales.
        speed: Root mean square of the velocity before that, for each scale: what is to fall in training.
    """

    scale: Float[Tensor, ""]
    velocity: Float[Tensor, "classes n places c"]
    speed: Float[Tensor, " scales"]


@torch.no_grad()
def feature_drift(
    samples: Float[Tensor, "classes n places c"],
    *,
    positives: Float[Tensor, "classes p places c"],
    unconditional: Float[Tensor, "u places c"] | None = None,
    weights: Float[Tensor, " classes"] | None = None,
    field: FeatureField,
) -> FeatureDrift:
    """The field of every class at every place of one set of feature vectors.

    Args:
        samples: Features of the model's samples, class by class; all of them, of whatever device.
        positives: Those of real points of the classes.
        unconditional: Those of real points of any class, further negatives.
        weights: How much one of these counts for each class, against one for a sample.
        field: What moves features.

    Returns:
        The velocity and its normalisation.
    """
    classes, n, places, c = samples.shape
    x, real = (each.transpose(1, 2).reshape(classes * places, -1, c) for each in (samples, positives))
    negatives, counts = x, x.new_ones(len(x), n)
    if unconditional is not None and weights is not None:
        others = unconditional.transpose(0, 1).expand(classes, *unconditional.transpose(0, 1).shape)
        negatives = torch.cat([x, others.reshape(len(x), -1, c)], 1)
        more = weights[:, None, None].expand(classes, places, others.shape[2]).reshape(len(x), -1)
        counts = torch.cat([counts, more], 1)
    parts = max(1, len(x) * n * (real.shape[1] + negatives.shape[1]) // _BUDGET)
    pieces = [each.tensor_split(parts) for each in (x, real, negatives, counts)]
    distance = sum(_total_distance(*each) for each in zip(*pieces, strict=True))
    weight = len(x) * n * real.shape[1] + n * counts.sum() - len(x) * n  # none counts its distance to itself
    scale = _or_one(distance / weight / math.sqrt(c))
    pieces[:3] = [tuple(each / scale for each in piece) for piece in pieces[:3]]
    velocity = torch.cat(
        [field.velocities(a, positives=b, negatives=q, negative_weights=w) for a, b, q, w in zip(*pieces, strict=True)],
        1,
    )
    speed = velocity.square().mean((1, 2, 3)).sqrt()
    total = (velocity / _or_one(speed)[:, None, None, None]).sum(0)
    return FeatureDrift(scale, total.reshape(classes, places, n, c).transpose(1, 2), speed)


def _total_distance(x: Tensor, positives: Tensor, negatives: Tensor, counts: Tensor) -> Tensor:
    return torch.cdist(x, positives).sum() + (torch.cdist(x, negatives) * counts[:, None, :]).sum()


def _or_one(values: Tensor) -> Tensor:
    """A feature that is the same for all images has no distance, and no velocity: it is left as it is."""
    return torch.where(values > 0, values, torch.ones_like(values))
