"""Clusters as graphs: who is whose neighbour, and what an encoder of sets must leave unchanged."""

import math

import pytest
import torch
from cbldm.data.clusters import build_geometry
from cbldm.models.graph import CoordinateDecoder, GraphEncoder, neighbours
from torch import Tensor


def clusters() -> tuple[Tensor, Tensor]:
    """Thirteen atoms of an icosahedron and five of noise, padded to sixteen places."""
    random = torch.Generator().manual_seed(0)
    positions = torch.zeros(2, 16, 3)
    positions[0, :13] = 2.8 * torch.tensor(build_geometry("Ico", (2,)).positions)
    positions[1, :5] = 3 * torch.randn(5, 3, generator=random)
    present = torch.arange(16) < torch.tensor([[13], [5]])
    return positions, present


def built() -> GraphEncoder:
    torch.manual_seed(0)
    return GraphEncoder(width=16, depth=3, out=8)


@pytest.mark.parametrize(
    ("kind", "shape", "degree"), [("Ico", (2,), 12), ("SC", (3, 3, 3), 18), ("BCC", (4, 4, 4), 14)]
)
def test_neighbours_reach_to_the_second_shell_at_most(kind: str, shape: tuple[int, ...], degree: int) -> None:
    """√2 of a simple cube and 2/√3 of a body-centred one are near, whatever the bond length; √(8/3) is not."""
    for bond in (1.0, 2.8):
        x = bond * torch.tensor(build_geometry(kind, shape).positions)[None]  # type: ignore[arg-type]
        edges = neighbours(x, torch.ones(x.shape[:2], dtype=torch.bool))
        centre = int(x[0].norm(dim=1).argmin())
        assert int((edges.receiver == centre).sum()) == degree
        assert sorted(zip(edges.receiver.tolist(), edges.sender.tolist(), strict=True)) == sorted(
            zip(edges.sender.tolist(), edges.receiver.tolist(), strict=True)
        )
        apart = (x[0, edges.receiver] - x[0, edges.sender]).norm(dim=1)
        assert torch.allclose(edges.distance, apart)
        assert float(apart.max()) < math.sqrt(8 / 3) * bond * 0.99


def test_atoms_in_another_order_are_the_same_cluster() -> None:
    positions, present = clusters()
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    encoder = built()
    assert torch.allclose(
        encoder(positions, present), encoder(positions[:, order], present[:, order]), rtol=1e-4, atol=1e-5
    )


def test_empty_places_say_nothing() -> None:
    positions, present = clusters()
    encoder = built()
    filled = torch.where(present[..., None], positions, 1.7)
    assert torch.allclose(encoder(positions, present), encoder(filled, present), rtol=1e-4, atol=1e-5)


def test_a_batch_is_each_of_its_clusters() -> None:
    positions, present = clusters()
    encoder = built()
    found = encoder(positions, present)
    for k, count in enumerate((13, 5)):
        alone = encoder(positions[k : k + 1, :count], present[k : k + 1, :count])
        assert torch.allclose(found[k], alone[0], rtol=1e-4, atol=1e-5)


def test_clusters_that_differ_are_told_apart() -> None:
    """An atom moved, one less, and the whole turned: the coordinates are in a frame, as DeepStruc's are."""
    positions, present = clusters()
    encoder = built()
    plain = encoder(positions, present)
    moved = positions.clone()
    moved[0, 3] *= 1.1
    assert (encoder(moved, present)[0] - plain[0]).abs().max() > 1e-4
    fewer = present.clone()
    fewer[0, 12] = False
    assert (encoder(positions, fewer)[0] - plain[0]).abs().max() > 1e-4
    assert (encoder(positions[..., [1, 0, 2]], present)[1] - plain[1]).abs().max() > 1e-4


def test_gradients_reach_every_weight() -> None:
    encoder = built()
    encoder(*clusters()).square().sum().backward()
    assert [name for name, each in encoder.named_parameters() if not each.grad.abs().sum() > 0] == []


def test_the_decoder_writes_a_place_and_a_presence_for_each() -> None:
    torch.manual_seed(0)
    decoder = CoordinateDecoder(places=5, into=4, width=8)
    given = torch.randn(2, 4)
    positions, there = decoder(given)
    assert positions.shape == (2, 5, 3)
    assert there.shape == (2, 5)
    assert torch.allclose(torch.cat([positions, there[..., None]], 2).flatten(1), decoder.layers(given))
