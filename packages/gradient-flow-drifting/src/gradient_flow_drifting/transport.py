r"""Entropic optimal transport between two clouds, and the map it gives to any point.

For points $x_1 \dots x_n$ and $y_1 \dots y_m$ of equal weights and the cost $c_{ij} = \|x_i - y_j\|^2/2$, Sinkhorn's
iteration (Cuturi 2013),

$$f_i = -h^2 \log \mathrm{mean}_j\, e^{(g_j - c_{ij})/h^2}, \qquad
g_j = -h^2 \log \mathrm{mean}_i\, e^{(f_i - c_{ij})/h^2},$$

finds the potentials of the plan with entropy weight $h^2$, and

$$T(x) = \sum_j \operatorname{softmax}_j\bigl((g_j - \|x - y_j\|^2/2)/h^2\bigr)\, y_j$$

takes any x to the mean of where the plan sends it (Pooladian and Niles-Weed, arXiv 2109.12004): the gradient of a
convex function, and Brenier's map as h → 0. Both are kernel density estimates, for in one more coordinate a potential
is a distance: $\tfrac12 \|(x, 0) - (y, \sqrt{2(\max g - g)})\|^2 = \tfrac12 \|x - y\|^2 - g + \max g$.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .ops.kde import KdeBackend, kde_score
from .ops.kde.checks import check_cloud

FALL = 0.85  # of the bandwidth, from one iteration to the next
SETTLE = 4  # iterations at the last bandwidth


@dataclass(frozen=True, eq=False)
class TransportMap:
    """Takes any point to the mean of where the plan sends it.

    Attributes:
        target: The points y.
        potential: g, in squared units of the points; only its differences mean something.
        bandwidth: h, in the units of the points.
        backend: Of `kde_score`.
    """

    target: Float[Tensor, "m d"]
    potential: Float[Tensor, " m"]
    bandwidth: float
    backend: KdeBackend = "auto"

    @torch.no_grad()
    def __call__(self, x: Float[Tensor, "n d"], *, chunk: int = 8192) -> Float[Tensor, "n d"]:
        """Where the points go.

        Args:
            x: The points.
            chunk: Largest number done at once.

        Returns:
            Their images, each within the convex hull of the target.

        Raises:
            ValueError: If x is not finite or of another dimension.
        """
        check_cloud("x", x, like=self.target)
        lifted = _lift(self.target, self.potential)
        images = []
        for part in x.split(chunk):
            level = torch.nn.functional.pad(part, (0, 1))
            score = kde_score(level, lifted, bandwidth=self.bandwidth, backend=self.backend).score
            images.append(part + self.bandwidth**2 * score[:, :-1])
        return torch.cat(images)


@torch.no_grad()
def transport_map(
    source: Float[Tensor, "n d"],
    target: Float[Tensor, "m d"],
    *,
    bandwidth: float,
    backend: KdeBackend = "auto",
) -> TransportMap:
    """The map of entropic optimal transport from one cloud to another, for the cost of half the squared distance.

    The bandwidth falls geometrically from the spread of the clouds to its last value, one iteration at each (ε-scaling,
    as in Schmitzer, arXiv 1610.06519), so that the coarse parts of the plan are settled before the fine ones. Each
    iteration starts from where the two before it point to, linearly in h²: without that the potentials lag behind, and
    of two modes far apart one gets a share that is wrong by several per cent.

    Args:
        source: Points of equal weights; evenly spread ones (quasi-random) give a map with less noise.
        target: Points of equal weights.
        bandwidth: h, the root of the entropy's weight, in the units of the points: two pieces of the target at a
            distance D are parted by a strip of width about h²/D in the source.
        backend: Of `kde_score`.

    Returns:
        The map.

    Raises:
        ValueError: If a cloud is empty, not finite, or of another dimension than the other, or the bandwidth is not
            positive.

    Example:
        >>> source = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
        >>> moved = transport_map(source, source + torch.tensor([3.0, 1.0]), bandwidth=0.1)
        >>> [round(value, 1) for value in moved(torch.zeros(1, 2))[0].tolist()]
        [3.0, 1.0]
    """
    check_cloud("source", source)
    check_cloud("target", target, like=source)
    if not (math.isfinite(bandwidth) and bandwidth > 0):
        raise ValueError(f"bandwidth: a positive number is needed, found {bandwidth}")
    g = before = target.new_zeros(len(target))
    levels = _levels(source, target, bandwidth)
    for earlier, last, h in zip([0.0, 0.0, *levels], [0.0, *levels], levels, strict=False):
        slope = (h**2 - last**2) / (last**2 - earlier**2) if earlier > last else 0.0
        start = g + slope * (g - before)
        f = _opposite(source, target, start, h, backend)
        g, before = _opposite(target, source, f, h, backend), g
    return TransportMap(target, g, bandwidth, backend)


def _levels(source: Tensor, target: Tensor, bandwidth: float) -> list[float]:
    """The bandwidths of the iterations."""
    h = math.sqrt(sum(float((cloud - cloud.mean(0)).square().sum(1).mean()) for cloud in (source, target)))
    levels = []
    while h > bandwidth:
        levels.append(h)
        h *= FALL
    return levels + SETTLE * [bandwidth]


def _lift(points: Tensor, potential: Tensor) -> Tensor:
    height = (2 * (potential.max() - potential)).sqrt()
    return torch.cat([points, height[:, None]], dim=1)


def _opposite(x: Tensor, y: Tensor, potential: Tensor, h: float, backend: KdeBackend) -> Tensor:
    """Half an iteration: the potential of x from that of y, its mean taken off: constants mean nothing."""
    level = torch.nn.functional.pad(x, (0, 1))
    potential = -(h**2) * kde_score(level, _lift(y, potential), bandwidth=h, backend=backend).log_density
    return potential - potential.mean()
