"""Classes as Gaussians: moments, discriminant, samples, and their way into another feature space."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

SHRINKAGE = 0.1  # of the covariance that all classes share


class Gaussians(NamedTuple):
    """First and second moments of the features of some classes; no image can be told from them.

    Attributes:
        means: Mean of each class.
        scatter: Sum over all features of the outer product of the difference from the class mean.
        total: Number of features in it.
        directions: Main directions of each class's own covariance: eigenvectors times the root of their eigenvalue.
    """

    means: Float[Tensor, "class dim"]
    scatter: Float[Tensor, "dim dim"]
    total: Float[Tensor, ""]
    directions: Float[Tensor, "class dim rank"]


class Discriminant(NamedTuple):
    r"""A linear form and a sum of squares for each class, $w_c \cdot f + b_c + \frac12 |V_c^\top f - o_c|^2$."""

    weights: Float[Tensor, "*space class dim"]
    biases: Float[Tensor, "*space class"]
    directions: Float[Tensor, "*space class dim rank"]
    offsets: Float[Tensor, "*space class rank"]

    def __call__(self, features: Float[Tensor, "batch *space dim"]) -> Float[Tensor, "batch *space class"]:
        """Log density of each class, up to a term that all classes of a space share.

        Args:
            features: In one space, or in as many as there are discriminants.
        """
        linear = torch.einsum("b...d,...cd->b...c", features, self.weights) + self.biases
        off = torch.einsum("b...d,...cdr->b...cr", features, self.directions) - self.offsets
        return linear + 0.5 * off.square().sum(dim=-1)


class Affine(NamedTuple):
    """The map $x \\mapsto x M + b$ from one feature space to another."""

    matrix: Float[Tensor, "dim dim"]
    shift: Float[Tensor, " dim"]


def moments(
    features: Float[Tensor, "n dim"], targets: Int64[Tensor, " n"], *, classes: int, rank: int = 0
) -> Gaussians:
    """Moments of labelled features.

    Args:
        features: One row for each image.
        targets: Class of each, from 0.
        classes: Number of classes, each with a feature at least.
        rank: Main directions to keep of each class; those that a class of few features lacks are zero.

    >>> moments(torch.tensor([[0.0], [2.0], [5.0]]), torch.tensor([0, 0, 1]), classes=2).means
    tensor([[1.],
            [5.]])
    """
    sizes = torch.bincount(targets, minlength=classes).to(features)
    sums = features.new_zeros(classes, features.shape[1]).index_add_(0, targets, features)
    means = sums / sizes[:, None]
    rest = features - means[targets]
    directions = torch.stack([_main_directions(rest[targets == target], rank) for target in range(classes)])
    return Gaussians(means, rest.T @ rest, sizes.sum(), directions)


def merge(first: Gaussians, second: Gaussians) -> Gaussians:
    """Moments of two groups of classes in one space, the second's classes after the first's."""
    return Gaussians(
        torch.cat([first.means, second.means]),
        first.scatter + second.scatter,
        first.total + second.total,
        torch.cat([first.directions, second.directions]),
    )


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


def discriminant(gaussians: Gaussians, *, shrinkage: float, own: float) -> Discriminant:
    r"""Regularised discriminant analysis (Friedman 1989, Eq. 16), a class's own covariance by its main directions.

    With $\Sigma_c = (1 - \lambda) \Sigma + \lambda B_c B_c^\top$, where $\Sigma$ is the covariance that all classes
    share and $B_c$ the directions of class $c$, its log density is $-\frac12 (f - \mu_c)^\top \Sigma_c^{-1} (f - \mu_c)
    - \frac12 \log\det \Sigma_c$. By Woodbury's identity, with $B_c^\top \Sigma^{-1} B_c = U L U^\top$ and
    $V_c = \Sigma^{-1} B_c U (\lambda / (1 - \lambda + \lambda L))^{1/2}$, that is, up to a term that all classes share,

    $$\frac{\mu_c^\top \Sigma^{-1} (f - \frac12 \mu_c) + \frac12 |V_c^\top (f - \mu_c)|^2}{1 - \lambda}
    - \frac12 \log\det\left(1 + \frac{\lambda}{1 - \lambda} L\right).$$

    Args:
        gaussians: Moments.
        shrinkage: Of the covariance that all share.
        own: λ, from 0, where the discriminant is linear (Fisher 1936), to below 1.

    >>> both = Gaussians(torch.tensor([[1.0], [-1.0]]), torch.tensor([[8.0]]), torch.tensor(4.0), torch.zeros(2, 1, 0))
    >>> discriminant(both, shrinkage=0.1, own=0.0)(torch.tensor([[2.0]]))
    tensor([[ 0.7500, -1.2500]])
    """
    means, directions = gaussians.means, gaussians.directions
    factor = torch.linalg.cholesky(covariance(gaussians, shrinkage=shrinkage))
    weights = torch.cholesky_solve(means.T, factor).T
    white = torch.linalg.solve_triangular(factor, directions, upper=False)
    values, vectors = torch.linalg.eigh(white.mT @ white)
    values = values.clamp_min(0)
    shrunk = vectors * (own / (1 - own + own * values)).sqrt()[:, None] / (1 - own) ** 0.5
    squares = torch.linalg.solve_triangular(factor.T, white, upper=True) @ shrunk
    biases = -0.5 * (weights * means).sum(dim=1) / (1 - own) - 0.5 * (own / (1 - own) * values).log1p().sum(dim=1)
    return Discriminant(weights / (1 - own), biases, squares, torch.einsum("cd,cdr->cr", means, squares))


def sample(
    gaussians: Gaussians, targets: Int64[Tensor, " n"], *, shrinkage: float, generator: torch.Generator
) -> Float[Tensor, "n dim"]:
    """Features drawn around the means of the given classes, with the covariance that all share.

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
    means, scatter, total, directions = gaussians
    return Gaussians(means @ matrix + shift, matrix.T @ scatter @ matrix, total, matrix.T @ directions)


def _main_directions(rest: Float[Tensor, "n dim"], rank: int) -> Float[Tensor, "dim rank"]:
    """Main directions of the spread of features around their mean."""
    if not rank:
        return rest.new_zeros(rest.shape[1], 0)
    _, roots, rows = torch.linalg.svd(rest / len(rest) ** 0.5, full_matrices=False)
    main = (roots[:rank, None] * rows[:rank]).T
    return torch.nn.functional.pad(main, (0, rank - main.shape[1]))


def _or_one(value: Tensor) -> Tensor:
    """The value, or one in the place of zero."""
    return torch.where(value > 0, value, torch.ones_like(value))
