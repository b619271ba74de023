"""The distances of a cluster as terms of the Debye sum."""

import numpy as np
import pytest
import torch
from cbldm.data.clusters import build_geometry
from cbldm.pairs import MERGE_WIDTH, pairs_of
from cbldm.scattering import form_factor
from scipy.spatial.distance import pdist
from scipy.spatial.transform import Rotation


def test_every_pair_is_counted() -> None:
    positions = 2.8 * build_geometry("Dec", (3, 2, 0)).positions
    pairs = pairs_of(positions, "Au")
    assert float(pairs.groups[0].counts.sum()) == len(positions) * (len(positions) - 1) / 2
    assert float(pairs.groups[0].counts @ pairs.groups[0].distances) == pytest.approx(pdist(positions).sum(), rel=1e-12)
    assert (pairs.dmin, pairs.dmax) == pytest.approx((pdist(positions).min(), pdist(positions).max()), abs=MERGE_WIDTH)


def test_merged_distances_stay_apart_and_sorted() -> None:
    positions = np.random.default_rng(0).normal(size=(60, 3)) * 30
    distances = pairs_of(positions, "Au").groups[0].distances
    assert (distances.diff() > 0).all()
    assert len(distances) < 60 * 59 / 2


def test_rotation_translation_reflection_and_order_do_not_matter() -> None:
    positions = 2.8 * build_geometry("HCP", (2, 3, 3)).positions
    moved = Rotation.from_rotvec([0.3, -1.0, 0.5]).apply(positions * [1, 1, -1])[::-1] + 5
    first, second = pairs_of(positions, "Ti").groups[0], pairs_of(moved, "Ti").groups[0]
    assert torch.allclose(first.counts @ first.distances, second.counts @ second.distances, rtol=1e-12)
    assert torch.allclose(first.counts @ first.distances**3, second.counts @ second.distances**3, rtol=1e-12)


def test_elements_are_grouped() -> None:
    positions = np.array([[0.0, 0, 0], [2, 0, 0], [0, 3, 0], [0, 0, 4]])
    pairs = pairs_of(positions, ["Cd", "Se", "Cd", "Cd"])
    found = {group.elements: int(group.counts.sum()) for group in pairs.groups}
    assert found == {("Cd", "Cd"): 3, ("Cd", "Se"): 3}
    assert pairs.composition == {"Cd": 3, "Se": 1}


def test_weights_are_those_of_the_debye_equation() -> None:
    q = torch.linspace(0, 25, 7, dtype=torch.float64)
    positions = np.array([[0.0, 0, 0], [2, 0, 0], [0, 3, 0]])
    assert torch.equal(pairs_of(positions, "Pt").weights(q)[0], torch.full_like(q, 2 / 3))
    cd, se = form_factor("Cd", q), form_factor("Se", q)
    mixed = pairs_of(positions, ["Cd", "Cd", "Se"])
    mean = (2 * cd + se) / 3
    expected = {("Cd", "Cd"): 2 * cd * cd / (3 * mean**2), ("Cd", "Se"): 2 * cd * se / (3 * mean**2)}
    for group, weight in zip(mixed.groups, mixed.weights(q), strict=True):
        assert torch.allclose(weight, expected[group.elements], rtol=1e-12)


def test_bond_length_is_the_mean_of_the_first_shell() -> None:
    assert pairs_of(3.0 * build_geometry("SC", (2, 2, 2)).positions, "Po").bond_length == pytest.approx(3.0)
    assert pairs_of(2.5 * build_geometry("BCC", (2, 2, 3)).positions, "Fe").bond_length == pytest.approx(2.5)
    # An icosahedron of 13 has 12 radial bonds and 30 edges, longer by 1/sin(72°).
    edge = 1 / np.sin(2 * np.pi / 5)
    assert pairs_of(build_geometry("Ico", (2,)).positions, "Au").bond_length == pytest.approx((12 + 30 * edge) / 42)


def test_errors() -> None:
    with pytest.raises(ValueError, match="cluster of 1 atoms: it has no distance"):
        pairs_of(np.zeros((1, 3)), "Pt")
    with pytest.raises(ValueError, match="atom 2: its coordinates are not finite"):
        pairs_of(np.array([[0.0, 0, 0], [np.nan, 0, 0]]), "Pt")
    with pytest.raises(ValueError, match=r"atoms 1 and 3: 0\.1 Å apart"):
        pairs_of(np.array([[0.0, 0, 0], [2, 0, 0], [0.1, 0, 0]]), "Pt")
