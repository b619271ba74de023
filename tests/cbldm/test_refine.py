"""Refinement: the model against the Debye sum, its Jacobian, and parameters that come back."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from cbldm import SimulationSettings, pair_distribution, simulate
from cbldm.data.clusters import build_geometry
from cbldm.pairs import pairs_of
from cbldm.refine import Model, Parameters, refine, refine_structure
from cbldm.target import Target, select_target
from scipy.spatial.transform import Rotation

R = 0.01 * np.arange(200, 2001)
GEOMETRIES = [
    ("Ico", (3,)),
    ("FCC", (2, 4, 4)),
    ("HCP", (2, 3, 4)),
    ("Dec", (3, 2, 0)),
    ("BCC", (2, 2, 4)),
    ("SC", (2, 2, 3)),
]


def curve(positions: np.ndarray, elements: str | list[str], p: Parameters, *, qbroad: float = 0.0) -> np.ndarray:
    return pair_distribution(
        torch.from_numpy(p.dilation * positions),
        elements,
        r=torch.from_numpy(R),
        qmin=0.8,
        qmax=24.0,
        qdamp=p.qdamp,
        qbroad=qbroad,
        biso=p.biso,
        delta2=p.delta2,
        scale=p.scale,
    ).numpy()


def target_of(g: np.ndarray, *, qbroad: float = 0.0) -> Target:
    return Target(R, g, 0.8, 24.0, 0.04, qbroad)


@pytest.mark.parametrize(("kind", "parameters"), GEOMETRIES)
@pytest.mark.parametrize("p", [Parameters(1.3, 1.013, 0.7, 3.0), Parameters(0.4, 0.95, 0.2, 0.0)])
def test_the_model_is_the_debye_sum(kind: str, parameters: tuple[int, ...], p: Parameters) -> None:
    positions = 2.8 * build_geometry(kind, parameters).positions
    expected = curve(positions, "Au", p, qbroad=0.01)
    found, _ = Model(pairs_of(positions, "Au"), target_of(expected, qbroad=0.01), max_dilation=1.08)(p)
    assert np.abs(found - expected).max() < 1e-8 * np.abs(expected).max()


def test_the_model_of_several_elements_merges_near_distances() -> None:
    rng = np.random.default_rng(0)
    positions = 3.0 * build_geometry("FCC", (2, 3, 3)).positions
    positions = positions + 0.1 * rng.normal(size=positions.shape)
    elements = ["Cd" if x > 0.5 else "Se" for x in rng.random(len(positions))]
    p = Parameters(1.3, 1.013, 0.7, 3.0)
    expected = curve(positions, elements, p)
    found, _ = Model(pairs_of(positions, elements), target_of(expected), max_dilation=1.08)(p)
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("qbroad", [0.0, 0.02])
def test_the_jacobian_is_that_of_differences(qbroad: float) -> None:
    positions = 2.8 * build_geometry("Dec", (3, 2, 0)).positions
    p = Parameters(1.3, 1.013, 0.7, 3.0, 0.047)
    model = Model(pairs_of(positions, "Au"), target_of(curve(positions, "Au", p), qbroad=qbroad), max_dilation=1.08)
    jacobian = model(p)[1]
    for column, name in enumerate(Parameters._fields):
        step = 1e-5
        above, below = (model(p._replace(**{name: getattr(p, name) + h}))[0] for h in (step, -step))
        difference = (above - below) / (2 * step)
        assert np.abs(jacobian[:, column] - difference).max() < 1e-6 * np.abs(difference).max(), name


@pytest.mark.parametrize(("kind", "parameters"), GEOMETRIES)
def test_known_parameters_come_back(kind: str, parameters: tuple[int, ...]) -> None:
    positions = 2.8 * build_geometry(kind, parameters).positions
    truth = Parameters(0.7, 1.0123, 0.62, 2.7, 0.046)
    target = target_of(curve(positions, "Au", truth))
    model = Model(pairs_of(positions, "Au"), target, max_dilation=1.08)
    start = Parameters(1.0, 1.006, 0.9, 1.0)
    found = refine(model, target, start, free=Parameters._fields)
    assert found.parameters == pytest.approx(truth, rel=1e-6)
    assert found.rw < 1e-7
    assert found.free == Parameters._fields


def test_what_is_not_free_stays() -> None:
    positions = 2.8 * build_geometry("Ico", (3,)).positions
    target = target_of(curve(positions, "Au", Parameters(0.7, 1.0123, 0.62, 2.7)))
    model = Model(pairs_of(positions, "Au"), target, max_dilation=1.08)
    found = refine(model, target, Parameters(1.0, 1.006, 0.9, 1.5), free=("scale", "dilation"))
    assert (found.parameters.biso, found.parameters.delta2) == (0.9, 1.5)
    assert (found.errors.biso, found.errors.delta2) == (0.0, 0.0)
    assert found.errors.dilation > 0


def test_qdamp_is_refined_only_where_it_is_asked_for_and_pays() -> None:
    atoms = Atoms("Au55", positions=2.8 * build_geometry("Ico", (3,)).positions)
    pairs = pairs_of(atoms.positions, "Au")
    for qdamp, free in ((0.07, True), (0.04, False)):
        settings = SimulationSettings(qmin=0.8, qmax=24.0, qdamp=qdamp, noise=0.01, seed=1)
        target = replace(select_target(simulate(atoms, settings)), qdamp=0.04)
        found = refine_structure("Ico 3", atoms, pairs, target, Parameters(), qdamp="refine")
        assert ("qdamp" in found.fit.free) == free
        if free:
            assert abs(found.fit.parameters.qdamp - qdamp) < 4 * found.fit.errors.qdamp
            held = refine_structure("Ico 3", atoms, pairs, target, Parameters())
            assert held.fit.parameters.qdamp == 0.04
            assert held.score > found.score


def test_weights_are_obeyed() -> None:
    """Points whose dG is huge do not count, whatever stands there."""
    positions = 2.8 * build_geometry("Ico", (3,)).positions
    truth = Parameters(0.7, 1.0123, 0.62, 2.7)
    g = curve(positions, "Au", truth)
    spoilt = np.where(R > 8, g + np.sin(3 * R), g)
    target = replace(target_of(spoilt), weight=np.where(R > 8, 1e-9, 1.0))
    model = Model(pairs_of(positions, "Au"), target, max_dilation=1.08)
    found = refine(model, target, Parameters(dilation=1.006), free=("scale", "dilation", "biso", "delta2"))
    assert found.parameters == pytest.approx(truth, rel=1e-5)
    assert found.weighted_rw < 1e-6 < 0.1 < found.rw


def test_standard_errors_are_those_of_the_curvature() -> None:
    """The covariance is twice the inverse Hessian of the sum of squares, by differences of it alone."""
    positions = 2.8 * build_geometry("FCC", (2, 3, 3)).positions
    truth = Parameters(0.7, 1.01, 0.62, 2.0)
    target = target_of(curve(positions, "Au", truth) + 0.03 * np.sin(11 * R))
    model = Model(pairs_of(positions, "Au"), target, max_dilation=1.08)
    found = refine(model, target, Parameters(dilation=1.006), free=("scale", "dilation", "biso", "delta2"))
    best, steps = np.array(found.parameters[:4]), np.array([1e-3, 1e-5, 1e-3, 1e-2])

    def misfit(values: np.ndarray) -> float:
        g = model(Parameters(*values, target.qdamp))[0]
        return float(np.square(target.g - g).sum() / np.square(target.g).sum())

    hessian = np.empty((4, 4))
    for i, j in np.ndindex(4, 4):
        a, b = np.eye(4)[i] * steps[i], np.eye(4)[j] * steps[j]
        corners = misfit(best + a + b) - misfit(best + a - b) - misfit(best - a + b) + misfit(best - a - b)
        hessian[i, j] = corners / (4 * steps[i] * steps[j])
    expected = np.sqrt(np.diag(2 * np.linalg.inv(hessian)) * misfit(best) / (target.independent_points - 4))
    # The Jacobian leaves out the residual's own curvature, which a fit as good as this hardly has.
    assert np.array(found.errors[:4]) == pytest.approx(expected, rel=0.05)


def test_rotated_and_mirrored_structures_refine_alike() -> None:
    positions = 2.8 * build_geometry("Dec", (3, 1, 1)).positions
    target = target_of(curve(positions, "Au", Parameters(0.7, 1.01, 0.62)) + 0.05 * np.sin(9 * R))
    fits = [
        refine(Model(pairs_of(each, "Au"), target, max_dilation=1.08), target, Parameters(dilation=1.006))
        for each in (positions, Rotation.from_rotvec([1, 2, 3]).apply(-positions) + 4)
    ]
    assert fits[0].parameters == pytest.approx(fits[1].parameters, rel=1e-6)


def test_standard_errors_are_the_scatter_of_repeated_measurements() -> None:
    """Noise white in F(q): the refined dilation and scale scatter as their errors say."""
    positions = 2.8 * build_geometry("FCC", (2, 3, 3)).positions
    truth = Parameters(0.7, 1.01, 0.62)
    clean = curve(positions, "Au", truth)
    rng = np.random.default_rng(5)
    q = np.arange(0.8 + 0.035, 24.0, 0.07)
    waves = np.sin(np.outer(q, R))
    pairs = pairs_of(positions, "Au")
    found = []
    for _ in range(40):
        noise = rng.normal(size=len(q)) @ waves / math.sqrt(len(q) / 2)
        target = target_of(clean + 0.05 * np.abs(clean).max() * noise)
        found.append(refine(Model(pairs, target, max_dilation=1.08), target, Parameters(dilation=1.006)))
    for name in ("scale", "dilation", "biso"):
        scatter = np.std([getattr(each.parameters, name) for each in found])
        claimed = np.mean([getattr(each.errors, name) for each in found])
        assert 0.7 < claimed / scatter < 1.4, name


def test_delta2_is_kept_only_where_it_pays() -> None:
    atoms = Atoms("Au55", positions=2.8 * build_geometry("Ico", (3,)).positions)
    pairs = pairs_of(atoms.positions, "Au")
    for delta2, free in ((3.0, 4), (0.0, 3)):
        settings = SimulationSettings(qmin=0.8, qmax=24.0, biso=0.62, delta2=delta2, noise=0.02, seed=1)
        target = select_target(simulate(atoms, settings))
        found = refine_structure("Ico 3", atoms, pairs, target, Parameters(dilation=1.01))
        assert len(found.fit.free) == free
        assert found.rw <= found.rw_delta2_zero + 1e-9
        held = refine_structure("Ico 3", atoms, pairs, target, Parameters(dilation=1.01), delta2="zero")
        assert held.rw == held.rw_delta2_zero == pytest.approx(found.rw_delta2_zero)
        assert held.fit.parameters.delta2 == 0.0


def test_the_refined_structure_is_dilated() -> None:
    atoms = Atoms("Au55", positions=2.8 * build_geometry("Ico", (3,)).positions + 3)
    pairs = pairs_of(atoms.positions, "Au")
    target = target_of(curve(atoms.positions, "Au", Parameters(1.0, 1.02, 0.5)))
    found = refine_structure("Ico 3", atoms, pairs, target, Parameters(dilation=1.018))
    assert found.bond_length == pytest.approx(1.02 * pairs.bond_length, rel=1e-6)
    expected = 1.02 * (atoms.positions - atoms.positions.mean(axis=0))
    assert np.abs(found.atoms.positions - expected).max() < 1e-5


def test_errors() -> None:
    positions = 2.8 * build_geometry("Ico", (2,)).positions
    target = target_of(curve(positions, "Au", Parameters()))
    with pytest.raises(ValueError, match="the scale of a measured curve is never known; add scale"):
        refine(Model(pairs_of(positions, "Au"), target, max_dilation=1.08), target, Parameters(), free=("biso",))
    narrow = Target(R[:50], target.g[:50], 0.8, 9.0, 0.04)
    with pytest.raises(ValueError, match=r"holds 1\.3 independent points for 3 parameters; widen it"):
        refine(Model(pairs_of(positions, "Au"), narrow, max_dilation=1.08), narrow, Parameters())


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_the_unit_of_g_does_not_matter(unit: float) -> None:
    positions = 2.8 * build_geometry("Ico", (3,)).positions
    g = curve(positions, "Au", Parameters(0.7, 1.0123, 0.62, 2.7)) + 0.05 * np.sin(9 * R)
    plain, other = (
        refine(
            Model(pairs_of(positions, "Au"), target, max_dilation=1.08),
            target,
            Parameters(dilation=1.006),
            free=Parameters._fields,
        )
        for target in (target_of(g), target_of(unit * g))
    )
    for expected, found in ((plain.parameters, other.parameters), (plain.errors, other.errors)):
        assert found == pytest.approx(expected._replace(scale=unit * expected.scale), rel=1e-5, abs=1e-15)
    assert other.rw == pytest.approx(plain.rw, rel=1e-9)


def test_a_structure_that_has_no_g_in_the_range_is_refused() -> None:
    positions = 2.8 * build_geometry("Ico", (2,)).positions
    far = Target(R + 50, np.sin(R), 0.8, 24.0, 0.95)
    with pytest.raises(ValueError, match=r"vanishes from 52 to 70 Å at qdamp 0\.95 1/Å; lower --rmin"):
        refine(Model(pairs_of(positions, "Au"), far, max_dilation=1.08), far, Parameters())
