"""Curves to judge by: their clusters, bond lengths and instruments, and that they are the exact Debye sum's."""

from pathlib import Path

import numpy as np
import pytest
import torch
from cbldm import pair_distribution
from cbldm.data.clusters import library
from cbldm.data.splits import METALLIC_RADII, POOR, split_library
from cbldm.evaluation.cases import BOND_ERROR, cases_of, measured_cases

KNOWN = library(max_atoms=100)


def test_a_curve_is_the_debye_sum_of_its_cluster_and_tells_nothing_else() -> None:
    case = cases_of(split_library("geometry", KNOWN), KNOWN)[0]
    assert case.truth is not None
    curve = case.curve()
    settings = {"rmin": 0.0, "rmax": 30.0, "rstep": 0.01, "qmin": 0.7, "qmax": 25.0, "qdamp": 0.04, "biso": 0.3}
    g = pair_distribution(torch.from_numpy(case.truth.positions), "Pt", **settings)
    assert np.abs(curve.g - g.numpy()).max() < 1e-9 * float(g.abs().max())
    assert (curve.qmin, curve.qmax, curve.qdamp, curve.composition) == (0.7, 25, 0.04, {})
    assert case.geometry is not None
    assert case.geometry.label not in curve.name


def test_bonds_are_twice_a_metallic_radius_and_told_only_roughly() -> None:
    cases = cases_of(split_library("geometry", KNOWN), KNOWN, clusters=5, bonds=3)
    assert {case.bond / 2 for case in cases} <= set(METALLIC_RADII)
    assert len({case.name for case in cases}) == 15
    errors = [abs(case.told / case.bond - 1) for case in cases]
    assert 0 < max(errors) <= BOND_ERROR
    assert len({case.group for case in cases[:5]}) == 5


def test_the_random_split_has_bonds_of_its_own() -> None:
    split = split_library("random", KNOWN)
    for case in cases_of(split, KNOWN, clusters=20, bonds=9):
        place = [each.label for each in KNOWN].index(case.group)
        assert case.bond in split.test.bonds[split.test.places == place]


@pytest.mark.parametrize("name", ["geometry", "type", "size"])
def test_clusters_are_of_the_test_and_spread_over_sizes(name: str) -> None:
    known = library()
    split = split_library(name, known)
    cases = cases_of(split, known, clusters=10)
    tested = {known[int(k)].label for k in split.test.places}
    assert {case.group for case in cases} <= tested
    assert len(cases) == 10
    assert {known[int(k)].type for k in split.test.places} >= {case.geometry.type for case in cases}
    everything = cases_of(split, known)
    assert {case.group for case in everything} == tested


def test_the_same_seed_gives_the_same_curves() -> None:
    split = split_library("instrument", KNOWN)
    first, again, other = (cases_of(split, KNOWN, clusters=3, seed=seed) for seed in (1, 1, 2))
    assert [each.name for each in first] == [each.name for each in again]
    assert np.array_equal(first[1].curve().g, again[1].curve().g)
    assert [each.told for each in first] != [each.told for each in other]


def test_noise_is_added_to_the_same_curves() -> None:
    split = split_library("geometry", KNOWN)
    clean, noisy = (cases_of(split, KNOWN, clusters=3, noise=noise) for noise in (0.0, 0.05))
    assert [(each.name, each.told) for each in clean] == [(each.name, each.told) for each in noisy]
    for one, other in zip(clean, noisy, strict=True):
        g = one.curve().g
        assert np.std(other.curve().g - g) == pytest.approx(0.05 * np.abs(g).max(), rel=0.3)
    assert len({each.settings.seed for each in noisy}) == 3


def test_poor_instruments_are_outside_of_those_that_train() -> None:
    for case in cases_of(split_library("instrument", KNOWN), KNOWN, clusters=6):
        for name in ("qmin", "qmax", "qdamp", "biso", "noise"):
            low, high = getattr(POOR, name)
            assert low <= getattr(case.settings, name) <= high
        curve = case.curve()
        assert curve.qmin == case.settings.qmin
        assert 14.9 < curve.r[-1] < 30
        assert np.isfinite(curve.g).all()


def test_measured_curves(data_folder: Path) -> None:
    cases = measured_cases(data_folder / "pdf" / "experimental")
    assert [case.element for case in cases if case.inside] == ["Au", "Pt"]
    assert [case.name for case in cases if not case.inside] == ["AlphaKeggin.gr", "CdSe-1.gr"]
    assert all(case.truth is None and case.biso is None for case in cases)
    assert len(cases[0].curve().r) > 100


def test_what_cannot_be_dealt(tmp_path: Path) -> None:
    split = split_library("geometry", KNOWN)
    with pytest.raises(ValueError, match="clusters 0: give how many to test with"):
        cases_of(split, KNOWN, clusters=0)
    with pytest.raises(ValueError, match="bonds 0: give how many"):
        cases_of(split, KNOWN, bonds=0)
    with pytest.raises(FileNotFoundError, match=r"Au144PET_100K\.gr: no such file; give the folder .* --curves"):
        measured_cases(tmp_path)
