"""One set of points turned onto another."""

import numpy as np
import pytest
from cbldm.superposition import bases, superposed
from scipy.spatial.transform import Rotation


@pytest.mark.parametrize("mirror", [1.0, -1.0])
def test_what_was_turned_mirrored_and_moved_is_brought_back(mirror: float) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(20, 3))
    moved = mirror * x @ Rotation.random(random_state=random).as_matrix().T + 7.0
    np.testing.assert_allclose(superposed(moved, moved[:5], x[:5]), x, atol=1e-12)


def test_no_other_turn_is_nearer() -> None:
    random = np.random.default_rng(1)
    x, to = random.normal(size=(2, 12, 3))
    laid = superposed(x, x, to)
    left = np.square(laid - to).sum()
    for turn in Rotation.random(200, random_state=random).as_matrix():
        for other in (turn, -turn):
            assert left <= np.square((x - x.mean(axis=0)) @ other + to.mean(axis=0) - to).sum()


def test_bases_are_orthonormal_and_start_along_the_first() -> None:
    a, b = np.random.default_rng(2).normal(size=(2, 9, 3))
    found = bases(a, b)
    np.testing.assert_allclose(found.mT @ found, np.broadcast_to(np.eye(3), (9, 3, 3)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(found), 1.0)
    np.testing.assert_allclose(found[:, :, 0], a / np.linalg.norm(a, axis=1, keepdims=True))
    assert (np.einsum("nk,nk->n", found[:, :, 1], b) > 0).all()
