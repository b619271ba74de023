"""Retrieval finds clusters of the library at bond lengths that are not on its grid."""

import numpy as np
import pytest
import torch
from ase import Atoms
from cbldm import SimulationSettings, pair_distribution, simulate
from cbldm.baselines.retrieval import BISOS, retrieve, scan
from cbldm.data.clusters import library
from cbldm.metrics import rw
from cbldm.pairs import pairs_of
from cbldm.target import Target, select_target

SAMPLE = library()[5::33]
SMALL = library(max_atoms=40)


def test_the_coarse_rw_is_that_of_the_debye_sum() -> None:
    """At the point of the grid that the scan picks, against the curve computed from scratch."""
    geometry = library()[45]
    positions = 2.8 * geometry.positions
    r = 0.01 * np.arange(200, 2001)
    g = np.sin(2.2 * r) * np.exp(-r / 8)
    start, found = scan(pairs_of(positions, "Pt"), Target(r, g, 0.8, 24.0, 0.04))
    assert start.biso in BISOS
    calculated = pair_distribution(
        torch.from_numpy(start.dilation * positions),
        "Pt",
        r=torch.from_numpy(r),
        qmin=0.8,
        qmax=24.0,
        qdamp=0.04,
        biso=start.biso,
    ).numpy()
    scale = float(calculated @ g / (calculated @ calculated))
    assert scale > 0
    assert found == pytest.approx(rw(g, scale * calculated), abs=1e-4)


@pytest.mark.parametrize("number", range(len(SAMPLE)), ids=[each.label for each in SAMPLE])
def test_a_simulated_cluster_is_found(number: int) -> None:
    truth = SAMPLE[number]
    bond = 2.775 * (0.9337 + 0.0131 * number)  # off the grid of half percents, from -6.6 to +5.2 %
    settings = SimulationSettings(
        biso=0.3 + 0.05 * number, qdamp=0.03, qmin=0.8, qmax=23.0, scale=0.6, noise=0.01, seed=number
    )
    curve = simulate(Atoms(f"Pt{truth.atom_count}", positions=bond * truth.positions), settings)
    neighbours = [each for each in library()[number::3] if each is not truth]
    matches = retrieve(select_target(curve), [*neighbours, truth], element="Pt", bond=2.775)
    assert truth.label in [match.geometry.label for match in matches[:5]]
    found = next(match for match in matches if match.geometry is truth)
    assert found.start.dilation * 2.775 == pytest.approx(bond, abs=0.006 * bond)


def test_matches_come_best_first_and_one_for_each_geometry() -> None:
    curve = simulate(Atoms("Pt13", positions=2.8 * library()[22].positions))
    matches = retrieve(select_target(curve), SMALL, element="Pt", bond=2.775)
    assert [match.rw for match in matches] == sorted(match.rw for match in matches)
    assert {match.geometry.label for match in matches} == {geometry.label for geometry in SMALL}


def test_an_empty_library() -> None:
    curve = select_target(simulate(Atoms("Pt13", positions=2.8 * library()[22].positions)))
    with pytest.raises(ValueError, match="the library is empty"):
        retrieve(curve, [], element="Pt", bond=2.8)
