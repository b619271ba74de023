"""Vacancies, ad-atoms, relaxed surfaces, strain."""

import numpy as np
import pytest
from cbldm.data import defects
from cbldm.data.clusters import Geometry, build_geometry, library
from papertrio_shared.seed import numpy_generator
from scipy.spatial.distance import pdist
from scipy.spatial.transform import Rotation

ICO = build_geometry("Ico", (3,))


def test_vacancies_are_at_the_surface() -> None:
    kept = defects.without_atoms(numpy_generator(0, "a"), ICO.positions, 3)
    assert len(kept) == 52
    lost = [p for p in ICO.positions if np.linalg.norm(kept - p, axis=1).min() > 0.1]
    assert len(lost) == 3
    assert all(np.linalg.norm(p) > 1.5 for p in lost)


@pytest.mark.parametrize("geometry", [ICO, build_geometry("SC", (3, 3, 3)), build_geometry("BCC", (2, 3, 3))])
def test_ad_atoms_touch_and_do_not_overlap(geometry: Geometry) -> None:
    positions = defects.with_atoms(numpy_generator(0, "a"), geometry.positions, 4)
    assert np.array_equal(positions[:-4], geometry.positions)
    assert pdist(positions).min() > 0.96
    assert defects.connected(positions)


def test_a_surface_contracts_and_the_middle_does_not() -> None:
    geometry = build_geometry("Cuboct", (7, 3))
    moved = defects.relaxed(geometry.positions, 0.05)
    bonds = defects.bonds_of(geometry.positions)
    length = np.linalg.norm(moved[bonds[:, 0]] - moved[bonds[:, 1]], axis=1)
    edge = defects.coordination(geometry.positions)[bonds].max(axis=1) < 12
    inner = np.linalg.norm(geometry.positions[bonds], axis=2).max(axis=1) < 1.1
    assert length[edge].mean() < 0.99
    assert abs(length[inner].mean() - 1) < 0.02
    assert length.min() > 0.94


def test_relaxation_is_that_of_the_springs() -> None:
    """At rest the gradient of the springs' energy is zero (their linear part, as they are small)."""
    pair = np.array([[0.0, 0, 0], [1.0, 0, 0], [2.0, 0, 0]])
    moved = defects.relaxed(pair, 0.05)
    # Both bonds join one neighbour to two: the wanted change is 0.05 (1 − √2/2), resisted by the tethers of the ends.
    change = 0.05 * (1 - np.sqrt(2) / 2) / (1 + defects._TETHER)
    assert moved[2, 0] - moved[0, 0] == pytest.approx(2 - 2 * change, rel=1e-9)


def test_relaxation_turns_with_the_cluster() -> None:
    turn = Rotation.from_euler("xyz", [0.3, 1.0, 2.0]).as_matrix()
    a, b = defects.relaxed(ICO.positions @ turn.T, 0.04), defects.relaxed(ICO.positions, 0.04) @ turn.T
    assert np.abs(a - b).max() < 1e-6


def test_strain_keeps_the_volume_and_has_its_size() -> None:
    strained = defects.strained(numpy_generator(1, "a"), ICO.positions, 0.02)
    matrix = np.linalg.lstsq(ICO.positions, strained, rcond=None)[0]
    principal = np.linalg.svd(matrix, compute_uv=False)
    assert np.abs(principal - 1).max() == pytest.approx(0.02, rel=1e-6)
    assert principal.prod() == pytest.approx(1, abs=1e-3)


def test_what_is_apart_is_not_connected() -> None:
    assert defects.connected(ICO.positions)
    assert not defects.connected(np.vstack([ICO.positions, ICO.positions + 10]))


def test_drawn_variants_are_clusters() -> None:
    parents = library(max_atoms=100)
    words = ""
    for k in range(60):
        random = numpy_generator(0, f"variant {k}")
        place = int(random.integers(len(parents)))
        geometry = defects.draw_variant(random, parents[place], place, 100)
        if geometry is not None:
            assert 5 <= geometry.atom_count <= 100
            assert geometry.parent == place
            assert geometry.type == parents[place].type
            assert geometry.label.startswith(parents[place].label)
            assert pdist(geometry.positions).min() > 0.9
            words += geometry.variant
    assert all(word in words for word in ("vacanc", "ad-atom", "shorter", "longer", "strained"))
