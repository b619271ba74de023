r"""Drift by the debiased Sinkhorn divergence.

$S_\varepsilon(q, p) = \mathrm{OT}_\varepsilon(q, p) - \frac12 \mathrm{OT}_\varepsilon(q, q) -
\frac12 \mathrm{OT}_\varepsilon(p, p)$ with the cost $c = \frac12 d(x, y)^2$ (Feydy et al. 2019). Its flow moves a
point of q by minus the gradient of the potentials, which is a difference of barycentres,

$v(x) = \sum_j \pi^{qp}_j(x) \log_x y_j - \sum_k \pi^{qq}_k(x) \log_x x_k$,

$\pi^{qp}_j(x) = \mathrm{softmax}_j\bigl((g_j - c(x, y_j)) / \varepsilon\bigr)$ with the converged potential g of the
data; in Euclidean space $\log_x y = y - x$.
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


@dataclass(frozen=True)
class SinkhornDrift:
    r"""The velocity of the Sinkhorn divergence's flow, at any point by the extrapolated potentials.

    A point's own mass is part of the divergence: nothing is left out, whatever is asked for. The two transport problems
    are solved by Sinkhorn's iteration in logarithms, ε falling geometrically from the square of the clouds' extent. On
    the sphere the cost is that of the geodesic distance, and so are the velocities.

    Attributes:
        blur: $\sqrt\varepsilon$, in the units of the points: detail below it is not seen.
        scaling: Factor between two values of the blur on its way down.
        iterations: Further steps at the last ε.

    Example:
        >>> import torch
        >>> x = torch.randn(30, 2)
        >>> v = SinkhornDrift().velocity(x, positives=x + torch.tensor([1.0, 0.0]), negatives=x)
        >>> bool((v - torch.tensor([1.0, 0.0])).abs().max() < 0.02)
        True
    """

    blur: float = 0.05
    scaling: float = 0.8
    iterations: int = 5

    def __post_init__(self) -> None:
        require_positive(self, "field", "blur", "iterations")
        if not 0 < self.scaling < 1:
            raise ValueError(f"field.scaling = {self.scaling}: give a number between 0 and 1")

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
        check_clouds(x, positives, negatives, space_of(geometry), self_terms)
        between, within = _cost(negatives, positives, geometry), _cost(negatives, negatives, geometry)
        schedule = self._schedule(float(torch.stack([between.max(), within.max()]).max()))
        epsilon = schedule[-1]
        itself = len(x) <= len(negatives) and torch.equal(negatives[: len(x)], x)
        to_positives = between[: len(x)] if itself else _cost(x, positives, geometry)
        to_negatives = within[: len(x)] if itself else _cost(x, negatives, geometry)
        attraction = torch.softmax((potentials(between, schedule)[1] - to_positives) / epsilon, dim=1)
        repulsion = torch.softmax((potentials(within, schedule)[1] - to_negatives) / epsilon, dim=1)
        if geometry == "euclidean":
            return attraction @ positives - repulsion @ negatives
        return _mean_way(attraction, x, positives, geometry) - _mean_way(repulsion, x, negatives, geometry)

    def _schedule(self, extent: float) -> list[float]:
        """ε of each step, from the largest cost to the square of the blur."""
        start, end = max(2 * extent, self.blur**2), self.blur**2
        steps = math.ceil(math.log(end / start) / (2 * math.log(self.scaling)))
        falling = [start * self.scaling ** (2 * k) for k in range(steps)]
        return [*falling, *[end] * self.iterations]


def potentials(cost: Float[Tensor, "q p"], schedule: list[float]) -> tuple[Float[Tensor, " q"], Float[Tensor, " p"]]:
    r"""The potentials of the entropic transport between two clouds of equal weights.

    $f_i = -\varepsilon \log \frac1p \sum_j e^{(g_j - c_{ij}) / \varepsilon}$ and the same for g, both at once and
    averaged with what they were (Feydy et al. 2019), so that a cloud transported to itself has f = g at every step.

    Args:
        cost: Of each pair.
        schedule: ε of each step.

    Returns:
        f and g, in the units of the cost.

    Example:
        >>> f, g = potentials(torch.tensor([[0.0, 1.0]]), [0.5] * 50)  # one point has no choice: f + g is the cost
        >>> [round(value, 4) for value in (f + g).tolist()]
        [0.0, 1.0]
    """
    f, g = cost.new_zeros(cost.shape[0]), cost.new_zeros(cost.shape[1])
    for epsilon in schedule:
        better_f = _smallest((cost - g) / epsilon, dim=1) * epsilon
        better_g = _smallest((cost - f[:, None]) / epsilon, dim=0) * epsilon
        f, g = (f + better_f) / 2, (g + better_g) / 2
    return f, g


def _smallest(cost: Tensor, dim: int) -> Tensor:
    """The smooth minimum, with equal weights; far terms are cut at e⁻⁸⁰, since those that underflow are slow."""
    least = cost.amin(dim=dim, keepdim=True)
    total = (least - cost).clamp_min_(-80.0).exp_().mean(dim=dim)
    return least.squeeze(dim) - total.log_()


def _cost(x: Tensor, y: Tensor, geometry: Geometry) -> Tensor:
    if geometry == "euclidean":
        return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square() / 2
    return space_of(geometry).dist(x[:, None], y).square() / 2


def _mean_way(weights: Tensor, x: Tensor, y: Tensor, geometry: Geometry) -> Tensor:
    return torch.einsum("ij,ijd->id", weights, space_of(geometry).logmap(x[:, None].expand(-1, len(y), -1), y))
