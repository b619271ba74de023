"""Spheres cut from crystals, where a particle is larger than what was searched."""

import math
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from cbldm import PairDistribution, SimulationSettings, read_gr, simulate
from cbldm.data.clusters import StructureType, build_geometry
from cbldm.pairs import pairs_of
from cbldm.rank import Candidate
from cbldm.refine import DILATIONS, Parameters, refine_structure
from cbldm.scattering.crystal import MARGIN, Site, crystal_pair_distribution, shells_of
from cbldm.sphere import LATTICES, Sphere, _pairs, larger_sphere
from cbldm.target import select_target
from scipy.spatial import cKDTree

BOND = 2.775
FCC = [Site("Pt", *at) for at in ((0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0))]
LARGE: dict[str, tuple[StructureType, tuple[int, ...]]] = {
    "fcc": ("FCC", (4, 6, 6)),
    "hcp": ("HCP", (5, 5, 5)),
    "bcc": ("BCC", (5, 5, 10)),
}
"""The largest clusters of the library."""


def ball(lattice: str, diameter: float, centre: np.ndarray | float = 0.0) -> np.ndarray:
    """Sites of a crystal in a sphere, Å."""
    edge, ratio = LATTICES[lattice]
    crystal = bulk("X", lattice, a=BOND * edge, covera=ratio)
    n = math.ceil(diameter / crystal.cell.lengths().min()) + 2
    steps = np.stack(np.meshgrid(*[np.arange(-n, n + 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
    points = np.concatenate([steps @ crystal.cell.array + at for at in crystal.positions]) - centre
    return points[np.linalg.norm(points, axis=1) < diameter / 2]


def measured(positions: np.ndarray, noise: float = 0.01) -> PairDistribution:
    settings = SimulationSettings(qmin=0.8, qmax=24.0, qdamp=0.03, rmax=22.0, noise=noise, seed=3)
    return simulate(Atoms(f"Pt{len(positions)}", positions=positions), settings)


def found_for(gr: PairDistribution, kind: StructureType, parameters: tuple[int, ...]) -> tuple[Sphere | None, float]:
    """The sphere beside a cluster of the library, and the cluster's Rw."""
    target, geometry = select_target(gr), build_geometry(kind, parameters)
    atoms = Atoms(f"Pt{geometry.atom_count}", positions=BOND * geometry.positions)
    fitted = refine_structure(geometry.label, atoms, pairs_of(atoms.positions, "Pt"), target, Parameters())
    best = Candidate(**vars(fitted), type=kind, source="library")
    return larger_sphere(target, best, bond=BOND, max_atoms=256, dilations=DILATIONS), best.rw


@pytest.mark.parametrize("lattice", LATTICES)
def test_the_share_of_a_shell_is_that_of_spheres_cut_anywhere(lattice: str) -> None:
    """Against counts of neighbours in spheres whose centres lie at random."""
    diameter, random = 14.0, np.random.default_rng(0)
    group = _pairs(lattice, diameter, BOND).groups[0]
    d, expected = group.distances.numpy(), group.counts.cumsum(0).numpy()
    counted, atoms = np.zeros(len(d)), 0
    for _ in range(60):
        points = ball(lattice, diameter, random.uniform(-3, 3, 3))
        within = cKDTree(points).count_neighbors(cKDTree(points), d + 1e-6)
        counted, atoms = counted + within - len(points), atoms + len(points)
    assert counted / atoms == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(("lattice", "diameter"), [("fcc", 25.0), ("fcc", 40.0), ("hcp", 26.0), ("bcc", 26.0)])
def test_the_size_of_a_ball_larger_than_the_library_is_found(lattice: str, diameter: float) -> None:
    positions = ball(lattice, diameter)
    found, rw = found_for(measured(positions), *LARGE[lattice])
    assert found is not None
    assert found.lattice == lattice
    assert found.diameter == pytest.approx(diameter, rel=0.02)
    assert found.atoms == pytest.approx(len(positions), rel=0.05)
    assert found.fit.rw < 0.5 * rw
    assert not found.at_limit


def test_of_a_bulk_crystal_no_diameter_is_told() -> None:
    r = np.arange(0.01, 22, 0.01)
    shells = shells_of(FCC, (22 + MARGIN) / (math.sqrt(2) * BOND))
    made = {"edge": math.sqrt(2) * BOND, "biso": {"Pt": 0.4}, "qmin": 0.8, "qmax": 24.0, "qdamp": 0.03}
    g = crystal_pair_distribution(shells, r, **made)
    found, _ = found_for(PairDistribution(r, g, qmin=0.8, qmax=24.0, qdamp=0.03), "FCC", (4, 6, 6))
    assert found is not None
    assert found.at_limit
    assert found.fit.rw < 0.2
    assert found.diameter > 55


@pytest.mark.parametrize(("kind", "parameters"), [("Ico", (3,)), ("FCC", (4, 6, 6))])
def test_no_sphere_beats_the_cluster_that_was_measured(kind: StructureType, parameters: tuple[int, ...]) -> None:
    curve = measured(BOND * build_geometry(kind, parameters).positions)
    assert found_for(curve, kind, parameters)[0] is None


def test_what_is_no_crystal_is_no_sphere() -> None:
    curve = measured(BOND * build_geometry("Ico", (3,)).positions)
    curve.g[:] = np.sin(1.3 * curve.r)
    assert found_for(curve, "Ico", (3,))[0] is None


@pytest.mark.parametrize(("name", "diameter"), [("Pt_JQ_S1", 27.7), ("Au144PET_100K", None), ("AlphaKeggin", None)])
def test_measured_curves(data_folder: Path, name: str, diameter: float | None) -> None:
    gr = read_gr(data_folder / "pdf" / "experimental" / f"{name}.gr")
    found, rw = found_for(gr, "FCC", (4, 6, 6)) if name == "Pt_JQ_S1" else found_for(gr, "Ico", (3,))
    if diameter is None:
        assert found is None
    else:
        assert found is not None
        assert found.diameter == pytest.approx(diameter, abs=0.1)
        assert found.fit.rw == pytest.approx(0.157, abs=0.001)
        assert rw == pytest.approx(0.270, abs=0.001)
