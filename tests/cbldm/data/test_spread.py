"""The fast structure functions against the Debye sum."""

import math

import numpy as np
import pytest
import torch
from cbldm import structure_function
from cbldm.data.clusters import build_geometry
from cbldm.data.spread import TERMS, _scaled_bessel, spread_distances, spread_structure_functions
from scipy.special import ive

CLUSTERS = [
    bond * build_geometry(kind, parameters).positions
    for bond, kind, parameters in (
        (2.2, "Ico", (3,)),
        (2.9, "Dec", (3, 2, 1)),
        (3.6, "SC", (2, 2, 3)),
        (2.5, "HCP", (1, 1, 13)),
    )
]


@pytest.mark.parametrize(("biso", "delta2"), [(0.0, 0.0), (0.1, 2.5), (0.5, 0.0), (0.5, 2.0), (1.5, 2.9)])
def test_it_is_the_debye_sum_to_a_thousandth(biso: float, delta2: float) -> None:
    q = {"qstep": 0.02, "nq": 1500}
    u = torch.full((4,), biso / (8 * math.pi**2))
    found = spread_structure_functions(CLUSTERS, u, torch.full((4,), delta2), **q)
    for row, positions in zip(found, CLUSTERS, strict=True):
        exact = structure_function(positions, "Au", biso=biso, delta2=delta2, radiation="neutron", **q)
        assert (row - exact).abs().max() < 2e-3 * exact.abs().max()


def test_a_batch_is_each_of_it_in_its_place() -> None:
    u, delta2 = torch.tensor([0.01, 0.002, 0.005, 0.01]), torch.tensor([0.0, 2.0, 1.0, 3.0])
    together = spread_structure_functions(CLUSTERS, u, delta2, qstep=0.05, nq=400)
    for k, positions in enumerate(CLUSTERS):
        alone = spread_structure_functions([positions], u[k : k + 1], delta2[k : k + 1], qstep=0.05, nq=400)
        assert (together[k] - alone[0]).abs().max() < 1e-5 * alone.abs().max()


def test_spreading_keeps_the_sum_and_the_mean() -> None:
    row = spread_distances([np.array([[0.0, 0, 0], [0, 0, 2.013]])])[0].astype(float)
    grid = 0.02 * np.arange(len(row))
    assert row.sum() == pytest.approx(1 / 2.013, rel=1e-6)
    assert (row * grid).sum() / row.sum() == pytest.approx(2.013, rel=1e-6)


def test_a_distance_a_rounding_below_a_point_of_the_grid_has_room() -> None:
    """0.34 Å less the last bit is at the 17th point by the product and before it by the quotient."""
    for d in (0.1, 0.34, 0.46, 26.0, 51.8):
        pair = np.array([[0.0, 0, 0], [0, 0, np.nextafter(d, 0)]])
        assert np.isclose(spread_distances([pair]).sum(), 1 / d, rtol=1e-5)


def test_bessel_functions() -> None:
    x = np.array([[0.0, 1e-3, 0.5, 3.0, 9.0]])
    found = _scaled_bessel(torch.from_numpy(x))
    assert len(found) == TERMS
    for n, each in enumerate(found):
        assert np.allclose(each.numpy(), ive(n, x), atol=1e-5)
