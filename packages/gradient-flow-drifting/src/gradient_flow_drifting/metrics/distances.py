"""Distances of two clouds: optimal transport exact and sliced, and maximum mean discrepancy."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from papertrio_shared.seed import generator as seeded
from torch import Tensor

from ..checks import check_on_manifold, require_whole
from ..data import Geometry
from ..geometry import space_of
from ..ops.kde.checks import check_cloud, positive_numbers

_TURN = 2 * math.pi
_FACTORS = (0.125, 0.25, 0.5, 1.0, 2.0)
_LARGEST_FREQUENCY = 3  # of the closed geodesics that slice the torus


def wasserstein2(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], *, geometry: Geometry = "euclidean") -> float:
    r"""Wasserstein-2 distance of two clouds of equal weights, solved exactly.

    $W_2^2 = \min_\pi \sum_{ij} \pi_{ij}\, d(x_i, y_j)^2$, by the network simplex of POT; on the sphere d is the angle,
    on the torus the length of the short way.

    Args:
        x, y: The clouds.
        geometry: Which distance.

    Returns:
        The distance, not its square.

    Raises:
        ValueError: If a cloud is empty, holds a value that is not finite, or they differ in dimension.

    Example:
        >>> x = torch.zeros(3, 2)
        >>> round(wasserstein2(x, x + torch.tensor([3.0, 4.0])), 6)
        5.0
    """
    import ot  # looks for every array library it knows, which takes a second

    x, y = clouds(x, y, geometry)
    cost = distances(x, y, geometry).square().numpy()
    return math.sqrt(max(float(ot.emd2([], [], cost, numItermax=10_000_000)), 0.0))


def sliced_wasserstein2(
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "n d"],
    *,
    geometry: Geometry = "euclidean",
    projections: int = 128,
    seed: int = 0,
) -> float:
    r"""Sliced Wasserstein-2 distance of two clouds of equal size.

    $SW_2^2 = \mathrm{mean}_\theta\, W_2^2(P_\theta x, P_\theta y)$. In Euclidean space $P_\theta x = \theta^\top x$
    for random unit vectors θ (Bonneel et al. 2015). On the sphere $P_\theta$ is the nearest point of a random great
    circle, and the distance is that of the circle (Bonet et al. 2023). On the torus
    $P_k x = k^\top x \bmod 2\pi$ for random vectors k of whole numbers without a common divisor, the circle having the
    circumference $2\pi/\|k\|$, so that no slice stretches a length. On a circle all rotations of the sorted order are
    considered (Delon et al. 2010).

    Args:
        x, y: The clouds.
        geometry: The space.
        projections: Number of directions.
        seed: Of the directions.

    Returns:
        The distance, not its square.

    Raises:
        ValueError: If the clouds differ in shape, are empty or hold a value that is not finite, or if no direction is
            asked for.

    Example:
        >>> x = torch.randn(50, 1)
        >>> round(sliced_wasserstein2(x, x + 2.0), 5)
        2.0
    """
    x, y = clouds(x, y, geometry)
    if x.shape != y.shape:
        raise ValueError(f"x and y have the shapes {tuple(x.shape)} and {tuple(y.shape)}: give clouds of one shape")
    require_whole("projections", projections)
    stream = seeded(seed, "directions")
    if geometry == "sphere":
        planes = torch.linalg.qr(torch.randn(projections, x.shape[1], 2, generator=stream, dtype=x.dtype)).Q
        slices = [
            np.sort(torch.atan2(*(planes.transpose(1, 2) @ z.T).unbind(1)).double().numpy(), axis=1) for z in (x, y)
        ]
        squares = [circle_wasserstein2_squared(u, v) for u, v in zip(*slices, strict=True)]
        return math.sqrt(float(np.mean(squares)))
    if geometry == "torus":
        whole = _frequencies(x.shape[1], projections, stream)
        slices = [np.sort(np.remainder(whole @ z.double().numpy().T, _TURN), axis=1) for z in (x, y)]
        pairs = zip(*slices, np.square(whole).sum(1), strict=True)
        squares = [circle_wasserstein2_squared(u, v) / squared for u, v, squared in pairs]
        return math.sqrt(float(np.mean(squares)))
    directions = torch.randn(x.shape[1], projections, generator=stream, dtype=x.dtype)
    directions = directions / directions.norm(dim=0)
    difference = np.sort((directions.T @ x.T).numpy()) - np.sort((directions.T @ y.T).numpy())
    return math.sqrt(float(np.mean(np.square(difference, dtype=np.float64))))


def circle_wasserstein2_squared(u: Float[np.ndarray, " n"], v: Float[np.ndarray, " n"]) -> float:
    r"""Squared Wasserstein-2 distance of two sorted sets of angles, on the circle of radius one.

    An optimal coupling takes the i-th of one to the (i + k)-th of the other, counted around the circle; the cost is
    convex in k, which is found by bisection.

    Args:
        u, v: Angles in radians, sorted, all of one turn.

    Returns:
        The square of the distance.

    Example:
        >>> u, v = np.array([0.1, 1.0]), np.array([1.0, 2 * np.pi - 0.1])
        >>> round(circle_wasserstein2_squared(u, v), 6)
        0.02
    """
    count = len(u)
    around = np.concatenate([v - _TURN, v, v + _TURN])

    def cost(k: int) -> float:
        difference = around[count + k : 2 * count + k] - u
        return float(np.square(difference, out=difference).sum())  # not @, whose threads fight over a busy machine

    low, high = -count, count
    while low < high:
        middle = (low + high) // 2
        if cost(middle) <= cost(middle + 1):
            high = middle
        else:
            low = middle + 1
    return cost(low) / count


def mmd2(
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    *,
    bandwidths: Sequence[float] | None = None,
    geometry: Geometry = "euclidean",
) -> float:
    r"""Squared maximum mean discrepancy of two clouds, without bias; mean over Gaussian kernels of several widths.

    $\frac{1}{n(n-1)}\sum_{i \ne j} k(x_i, x_j) + \frac{1}{m(m-1)}\sum_{i \ne j} k(y_i, y_j) - \frac{2}{nm} \sum_{ij}
    k(x_i, y_j)$ (Gretton et al. 2012, Eq. 3), so of two draws from one distribution it is zero on average and
    negative as often as not. On the sphere and the torus the Gaussian is one of the chord, which unlike that of the
    angle is positive definite.

    Args:
        x, y: The clouds.
        bandwidths: Widths of the kernels, in the units of the points; where None, 1/8, 1/4, 1/2, 1 and 2 times
            √(d/2), for standardised points are the farther apart the more coordinates they have.
        geometry: The space.

    Returns:
        The estimate.

    Raises:
        ValueError: If a cloud has fewer than two points or holds a value that is not finite, they differ in
            dimension, or a bandwidth is not positive.

    Example:
        >>> x, y = torch.tensor([[0.0], [0.0]]), torch.tensor([[9.0], [9.0]])
        >>> round(mmd2(x, y), 3), mmd2(x, x)
        (2.0, 0.0)
    """
    x, y = clouds(x, y, geometry)
    if bandwidths is None:
        bandwidths = tuple(factor * math.sqrt(x.shape[-1] / 2) for factor in _FACTORS)
    bandwidths = positive_numbers("bandwidths", bandwidths)
    if min(len(x), len(y)) < 2:
        raise ValueError(f"x and y: at least two points of each are needed, found {len(x)} and {len(y)}")
    if geometry == "torus":
        x, y = (torch.cat([z.cos(), z.sin()], 1) for z in (x, y))

    def total(a: Tensor, b: Tensor) -> float:
        found = 0.0
        for part in a.split(1024):
            squared = torch.cdist(part, b, compute_mode="donot_use_mm_for_euclid_dist").square_()
            for h in bandwidths:
                exponent = (squared * (-0.5 / h**2)).clamp_(min=-60)  # below, a power is nothing and slow to work out
                found += float(exponent.exp_().sum(dtype=torch.float64))
        return found / len(bandwidths)

    n, m = len(x), len(y)
    return (total(x, x) - n) / (n * (n - 1)) + (total(y, y) - m) / (m * (m - 1)) - 2 * total(x, y) / (n * m)


def clouds(x: Tensor, y: Tensor, geometry: Geometry = "euclidean") -> tuple[Tensor, Tensor]:
    """Two clouds that can be compared, without gradient, on the CPU, in one precision, at least single.

    Args:
        x, y: The clouds.
        geometry: Their space.

    Returns:
        Both.

    Raises:
        ValueError: If one is no matrix, empty, not finite or off the space, they differ in dimension, or there is no
            such space.
    """
    space = space_of(geometry)
    for name, cloud in (("x", x), ("y", y)):
        check_cloud(name, cloud.double() if isinstance(cloud, Tensor) else cloud)
        check_on_manifold(name, cloud.float(), space)  # samples of single precision are often held in double
    if x.shape[1:] != y.shape[1:]:
        raise ValueError(f"y: {x.shape[1]} coordinates are needed as in x, found {y.shape[1]}")
    precision = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
    return x.detach().cpu().to(precision), y.detach().cpu().to(precision)


def distances(x: Tensor, y: Tensor, geometry: Geometry) -> Tensor:
    """Distance of each point of x to each of y; in float64, for a squared distance is a difference of large numbers."""
    x, y = x.double(), y.double()
    if geometry == "torus":
        return torch.stack(
            [torch.remainder(a[:, None] - b + math.pi, _TURN) - math.pi for a, b in zip(x.T, y.T, strict=True)]
        ).norm(dim=0)
    chord = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
    return 2 * torch.asin((chord / 2).clamp(max=1)) if geometry == "sphere" else chord


def _frequencies(dimension: int, count: int, stream: torch.Generator) -> np.ndarray:
    """Vectors of small whole numbers without a common divisor: the closed geodesics of the torus run along them."""
    found = np.empty((0, dimension))
    while len(found) < count:
        drawn = torch.randint(-_LARGEST_FREQUENCY, _LARGEST_FREQUENCY + 1, (count, dimension), generator=stream).numpy()
        found = np.concatenate([found, drawn[np.gcd.reduce(drawn, axis=1) == 1]])
    return found[:count]
