"""An affinity matrix to a few latent tokens and back: symmetric, of unit diagonal and masked by construction."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from .attention import Readout, self_attention
from .gaussian import Gaussian


class ClusterEncoder(nn.Module):
    """Rows of the affinity as tokens, read out into a Gaussian over latent tokens.

    Args:
        atoms: Places of atoms.
        width: Of a token.
        depth: Layers.
        heads: Of the attention.
        tokens: Latent tokens.
        channels: Numbers in each.
    """

    def __init__(self, *, atoms: int, width: int, depth: int, heads: int, tokens: int, channels: int) -> None:
        super().__init__()
        self.row = nn.Linear(atoms, width)
        self.place = nn.Parameter(0.02 * torch.randn(atoms, width))
        self.layers = self_attention(width, heads, depth)
        self.read = Readout(width, heads, tokens, 2 * channels)

    def forward(self, w: Float[Tensor, "batch places places"], present: Bool[Tensor, "batch places"]) -> Gaussian:
        """The Gaussian over latents of each affinity, of as many places as its batch needs."""
        places = w.shape[-1]
        rows = nn.functional.pad(w, (0, self.row.in_features - places))
        tokens = self.row(rows) + self.place[:places]
        return Gaussian.of(self.read(self.layers(tokens, src_key_padding_mask=~present), ~present))


class ClusterDecoder(nn.Module):
    r"""Latent tokens and a number of atoms to a point for each atom, whose affinity is the output.

    $W_{ij} = e^{-\lVert h_i - h_j \rVert^2 / t}$ of points $h$ in more dimensions than three is symmetric, one on the
    diagonal and between 0 and 1 whatever the network does; that the points lie in space is left to decoding.

    Args:
        atoms: Places of atoms.
        width: Of a token.
        depth: Layers.
        heads: Of the attention.
        tokens: Latent tokens.
        channels: Numbers in a latent token.
        dimensions: Of the points.
        reach: Typical size of a coordinate, Å.
    """

    def __init__(
        self,
        *,
        atoms: int,
        width: int,
        depth: int,
        heads: int,
        tokens: int,
        channels: int,
        dimensions: int,
        reach: float = 8.0,
    ) -> None:
        super().__init__()
        self.reach = reach
        self.latent = nn.Linear(channels, width)
        self.latent_place = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.place = nn.Parameter(torch.randn(atoms, width) / width**0.5)
        self.count = nn.Embedding(atoms + 1, width)
        layer = nn.TransformerDecoderLayer(
            width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerDecoder(layer, depth, norm=nn.LayerNorm(width))
        self.points = nn.Linear(width, dimensions)

    def forward(
        self, latent: Float[Tensor, "batch tokens channels"], atom_count: Int[Tensor, " batch"], places: int
    ) -> Float[Tensor, "batch places dimensions"]:
        """Points in the first `places` places, Å; those beyond the number of atoms mean nothing."""
        present = torch.arange(places, device=latent.device) < atom_count[:, None]
        count = self.count(atom_count)[:, None]
        memory = torch.cat([self.latent(latent) + self.latent_place, count], 1)
        queries = self.place[:places] + count
        found = self.layers(queries, memory, tgt_key_padding_mask=~present)
        return self.reach * self.points(found)
