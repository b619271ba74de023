"""Splits: every cluster on one side, and none of another side's at another bond length or but for one atom."""

import numpy as np
import pytest
from cbldm.data.clusters import Geometry, library
from cbldm.data.curves import SETTINGS
from cbldm.data.extended import ExtendedLibrary, load_library, make_library
from cbldm.data.kinship import kin_of
from cbldm.data.splits import LARGEST_TRAINED, METALLIC_RADII, TYPES_TESTED, Split, split_library
from scipy.spatial.distance import pdist


@pytest.fixture(scope="module")
def geometries(tmp_path_factory: pytest.TempPathFactory) -> tuple[Geometry, ...]:
    path = tmp_path_factory.mktemp("splits") / "library.h5"
    make_library(path, ExtendedLibrary(shapes=250, variants=500, max_atoms=200), jobs=1)
    return load_library(path)


def sides(split: Split) -> list[set[int]]:
    return [set(side.places.tolist()) for side in (split.train, split.validation, split.test)]


@pytest.mark.parametrize("name", ["geometry", "type", "size"])
def test_no_geometry_is_on_two_sides(name: str, geometries: tuple[Geometry, ...]) -> None:
    train, validation, test = sides(split_library(name, geometries))
    assert not train & validation
    assert not train & test
    assert not validation & test


def test_the_geometry_split_parts_no_family(geometries: tuple[Geometry, ...]) -> None:
    split = split_library("geometry", geometries)
    parts = sides(split)
    assert set.union(*parts) == set(range(len(geometries)))
    for part, wanted in zip(parts, (0.8, 0.1, 0.1), strict=True):
        assert len(part) == pytest.approx(wanted * len(geometries), rel=0.05)
    of = {place: k for k, part in enumerate(parts) for place in part}
    assert all(of[k] == of[each.parent] for k, each in enumerate(geometries) if each.parent is not None)
    for k, part in enumerate(parts):
        others = [geometries[place] for place, side in of.items() if side != k]
        assert not kin_of(others, [geometries[place] for place in part]).any()


def test_the_geometry_split_holds_by_distances_alone(geometries: tuple[Geometry, ...]) -> None:
    """Told without the histograms: no cluster of the test without one atom has the sorted distances of one trained."""
    split = split_library("geometry", geometries)
    spectra: dict[int, list[np.ndarray]] = {}
    for place in split.train.places:
        positions = geometries[place].positions
        spectra.setdefault(len(positions), []).append(spectrum(positions))
    for place in split.test.places[::4]:
        positions = geometries[place].positions
        without = [np.delete(positions, atom, axis=0) for atom in range(0, len(positions), 3)]
        for each in [positions, *without]:
            for other in spectra.get(len(each), []):
                assert np.abs(spectrum(each) - other).max() > 1e-4, geometries[place].label


def spectrum(positions: np.ndarray) -> np.ndarray:
    distances = np.sort(pdist(positions))
    return distances / distances[0]


def test_types_and_sizes(geometries: tuple[Geometry, ...]) -> None:
    split = split_library("type", geometries)
    assert {geometries[k].type for k in split.test.places} == set(TYPES_TESTED)
    assert not {geometries[k].type for k in split.train.places} & set(TYPES_TESTED)
    split = split_library("size", geometries)
    assert min(geometries[k].atom_count for k in split.test.places) > LARGEST_TRAINED
    assert max(geometries[k].atom_count for k in split.train.places) <= LARGEST_TRAINED


def test_the_random_split_has_every_cluster_at_every_bond() -> None:
    geometries = library(max_atoms=60)
    split = split_library("random", geometries)
    assert len(METALLIC_RADII) == len(set(METALLIC_RADII)) == 19
    pairs = [
        (int(place), round(float(bond), 2))
        for side in (split.train, split.validation, split.test)
        for place, bond in zip(side.places, side.bonds, strict=True)
    ]
    assert len(pairs) == len(set(pairs)) == 19 * len(geometries)
    assert set(split.test.places.tolist()) <= set(split.train.places.tolist())


def test_the_instrument_split_tests_other_instruments() -> None:
    split = split_library("instrument", library(max_atoms=30))
    for name in ("qmin", "qmax", "qdamp", "noise"):
        (low, high), (first, last) = getattr(split.train.variation, name), getattr(split.test.variation, name)
        assert last <= low or first >= high, name


def test_what_is_searched_knows_nothing_of_the_test(geometries: tuple[Geometry, ...]) -> None:
    """Held out too of libraries that were not split: here the test's clusters themselves, one atom less each."""
    split = split_library("geometry", geometries)
    allowed = split.searchable(geometries, geometries)
    assert allowed[split.train.places].all()
    assert not allowed[split.test.places].any()
    assert not allowed[split.validation.places].any()
    perfect = [geometries[k] for k in split.test.places if geometries[k].parent is None]
    another = [Geometry("FCC", (), each.positions[1:]) for each in perfect]
    assert not split.searchable(geometries, another).any()
    assert split_library("random", geometries).searchable(geometries, another).all()


def test_what_was_made_of_the_test_is_not_searched(geometries: tuple[Geometry, ...]) -> None:
    """A strained or relaxed cluster is kin of none by its distances, but its parent tells."""
    split = split_library("geometry", library())
    allowed = split.searchable(library(), geometries)
    children = [k for k, each in enumerate(geometries) if each.parent is not None and not allowed[each.parent]]
    assert children
    assert not allowed[children].any()
    histograms_alone = kin_of(geometries, [library()[int(k)] for k in split.test.places])
    assert not histograms_alone[children].all()


@pytest.mark.parametrize("name", ["type", "size"])
def test_nothing_of_a_tested_type_or_size_is_searched(name: str, geometries: tuple[Geometry, ...]) -> None:
    split = split_library(name, library())
    found = [each for each, may in zip(geometries, split.searchable(library(), geometries), strict=True) if may]
    assert found
    if name == "size":
        assert max(each.atom_count for each in found) <= LARGEST_TRAINED
    else:
        assert not {each.type for each in found} & set(TYPES_TESTED)


def test_splits_are_drawn_by_seed(geometries: tuple[Geometry, ...]) -> None:
    first, again, other = (split_library("geometry", geometries, seed=seed) for seed in (0, 0, 1))
    assert sides(first) == sides(again) != sides(other)


def test_curves_of_a_side_are_of_that_side() -> None:
    geometries = library(max_atoms=60)
    split = split_library("random", geometries)
    batch = split.test.curves(geometries, length=50, seed=1, rstep=0.1).batch(range(50))
    pairs = set(zip(split.test.places.tolist(), np.round(split.test.bonds, 3).tolist(), strict=True))
    drawn = zip(batch.geometry.tolist(), np.round(batch.settings.bond.double().numpy(), 3).tolist(), strict=True)
    assert set(drawn) <= pairs
    poor = split_library("instrument", geometries).test
    settings = poor.curves(geometries, length=20, seed=1, rstep=0.1).batch(range(20)).settings
    assert settings._fields == SETTINGS
    assert float(settings.qmax.max()) < 20.01


def test_errors() -> None:
    with pytest.raises(ValueError, match="split 'colour': give random, geometry"):
        split_library("colour", library(max_atoms=20))
    with pytest.raises(ValueError, match="split size of 25 geometries leaves a side empty"):
        split_library("size", library(max_atoms=20)[:25])
