"""The screening of a large library against the exact scan of each of its geometries."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from cbldm import SimulationSettings, recover, simulate
from cbldm.baselines import retrieval
from cbldm.baselines.retrieval import BISOS, retrieve, scan
from cbldm.baselines.screen import screen
from cbldm.data import extended
from cbldm.data.clusters import Geometry, build_geometry, library
from cbldm.data.extended import ExtendedLibrary, load_library, make_library
from cbldm.pairs import pairs_of
from cbldm.refine import DILATIONS
from cbldm.stages import listening
from cbldm.target import FIT_SETTINGS, FitSettings, Target, select_target
from hypothesis import given, settings
from hypothesis import strategies as st

BOND = 2.77
TOLERANCE = 0.003
"""Of the screened Rw, as `screen` promises."""
SMALL = library(max_atoms=60)


def measured(truth: Geometry, settings: FitSettings = FIT_SETTINGS, **instrument: object) -> Target:
    """The curve of a geometry at a bond length off the grid."""
    atoms = Atoms(f"Pt{truth.atom_count}", positions=1.013 * BOND * truth.positions)
    return select_target(simulate(atoms, SimulationSettings(noise=0.02, **instrument)), settings)  # type: ignore[arg-type]


def screened(
    target: Target,
    geometries: tuple[Geometry, ...],
    bond: float = BOND,
    dilations: tuple[float, float] = DILATIONS,
    bisos: tuple[float, ...] = BISOS,
) -> np.ndarray:
    """Rw by the screen on the grid of the scan."""
    s = torch.linspace(*dilations, 1 + round((dilations[1] - dilations[0]) / 0.005), dtype=torch.float64)
    return screen(target, geometries, bond=bond, s=s, bisos=bisos)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Geometry, ...]:
    path = tmp_path_factory.mktemp("screen") / "library.h5"
    make_library(path, ExtendedLibrary(shapes=250, variants=500, max_atoms=70), jobs=1)
    return load_library(path)


def weighted(target: Target) -> Target:
    weight = np.exp(np.random.default_rng(0).normal(size=len(target.r)))
    return replace(target, weight=weight / np.sqrt(np.square(weight).mean()))


@pytest.mark.parametrize(
    "target",
    [
        measured(build_geometry("Dec", (3, 2, 1))),
        weighted(measured(build_geometry("Ico", (3,)), biso=1.2, delta2=3.0)),
        measured(build_geometry("HCP", (3, 3, 3)), FitSettings(rmin=2.7, rmax=12.0), qmax=30.0, biso=0.1),
        measured(build_geometry("Oct", (5,)), qmin=1.5, qmax=16.0, qdamp=0.0, rstep=0.03),
        measured(build_geometry("Oct", (4,)), FitSettings(rmin=0.0, rmax=29.0), radiation="neutron", qmax=45.0),
    ],
    ids=["as usual", "weights", "few points", "narrow", "wide, neutron"],
)
def test_rw_is_that_of_the_scan(target: Target) -> None:
    geometries = library()[2::13]
    found = screened(target, geometries)
    for rw, geometry in zip(found, geometries, strict=True):
        for radiation in ("xray", "neutron") if geometry is geometries[0] else ("xray",):
            exact = scan(pairs_of(BOND * geometry.positions, "Pt"), target, radiation=radiation)[1]  # type: ignore[arg-type]
            assert rw == pytest.approx(exact, abs=TOLERANCE), geometry.label


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    bond=st.floats(1.5, 8.0),
    low=st.floats(0.8, 1.0),
    steps=st.integers(0, 30),
    biso=st.floats(0.05, 3.0),
    unit=st.sampled_from([1e-40, 1.0, 1e40]),
)
def test_any_cluster_bond_and_range(seed: int, bond: float, low: float, steps: int, biso: float, unit: float) -> None:
    """Also where the range is a single dilation, the grid of distances is refined, or G has another unit."""
    random = np.random.default_rng(seed)
    clusters = [random.uniform(-1, 1, (n, 3)) * n ** (1 / 3) for n in (2, 13, 40)]
    kept = []
    for cluster in clusters:  # none nearer than real atoms are
        points: list[np.ndarray] = []
        for point in cluster:
            if all(np.linalg.norm(point - other) > 0.8 for other in points):
                points.append(point)
        kept.append(Geometry("FCC", (), np.array(points if len(points) > 1 else [[0, 0, 0], [0, 0, 1.0]])))
    r = np.arange(2.0, 18.0, 0.05)
    target = Target(r, unit * np.sin(2 * r + random.uniform(0, 6)) * np.exp(-r / 9), 0.9, 24.0, 0.03)
    dilations = (low, low + 0.005 * steps)
    found = screened(target, tuple(kept), bond, dilations, (biso,))
    for rw, geometry in zip(found, kept, strict=True):
        exact = scan(pairs_of(bond * geometry.positions, "Pt"), target, dilations=dilations, bisos=(biso,))[1]
        assert rw == pytest.approx(exact, abs=TOLERANCE)


def test_the_best_of_the_scan_are_among_the_best_of_the_screen(made: tuple[Geometry, ...]) -> None:
    target = measured(made[500], FitSettings(rmax=16.0), rstep=0.02)
    best = [match.geometry for match in retrieve(target, made, element="Pt", bond=BOND)[:20]]
    order = np.argsort(screened(target, made))
    assert made[500] in best[:3]
    assert {made[k] for k in order[:60]} >= set(best)


def test_of_a_large_library_the_best_are_those_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    target = measured(SMALL[40])
    exhaustive = retrieve(target, SMALL, element="Pt", bond=BOND)
    tried = []

    def told(*some: object, **options: object) -> object:
        tried.append(some)
        return scan(*some, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(retrieval, "SCREENED_ABOVE", 50)
    monkeypatch.setattr(retrieval, "_TRIED_AT_LEAST", 10)
    monkeypatch.setattr(retrieval, "scan", told)
    assert retrieve(target, SMALL, element="Pt", bond=BOND, count=5) == exhaustive[:5]
    assert len(tried) == 10
    assert retrieve(target, SMALL, element="Pt", bond=BOND) == exhaustive
    assert len(tried) == 10 + len(SMALL)


def test_the_extended_library_is_screened_by_recover(
    made: tuple[Geometry, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieval, "SCREENED_ABOVE", 50)
    monkeypatch.setattr(extended, "kept_library", lambda: made)
    truth = next(each for each in reversed(made) if each.atom_count == 30)
    atoms = Atoms("Pt30", positions=0.987 * BOND * truth.positions)
    curve = simulate(atoms, SimulationSettings(noise=0.001, delta2=2.0, rstep=0.02))
    heard = []
    for _ in range(2):
        with listening(lambda *step: heard.append(step)):
            result = recover(curve, element="Pt", library="extended", max_atoms=40, candidates=3, positions="held")
        assert result[0].label == truth.label
        assert result.searched == sum(each.atom_count <= 40 for each in made)
    # A series has the distances once.
    assert [*dict.fromkeys(name for name, *_ in heard)] == ["distances", "screen", "search", "refine"]
    assert sum(step[:2] == ("distances", 0) for step in heard) == 1
    assert ("search", 120, 120) in heard


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_library_does_not_matter(made: tuple[Geometry, ...], seed: int) -> None:
    target = measured(made[100])
    order = np.random.default_rng(seed).permutation(len(made))
    shuffled = screened(target, tuple(made[k] for k in order))
    assert np.allclose(shuffled, screened(target, made)[order], rtol=0, atol=2e-5)


def test_a_library_of_none_and_of_one() -> None:
    target = measured(SMALL[3])
    assert screened(target, ()).shape == (0,)
    assert screened(target, SMALL[3:4])[0] < 0.2
    with pytest.raises(ValueError, match="the library is empty"):
        retrieve(target, [], element="Pt", bond=BOND, count=5)
