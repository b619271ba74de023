"""An instrument from a standard."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from cbldm import FitSettings, PairDistribution, SimulationSettings, simulate
from cbldm.calibrate import STANDARDS, Standard, calibrate
from cbldm.data.clusters import build_geometry
from cbldm.scattering.crystal import MARGIN, Site, crystal_pair_distribution, shells_of

R = 0.01 * np.arange(3000)
B = 8 * math.pi**2 * 0.0037995443865876666
FCC = [(0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)]
SALT = [Site("Na", *at) for at in FCC] + [Site("Cl", *(0.5 + x for x in at)) for at in FCC]


def measured(standard: Standard, *, noise: float = 0.0, rmax: float = 40.0, **changed: float) -> PairDistribution:
    r = 0.02 * np.arange(50, round(rmax / 0.02))
    edge, sites = STANDARDS[standard]
    biso = {site.element: 0.35 if site.element != "O" else 0.6 for site in sites}
    made = {"edge": 1.002 * edge, "qdamp": 0.037, "qbroad": 0.012, "delta2": 2.0, **changed}
    g = 0.8 * crystal_pair_distribution(
        shells_of(sites, (rmax + MARGIN) / edge), r, biso=biso, qmin=0.8, qmax=24.0, **made
    )
    q = np.arange(0.8, 24.0, 0.05)
    waves = np.random.default_rng(1).normal(size=len(q)) @ np.sin(np.outer(q, r)) / math.sqrt(len(q) / 2)
    return PairDistribution(r, g + noise * np.abs(g).max() * waves, qmin=0.8, qmax=24.0, name="standard.gr")


@pytest.mark.parametrize(
    ("name", "sites", "edge"),
    [("Ni_fcc", [Site("Ni", *at) for at in FCC], 3.524), ("NaCl", SALT, 5.6402)],
)
def test_the_crystal_is_that_of_diffpy(name: str, sites: list[Site], edge: float, data_folder: Path) -> None:
    """To its peaks' precision without limits in Q; with them, to what its transform's hard end at 31.5 Å leaves."""
    curves = np.load(data_folder / "pdf" / "srreal" / "crystal_pdf.npz")
    shells, biso = shells_of(sites, (30 + MARGIN) / edge), {site.element: B for site in sites}
    for key, limits, tolerance in (("A_noQ", (0.0, 1e9), 1e-5), ("A", (0.7, 25.0), 5e-3)):
        expected = curves[f"{name}/{key}/g"]
        qmin, qmax = limits
        found = crystal_pair_distribution(shells, R, edge=edge, biso=biso, qmin=qmin, qmax=qmax, qdamp=0.04)
        assert np.abs(found - expected)[150:2500].max() < tolerance * np.abs(expected).max()


@pytest.mark.parametrize("standard", ["Ni", "CeO2"])
def test_the_instrument_comes_back(standard: Standard) -> None:
    found = calibrate(measured(standard, noise=0.01), standard=standard)
    for name, truth in (("qdamp", 0.037), ("qbroad", 0.012), ("delta2", 2.0), ("scale", 0.8)):
        assert abs(found.values[name] - truth) < 4 * found.errors[name], name
    assert found.values["edge"] == pytest.approx(1.002 * STANDARDS[standard][0], rel=1e-4)
    assert 0 < found.errors["qdamp"] < 0.003
    assert found.rw < 0.1


def test_a_curve_in_another_unit_and_with_weights() -> None:
    curve = measured("Ni")
    dg = 1 + 0.1 * curve.r
    found = calibrate(replace(curve, g=1e4 * curve.g, dg=dg))
    assert found.qdamp == pytest.approx(0.037, abs=1e-4)
    assert found.values["scale"] == pytest.approx(8000, rel=1e-2)


def test_errors() -> None:
    curve = measured("Ni", rmax=20.0)
    with pytest.raises(ValueError, match=r"^standard 'Fe': no such standard; take one of Ni, Si, CeO2, LaB6$"):
        calibrate(curve, standard="Fe")
    with pytest.raises(ValueError, match=r"standard.gr: the crystal of Si leaves Rw = \d\.\d\d, so this is another"):
        calibrate(curve, standard="Si")
    with pytest.raises(ValueError, match="8 Å of curve do not tell damping from scale; give at least 15 Å"):
        calibrate(curve, settings=FitSettings(rmin=2, rmax=10))
    with pytest.raises(ValueError, match="give it with --qmax"):
        calibrate(replace(curve, qmax=None))
    particle = simulate(Atoms("Ni13", positions=2.5 * build_geometry("Ico", (2,)).positions), SimulationSettings())
    with pytest.raises(ValueError, match="so this is another substance"):
        calibrate(particle)
