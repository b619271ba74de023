"""From an affinity back to coordinates: exact without noise, as noisy as it must be with noise."""

import numpy as np
import pytest
import torch
from cbldm import library
from cbldm.affinity import affinity, atom_mask, squared_distances
from cbldm.data.clusters import build_geometry
from cbldm.decode import _misfit, _step, classical_scaling, decode, laplacian_embedding
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

BOND = 2.884
SOME = [("Ico", (4,)), ("FCC", (4, 6, 6)), ("Dec", (3, 2, 1)), ("HCP", (1, 3, 13)), ("BCC", (2, 3, 3)), ("Oct", (4,))]


def cluster(kind: str, parameters: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(BOND * build_geometry(kind, parameters).positions)  # type: ignore[arg-type]


def noise(shape: tuple[int, ...], seed: int) -> Tensor:
    """Of standard deviation one, the same for a pair and its reverse."""
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).triu(1)
    return drawn + drawn.mT


def error(found: Tensor, truth: Tensor) -> float:
    """Mean absolute error of a coordinate after the best turning and mirroring (Kabsch)."""
    truth = truth - truth.mean(0)
    u, _, v = torch.linalg.svd(found.mT @ truth)
    return float((found @ u @ v - truth).abs().mean())


@pytest.mark.parametrize(("kind", "parameters"), SOME)
def test_without_noise_decoding_is_exact(kind: str, parameters: tuple[int, ...]) -> None:
    x = cluster(kind, parameters)
    found = decode(affinity(x))
    assert (torch.pdist(found.positions) - torch.pdist(x)).abs().max() < 1e-9
    assert found.residual < 1e-12


