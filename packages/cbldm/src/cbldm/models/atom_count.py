"""How many atoms a curve speaks of, and of which structure type, as distributions."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .attention import Readout


class CountAndType(NamedTuple):
    """Logarithms of probabilities, but for a constant of each curve.

    Attributes:
        atom_count: For each number of atoms from 0; fewer than two have no distance and no chance.
        type: For each structure type.
    """

    atom_count: Float[Tensor, "batch counts"]
    type: Float[Tensor, "batch types"]


class AtomCount(nn.Module):
    """Two readings of the curve's tokens.

    Args:
        width: Of a token.
        heads: Of the attention.
        atoms: Largest number of atoms.
        types: How many structure types.
    """

    def __init__(self, *, width: int, heads: int, atoms: int, types: int) -> None:
        super().__init__()
        self.read_count = Readout(width, heads, 1, atoms + 1)
        self.read_type = Readout(width, heads, 1, types)

    def forward(
        self, tokens: Float[Tensor, "batch tokens width"], absent: Bool[Tensor, "batch tokens"]
    ) -> CountAndType:
        """Logits from the tokens of a curve."""
        count = nn.functional.pad(self.read_count(tokens, absent)[:, 0, 2:], (2, 0), value=-torch.inf)
        return CountAndType(count, self.read_type(tokens, absent)[:, 0])
