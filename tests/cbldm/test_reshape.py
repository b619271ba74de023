"""Shapes that are not in a library are found from its others, and noise is not taken for shape."""

import math

import numpy as np
import pytest
from ase import Atoms
from cbldm import recover, simulate
from cbldm.data.clusters import Geometry, StructureType, build_geometry, library
from cbldm.pairs import pairs_of
from cbldm.proposals import FromLibrary
from cbldm.refine import Parameters, refine_structure
from cbldm.reshape import reshape
from cbldm.simulate import SimulationSettings
from cbldm.target import Target, select_target
from scipy.spatial.distance import pdist

BOND = 2.8


def curve_of(geometry: Geometry, **settings: float) -> Target:
    atoms = Atoms(f"Pt{geometry.atom_count}", positions=BOND * geometry.positions)
    return select_target(simulate(atoms, SimulationSettings(biso=0.4, **settings)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "wanted", "begun"),
    [
        ("HCP", (1, 2, 5), (1, 2, 6)),
        ("HCP", (3, 4, 5), (3, 4, 4)),
        ("Dec", (3, 2, 0), (2, 2, 0)),
        ("FCC", (2, 3, 3), (2, 2, 2)),
        ("BCC", (3, 3, 4), (3, 3, 3)),
        ("SC", (2, 3, 3), (2, 2, 2)),
    ],
)
def test_a_shape_is_found_from_its_neighbour(
    kind: StructureType, wanted: tuple[int, ...], begun: tuple[int, ...]
) -> None:
    truth = build_geometry(kind, wanted)
    found = reshape(build_geometry(kind, begun), curve_of(truth), Parameters(), bond=BOND, max_atoms=256)
    assert found is not None
    assert len(found.positions) == truth.atom_count
    bond = BOND * found.fit.parameters.dilation
    np.testing.assert_allclose(
        np.sort(pdist(bond * found.positions)), np.sort(pdist(BOND * truth.positions)), atol=0.01
    )
    assert found.fit.rw < 1e-3
    assert found.added - found.removed == truth.atom_count - build_geometry(kind, begun).atom_count


def test_no_move_pays_where_the_shape_is_right() -> None:
    truth = build_geometry("Dec", (2, 3, 0))
    for seed in range(3):
        noisy = curve_of(truth, noise=0.03, seed=seed)
        found = reshape(truth, noisy, Parameters(biso=0.4), bond=BOND, max_atoms=256)
        assert found is None or found.moves <= 1


def test_each_move_is_paid_for() -> None:
    target = curve_of(build_geometry("HCP", (2, 4, 5)), noise=0.001)
    begun = build_geometry("HCP", (2, 4, 6))
    found = reshape(begun, target, Parameters(biso=0.4), bond=BOND, max_atoms=256)
    assert found is not None
    atoms = Atoms(f"Pt{len(found.positions)}", positions=BOND * found.positions)
    again = refine_structure(
        "same", atoms, pairs_of(atoms.positions, "Pt"), target, found.fit.parameters, delta2="zero"
    )
    assert found.price > found.moves * 2 * math.log(2 * begun.atom_count)
    assert found.fit.score == pytest.approx(again.fit.score + found.price, abs=1e-3)


def test_a_cluster_grows_no_larger_than_asked() -> None:
    target = curve_of(build_geometry("FCC", (3, 3, 3)))
    found = reshape(build_geometry("FCC", (2, 2, 2)), target, Parameters(), bond=BOND, max_atoms=30)
    assert found is not None
    assert len(found.positions) <= 30
    assert reshape(build_geometry("FCC", (3, 3, 3)), target, Parameters(), bond=BOND, max_atoms=30) is None


def test_the_same_twice_and_none_without_a_crystal() -> None:
    target = curve_of(build_geometry("BCC", (2, 3, 3)))
    begun = build_geometry("BCC", (2, 3, 4))
    one, other = (reshape(begun, target, Parameters(), bond=BOND, max_atoms=99) for _ in range(2))
    assert one is not None
    assert other is not None
    assert (one.positions == other.positions).all()
    assert one.fit.score == other.fit.score
    scattered = np.random.default_rng(0).normal(size=(12, 3))
    assert reshape(Geometry("FCC", (), 2 * scattered), target, Parameters(), bond=BOND, max_atoms=99) is None


def test_recover_finds_what_its_library_has_not() -> None:
    truth = build_geometry("HCP", (1, 3, 4))
    others = [each for each in library(max_atoms=40) if each.type == "HCP" and each.label != truth.label]
    curve = simulate(Atoms("Pt24", positions=BOND * truth.positions), SimulationSettings(biso=0.4))
    options = {"element": "Pt", "bond": 2.77, "library": None, "candidates": 5, "positions": "held", "model": "none"}
    found = recover(curve, proposers=[FromLibrary(others)], **options)  # type: ignore[arg-type]
    held = recover(curve, proposers=[FromLibrary(others)], shape="held", **options)  # type: ignore[arg-type]
    assert found[0].source == "reshaped"
    assert len(found[0].atoms) == 24
    assert found[0].rw < 1e-3 < held[0].rw
    assert found[0].moves >= 1
    assert all(each.moves == 0 for each in held)