@given(st.integers(0, 10_000), st.integers(1, 12))
def test_any_cloud_comes_back(seed: int, atoms: int) -> None:
    x = 5 * torch.randn(atoms, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = decode(affinity(x)).positions
    assert (squared_distances(found) - squared_distances(x)).abs().max() < 1e-6
    assert found.mean(0).abs().max() < 1e-9


@pytest.mark.parametrize(("kind", "parameters"), [SOME[0], SOME[1], SOME[5]])
def test_eigenvectors_of_the_laplacian_are_a_start_too(kind: str, parameters: tuple[int, ...]) -> None:
    x = cluster(kind, parameters)
    found = decode(affinity(x), start="laplacian").positions
    assert (torch.pdist(found) - torch.pdist(x)).abs().max() < 1e-9


@pytest.mark.parametrize("sigma", [1e-3, 1e-2, 3e-2])
def test_with_noise_the_error_is_what_the_affinity_allows(sigma: float) -> None:
    """2.7 σ Å for a coordinate at 147 atoms, which is also the bound that the curvature of W gives."""
    x = cluster("Ico", (4,))
    w = affinity(x) + sigma * noise((6, 147, 147), seed=0)
    found = decode(w)
    mean = np.mean([error(each, x) for each in found.positions]) / sigma
    assert 2.5 < mean < 3.0
    # 3N − 6 of the N(N − 1)/2 numbers are fitted.
    assert float(found.residual.mean()) / sigma == pytest.approx(np.sqrt(1 - (3 * 147 - 6) / (147 * 73)), rel=0.01)


def test_the_error_stands_at_the_bound_of_cramer_and_rao() -> None:
    x, sigma = cluster("Ico", (3,)), 1e-4
    e = affinity(x).fill_diagonal_(0)
    unit = torch.eye(165, dtype=torch.float64)
    # The information is the curvature of f over 2σ²; its pseudo-inverse leaves turning and moving out.
    jacobian = torch.autograd.functional.jacobian(lambda p: affinity(p.reshape(55, 3)), x.reshape(-1))
    rows = jacobian[torch.triu(torch.ones(55, 55), 1) > 0]
    assert rows.shape == (55 * 27, 165)
    bound = sigma * (torch.linalg.pinv(rows.mT @ rows, hermitian=True, rtol=1e-9) * unit).sum(0).sqrt().mean()
    found = decode(e + sigma * noise((40, 55, 55), seed=1)).positions
    expected = float(bound) * np.sqrt(2 / np.pi)
    assert np.mean([error(each, x) for each in found]) == pytest.approx(expected, rel=0.05)


def test_the_gradient_behind_a_step_is_that_of_autograd() -> None:
    x = cluster("Oct", (3,))[None].clone() + 0.3 * torch.randn(1, 19, 3, dtype=torch.float64)
    w = affinity(cluster("Oct", (3,)))[None]
    apart = ~torch.eye(19, dtype=torch.bool)[None]
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(_misfit(leaf, w, apart, 260.0)[0].sum(), leaf)
    # With this much damping a step goes straight down: −gradient over the damped mean of the curvature.
    e = _misfit(x, w, apart, 260.0)[1]
    step = _step(x, w, e, torch.tensor([1e9], dtype=torch.float64), 260.0)
    ratio = -step / gradient
    assert (ratio / ratio.mean() - 1).abs().max() < 1e-6


def test_a_batch_of_padded_clusters_is_each_alone() -> None:
    clusters = [cluster("Oct", (3,)), cluster("Ico", (3,)), cluster("HCP", (1, 1, 3))]
    counts = torch.tensor([len(x) for x in clusters])
    mask = atom_mask(counts, 60)
    w = torch.zeros(3, 60, 60, dtype=torch.float64)
    for k, x in enumerate(clusters):
        w[k, : len(x), : len(x)] = affinity(x) + 1e-3 * noise((len(x), len(x)), seed=k)
        w[k, len(x) :] = 7.0  # what stands in empty places means nothing
    together = decode(w, mask=mask)
    for k, x in enumerate(clusters):
        alone = decode(w[k, : len(x), : len(x)])
        assert (torch.pdist(together.positions[k, : len(x)]) - torch.pdist(alone.positions)).abs().max() < 1e-5
        assert (together.positions[k, len(x) :] == 0).all()
        assert float(together.residual[k]) == pytest.approx(float(alone.residual), rel=1e-6)


def test_more_clusters_than_are_solved_at_once_keep_their_places() -> None:
    x = torch.stack([cluster("Oct", (2,)) * (1 + 0.01 * k) for k in range(40)]).reshape(2, 20, 6, 3)
    found = decode(affinity(x)).positions
    assert found.shape == x.shape
    assert (squared_distances(found) - squared_distances(x)).abs().max() < 1e-9


def test_single_precision_stays_single() -> None:
    x = cluster("Ico", (3,)).float()
    found = decode(affinity(x))
    assert found.positions.dtype == found.residual.dtype == torch.float32
    assert (torch.pdist(found.positions) - torch.pdist(x)).abs().max() < 1e-3


def test_what_is_exact_to_its_rounding_takes_no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a network gives it whose decoder makes coordinates."""
    x = torch.stack([cluster("Ico", (4,)), 1.02 * cluster("Ico", (4,))])
    monkeypatch.setattr("cbldm.decode._step", None, raising=True)
    found = decode(affinity(x.float())).positions.double()
    assert (squared_distances(found).sqrt() - squared_distances(x).sqrt()).abs().max() < 1e-4


def test_far_too_much_noise_still_gives_finite_coordinates() -> None:
    w = 3 * noise((4, 20, 20), seed=0)
    found = decode(w)
    assert found.positions.isfinite().all()
    assert (found.residual > 1).all()


def test_no_cluster_at_all() -> None:
    assert decode(torch.zeros(0, 5, 5)).positions.shape == (0, 5, 3)


def test_classical_scaling_and_the_laplacian_ignore_empty_places() -> None:
    x, mask = cluster("Oct", (3,)), atom_mask(torch.tensor(19), 25)
    squares = torch.full((25, 25), 9.9, dtype=torch.float64)
    squares[:19, :19] = squared_distances(x)
    found = classical_scaling(squares, mask)
    assert (torch.pdist(found[:19]) - torch.pdist(x)).abs().max() < 1e-9
    assert found[19:].abs().max() < 1e-9
    vectors = laplacian_embedding(torch.exp(-squares / 260), mask)
    assert (vectors[19:] == 0).all()
    w = torch.exp(-squares[:19, :19] / 260)
    d = torch.diag(w.sum(1))
    for v in vectors[:19].mT:  # L v = λ D v
        left, right = (d - w) @ v, d @ v
        value = (left @ right) / (right @ right)
        assert (left - value * right).norm() < 1e-9 * right.norm()
        assert 1e-6 < float(value) < 1


@pytest.mark.slow
def test_every_geometry_of_the_library_comes_back() -> None:
    for geometry in library():
        x = torch.from_numpy(BOND * geometry.positions)
        found = decode(affinity(x)).positions
        assert (torch.pdist(found) - torch.pdist(x)).abs().max() < 1e-6, geometry.label


def test_what_cannot_be_decoded_is_told() -> None:
    with pytest.raises(ValueError, match=r"affinity of shape \(3, 4\): give square matrices"):
        decode(torch.zeros(3, 4))
    with pytest.raises(ValueError, match=r"mask of shape \(2,\): give \(3,\), a place for each row"):
        decode(torch.zeros(3, 3), mask=torch.ones(2, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"affinity: it holds numbers that are not finite"):
        decode(torch.full((3, 3), torch.nan))
    with pytest.raises(ValueError, match=r"start 'middle': no such choice; take scaling or laplacian"):
        decode(torch.ones(3, 3), start="middle")  # type: ignore[arg-type]
