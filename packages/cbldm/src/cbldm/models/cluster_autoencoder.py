"""An affinity matrix to a few latent tokens and back: symmetric, of unit diagonal and masked by construction."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from .attention import Readout, self_attention
from .denoiser import step_waves
from .gaussian import Gaussian

_WAVES = (1.0, 2.0, 4.0, 8.0)
PLACE_NUMBERS = 3 + 6 * len(_WAVES) + 2 * len(_WAVES) + 2
"""Numbers that tell a place."""
_COUNT_WIDTH = 64
_SLOTS_GAIN = 30.0
"""What a slot holds is multiplied by this, so that it is learnt in as few steps as a cluster is met."""


def place_numbers(place: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch numbers"]:
    """Where a place of the unit ball is, for a network: its coordinates and radius, and waves along them."""
    waves = (math.pi / 2) * torch.tensor(_WAVES, device=place.device)
    along = (place[..., None] * waves).flatten(-2)
    radius = place.norm(dim=-1, keepdim=True)
    across = 2 * radius * waves
    return torch.cat([place, along.sin(), along.cos(), radius, radius**2, across.sin(), across.cos()], -1)


def evenly(atom_count: Int[Tensor, " batch"], some: int) -> Int[Tensor, "batch some"]:
    """So many places of each cluster, evenly from its first to its last; of a small one some come twice.

    >>> evenly(torch.tensor([4, 2]), 4).tolist()
    [[0, 1, 2, 3], [0, 0, 1, 1]]
    """
    return (torch.arange(some, device=atom_count.device) * atom_count[:, None]) // some


class ClusterEncoder(nn.Module):
    """Rows of the affinity as tokens, read out into a Gaussian over latent tokens.

    Places being alike in all clusters, it is enough to see some of the matrix: `rows` atoms by `columns` others.

    Args:
        places: Where the places are (see `cbldm.order.all_places`).
        rows, columns: How much of the matrix is seen.
        width: Of a token.
        depth: Layers over the latent tokens.
        heads: Of the attention.
        tokens: Latent tokens.
        channels: Numbers in each.
    """

    def __init__(
        self,
        places: Float[Tensor, "counts atoms 3"],
        *,
        rows: int,
        columns: int,
        width: int,
        depth: int,
        heads: int,
        tokens: int,
        channels: int,
    ) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns
        self.places: Tensor
        self.register_buffer("places", places, persistent=False)
        self.row = nn.Linear(columns + PLACE_NUMBERS, width)
        self.each = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.read = Readout(width, heads, tokens, width)
        self.count = nn.Linear(_COUNT_WIDTH, width)
        self.layers = self_attention(width, heads, depth)
        self.out = nn.Linear(width, 2 * channels)

    def forward(self, w: Float[Tensor, "batch rows columns"], atom_count: Int[Tensor, " batch"]) -> Gaussian:
        """The Gaussian over latents of each cluster, from W between places that lie `evenly` in canonical order."""
        where = place_numbers(self.places[atom_count[:, None], evenly(atom_count, self.rows)])
        tokens = self.row(torch.cat([2 * w, where], -1))
        found = self.read(tokens + self.each(tokens))
        return Gaussian.of(self.out(self.layers(found + self.count(step_waves(atom_count, _COUNT_WIDTH))[:, None])))


class ClusterDecoder(nn.Module):
    r"""Latent tokens and a number of atoms to a point for each atom, whose affinity is the output.

    $W_{ij} = e^{-\lVert h_i - h_j \rVert^2 / t}$ of points $h$ is symmetric, one on the diagonal and between 0 and 1
    whatever the network does. Each point is a function of its place: a linear map of the ball, to which a network with
    blocks shifted and scaled by the latent adds, and a memory: for each number of atoms `slots` lists of points, of
    which the latent asks for one, or a mean, which is how a cluster that was often seen is given back exactly.

    Args:
        places: Where the places are (see `cbldm.order.all_places`).
        width: Of the network.
        depth: Its blocks.
        slots: Of the memory, for each number of atoms.
        tokens: Latent tokens.
        channels: Numbers in a latent token.
        bond: Bond length, Å.
    """

    def __init__(
        self,
        places: Float[Tensor, "counts atoms 3"],
        *,
        width: int,
        depth: int,
        slots: int,
        tokens: int,
        channels: int,
        bond: float,
    ) -> None:
        super().__init__()
        self.reach = bond * (3 / (4 * math.pi * math.sqrt(2))) ** (1 / 3)
        self.places: Tensor
        self.register_buffer("places", places, persistent=False)
        given = tokens * channels + _COUNT_WIDTH
        self.atoms, self.depth = places.shape[1], depth
        self.settings = nn.Sequential(nn.Linear(given, 256), nn.GELU(), nn.Linear(256, 2 * width * depth))
        self.stretch = nn.Linear(given, 9)
        choice = nn.Linear(256, slots)
        nn.init.normal_(choice.weight)  # from the start each latent asks for a few slots
        self.asked = nn.Sequential(nn.Linear(given, 256), nn.GELU(), choice)
        self.slots = nn.Parameter(torch.zeros(self.atoms + 1, slots, self.atoms * 3))
        self.place = nn.Linear(PLACE_NUMBERS, width)
        self.own = nn.Parameter(0.02 * torch.randn(self.atoms, width))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.first = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.second = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.points = nn.Linear(width, 3)

    def forward(
        self,
        latent: Float[Tensor, "batch tokens channels"],
        atom_count: Int[Tensor, " batch"],
        chosen: Int[Tensor, "batch chosen"],
    ) -> Float[Tensor, "batch chosen 3"]:
        """Points of the chosen places, Å; those beyond the number of atoms mean nothing."""
        given = torch.cat([latent.flatten(1), step_waves(atom_count, _COUNT_WIDTH)], 1)
        place = self.places[atom_count[:, None], chosen]
        settings = self.settings(given).unflatten(1, (self.depth, 2, 1, -1))
        x = self.place(place_numbers(place)) + self.own[chosen]
        for k, (first, second) in enumerate(zip(self.first, self.second, strict=True)):
            scale, shift = settings[:, k].unbind(1)
            x = x + second(F.gelu(first(self.norm(x) * (1 + scale) + shift)))
        stretch = torch.eye(3, device=x.device) + 0.3 * self.stretch(given).unflatten(1, (3, 3))
        ball = self.reach * atom_count.to(x)[:, None, None] ** (1 / 3) * (place @ stretch)
        known = (self.asked(given).softmax(1)[:, None] @ self.slots[atom_count])[:, 0]
        return ball + self.reach * (2 * self.points(x) + _SLOTS_GAIN * taken(known.unflatten(1, (-1, 3)), chosen))


def taken(
    rows: Float[Tensor, "batch places numbers"], chosen: Int[Tensor, "batch chosen"]
) -> Float[Tensor, "batch chosen numbers"]:
    """The chosen rows of each."""
    return rows.gather(1, chosen[..., None].expand(-1, -1, rows.shape[-1]))
