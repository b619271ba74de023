"""A cluster lies on the sites of the crystal it was cut from, and the crystal's shifts and normals are its own."""

import numpy as np
import pytest
from cbldm.data.clusters import Geometry, build_geometry, library
from cbldm.data.crystals import crystal_of, sites_of
from cbldm.data.shapes import draw_shape
from papertrio_shared.seed import numpy_generator
from scipy.spatial import cKDTree
from scipy.spatial.distance import pdist

KINDS = ("SC", "FCC", "BCC", "HCP", "Ico", "Dec", "Oct")


@pytest.mark.parametrize("kind", KINDS)
def test_clusters_of_the_library_lie_on_sites(kind: str) -> None:
    alike = [each for each in library() if each.type == kind]
    for geometry in alike[:: max(1, len(alike) // 6)]:
        crystal = crystal_of(geometry)
        sites = sites_of(geometry, crystal)
        assert sites is not None, geometry.label
        assert len(set(sites.tolist())) == geometry.atom_count
        distances = pdist(crystal.points[sites])
        np.testing.assert_allclose(np.sort(distances), np.sort(pdist(geometry.positions)), atol=2e-3)


def test_shapes_drawn_at_random_lie_on_sites() -> None:
    drawn = [draw_shape(numpy_generator(5, f"shape {k}"), 120) for k in range(12)]
    found = [sites_of(each, crystal_of(each)) for each in drawn if each is not None]
    assert len(found) > 6
    assert all(sites is not None for sites in found)


def test_what_lies_on_no_crystal_has_no_sites() -> None:
    scattered = np.random.default_rng(0).normal(size=(20, 3))
    cluster = Geometry("FCC", (), 2 * (scattered - scattered.mean(axis=0)))
    assert sites_of(cluster, crystal_of(cluster)) is None


def test_surfaces_that_have_relaxed_keep_their_sites() -> None:
    perfect = build_geometry("FCC", (3, 3, 3))
    random = np.random.default_rng(1)
    shaken = Geometry("FCC", (3, 3, 3), perfect.positions * 1.01 + 0.03 * random.normal(size=perfect.positions.shape))
    crystal = crystal_of(perfect)
    sites = sites_of(shaken, crystal)
    assert sites is not None
    np.testing.assert_allclose(
        np.sort(pdist(crystal.points[sites])), np.sort(pdist(perfect.positions)), rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("kind", KINDS)
def test_shifts_take_a_crystal_to_itself(kind: str) -> None:
    crystal = crystal_of(next(each for each in library() if each.type == kind))
    inner = crystal.points[np.linalg.norm(crystal.points, axis=1) < 4]
    for shift in crystal.shifts:
        off, _ = cKDTree(crystal.points).query(inner + shift)
        assert off.max() < 1e-6
    np.testing.assert_allclose(np.linalg.norm(crystal.normals, axis=1), 1)


def test_stacked_layers_go_on_beyond_both_ends() -> None:
    short = Geometry("Stack", (), np.zeros((1, 3)), "layers ABAC, ball about atom")
    heights = np.unique(np.round(crystal_of(short).points[:, 2], 6))
    assert len(heights) > 30
    np.testing.assert_allclose(np.diff(heights), np.sqrt(2 / 3), atol=1e-6)
