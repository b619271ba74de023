"""Training curves: the physics of each, the same curve whenever it is asked for, settings within their ranges."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from cbldm import pair_distribution
from cbldm.data.clusters import library
from cbldm.data.curves import SETTINGS, TYPES, VARIATION, TrainingCurves
from torch.utils.data import DataLoader

CLEAN = replace(VARIATION, noise=(0.0, 0.0), background=(0.0, 0.0))
GEOMETRIES = library(max_atoms=60)


def test_a_clean_curve_is_the_pair_distribution_to_a_thousandth() -> None:
    curves = TrainingCurves(GEOMETRIES, variation=CLEAN, rstep=0.05)
    batch = curves.batch(range(12))
    for k in range(12):
        s = {name: float(getattr(batch.settings, name)[k]) for name in SETTINGS}
        place = batch.positions[k, batch.present[k]].double()
        widths = {name: s[name] for name in ("biso", "delta2", "qdamp", "scale")}
        g = pair_distribution(place, "Pt", r=curves.r, qmin=s["qmin"], qmax=s["qmax"], radiation="neutron", **widths)
        assert torch.equal(batch.measured[k], curves.r < s["rmax"])
        error = (batch.g[k] - g)[batch.measured[k]].abs().max() / g.abs().max()
        assert error < 1.5e-3
        assert not batch.g[k, ~batch.measured[k]].any()


def test_a_curve_is_the_same_whenever_it_is_asked_for() -> None:
    curves = TrainingCurves(GEOMETRIES, seed=3, rstep=0.1)
    batch = curves.batch([5, 999, 0])
    again = TrainingCurves(GEOMETRIES, seed=3, rstep=0.1).batch([999])
    assert all(torch.equal(a[1:2], b) for a, b in zip(batch.settings, again.settings, strict=True))
    assert torch.equal(batch.geometry[1:2], again.geometry)
    assert (batch.g[1] - again.g[0]).abs().max() < 1e-5 * again.g.abs().max()
    other = TrainingCurves(GEOMETRIES, seed=4, rstep=0.1).batch([999])
    assert not torch.equal(again.settings.qmax, other.settings.qmax)


def test_the_clusters_of_a_batch() -> None:
    batch = TrainingCurves(GEOMETRIES, rstep=0.1).batch(range(20))
    for k in range(20):
        geometry = GEOMETRIES[int(batch.geometry[k])]
        assert int(batch.atom_count[k]) == geometry.atom_count == int(batch.present[k].sum())
        assert TYPES[int(batch.type[k])] == geometry.type
        place = batch.positions[k, : geometry.atom_count].numpy()
        assert np.allclose(place, float(batch.settings.bond[k]) * geometry.positions, atol=1e-5)
        assert not batch.positions[k, geometry.atom_count :].any()


def test_settings_fill_their_ranges() -> None:
    curves = TrainingCurves(GEOMETRIES)
    drawn = np.array([curves._draw(k).settings for k in range(300)])
    for name, column in zip(SETTINGS, drawn.T, strict=True):
        low, high = getattr(VARIATION, name)
        assert low - 0.01 <= column.min() <= low + 0.1 * (high - low), name
        assert high - 0.1 * (high - low) <= column.max() <= high + 0.01, name


def test_noise_and_background_have_their_size() -> None:
    """Noise of a part of the largest G, within the range of Q; a background slower than the peaks."""
    indices = range(6)
    clean = TrainingCurves(GEOMETRIES, variation=CLEAN, rstep=0.05).batch(indices)
    largest = clean.g.abs().amax(1)
    for name in ("noise", "background"):
        curves = TrainingCurves(GEOMETRIES, variation=replace(CLEAN, **{name: (0.04, 0.04)}), rstep=0.05)
        batch = curves.batch(indices)
        rest = batch.g - clean.g
        for k in indices:
            size = rest[k, batch.measured[k]].square().mean().sqrt() / largest[k]
            assert float(size) == pytest.approx(0.04, rel=1e-3)
        spectrum = torch.fft.rfft(rest).abs().square()
        q = 2 * np.pi * torch.fft.rfftfreq(rest.shape[1], 0.05)
        beyond = q > (31.0 if name == "noise" else 3.0)
        assert (spectrum[:, beyond].sum(1) < 0.02 * spectrum.sum(1)).all()


def test_weights_choose_the_geometries() -> None:
    weights = np.zeros(len(GEOMETRIES))
    weights[[2, 5]] = 1, 3
    curves = TrainingCurves(GEOMETRIES, weights=weights)
    chosen = [curves._draw(k).geometry for k in range(200)]
    assert set(chosen) == {2, 5}
    assert 0.6 < np.mean(np.array(chosen) == 5) < 0.9


def test_places_and_bonds_are_those_given() -> None:
    curves = TrainingCurves(GEOMETRIES, places=[4, 7], bonds=[2.5, 2.9])
    drawn = {(draw.geometry, draw.settings[0]) for draw in map(curves._draw, range(40))}
    assert drawn == {(4, 2.5), (7, 2.9)}


def test_a_data_loader_takes_whole_batches() -> None:
    curves = TrainingCurves(GEOMETRIES, length=10, rstep=0.1)
    loader = DataLoader(curves, batch_size=4, collate_fn=lambda batch: batch)
    assert [len(batch.g) for batch in loader] == [4, 4, 2]
    assert torch.equal(next(iter(loader)).settings.bond[2:3], curves[2].settings.bond)


def test_errors() -> None:
    with pytest.raises(ValueError, match="0 geometries and 5 curves"):
        TrainingCurves([], length=5)
    with pytest.raises(ValueError, match="rmax at most 63"):
        TrainingCurves(GEOMETRIES, rmax=100.0)
    with pytest.raises(ValueError, match=r"variation biso 1 to 0\.5"):
        TrainingCurves(GEOMETRIES, variation=replace(VARIATION, biso=(1.0, 0.5)))
    with pytest.raises(ValueError, match="variation bond 0 to 3"):
        TrainingCurves(GEOMETRIES, variation=replace(VARIATION, bond=(0.0, 3.0)))
    with pytest.raises(ValueError, match="keep them apart"):
        TrainingCurves(GEOMETRIES, variation=replace(VARIATION, qmin=(0.0, 16.0)))
    with pytest.raises(ValueError, match="weights must be"):
        TrainingCurves(GEOMETRIES, weights=[1.0])
    with pytest.raises(ValueError, match="places must be of the"):
        TrainingCurves(GEOMETRIES, places=[1000])
    with pytest.raises(ValueError, match="bonds must be 2 positive numbers"):
        TrainingCurves(GEOMETRIES, places=[1, 2], bonds=[2.5])
    with pytest.raises(IndexError, match="curve 7: there are 5"):
        TrainingCurves(GEOMETRIES, length=5)[7]
