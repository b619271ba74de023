"""One's own structure against a curve."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from cbldm import FitSettings, SimulationSettings, fit, read_gr, simulate
from cbldm.data.clusters import build_geometry

SETTINGS = SimulationSettings(qmin=0.9, qmax=24.0, qdamp=0.03, biso=0.45, delta2=2.5, scale=0.7, noise=0.005, seed=4)


def relaxed(seed: int = 0) -> Atoms:
    rng = np.random.default_rng(seed)
    positions = 2.8 * build_geometry("Dec", (3, 2, 0)).positions
    return Atoms("Pt39", positions=positions + 0.05 * rng.normal(size=positions.shape))


def test_a_relaxed_cluster_comes_back() -> None:
    atoms = relaxed()
    larger = atoms.copy()
    larger.positions *= 1.0234
    found = fit(atoms, simulate(larger, SETTINGS), label="relaxed")
    p, e = found.fit.parameters, found.fit.errors
    assert len(found.fit.free) == 4
    for name, truth in (("scale", 0.7), ("dilation", 1.0234), ("biso", 0.45), ("delta2", 2.5)):
        assert abs(getattr(p, name) - truth) < 4 * getattr(e, name), name
        assert 0 < getattr(e, name) < 0.2 * truth, name
    assert found.rw < 0.06
    assert np.abs(found.atoms.positions - p.dilation * (atoms.positions - atoms.positions.mean(axis=0))).max() < 1e-9


def test_several_elements() -> None:
    atoms = relaxed()
    atoms.symbols = ["Pt" if i % 3 else "Ni" for i in range(39)]
    curve = simulate(atoms, SETTINGS)
    right = fit(atoms, curve, delta2="refine")
    assert right.rw < 0.06
    wrong = atoms.copy()
    wrong.symbols = ["Ni" if i % 3 else "Pt" for i in range(39)]
    assert fit(wrong, curve).rw > 1.5 * right.rw


def test_neutrons_see_other_elements() -> None:
    atoms = relaxed()
    atoms.symbols = ["Pt" if i % 3 else "Ti" for i in range(39)]  # titanium's scattering length is negative
    curve = simulate(atoms, SimulationSettings(qmin=0.9, qmax=24.0, radiation="neutron"))
    assert fit(atoms, curve, radiation="neutron").rw < 1e-4
    assert fit(atoms, curve, radiation="xray").rw > 0.1


def test_the_best_geometry_of_a_measured_curve(data_folder: Path) -> None:
    gr = read_gr(data_folder / "pdf" / "experimental" / "Pt_JQ_S1.gr")
    geometry = build_geometry("FCC", (4, 6, 6))
    found = fit(Atoms("Pt249", positions=2.7 * geometry.positions), gr, delta2="zero")
    assert found.rw <= 0.292
    assert found.bond_length == pytest.approx(2.78, abs=0.01)


def test_errors() -> None:
    atoms = relaxed()
    curve = simulate(atoms, SETTINGS)
    with pytest.raises(ValueError, match="big: 5001 atoms; a fit takes up to 5000"):
        fit(Atoms("Pt5001", positions=np.random.default_rng(0).normal(size=(5001, 3))), curve, label="big")
    with pytest.raises(ValueError, match="double: atoms 1 and 2: 0 Å apart"):
        fit(Atoms("Pt2", positions=np.zeros((2, 3))), curve, label="double")
    with pytest.raises(ValueError, match=r"dilations 1\.1 to 1\.2: give a range around 1"):
        fit(atoms, curve, dilations=(1.1, 1.2))
    with pytest.raises(ValueError, match=r"dilations 0\.001 to 1000: give a range around 1 within 0\.5 to 2"):
        fit(atoms, curve, dilations=(1e-3, 1e3))
    with pytest.raises(ValueError, match=r"too much for a cluster 1\.08e\+06 Å wide; .* look for stray atoms"):
        fit(Atoms("Pt2", positions=[[0, 0, 0], [0, 0, 1e6]]), curve)
    with pytest.raises(ValueError, match="delta2 'maybe': no such choice; take one of refine, zero"):
        fit(atoms, curve, delta2="maybe")
    with pytest.raises(ValueError, match="too short to decide"):
        fit(atoms, curve, settings=FitSettings(rmin=28.0, rmax=40.0))
