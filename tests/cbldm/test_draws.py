"""A draw that is right about size, axes and type leads to the cluster, though none of its atoms is right."""

import numpy as np
import pytest
from ase import Atoms
from cbldm import recover, simulate
from cbldm.carve import axes_of, carve
from cbldm.data.clusters import StructureType, build_geometry
from cbldm.data.crystals import crystal_of, sites_of
from cbldm.draws import FromDraws
from cbldm.proposals import Search
from cbldm.sample import Samples
from cbldm.simulate import SimulationSettings
from cbldm.target import select_target

BOND = 2.8
TRUTH = build_geometry("Dec", (3, 2, 0))
CURVE = simulate(Atoms(f"Pt{TRUTH.atom_count}", positions=BOND * TRUTH.positions), SimulationSettings(biso=0.4))


def drawn(*clusters: np.ndarray, types: dict[str, float]) -> Samples:
    structures = tuple(Atoms(f"Pt{len(x)}", positions=x) for x in clusters)
    return Samples(structures, (0.0,) * len(structures), np.array([1.0]), types, 0)


@pytest.mark.parametrize("kind", ["SC", "FCC", "BCC", "HCP", "Ico", "Dec", "Twin"])
def test_carved_clusters_have_what_was_asked(kind: StructureType) -> None:
    wanted = np.array([2.4, 1.6, 1.2])
    found = carve(kind, 80, wanted)
    assert len(found) > 4
    for geometry in found:
        assert geometry.atom_count == 80
        sites = sites_of(geometry, crystal_of(geometry))
        assert sites is not None
        axes = axes_of(geometry.positions)
        np.testing.assert_allclose(axes / axes.prod() ** (1 / 3), wanted / wanted.prod() ** (1 / 3), rtol=0.2)


def test_axes_do_not_depend_on_how_a_cluster_is_turned() -> None:
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    np.testing.assert_allclose(axes_of(TRUTH.positions @ turn + 5), axes_of(TRUTH.positions), rtol=1e-9)


def test_a_rough_draw_leads_to_the_cluster() -> None:
    """Every atom is off by 0.8 Å, two are missing, and the type is one of two."""
    random = np.random.default_rng(1)
    rough = BOND * TRUTH.positions[2:] + 0.5 * random.normal(size=(TRUTH.atom_count - 2, 3))
    samples = drawn(rough, types={"FCC": 0.6, "Dec": 0.4})
    options = {"element": "Pt", "bond": 2.77, "library": None, "model": "none", "positions": "held"}
    found = recover(CURVE, proposers=[FromDraws(samples)], candidates=5, **options)  # type: ignore[arg-type]
    assert found[0].type == "Dec"
    assert found[0].source == "reshaped"
    assert len(found[0].atoms) == TRUTH.atom_count
    assert found[0].rw < 1e-3


def test_a_draw_is_proposed_on_the_sites_it_is_near_to_and_as_it_is() -> None:
    random = np.random.default_rng(2)
    near = BOND * TRUTH.positions + 0.02 * random.normal(size=TRUTH.positions.shape)
    samples = drawn(near, types={"Dec": 1.0})
    proposed = FromDraws(samples).propose(select_target(CURVE), Search("Pt", 2.77, 60))
    first, asis = proposed[0], next(each for each in proposed if each.label == "draw 1")
    assert first.geometry is not None
    np.testing.assert_allclose(first.geometry.shape, TRUTH.shape, atol=1e-6)
    assert first.rw < asis.rw
    assert asis.geometry is None
    assert {each.source for each in proposed} == {"model"}
    assert len(proposed) > 5
    few = FromDraws(samples, max_atoms=20).propose(select_target(CURVE), Search("Pt", 2.77, 60))
    assert few == []
    with pytest.raises(ValueError, match="no structure of up to 20 atoms was proposed; raise max_atoms"):
        recover(CURVE, element="Pt", library=None, model="none", max_atoms=20, proposers=[FromDraws(samples, 20)])


def test_what_has_no_curve_is_left_out() -> None:
    twice = np.zeros((2, 3))
    kept = FromDraws(drawn(BOND * TRUTH.positions, twice, np.zeros((1, 3)), types={})).usable
    assert [len(atoms) for atoms, _ in kept] == [TRUTH.atom_count]
