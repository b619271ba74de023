"""Crystals, layers and the clusters cut from them: known numbers of atoms, bonds of length one, whole shells."""

import math

import numpy as np
import pytest
from cbldm.data import cuts
from cbldm.data.clusters import build_geometry
from scipy.spatial.distance import pdist

SHELLS = {
    ("SC", "atom"): [1, 7, 19, 27],
    ("FCC", "atom"): [1, 13, 19, 43],
    ("FCC", "octahedron"): [6, 14, 38],
    ("FCC", "tetrahedron"): [4, 16, 28],
    ("BCC", "atom"): [1, 9, 15, 27],
    ("HCP", "atom"): [1, 13, 19, 21],
    ("HCP", "octahedron"): [6, 12],
    ("HCP", "bipyramid"): [3, 5],
}


@pytest.mark.parametrize(("kind", "centre"), SHELLS)
def test_balls_have_the_shells_of_the_crystal(kind: str, centre: str) -> None:
    crystal = cuts.lattice(kind)
    for count in SHELLS[kind, centre]:
        kept = cuts.cut(crystal.points, crystal.centres[centre], cuts.ball, count, fewest=1, most=100)
        assert len(kept) == count


@pytest.mark.parametrize("kind", ["SC", "FCC", "BCC", "HCP", "Ico", "Dec"])
def test_bonds_are_one(kind: str) -> None:
    points = cuts.twinned(kind) if kind in ("Ico", "Dec") else cuts.lattice(kind).points
    assert pdist(points[np.linalg.norm(points, axis=1) < 4]).min() == pytest.approx(1, abs=1e-9)


def test_every_centre_is_one_of_high_symmetry() -> None:
    """The nearest atoms of each are several, but for an atom itself."""
    for kind in ("SC", "FCC", "BCC", "HCP"):
        crystal = cuts.lattice(kind)
        for place in crystal.centres.values():
            gaps = np.sort(np.linalg.norm(crystal.points - np.array(place), axis=1))
            first = gaps[gaps > 1e-6]
            assert np.sum(first < first[0] + 1e-6) >= 2, (kind, place)


def test_wulff_shapes_are_the_named_ones() -> None:
    """Only {111} gives octahedra, {111} and {100} at their ratio in a cuboctahedron gives that."""
    crystal = cuts.lattice("FCC")
    octahedron = cuts.cut(
        crystal.points, crystal.centres["octahedron"], cuts.faceted(cuts.CUBIC[:1], [1]), 44, fewest=5, most=60
    )
    assert np.allclose(np.sort(pdist(octahedron)), np.sort(pdist(build_geometry("Oct", (4,)).positions)), atol=1e-9)
    gauge = cuts.faceted(cuts.CUBIC[:2], [2 / math.sqrt(3), 1.0])
    cuboctahedron = cuts.cut(crystal.points, (0, 0, 0), gauge, 55, fewest=5, most=60)
    assert np.allclose(
        np.sort(pdist(cuboctahedron)), np.sort(pdist(build_geometry("Cuboct", (5, 2)).positions)), atol=1e-9
    )


def test_layers_are_fcc_and_hcp() -> None:
    """The ball around an atom has the distances of the crystal."""
    for letters, kind in (("ABC", "FCC"), ("AB", "HCP")):
        whole = (letters * cuts.LAYERS)[: cuts.LAYERS]
        crystal = cuts.lattice(kind)
        stacked = cuts.cut(cuts.layers(whole), (0, 0, 0), cuts.ball, 57, fewest=5, most=80)
        ball = cuts.cut(crystal.points, crystal.centres["atom"], cuts.ball, 57, fewest=5, most=80)
        assert np.allclose(np.sort(pdist(stacked)), np.sort(pdist(ball)), atol=1e-9)


def test_a_stretched_ball_is_long() -> None:
    crystal = cuts.lattice("FCC")
    rod = cuts.cut(crystal.points, (0, 0, 0), cuts.stretched(cuts.ball, (0, 0, 1), 2.5), 120, fewest=5, most=256)
    width = np.ptp(rod, axis=0)
    assert width[2] > 1.8 * max(width[:2])


def test_a_shape_that_leaves_the_crystal_is_none() -> None:
    crystal = cuts.lattice("FCC")
    needle = cuts.stretched(cuts.ball, (0, 0, 1), 40.0)
    assert cuts.cut(crystal.points, (0, 0, 0), needle, 256, fewest=200, most=256) is None
    assert cuts.cut(crystal.points, (0, 0, 0), cuts.ball, 10, fewest=2, most=12) is None  # one atom, then thirteen
