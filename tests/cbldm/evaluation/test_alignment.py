"""Clusters laid over each other: against every permutation, turned and shaken, with atoms missing."""

import itertools

import numpy as np
import pytest
from cbldm.data.clusters import build_geometry, library
from cbldm.evaluation.alignment import align
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.stats import ortho_group

SYMMETRIC = [("Ico", (2,)), ("Ico", (3,)), ("SC", (2, 2, 3)), ("Oct", (4,)), ("Dec", (3, 2, 0)), ("HCP", (3, 3, 3))]


def disguised(positions: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The same cluster with its atoms in another order, turned, perhaps mirrored, and moved."""
    turned = positions[random.permutation(len(positions))] @ ortho_group.rvs(3, random_state=random)
    return turned + random.normal(size=3)


def least_rmsd(x: np.ndarray, y: np.ndarray) -> float:
    """By every permutation, with the best orthogonal matrix of each in closed form."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    overlap = max(
        np.linalg.svd(x[list(order)].T @ y, compute_uv=False).sum() for order in itertools.permutations(range(len(x)))
    )
    return float(np.sqrt(max(0.0, (x**2).sum() + (y**2).sum() - 2 * overlap) / len(x)))


@given(st.integers(0, 10_000), st.integers(2, 5))
def test_no_permutation_is_better(seed: int, atoms: int) -> None:
    random = np.random.default_rng(seed)
    x, y = random.uniform(-3, 3, (2, atoms, 3))
    assert align(x, y).rmsd == pytest.approx(least_rmsd(x, y), abs=1e-7)


@given(st.integers(0, 10_000), st.sampled_from(SYMMETRIC), st.sampled_from([0.0, 0.03, 0.12]))
def test_a_symmetric_cluster_is_recognised_shaken_and_mirrored(
    seed: int, which: tuple[str, tuple[int, ...]], shake: float
) -> None:
    random = np.random.default_rng(seed)
    truth = 2.8 * build_geometry(*which).positions  # type: ignore[arg-type]
    moved = truth + shake * random.normal(size=truth.shape)
    laid = align(disguised(moved, random), truth)
    assert laid.rmsd <= np.sqrt(np.square(moved - truth).sum(axis=1).mean()) + 1e-9
    assert laid.mae < shake + 1e-9
    assert laid.missing == laid.extra == 0
    assert laid.positions[laid.partners[:, 0]] == pytest.approx(truth[laid.partners[:, 1]], abs=6 * shake + 1e-9)


@pytest.mark.parametrize("geometry", library()[::37], ids=lambda each: each.label)
def test_clusters_of_the_library_are_recognised(geometry) -> None:
    random = np.random.default_rng(0)
    truth = 2.8 * geometry.positions
    assert align(disguised(truth, random), truth).rmsd < 1e-6


@given(st.integers(0, 10_000))
def test_a_vacancy_at_another_place_is_one_missing_and_one_extra_atom(seed: int) -> None:
    random = np.random.default_rng(seed)
    whole = 2.8 * build_geometry("Ico", (3,)).positions
    order = np.argsort(np.linalg.norm(whole, axis=1))
    vertex, edge = order[-1], order[20]  # alike only to others of their shell
    laid = align(disguised(np.delete(whole, edge, axis=0), random), np.delete(whole, vertex, axis=0))
    assert (laid.missing, laid.extra) == (1, 1)
    alike = align(disguised(np.delete(whole, order[-2], axis=0), random), np.delete(whole, vertex, axis=0))
    assert alike.rmsd < 1e-6


@given(st.integers(0, 10_000), st.sampled_from(SYMMETRIC[1:]), st.integers(1, 4))
def test_missing_and_extra_atoms_are_told(seed: int, which: tuple[str, tuple[int, ...]], gone: int) -> None:
    random = np.random.default_rng(seed)
    whole = 2.8 * build_geometry(*which).positions  # type: ignore[arg-type]
    part = whole[random.permutation(len(whole))[gone:]] + random.normal(size=(len(whole) - gone, 3)) * 0.03
    fewer = align(disguised(part, random), whole)
    assert (fewer.missing, fewer.extra, len(fewer.partners)) == (gone, 0, len(part))
    assert fewer.rmsd < 0.1
    more = align(disguised(whole, random), part)
    assert (more.missing, more.extra, len(more.partners)) == (0, gone, len(part))
    assert len(more.positions) == len(whole)


def test_a_layer_less_moves_the_centre() -> None:
    whole = 2.8 * build_geometry("FCC", (3, 4, 4)).positions
    part = whole[whole[:, 0] < whole[:, 0].max() - 2.5]
    laid = align(disguised(part, np.random.default_rng(1)), whole)
    assert laid.rmsd < 1e-6
    assert laid.missing == len(whole) - len(part) > 5


@pytest.mark.parametrize(("atoms", "others"), [(4, 9), (9, 4), (6, 6)])
def test_a_rectangular_assignment_is_partial_transport(atoms: int, others: int) -> None:
    transport = pytest.importorskip("ot")
    random = np.random.default_rng(atoms)
    cost = cdist(random.normal(size=(atoms, 3)), random.normal(size=(others, 3)), "sqeuclidean")
    plan = transport.partial.partial_wasserstein(np.ones(atoms), np.ones(others), cost, m=min(atoms, others))
    rows, columns = linear_sum_assignment(cost)
    assert (plan * cost).sum() == pytest.approx(cost[rows, columns].sum())


def test_it_depends_neither_on_the_order_nor_on_the_frame() -> None:
    random = np.random.default_rng(3)
    x, y = 2.8 * build_geometry("Dec", (2, 3, 0)).positions, 2.8 * build_geometry("HCP", (2, 2, 3)).positions
    again = align(disguised(x, random), disguised(y, random))
    assert align(x, y).rmsd == pytest.approx(again.rmsd, rel=0.05)


def test_bad_coordinates() -> None:
    with pytest.raises(ValueError, match=r"the found cluster has coordinates of shape \(0, 3\)"):
        align(np.zeros((0, 3)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"the true cluster has coordinates of shape \(2, 3\); give finite ones"):
        align(np.zeros((2, 3)), np.full((2, 3), np.nan))
