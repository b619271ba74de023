"""A canonical order of atoms, so that one cluster has one affinity matrix."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .affinity import centred, squared_distances

TOLERANCE = 0.01
"""Distances nearer than this share of the shortest count as equal."""
_RATES = (1.0, 1.9, 2.7)
"""Waves by which distances are told apart, in radians for the shortest distance."""
_SAME_VIEW = 1e-3
"""Sums of such waves nearer than this are the same: single precision errs by 1e-5."""


def canonical_order(
    positions: Float[Tensor, "batch atoms 3"], present: Bool[Tensor, "batch atoms"]
) -> Int[Tensor, "batch atoms"]:
    """An order that does not depend on how a cluster is turned, mirrored, moved or listed.

    Atoms are sorted by their distance from the centre; those of one shell by what each sees of the others, class by
    class, which is repeated until it tells nothing new (Weisfeiler and Leman); then one of the first atoms that are
    still alike is set apart, and so on. Atoms that stay alike until then are so by symmetry, and whichever is set apart
    the matrix is the same.

    Args:
        positions: Coordinates, Å.
        present: False where there is no atom; such places come last.

    Returns:
        Which atom stands at each place.

    >>> line = torch.tensor([[[0.0, 0, 0], [4, 0, 0], [1, 0, 0]]])
    >>> canonical_order(line, torch.tensor([[True] * 3])).tolist()
    [[2, 0, 1]]
    """
    x = centred(positions.double(), present)
    squares = squared_distances(x, mask=present)
    there = present[:, :, None] & present[:, None, :]
    apart = there & ~torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
    distances = squares.sqrt()
    shortest = distances.masked_fill(~apart, torch.inf).amin((1, 2)).nan_to_num(posinf=1.0)
    tolerance = (TOLERANCE * shortest)[:, None]
    seen = torch.stack([torch.cos(rate * distances / shortest[:, None, None]) * there for rate in _RATES])
    classes = _refined((~present).long(), x.norm(dim=-1), tolerance)
    for _ in range(x.shape[1]):
        classes = _stable(classes, seen)
        alike = _alike(classes, present)
        if not alike.any():
            break
        first = classes.masked_fill(~alike, classes.shape[1]).amin(1, keepdim=True)
        chosen = (alike & (classes == first)).int().argmax(1)
        # An atom that was chosen comes before those it was like.
        classes = _refined(classes, distances[torch.arange(len(x), device=x.device), chosen], tolerance)
    return classes.argsort(dim=1, stable=True)


def _stable(classes: Tensor, seen: Tensor) -> Tensor:
    """Classes cut by what their atoms see of each class, until nothing is cut any more."""
    for _ in range(classes.shape[1]):
        before = classes.amax()
        total = classes.sum()
        # A number for each class that no sum of others imitates.
        marks = torch.frac(torch.sin(12.9898 * (classes.double() + 1)) * 43758.5453)
        for view in seen:
            classes = _refined(classes, (view @ marks[..., None])[..., 0], torch.full_like(marks[:, :1], _SAME_VIEW))
        if classes.amax() == before and classes.sum() == total:
            break
    return classes


def _refined(classes: Tensor, values: Tensor, tolerance: Tensor) -> Tensor:
    """Classes cut where the sorted values of one class have a gap."""
    by_value = values.argsort(dim=1, stable=True)
    order = by_value.gather(1, classes.gather(1, by_value).argsort(dim=1, stable=True))
    sorted_classes, sorted_values = classes.gather(1, order), values.gather(1, order)
    begins = (sorted_classes.diff(dim=1) != 0) | (sorted_values.diff(dim=1) > tolerance)
    number = torch.nn.functional.pad(begins.long().cumsum(1), (1, 0))
    return torch.empty_like(classes).scatter(1, order, number)


def _alike(classes: Tensor, present: Tensor) -> Tensor:
    """Atoms that share their class with another."""
    counts = torch.zeros_like(classes).scatter_add(1, classes, present.long())
    return (counts.gather(1, classes) > 1) & present
