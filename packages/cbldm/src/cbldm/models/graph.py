"""A cluster as a graph, read by message passing, and the perceptron that writes its coordinates."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

NEAR = 1.5
"""Atoms are neighbours up to this times the cluster's shortest distance: between √2, the lattice constant of fcc, which
DeepStruc takes, and √(8/3), the next distance of hcp and bcc."""


class Edges(NamedTuple):
    """Pairs of neighbours, each both ways, over the atoms of a whole batch.

    Attributes:
        receiver: Atom that is told.
        sender: Atom that tells.
        distance: Between them, in the unit of the coordinates.
    """

    receiver: Int[Tensor, " edges"]
    sender: Int[Tensor, " edges"]
    distance: Float[Tensor, " edges"]


def neighbours(positions: Float[Tensor, "batch places 3"], present: Bool[Tensor, "batch places"]) -> Edges:
    """Edges of each cluster of a batch.

    Args:
        positions: Coordinates, in any unit.
        present: False where there is no atom.

    Returns:
        The edges; atoms are counted through the batch, empty places left out.

    >>> line = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]])
    >>> neighbours(line, torch.tensor([[True] * 3])).receiver.tolist()
    [0, 1, 1, 2]
    """
    places = positions.shape[1]
    apart = present[:, :, None] & present[:, None, :] & ~torch.eye(places, dtype=torch.bool, device=positions.device)
    distances = torch.cdist(positions, positions)
    shortest = distances.masked_fill(~apart, torch.inf).amin((1, 2), keepdim=True)
    cluster, receiver, sender = (apart & (distances <= NEAR * shortest)).nonzero(as_tuple=True)
    number = present.flatten().cumsum(0).unflatten(0, present.shape) - 1
    return Edges(number[cluster, receiver], number[cluster, sender], distances[cluster, receiver, sender])


class Messages(nn.Module):
    r"""One round of messages.

    $h_i \leftarrow h_i + f\big(h_i, \frac{1}{|N_i|} \sum_{j \in N_i} \mathrm{silu}(A h_i + B h_j + c\, d_{ij})\big)$
    with a perceptron f, after Gilmer et al. (2017).

    Args:
        width: Of h.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.receiver, self.sender = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.distance = nn.Linear(1, width, bias=False)
        self.update = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, nodes: Float[Tensor, "nodes width"], edges: Edges) -> Float[Tensor, "nodes width"]:
        """Nodes that have heard their neighbours."""
        h = self.norm(nodes)
        said = self.receiver(h).index_select(0, edges.receiver) + self.sender(h).index_select(0, edges.sender)
        said = nn.functional.silu(said + self.distance(edges.distance[:, None]))
        heard = torch.zeros_like(h).index_add(0, edges.receiver, said)
        degree = torch.zeros_like(h[:, 0]).index_add(0, edges.receiver, torch.ones_like(edges.distance))
        return nodes + self.update(torch.cat([h, heard / degree.clamp(min=1)[:, None]], 1))


class GraphEncoder(nn.Module):
    """Message passing over a cluster, and one vector of the whole: a weighted mean of its nodes, with their number.

    A node begins with its coordinates about the centre, an edge carries its distance. What comes out does not depend on
    the order of the atoms; on how the cluster is turned it does, as DeepStruc's does.

    Args:
        width: Of a node.
        depth: Rounds of messages.
        out: Numbers in the vector.
    """

    def __init__(self, *, width: int, depth: int, out: int) -> None:
        super().__init__()
        self.into = nn.Linear(3, width)
        self.rounds = nn.ModuleList(Messages(width) for _ in range(depth))
        self.weight = nn.Linear(width, 1)
        self.out = nn.Linear(width + 1, out)

    def forward(
        self, positions: Float[Tensor, "batch places 3"], present: Bool[Tensor, "batch places"]
    ) -> Float[Tensor, "batch out"]:
        """A vector for each cluster, whose coordinates come about the centre and in bonds."""
        edges = neighbours(positions, present)
        nodes = self.into(positions[present])
        for each in self.rounds:
            nodes = each(nodes, edges)
        weights = torch.full_like(positions[..., 0], -torch.inf).masked_scatter(present, self.weight(nodes)).softmax(1)
        cluster = present.nonzero()[:, 0]
        mean = nodes.new_zeros(len(positions), nodes.shape[1]).index_add(0, cluster, weights[present][:, None] * nodes)
        return self.out(torch.cat([mean, present.sum(1, keepdim=True).to(mean).log()], 1))


class CoordinateDecoder(nn.Module):
    """A perceptron that writes, for each place, coordinates and whether an atom is there.

    Args:
        places: How many.
        into: Numbers that it is given.
        width: Of its two hidden layers.
    """

    def __init__(self, *, places: int, into: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(into, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 4 * places)
        )

    def forward(
        self, given: Float[Tensor, "batch into"]
    ) -> tuple[Float[Tensor, "batch places 3"], Float[Tensor, "batch places"]]:
        """Coordinates and logits of an atom's presence."""
        found = self.layers(given).unflatten(1, (-1, 4))
        return found[..., :3], found[..., 3]
