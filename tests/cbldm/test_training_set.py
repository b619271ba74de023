"""The kept training set: what is in it, that it is made once, and goes on after an interruption."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cbldm import training_set
from cbldm.data.clusters import build_geometry, library
from cbldm.data.kinship import kin_of
from cbldm.data.splits import split_library
from cbldm.training_set import TrainingSet, clusters_of, kept_training_set, training_curves

SMALL = TrainingSet(max_atoms=20, count=30)


def test_a_row_is_the_curve_of_its_index() -> None:
    kept, curves = kept_training_set(SMALL), training_curves(SMALL)
    batch = curves.batch([7, 29])
    rows = kept.curves[[7, 29]]
    assert np.array_equal(rows["geometry"], batch.geometry)
    assert np.allclose(rows["g"], batch.g, rtol=1e-3, atol=1e-3 * float(batch.g.abs().max()))
    assert np.allclose(rows["settings"][:, 0], batch.settings.bond)
    assert kept.atom_count[batch.geometry].tolist() == batch.atom_count.tolist()
    assert kept.type[batch.geometry].tolist() == batch.type.tolist()


def test_a_set_is_made_once_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In parts of ten curves, the third of which fails at first."""
    monkeypatch.setenv("CBLDM_CACHE", str(tmp_path))
    whole = kept_training_set(SMALL).curves
    assert not list(tmp_path.iterdir())  # less than a part is not kept
    monkeypatch.setattr(training_set, "_CURVES", 10)
    make, made = training_set.curves_part, []

    def failing(settings: dict[str, object], k: int) -> dict[str, np.ndarray]:
        if k == 2 and len(made) == 2:
            made.append(-1)
            raise KeyboardInterrupt
        made.append(k)
        return make(settings, k)

    failing.__module__, failing.__qualname__ = "cbldm.training_set", "curves_part"
    monkeypatch.setattr(training_set, "curves_part", failing)
    with pytest.raises(KeyboardInterrupt):
        kept_training_set(SMALL, jobs=1)
    found = kept_training_set(SMALL, jobs=1).curves
    kept_training_set(SMALL, jobs=1)
    assert made == [0, 1, -1, 2]
    assert np.array_equal(found["geometry"], whole["geometry"])
    assert np.allclose(found["g"], whole["g"], rtol=2e-3, atol=1e-2)
    assert [path.suffix for path in tmp_path.iterdir()] == [".npy"]


def test_other_clusters_do_not_meet_what_was_made_of_these(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CBLDM_CACHE", str(tmp_path))
    monkeypatch.setattr(training_set, "_CURVES", 10)
    kept_training_set(SMALL, jobs=1)
    found = clusters_of(SMALL)
    fewer = replace(found.trained, places=found.trained.places[:-1])
    geometries, weights = found.geometries[:-1], found.weights[:-1] / found.weights[:-1].sum()
    changed = found._replace(geometries=geometries, trained=fewer, weights=weights)
    monkeypatch.setattr(training_set, "clusters_of", lambda _: changed)
    assert kept_training_set(SMALL, jobs=1).curves["geometry"].max() < len(geometries)
    assert len(list(tmp_path.glob("curves-*.npy"))) == 2


def test_what_is_held_out_is_in_no_library() -> None:
    known = library(max_atoms=60)
    found = clusters_of(TrainingSet(split="geometry", max_atoms=60))
    split = split_library("geometry", known)
    held = [known[int(k)] for k in (*split.test.places, *split.validation.places)]
    assert not kin_of(found.geometries, held).any()
    assert found.watched is not None
    assert np.array_equal(found.watched.places, split.validation.places)


def test_blocks_of_hcp_join_the_extended_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here with three clusters in the place of the extended library."""
    more = (build_geometry("Ico", (2,)), build_geometry("Ico", (3,)), build_geometry("SC", (2, 2, 2)))
    plain = library
    monkeypatch.setattr(
        training_set, "library", lambda name="deepstruc", **few: plain(**few) if name[0] == "d" else more
    )
    clusters_of.cache_clear()
    found = clusters_of(TrainingSet(library="extended", split="geometry", max_atoms=60))
    clusters_of.cache_clear()
    held = split_library("geometry", plain(max_atoms=60)).searchable(plain(max_atoms=60), found.geometries)
    assert held.all()
    assert any(each.type == "HCP" and each.parameters[2] < each.parameters[1] for each in found.geometries)
    names = [each.label for each in found.geometries]
    last = names.index("Ico 2", -3)  # of the other library, which has some of the first clusters again
    assert found.weights[:last].sum() == pytest.approx(0.4)
    assert found.weights.sum() == pytest.approx(1)


@pytest.mark.parametrize("name", ["random", "instrument"])
def test_known_clusters_are_trained_at_their_bonds_and_instruments(name: str) -> None:
    settings = replace(SMALL, split=name)
    batch = training_curves(settings).batch(range(20))
    if name == "random":
        found = clusters_of(settings)
        pairs = set(zip(found.trained.places.tolist(), found.trained.bonds.round(4).tolist(), strict=True))
        seen = zip(batch.geometry.tolist(), batch.settings.bond.double().numpy().round(4).tolist(), strict=True)
        assert all(each in pairs for each in seen)
    else:
        assert (batch.settings.qmax >= 20.9).all()


def test_decahedra_and_large_clusters_are_not_trained_on_where_they_are_tested() -> None:
    for name, wrong in (("type", lambda each: each.type == "Dec"), ("size", lambda each: each.atom_count > 150)):
        found = clusters_of(TrainingSet(split=name, max_atoms=200))
        assert not any(wrong(each) for each in found.geometries)


def test_the_curves_stand_on_the_grid() -> None:
    assert torch.allclose(training_curves(SMALL).r[-1], torch.tensor(29.95, dtype=torch.float64))
