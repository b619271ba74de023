"""Simulated measurements."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from cbldm import SimulationSettings, pair_distribution, simulate
from cbldm.data.clusters import build_geometry

ATOMS = Atoms("Pt55", positions=2.8 * build_geometry("Ico", (3,)).positions)
SETTINGS = SimulationSettings(qmin=0.9, qmax=22.0, qdamp=0.03, biso=0.4, delta1=0.1, delta2=2.0, scale=0.7)


def test_without_noise_it_is_the_debye_sum() -> None:
    curve = simulate(ATOMS, SETTINGS, name="Pt55")
    assert curve.name == "Pt55"
    expected = pair_distribution(
        torch.from_numpy(ATOMS.positions),
        "Pt",
        rmin=0,
        rmax=30,
        rstep=0.01,
        qmin=0.9,
        qmax=22.0,
        qdamp=0.03,
        biso=0.4,
        delta1=0.1,
        delta2=2.0,
        scale=0.7,
    ).numpy()
    assert np.abs(curve.g - expected).max() < 1e-12 * np.abs(expected).max()
    assert (curve.qmin, curve.qmax, curve.qdamp, dict(curve.composition)) == (0.9, 22.0, 0.03, {"Pt": 55})


def test_noise_has_the_size_asked_for_and_its_seed() -> None:
    clean = simulate(ATOMS, SETTINGS).g
    noisy = [simulate(ATOMS, replace(SETTINGS, noise=0.03, seed=seed)).g - clean for seed in (1, 1, 2)]
    assert np.array_equal(noisy[0], noisy[1])
    assert not np.allclose(noisy[0], noisy[2])
    assert noisy[0][200:].std() == pytest.approx(0.03 * np.abs(clean).max(), rel=0.15)


def test_noise_varies_no_faster_than_g() -> None:
    """Its Fourier transform is empty beyond qmax."""
    clean = simulate(ATOMS, SETTINGS)
    noise = simulate(ATOMS, replace(SETTINGS, noise=0.03)).g - clean.g
    window = noise * np.hanning(len(noise))
    q = np.arange(0.5, 60, 0.1)
    power = np.abs(np.exp(1j * np.outer(q, clean.r)) @ window) ** 2
    assert power[q > 23].sum() < 1e-4 * power.sum()
    assert power[q < 0.5].sum() < 1e-2 * power.sum()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"biso": -0.1}, "biso -0.1 is out of range; give 0 to 100"),
        ({"noise": float("nan")}, "noise nan is out of range; give 0 to 100"),
        ({"biso": 1e9}, r"biso 1e\+09 is out of range; give 0 to 100"),
        ({"qbroad": 1e9}, r"qbroad 1e\+09 is out of range; give 0 to 1"),
        ({"rmin": 4.999, "rmax": 5.0}, "no multiple of rstep = 0.01 Å is in the range from rmin = 4.999 to rmax = 5.0"),
        ({"rmax": 9999.0, "noise": 0.1}, "noise on 999900 points up to rmax 9999 Å is too much to draw; lower rmax"),
        ({"qmin": 23.0}, "qmin"),
        ({"rstep": 0.0}, "rstep"),
        ({"radiation": "electron"}, "radiation"),
    ],
)
def test_errors(change: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        simulate(ATOMS, replace(SETTINGS, **change))


def test_noise_of_a_range_too_narrow_for_two_waves_is_finite() -> None:
    for narrow in ({"qmin": 21.99}, {"rmax": 0.03}):
        assert np.isfinite(simulate(ATOMS, replace(SETTINGS, noise=0.1, **narrow)).g).all()
