"""The canonical order of atoms: one cluster, one matrix."""

import pytest
import torch
from cbldm.affinity import affinity, atom_mask
from cbldm.data.clusters import build_geometry, library
from cbldm.order import canonical_order
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor


def ordered(x: Tensor) -> Tensor:
    order = canonical_order(x[None], torch.ones(1, len(x), dtype=torch.bool))[0]
    assert torch.equal(order.sort().values, torch.arange(len(x)))
    return affinity(x[order])


def moved(x: Tensor, seed: int) -> Tensor:
    """Turned, mirrored as often as not, moved and listed anew."""
    generator = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64)).Q
    x = x @ turn + 50 * torch.randn(3, generator=generator, dtype=torch.float64)
    return x[torch.randperm(len(x), generator=generator)]


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [("Ico", (4,)), ("FCC", (4, 6, 6)), ("Dec", (3, 2, 1)), ("HCP", (2, 3, 4)), ("BCC", (2, 3, 3)), ("SC", (3, 3, 3))],
)
def test_symmetric_clusters_have_one_matrix(kind: str, parameters: tuple[int, ...]) -> None:
    x = torch.from_numpy(2.8 * build_geometry(kind, parameters).positions)  # type: ignore[arg-type]
    for seed in range(3):
        assert (ordered(moved(x, seed)) - ordered(x)).abs().max() < 1e-9


@given(st.integers(0, 10_000), st.integers(1, 40))
def test_any_cloud_has_one_matrix(seed: int, atoms: int) -> None:
    x = 4 * torch.randn(atoms, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert (ordered(moved(x, seed)) - ordered(x)).abs().max() < 1e-9


def test_the_order_does_not_depend_on_size() -> None:
    x = torch.from_numpy(build_geometry("Dec", (3, 2, 1)).positions)
    present = torch.ones(1, len(x), dtype=torch.bool)
    assert torch.equal(canonical_order(2.2 * x[None], present), canonical_order(3.6 * x[None], present))


def test_atoms_come_from_the_centre_outwards() -> None:
    x = torch.from_numpy(build_geometry("Ico", (4,)).positions)
    radii = x[canonical_order(x[None], torch.ones(1, 147, dtype=torch.bool))[0]].norm(dim=1)
    assert (radii.diff() > -1e-9).all()


def test_empty_places_come_last_and_change_nothing() -> None:
    clusters = [torch.from_numpy(2.8 * build_geometry("Oct", (size,)).positions) for size in (2, 3)]
    padded = torch.full((2, 30, 3), 9.0, dtype=torch.float64)
    for row, x in zip(padded, clusters, strict=True):
        row[: len(x)] = x
    found = canonical_order(padded, atom_mask(torch.tensor([6, 19]), 30))
    for order, x in zip(found, clusters, strict=True):
        assert torch.equal(order[len(x) :].sort().values, torch.arange(len(x), 30))
        assert torch.equal(order[: len(x)], canonical_order(x[None], torch.ones(1, len(x), dtype=torch.bool))[0])


def test_every_geometry_of_the_library_has_one_matrix() -> None:
    for seed, geometry in enumerate(library()):
        x = torch.from_numpy(2.8 * geometry.positions)
        assert (ordered(moved(x, seed)) - ordered(x)).abs().max() < 1e-6, geometry.label
