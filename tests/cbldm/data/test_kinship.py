"""Kinship: a cluster and what one atom makes of it are always kin; what is plainly another is not."""

import numpy as np
import pytest
from cbldm.data import kinship
from cbldm.data.clusters import Geometry, build_geometry, library
from cbldm.data.defects import draw_variant, with_atoms
from cbldm.data.kinship import families, kin_of
from papertrio_shared.seed import numpy_generator
from scipy.spatial.transform import Rotation

SOME = library(max_atoms=200)[1::3]


def changed(geometry: Geometry, how: str, random: np.random.Generator) -> Geometry:
    """The cluster, turned and at another bond length, with one atom taken away, added or moved."""
    positions = geometry.positions
    if how in ("taken", "moved"):
        positions = np.delete(positions, random.integers(len(positions)), axis=0)
    if how in ("added", "moved"):
        positions = with_atoms(random, positions, 1)
    turn = Rotation.random(random_state=int(random.integers(1000))).as_matrix()
    return Geometry(geometry.type, (), random.uniform(0.8, 1.3) * positions @ turn)


@pytest.mark.parametrize("how", ["same", "taken", "added", "moved"])
def test_what_differs_by_one_atom_is_kin(how: str) -> None:
    random = numpy_generator(0, how)
    for geometry in SOME:
        other = changed(geometry, how, random)
        assert kin_of([geometry], [other])[0], geometry.label
        assert kin_of([other], [geometry])[0], geometry.label


def test_other_clusters_are_not_kin() -> None:
    """Beyond a handful of atoms no two of the named clusters differ by one, and two vacancies are no kin."""
    large = [each for each in library(max_atoms=200) if each.atom_count > 30]
    assert len(set(families(large).tolist())) == len(large)
    cluster = build_geometry("Ico", (3,))
    random = numpy_generator(0, "vacancies")
    parted = Geometry("Ico", (), np.delete(cluster.positions, random.choice(55, 4, replace=False), axis=0))
    assert not kin_of([cluster], [parted])[0]


def test_families_hold_parents_children_and_kin_of_kin() -> None:
    ico = build_geometry("Ico", (3,))
    chain = [Geometry("Ico", (), ico.positions[k:]) for k in range(1, 5)]
    random = numpy_generator(0, "child")
    child = draw_variant(random, ico, 0)
    others = [build_geometry("FCC", (4, 6, 6)), build_geometry("Dec", (3, 2, 1))]
    family = families([ico, child, *chain, *others])
    assert len(set(family[:6].tolist())) == 1
    assert len(set(family.tolist())) == 3


def test_histograms_count_every_pair_in_units_of_the_bond() -> None:
    geometry = build_geometry("Dec", (3, 2, 1))
    histogram = kinship.distance_histogram(geometry)
    n = geometry.atom_count
    assert histogram.sum() == pytest.approx(n * (n - 1) / 2)
    scaled = Geometry("Dec", (), 2.7 * geometry.positions)
    assert np.allclose(histogram, kinship.distance_histogram(scaled), atol=1e-6)


def test_of_nothing_nothing_is_kin() -> None:
    assert not kin_of(SOME, []).any()
