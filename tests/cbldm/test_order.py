"""The canonical order of atoms: a place means the same in every cluster."""

import numpy as np
import pytest
from cbldm.data.clusters import Geometry, build_geometry, library
from cbldm.order import all_places, canonical_positions, places
from scipy.spatial.distance import pdist


def test_places_fill_the_ball_evenly() -> None:
    """As many in each octant and in each shell of one volume, and none near another."""
    found = places(256)
    octants = np.unique((found > 0) @ [1, 2, 4], return_counts=True)[1]
    assert octants.min() >= 28
    assert octants.max() <= 36
    shells = np.histogram(np.linalg.norm(found, axis=1) ** 3, bins=4, range=(0, 1))[0]
    assert (shells == 64).all()
    assert pdist(found).min() > 0.05


def test_a_place_has_one_direction_for_every_number_of_them() -> None:
    few, many = places(50), places(200)[:50]
    assert np.allclose(few / np.linalg.norm(few, axis=1)[:, None], many / np.linalg.norm(many, axis=1)[:, None])
    table = all_places(20)
    assert np.allclose(table[7, :7], places(7))
    assert not table[7, 7:].any()


def test_the_order_lists_each_atom_once() -> None:
    for geometry in library()[::5]:
        found = canonical_positions(geometry)
        centred = geometry.positions - geometry.positions.mean(axis=0)
        assert np.allclose(np.sort(np.linalg.norm(found, axis=1)), np.sort(np.linalg.norm(centred, axis=1)))
        assert np.allclose(np.sort(pdist(found)), np.sort(pdist(geometry.positions)))


@pytest.mark.parametrize("seed", range(3))
def test_how_a_cluster_is_listed_and_where_it_lies_does_not_matter(seed: int) -> None:
    """But for atoms that have equal work at each other's places."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((40, 3))
    moved = x[random.permutation(40)] + 5
    assert np.allclose(canonical_positions(Geometry("HCP", (), x)), canonical_positions(Geometry("HCP", (), moved)))


def test_clusters_alike_are_ordered_alike() -> None:
    """Every atom but the one that was taken away stays within a neighbour's distance of its place."""
    whole = build_geometry("FCC", (4, 6, 6))
    less = Geometry("FCC", (), whole.positions[:-1])
    a, b = canonical_positions(whole), canonical_positions(less)
    near = np.linalg.norm(a[:-1] - b, axis=1)
    assert np.median(near) < 0.2
    assert (near < 2.5).mean() > 0.9


def test_the_longest_axis_of_a_cube_comes_first() -> None:
    for parameters in ((2, 3, 5), (3, 4, 4)):
        spread = canonical_positions(build_geometry("SC", parameters)).std(axis=0)
        assert (np.diff(spread) < 1e-6).all()
