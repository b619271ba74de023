"""How many atoms a curve speaks of, of which structure type, how long the bond is and how long the particle."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

_STRETCH = 0.02
"""Unit in which a head tells how far the bond is from the first peak."""


class CountAndType(NamedTuple):
    """Logarithms of probabilities, but for a constant of each curve.

    Attributes:
        atom_count: For each number of atoms from 0; fewer than two have no distance and no chance.
        type: For each structure type.
    """

    atom_count: Float[Tensor, "batch counts"]
    type: Float[Tensor, "batch types"]


class Said(NamedTuple):
    """What the heads say of a curve.

    Attributes:
        atom_count, type: As in `CountAndType`.
        stretch: Logarithm of the bond in units of the first peak's distance.
        axes: Logarithms of the spreads of the atoms along the principal axes in bonds, the longest first.
    """

    atom_count: Float[Tensor, "batch counts"]
    type: Float[Tensor, "batch types"]
    stretch: Float[Tensor, " batch"]
    axes: Float[Tensor, "batch 3"]


class AtomCount(nn.Module):
    """Readings of a curve's summary.

    Args:
        summary: Numbers in the summary.
        atoms: Largest number of atoms.
        types: How many structure types.
    """

    def __init__(self, *, summary: int, atoms: int, types: int) -> None:
        super().__init__()
        self.parts = (atoms + 1, types, 1, 3)
        self.read = nn.Linear(summary, sum(self.parts))

    def forward(self, summary: Float[Tensor, "batch summary"]) -> Said:
        """All of them."""
        count, kind, stretch, axes = self.read(summary).split(self.parts, 1)
        count = nn.functional.pad(count[:, 2:], (2, 0), value=-torch.inf)
        return Said(count, kind, _STRETCH * stretch[:, 0], axes)


def count_divergence(
    said: Float[Tensor, "batch counts"], atom_count: Int[Tensor, " batch"], *, width: float
) -> Float[Tensor, " batch"]:
    r"""KL divergence of what is said from a narrow bell around the truth: a near miss costs less than a far one.

    The bell's standard deviation is `width` (1 + N/100) atoms.

    Args:
        said: Logits for each number of atoms from 0, −∞ for 0 and 1.
        atom_count: The true numbers, N.
        width: Of the bell at its narrowest; 0 for the cross-entropy.

    Returns:
        The divergence of each.

    >>> logits = torch.tensor([[-torch.inf, -torch.inf, 0.0, 50.0]])
    >>> count_divergence(logits, torch.tensor([3]), width=0.1).round(decimals=3)
    tensor([0.])
    """
    log = said[:, 2:].log_softmax(1)
    off = torch.arange(2, said.shape[1], device=said.device) - atom_count[:, None]
    spread = (width * (1 + atom_count / 100)).clamp(min=1e-3)[:, None]
    bell = torch.softmax(-(off / spread).square() / 2, 1)
    return (torch.xlogy(bell, bell) - bell * log).sum(1)
