"""The affinity: its laws."""

import math

import pytest
import torch
from cbldm.affinity import WIDTH, affinity, atom_mask, centred, pair_mask, pair_matrix, squared_distances
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor


def cloud(seed: int, atoms: int) -> Tensor:
    return 8 * torch.randn(atoms, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotation(seed: int) -> Tensor:
    """Of random determinant: a mirror image as often as not."""
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64)).Q


@given(st.integers(0, 1000), st.integers(1, 20))
def test_the_affinity_is_symmetric_of_unit_diagonal_and_between_zero_and_one(seed: int, atoms: int) -> None:
    w = affinity(cloud(seed, atoms))
    assert torch.equal(w, w.mT)
    assert (w.diagonal() == 1).all()
    assert ((w > 0) & (w <= 1)).all()


@given(st.integers(0, 1000))
def test_the_affinity_is_blind_to_moving_turning_and_mirroring(seed: int) -> None:
    x = cloud(seed, 12)
    moved = x @ rotation(seed) + 100 * cloud(seed + 1, 1)
    assert (affinity(moved) - affinity(x)).abs().max() < 1e-12


@given(st.integers(0, 1000))
def test_a_permutation_of_atoms_is_one_of_rows_and_columns(seed: int) -> None:
    x, order = cloud(seed, 9), torch.randperm(9, generator=torch.Generator().manual_seed(seed))
    assert (affinity(x[order]) - affinity(x)[order][:, order]).abs().max() < 1e-14


def test_one_pair_by_hand() -> None:
    w = affinity(torch.tensor([[0.0, 0.0, 0.0], [3.0, 0.0, 4.0]], dtype=torch.float64), width=50.0)
    assert float(w[0, 1]) == pytest.approx(math.exp(-25 / 50), rel=1e-14)


def test_distances_are_those_of_differences() -> None:
    x = cloud(0, 30).reshape(2, 15, 3)
    expected = (x[:, :, None] - x[:, None]).square().sum(-1)
    assert (squared_distances(x) - expected).abs().max() < 1e-11
    assert (squared_distances(x).diagonal(dim1=1, dim2=2) == 0).all()


def test_a_padded_cluster_has_the_affinity_of_the_bare_one() -> None:
    x = cloud(3, 10)
    mask = atom_mask(torch.tensor([7]), 10)
    x[7:] = 1e6
    w = affinity(x[None], mask=mask)[0]
    assert torch.allclose(w[:7, :7], affinity(x[:7]), atol=1e-12)
    assert (w[7:] == 0).all()
    assert (w[:, 7:] == 0).all()
    assert centred(x[None], mask)[0, :7].mean(0).abs().max() < 1e-12
    assert pair_mask(mask).sum() == 49


def test_the_gradient_is_that_of_finite_differences() -> None:
    x = cloud(1, 4).requires_grad_()
    mask = torch.tensor([True, True, True, False])
    assert torch.autograd.gradcheck(lambda p: affinity(p, mask=mask, width=50.0), x)


def test_distances_in_the_place_of_the_affinity_are_in_its_unit() -> None:
    x = cloud(0, 9)
    found = pair_matrix(x, "distance")
    expected = torch.cdist(x, x) / WIDTH**0.5
    assert (found - expected)[~torch.eye(9, dtype=torch.bool)].abs().max() < 1e-4
    assert (torch.exp(-found.square()) - pair_matrix(x, "affinity")).abs().max() < 2e-6
    assert torch.equal(pair_matrix(x, "affinity"), affinity(x))


def test_the_gradient_of_distances_is_finite_where_atoms_meet() -> None:
    x = torch.zeros(2, 3, requires_grad=True)
    pair_matrix(x, "distance").sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.zeros(2, 3))
