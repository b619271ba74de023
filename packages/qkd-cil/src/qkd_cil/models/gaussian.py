"""Classes as Gaussians of one covariance: their discriminant, samples of them, their way into another feature space."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor


class Gaussians(NamedTuple):
    """First and second moments of the features of some classes; no image can be told from them.

    Attributes:
        means: Mean of each class.
        scatter: Sum over all features of the outer product of the difference from the class mean.
        total: Number of features in it.
    """

    means: Float[Tensor, "class dim"]
    scatter: Float[Tensor, "dim dim"]
    total: Float[Tensor, ""]


class Affine(NamedTuple):
    """The map $x \\mapsto x M + b$ from one feature space to another."""

    matrix: Float[Tensor, "dim dim"]
    shift: Float[Tensor, " dim"]


def moments(features: Float[Tensor, "n dim"], targets: Int64[Tensor, " n"], *, classes: int) -> Gaussians:
    """Moments of labelled features.

    Args:
        features: One row for each image.
        targets: Class of each, from 0.
        classes: Number of classes, each with a feature at least.

    >>> moments(torch.tensor([[0.0], [2.0], [5.0]]), torch.tensor([0, 0, 1]), classes=2).means
    tensor([[1.],
            [5.]])
    """
    sizes = torch.bincount(targets, minlength=classes).to(features)
    sums = features.new_zeros(classes, features.shape[1]).index_add_(0, targets, features)
    means = sums / sizes[:, None]
    rest = features - means[targets]
    return Gaussians(means, rest.T @ rest, sizes.sum())


def merge(first: Gaussians, second: Gaussians) -> Gaussians:
    """Moments of two groups of classes in one space, the second's classes after the first's."""
    return Gaussians(torch.cat([first.means, second.means]), first.scatter + second.scatter, first.total + second.total)


def covariance(gaussians: Gaussians, *, shrinkage: float) -> Float[Tensor, "dim dim"]:
    r"""Covariance within the classes, $(1 - \gamma) \Sigma + \gamma \frac{\mathrm{tr} \Sigma}{d} I$.

    Args:
        gaussians: Moments.
        shrinkage: $\gamma$; above zero it makes the matrix invertible however few the features are. Where no class has
            two features that differ, there is no spread to learn from, and the identity stands for it.
    """
    sigma = gaussians.scatter / gaussians.total
    ridge = _or_one(sigma.diagonal().mean()) * torch.eye(len(sigma), dtype=sigma.dtype, device=sigma.device)
    return (1 - shrinkage) * sigma + shrinkage * ridge


def discriminant(
    gaussians: Gaussians, *, shrinkage: float
) -> tuple[Float[Tensor, "class dim"], Float[Tensor, " class"]]:
    r"""Weights and biases of the linear discriminant, the best classifier of Gaussians of one covariance.

    $w_c = \Sigma^{-1} \mu_c, \; b_c = -\frac12 \mu_c^\top \Sigma^{-1} \mu_c$: up to a term that all classes share,
    $w_c \cdot f + b_c$ is the log density of class $c$ (Fisher 1936).

    Args:
        gaussians: Moments.
        shrinkage: Of the covariance.

    >>> both = Gaussians(torch.tensor([[1.0], [-1.0]]), torch.tensor([[8.0]]), torch.tensor(4.0))
    >>> discriminant(both, shrinkage=0.1)
    (tensor([[ 0.5000],
            [-0.5000]]), tensor([-0.2500, -0.2500]))
    """
    weights = torch.linalg.solve(covariance(gaussians, shrinkage=shrinkage), gaussians.means.T).T
    return weights, -0.5 * (weights * gaussians.means).sum(dim=1)


def sample(
    gaussians: Gaussians, targets: Int64[Tensor, " n"], *, shrinkage: float, generator: torch.Generator
) -> Float[Tensor, "n dim"]:
    """Features drawn from the Gaussians of the given classes.

    Args:
        gaussians: Moments.
        targets: Class of each draw.
        shrinkage: Of the covariance.
        generator: Random numbers, on the CPU.
    """
    factor = torch.linalg.cholesky(covariance(gaussians, shrinkage=shrinkage))
    noise = torch.randn(len(targets), len(factor), generator=generator).to(factor)
    return gaussians.means[targets] + noise @ factor.T


def affine_map(source: Float[Tensor, "n dim"], target: Float[Tensor, "n dim"], *, ridge: float) -> Affine:
    r"""The affine map that takes features of one space to those of another, learned from the same images in both.

    Least squares for the change $y - x$, held near no change by $\lambda \, n \, \bar\sigma^2 \lVert M - I \rVert^2$
    with $\bar\sigma^2$ the mean variance of a coordinate.

    Args:
        source: Features of the images in the one space.
        target: Features of the same images in the other.
        ridge: $\lambda$, above zero; a single image leaves all but the shift as it is.

    >>> x = torch.tensor([[0.0], [1.0], [2.0]])
    >>> affine_map(x, x + 3, ridge=0.1)
    Affine(matrix=tensor([[1.]]), shift=tensor([3.]))
    """
    origin, end = source.mean(dim=0), target.mean(dim=0)
    x, y = source - origin, target - end
    identity = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    strength = _or_one(ridge * x.square().sum() / x.shape[1])
    matrix = identity + torch.linalg.solve(x.T @ x + strength * identity, x.T @ (y - x))
    return Affine(matrix, end - origin @ matrix)


def transport(gaussians: Gaussians, affine: Affine) -> Gaussians:
    """The Gaussians as they are in the space an affine map leads to."""
    matrix, shift = affine
    return Gaussians(gaussians.means @ matrix + shift, matrix.T @ gaussians.scatter @ matrix, gaussians.total)


def _or_one(value: Tensor) -> Tensor:
    """The value, or one in the place of zero."""
    return torch.where(value > 0, value, torch.ones_like(value))
