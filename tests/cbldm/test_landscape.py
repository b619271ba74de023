"""The quadratic form says of a cluster what the sum over its pairs says, and moves are what they claim."""

import numpy as np
import pytest
from ase import Atoms
from cbldm import simulate
from cbldm.data.clusters import StructureType, build_geometry
from cbldm.data.crystals import crystal_of, sites_of
from cbldm.landscape import Landscape, Move
from cbldm.pairs import pairs_of
from cbldm.refine import Model, Parameters
from cbldm.simulate import SimulationSettings
from cbldm.target import Target, select_target

BOND = 2.8
PARAMETERS = Parameters(dilation=1.01, biso=0.6, delta2=1.5)


@pytest.fixture(scope="module")
def target() -> Target:
    ball = build_geometry("Ico", (3,))
    curve = simulate(Atoms("Pt55", positions=BOND * ball.positions), SimulationSettings(noise=0.05, seed=2))
    return select_target(curve)


def landscape_of(kind: StructureType, parameters: tuple[int, ...], target: Target) -> Landscape:
    geometry = build_geometry(kind, parameters)
    crystal = crystal_of(geometry)
    sites = sites_of(geometry, crystal)
    assert sites is not None
    return Landscape(crystal, sites, target, PARAMETERS, BOND)


def direct_rw(landscape: Landscape, atoms: np.ndarray, target: Target) -> float:
    """Rw at the best scale by the sum over the pairs."""
    pairs = pairs_of(BOND * landscape.points[atoms], "Pt")
    g = target.weighted(Model(pairs, target, max_dilation=1.1)(PARAMETERS)[0])
    observed = target.weighted(target.g)
    return float(np.sqrt(1 - (g @ observed) ** 2 / (g @ g) / (observed @ observed)))


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [("FCC", (2, 3, 3)), ("HCP", (2, 3, 4)), ("Dec", (2, 3, 0)), ("Ico", (3,)), ("SC", (2, 3, 3))],
)
def test_rw_is_that_of_the_sum_over_pairs(kind: StructureType, parameters: tuple[int, ...], target: Target) -> None:
    landscape = landscape_of(kind, parameters, target)
    atoms = landscape.start.atoms
    assert float(landscape.rw(landscape.start.g)) == pytest.approx(direct_rw(landscape, atoms, target), abs=1e-4)
    fewer = landscape.state(atoms[::2])
    assert float(landscape.rw(fewer.g)) == pytest.approx(direct_rw(landscape, atoms[::2], target), abs=1e-4)


def test_a_move_is_judged_as_the_cluster_it_leads_to(target: Target) -> None:
    landscape = landscape_of("Dec", (2, 3, 0), target)
    state, random = landscape.start, np.random.default_rng(0)
    free = np.flatnonzero(~state.occupied)
    for _ in range(20):
        move = Move(random.choice(free, 5, replace=False), random.choice(state.atoms, 3, replace=False))
        after = landscape.moved(state, move)
        afresh = landscape.state(after.atoms)
        np.testing.assert_allclose(after.g, afresh.g, atol=1e-9 * np.abs(afresh.g).max())
        np.testing.assert_allclose(after.gain, afresh.gain, atol=1e-9 * np.abs(afresh.gain).max())
        assert landscape.rw_after(state, [move])[0] == pytest.approx(float(landscape.rw(afresh.g)), abs=1e-9)
        back = landscape.moved(after, Move(move.removed, move.added))
        assert (back.occupied == state.occupied).all()
        np.testing.assert_allclose(back.g, state.g, atol=1e-9 * np.abs(state.g).max())


def test_single_atoms_and_swaps_are_moves(target: Target) -> None:
    landscape = landscape_of("HCP", (2, 3, 4), target)
    state = landscape.start
    free, atoms = np.flatnonzero(~state.occupied)[:7], state.atoms[:6]
    none = np.zeros(0, dtype=int)
    added = landscape.rw(state.g + state.gain[free])
    removed = landscape.rw(state.g - state.gain[atoms])
    swapped = landscape.rw_swapped(state, free, atoms)
    for k, site in enumerate(free):
        assert landscape.rw_after(state, [Move(free[[k]], none)])[0] == pytest.approx(added[k], abs=1e-12), site
    for k, atom in enumerate(atoms):
        assert landscape.rw_after(state, [Move(none, atoms[[k]])])[0] == pytest.approx(removed[k], abs=1e-12), atom
    for i in range(len(atoms)):
        for j in range(len(free)):
            assert landscape.rw_after(state, [Move(free[[j]], atoms[[i]])])[0] == pytest.approx(swapped[i, j], abs=1e-9)


def test_neighbours_are_those_of_a_close_packed_crystal(target: Target) -> None:
    landscape = landscape_of("FCC", (4, 4, 4), target)
    inside = np.linalg.norm(landscape.points - landscape.points.mean(axis=0), axis=1) < 1.5
    assert set(landscape.coordination(landscape.start)[inside].tolist()) == {12}
