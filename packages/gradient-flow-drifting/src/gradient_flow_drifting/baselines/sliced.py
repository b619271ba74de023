r"""The sliced-Wasserstein flow.

$\mathrm{SW}_2^2(q, p) = E_\theta\, W_2^2(\theta^\top q, \theta^\top p)$ over unit vectors θ. In one dimension the best
transport T matches quantiles, and the flow of ½ SW₂² moves points by $E_\theta\, (T_\theta(\theta^\top x) - \theta^\top
x)\, \theta$ (Liutkus et al. 2019). Here that is taken d times, by directions that come in
orthogonal bases, so that in each basis the projections add up to the whole of a shift.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import check_clouds, require_positive
from ..data import Geometry
from ..geometry import space_of
from ..ops.kde import SelfTerms
from .clouds import require_embedding, to_tangent


@dataclass(frozen=True)
class SlicedWasserstein:
    """The velocity of the sliced-Wasserstein flow, d times the gradient of ½ SW₂².

    A point's own mass is part of the distance: nothing is left out, whatever is asked for. A point that is none of the
    negatives is shifted as its neighbours among them, interpolated. On the sphere the distance is that of the
    surrounding space, whose gradient along the sphere is the tangent part.

    Attributes:
        projections: Directions of a step, drawn anew for each from torch's global generator; rounded up to whole bases.

    Example:
        >>> import torch
        >>> x = torch.randn(30, 2)
        >>> v = SlicedWasserstein().velocity(x, positives=x + torch.tensor([1.0, 0.0]), negatives=x)
        >>> bool((v - torch.tensor([1.0, 0.0])).abs().max() < 1e-5)
        True
    """

    projections: int = 64

    def __post_init__(self) -> None:
        require_positive(self, "field", "projections")

    def velocity(
        self,
        x: Float[Tensor, "n d"],
        *,
        positives: Float[Tensor, "p d"],
        negatives: Float[Tensor, "q d"],
        geometry: Geometry = "euclidean",
        self_terms: SelfTerms = "keep",
    ) -> Float[Tensor, "n d"]:
        """Velocity of the samples x; see `fields.Field`."""
        require_embedding("SlicedWasserstein", geometry)
        check_clouds(x, positives, negatives, space_of(geometry), self_terms)
        d = x.shape[1]
        bases = math.ceil(self.projections / d)
        directions = torch.linalg.qr(torch.randn(bases, d, d)).Q.mT.reshape(-1, d).to(x)
        own, order = (directions @ negatives.T).sort(dim=1)
        shift = quantile_transport(own.shape[1], (directions @ positives.T).sort(dim=1).values) - own
        if len(x) <= len(negatives) and torch.equal(negatives[: len(x)], x):
            shift = torch.empty_like(shift).scatter_(1, order, shift)[:, : len(x)]
        else:
            shift = _between(directions @ x.T, own, shift)
        return to_tangent(x, shift.T @ directions / bases, geometry, longest=math.pi / 2)


def quantile_transport(count: int, ordered: Float[Tensor, "k p"]) -> Float[Tensor, "k count"]:
    r"""Where the best transport takes each of `count` ordered points of equal mass in one dimension, on the mean.

    The i-th holds the mass between the quantiles i/count and (i + 1)/count, and goes to the mean of the other cloud's
    quantile function over them: a difference of that function's integral, which is piecewise linear.

    Args:
        count: Number of points.
        ordered: The other cloud in ascending order, for each direction.

    Returns:
        The places, in ascending order.

    Example:
        >>> quantile_transport(2, torch.tensor([[0.0, 1.0, 5.0]]))  # two thirds of the mass of 0, a third of that of 1
        tensor([[0.3333, 3.6667]])
    """
    p = ordered.shape[1]
    integral = torch.cat([ordered.new_zeros(len(ordered), 1), ordered.double().cumsum(1)], dim=1)
    place = torch.arange(count + 1, device=ordered.device, dtype=torch.float64) * p / count
    whole = place.floor().long().clamp_max(p - 1)
    value = integral[:, whole] + (place - whole) * ordered[:, whole]
    return (value.diff(dim=1) * count / p).to(ordered.dtype)


def _between(at: Tensor, own: Tensor, shift: Tensor) -> Tensor:
    """The shift at other points: linear between the two neighbours, that of the last beyond the ends."""
    last = own.shape[1] - 1
    right = torch.searchsorted(own, at.contiguous()).clamp(min(1, last), last)
    left = (right - 1).clamp_min(0)
    start, end = own.gather(1, left), own.gather(1, right)
    share = ((at - start) / (end - start).clamp_min(torch.finfo(own.dtype).tiny)).clamp(0, 1)
    return torch.lerp(shift.gather(1, left), shift.gather(1, right), share)
