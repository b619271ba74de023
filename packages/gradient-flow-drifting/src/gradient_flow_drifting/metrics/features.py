"""Clouds of features, of images say: neighbourhoods, and the Fréchet and kernel distances."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import require_whole
from .distances import clouds

_CHUNK = 1024
_EXACT = "donot_use_mm_for_euclid_dist"


def precision_recall(
    samples: Float[Tensor, "n d"], real: Float[Tensor, "m d"], *, neighbours: int = 3
) -> tuple[float, float]:
    """Share of the samples that real neighbourhoods hold, and of the real points that the samples' hold.

    The neighbourhood of a point is the ball that reaches to its k-th nearest fellow (Kynkäänniemi et al. 2019).

    Args:
        samples: Features of samples.
        real: Features of real points.
        neighbours: k.

    Returns:
        Precision and recall.

    Raises:
        ValueError: If a cloud is not finite, has no more than k points, or they differ in dimension.

    Example:
        >>> real = torch.arange(10.0)[:, None]
        >>> precision_recall(real[:5] + 0.5, real, neighbours=1)
        (1.0, 0.6)
    """
    samples, real = _with_neighbours(samples, real, neighbours)
    held, holds = _held(samples, real, _radii(real, neighbours)), _held(real, samples, _radii(samples, neighbours))
    return float((held > 0).double().mean()), float((holds > 0).double().mean())


def density_coverage(
    samples: Float[Tensor, "n d"], real: Float[Tensor, "m d"], *, neighbours: int = 5
) -> tuple[float, float]:
    """How many real neighbourhoods hold a sample, over k, and the share of them that hold one (Naeem et al. 2020).

    Both are one on average, or near it, for samples of the data's distribution; the density can exceed one.

    Args:
        samples: Features of samples.
        real: Features of real points.
        neighbours: k.

    Returns:
        Density and coverage.

    Raises:
        ValueError: If a cloud is not finite, has no more than k points, or they differ in dimension.

    Example:
        >>> real = torch.arange(10.0)[:, None]
        >>> density_coverage(real[:5] + 0.5, real, neighbours=1)
        (2.0, 0.6)
    """
    samples, real = _with_neighbours(samples, real, neighbours)
    radii = _radii(real, neighbours)
    density = float(_held(samples, real, radii).double().mean()) / neighbours
    nearest = torch.cat([torch.cdist(part, samples, compute_mode=_EXACT).min(1).values for part in real.split(_CHUNK)])
    return density, float((nearest <= radii).double().mean())


def frechet_distance(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> float:
    r"""Fréchet distance of the Gaussians with the clouds' moments, squared as is usual (Heusel et al. 2017).

    $\|\mu_x - \mu_y\|^2 + \mathrm{tr}(\Sigma_x + \Sigma_y - 2 (\Sigma_x^{1/2} \Sigma_y \Sigma_x^{1/2})^{1/2})$. It is
    biased by the number of points: compare at equal numbers only, or with the floor.

    Args:
        x, y: Features.

    Returns:
        The squared distance.

    Raises:
        ValueError: If a cloud has fewer than two points or is not finite, or they differ in dimension.

    Example:
        >>> x = torch.tensor([[-1.0], [1.0]])
        >>> round(frechet_distance(x, 3 * x + 2), 6)  # 2² + 2 · (3 − 1)²
        12.0
    """
    x, y = _with_neighbours(x, y, 1)
    x, y = x.double(), y.double()
    (mean_x, covariance_x), (mean_y, covariance_y) = ((z.mean(0), torch.atleast_2d(torch.cov(z.T))) for z in (x, y))
    values, vectors = torch.linalg.eigh(covariance_x)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    overlap = torch.linalg.eigvalsh(root @ covariance_y @ root).clamp(min=0).sqrt().sum()
    spread = covariance_x.trace() + covariance_y.trace() - 2 * overlap
    return max(float((mean_x - mean_y).square().sum() + spread), 0.0)


def kernel_distance(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> float:
    r"""Squared maximum mean discrepancy of the kernel $(x^\top y / d + 1)^3$, without bias (Bińkowski et al. 2018).

    Zero on average for two draws from one distribution, whatever their numbers, and negative as often as not.

    Args:
        x, y: Features.

    Returns:
        The estimate.

    Raises:
        ValueError: If a cloud has fewer than two points or is not finite, or they differ in dimension.

    Example:
        >>> x = torch.tensor([[0.0], [0.0]])
        >>> kernel_distance(x, x + 1)  # 1 + 8 − 2
        7.0
    """
    x, y = _with_neighbours(x, y, 1)
    x, y = x.double(), y.double()

    def total(a: Tensor, b: Tensor) -> float:
        return sum(float(((part @ b.T) / a.shape[1] + 1).pow(3).sum()) for part in a.split(_CHUNK))

    def alone(a: Tensor) -> float:
        own = (a.square().sum(1) / a.shape[1] + 1).pow(3).sum()
        return (total(a, a) - float(own)) / (len(a) * (len(a) - 1))

    return alone(x) + alone(y) - 2 * total(x, y) / (len(x) * len(y))


def _with_neighbours(x: Tensor, y: Tensor, neighbours: int) -> tuple[Tensor, Tensor]:
    x, y = clouds(x, y)
    require_whole("neighbours", neighbours)
    if min(len(x), len(y)) <= neighbours:
        wanted = neighbours + 1
        raise ValueError(f"samples and real: at least {wanted} points of each are needed, found {len(x)} and {len(y)}")
    return x, y


def _radii(points: Tensor, neighbours: int) -> Tensor:
    """Distance of each point to its k-th nearest fellow."""
    parts = [torch.cdist(part, points, compute_mode=_EXACT) for part in points.split(_CHUNK)]
    return torch.cat([part.kthvalue(neighbours + 1, dim=1).values for part in parts])  # the nearest is itself


def _held(points: Tensor, centres: Tensor, radii: Tensor) -> Tensor:
    """How many of the balls hold each point."""
    return torch.cat(
        [(torch.cdist(part, centres, compute_mode=_EXACT) <= radii).sum(1) for part in points.split(_CHUNK)]
    )
