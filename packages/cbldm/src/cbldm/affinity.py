"""The Gaussian affinity of a cluster: what the model generates in the place of coordinates."""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

WIDTH = 260.0
"""t of the affinity, Å² (Cao et al., arXiv 2509.01370)."""
PairMatrix = Literal["affinity", "distance"]
"""What of each pair of atoms is looked at."""
_ROUND = 1e-6
"""Added to a square before its root is taken, whose derivative is finite then."""


def atom_mask(counts: Int[Tensor, "*batch"], atoms: int) -> Bool[Tensor, "*batch atoms"]:
    """Which places of a padded cluster hold an atom: the first ones.

    Args:
        counts: Number of atoms of each cluster.
        atoms: Number of places.

    Returns:
        True where there is an atom.

    >>> atom_mask(torch.tensor([1, 3]), 3).tolist()
    [[True, False, False], [True, True, True]]
    """
    return torch.arange(atoms, device=counts.device) < counts[..., None]


def affinity(
    positions: Float[Tensor, "*batch atoms d"],
    *,
    mask: Bool[Tensor, "*batch atoms"] | None = None,
    width: float = WIDTH,
) -> Float[Tensor, "*batch atoms atoms"]:
    r"""Gaussian affinity of points, $W_{ij} = e^{-\lVert x_i - x_j \rVert^2 / t}$ (Cao et al., arXiv 2509.01370).

    Symmetric, of unit diagonal, blind to where the cluster lies, how it is turned and whether it is mirrored.

    Args:
        positions: Cartesian coordinates, Å; or points of any number of dimensions.
        mask: False where a place is empty; its row and column are zero.
        width: t, Å².

    Returns:
        W, between 0 and 1.

    >>> affinity(torch.tensor([[0.0, 0, 0], [2.0, 0, 0]]), width=4.0)
    tensor([[1.0000, 0.3679],
            [0.3679, 1.0000]])
    """
    w = torch.exp(-squared_distances(positions, mask=mask) / width)
    return w if mask is None else w * pair_mask(mask)


def pair_matrix(positions: Float[Tensor, "*batch atoms d"], kind: PairMatrix) -> Float[Tensor, "*batch atoms atoms"]:
    r"""The affinity of points, or in its place their distances in its unit, $\sqrt{\lVert x_i - x_j \rVert^2 / t}$.

    Args:
        positions: Cartesian coordinates, Å.
        kind: Which of them.

    Returns:
        The matrix; a distance of zero comes as a thousandth.

    >>> x = torch.tensor([[0.0, 0, 0], [WIDTH**0.5, 0, 0]])
    >>> [round(float(pair_matrix(x, kind)[0, 1]), 3) for kind in ("affinity", "distance")]
    [0.368, 1.0]
    """
    if kind == "affinity":
        return affinity(positions)
    return (squared_distances(positions) / WIDTH + _ROUND).sqrt()


def squared_distances(
    positions: Float[Tensor, "*batch atoms d"], *, mask: Bool[Tensor, "*batch atoms"] | None = None
) -> Float[Tensor, "*batch atoms atoms"]:
    """Squared distances of points, by their products about the centre; exactly zero on the diagonal.

    Args:
        positions: Cartesian coordinates, Å.
        mask: False where a place is empty; what is found there means nothing.

    Returns:
        ‖x_i − x_j‖², Å².

    >>> squared_distances(torch.tensor([[0.0, 0, 0], [2.0, 0, 0]]))
    tensor([[0., 4.],
            [4., 0.]])
    """
    x = centred(positions, mask)
    products = x @ x.mT
    norms = products.diagonal(dim1=-2, dim2=-1)
    squares = (norms[..., :, None] + norms[..., None, :] - 2 * products).clamp(min=0)
    return squares * (1 - torch.eye(squares.shape[-1], dtype=squares.dtype, device=squares.device))


def centred(
    positions: Float[Tensor, "*batch atoms d"], mask: Bool[Tensor, "*batch atoms"] | None = None
) -> Float[Tensor, "*batch atoms d"]:
    """Points about their mean; empty places lie on it."""
    if mask is None:
        return positions - positions.mean(dim=-2, keepdim=True)
    there = mask[..., None].to(positions)
    mean = (positions * there).sum(dim=-2, keepdim=True) / there.sum(dim=-2, keepdim=True).clamp(min=1)
    return (positions - mean) * there


def pair_mask(mask: Bool[Tensor, "*batch atoms"]) -> Bool[Tensor, "*batch atoms atoms"]:
    """Which pairs of places hold two atoms, the same atom twice included."""
    return mask[..., :, None] & mask[..., None, :]
