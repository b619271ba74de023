"""What is taken from a curve, and the transform to its points."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from cbldm import PairDistribution
from cbldm.metrics import rw
from cbldm.target import FitSettings, SineTransform, Target, select_target
from scipy.integrate import quad

R = 0.01 * np.arange(3001)
CURVE = PairDistribution(R, np.sin(R), qmin=0.8, qmax=24.0, name="curve.gr")


def test_the_fit_range_holds_both_its_ends() -> None:
    target = select_target(CURVE)
    assert (target.r[0], target.r[-1], len(target.r)) == (2.0, 20.0, 1801)
    short = PairDistribution(R[:1501], np.sin(R[:1501]), qmin=0.8, qmax=24.0)
    assert select_target(short).r[-1] == 15.0
    assert select_target(CURVE, FitSettings(rmin=1.5, rmax=10)).r[[0, -1]].tolist() == [1.5, 10.0]


def test_settings_stand_before_the_file_and_the_default() -> None:
    assert (select_target(CURVE).qdamp, select_target(CURVE).qdamp_source) == (0.04, "assumed, as the file has none")
    known = replace(CURVE, qdamp=0.03, qbroad=0.01)
    target = select_target(known)
    assert (target.qdamp, target.qbroad, target.qdamp_source) == (0.03, 0.01, "as the file has it")
    target = select_target(known, FitSettings(qmin=1.0, qmax=20.0, qdamp=0.0))
    assert (target.qmin, target.qmax, target.qdamp, target.qdamp_source) == (1.0, 20.0, 0.0, "given")


@pytest.mark.parametrize(
    ("curve", "settings", "message"),
    [
        (replace(CURVE, qmax=None), FitSettings(), r"curve.gr: .*no qmax; give it with --qmax"),
        (replace(CURVE, qmin=None), FitSettings(), r"curve.gr: .*no qmin; give it with --qmin"),
        (CURVE, FitSettings(qmin=25.0), "qmin 25 and qmax 24 1/Å are no range"),
        (CURVE, FitSettings(qdamp=-0.1), r"qdamp -0.1 1/Å is no instrument's; give --qdamp"),
        (CURVE, FitSettings(rmin=5, rmax=5), "fit range 5 to 5 Å is empty"),
        (CURVE, FitSettings(rmin=2, rmax=4), "too short to decide"),
        (CURVE, FitSettings(rmin=40, rmax=60), "too short to decide"),
        (CURVE, FitSettings(qmax=1e9), r"qmin 0.8 and qmax 1e\+09 1/Å are no range .*--qmax, at most 100$"),
        (replace(CURVE, g=0 * R), FitSettings(), r"the largest \|G\| from 2 to 20 Å is 0; give a measured curve"),
        (replace(CURVE, g=1e200 * CURVE.g), FitSettings(), r"the largest \|G\| from 2 to 20 Å is .*e\+(199|200); give"),
    ],
)
def test_errors(curve: PairDistribution, settings: FitSettings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        select_target(curve, settings)


def test_a_dg_column_weighs_the_points() -> None:
    dg = 0.1 + 0.05 * R
    target = select_target(replace(CURVE, dg=dg))
    assert np.square(target.weight).mean() == pytest.approx(1)
    assert target.weight * (0.1 + 0.05 * target.r) == pytest.approx(np.full(1801, target.weight[0] * 0.2))
    assert target.weighted(target.g) == pytest.approx(target.weight * target.g)
    for unweighted in (CURVE, replace(CURVE, dg=dg)):
        target = select_target(unweighted, FitSettings(weights="none"))
        assert target.weight is None
        assert target.weighted(target.g) is target.g
    with pytest.raises(ValueError, match="weights 'some': no such choice; take one of dg, none"):
        select_target(CURVE, FitSettings(weights="some"))


def test_independent_points() -> None:
    assert Target(R, np.sin(R), 0.0, np.pi, 0.0).independent_points == pytest.approx(30.0)


@pytest.mark.parametrize("width", [6.0, 60.0])
def test_the_transform_is_the_integral(width: float) -> None:
    target = Target(np.array([2.0, 7.7, 20.0]), np.ones(3), 0.8, 24.0, 0.05)
    transform = SineTransform(target, width)
    found = transform(torch.exp(-0.01 * transform.q**2) * torch.sin(width * transform.q))
    for r, value in zip(target.r, found.tolist(), strict=True):
        # The product of the two sines as a difference of cosines, each of one frequency, which quad weighs exactly.
        ends = (target.qmin, target.qmax)
        waves = [
            quad(lambda q: np.exp(-0.01 * q**2), *ends, weight="cos", wvar=w, epsabs=1e-12, limit=400)[0]
            for w in (width - r, width + r)
        ]
        expected = (waves[0] - waves[1]) / np.pi * np.exp(-((r * target.qdamp) ** 2) / 2)
        assert value == pytest.approx(expected, abs=1e-11)


def test_rw_without_going_through_g() -> None:
    rng = np.random.default_rng(3)
    target = Target(R[200:2001:3], rng.normal(size=601), 0.8, 24.0, 0.04)
    transform = SineTransform(target, 15.0)
    f = torch.from_numpy(rng.normal(size=(4, len(transform.q))))
    f[0] += 20 * transform.matrix @ torch.from_numpy(target.g)  # one that agrees, beside three that may not
    for row, found in zip(f, transform.rw(f), strict=True):
        g = transform(row).numpy()
        scale = max(0.0, float(g @ target.g / (g @ g)))
        assert float(found) == pytest.approx(rw(target.g, scale * g), rel=1e-9)


def test_weighted_rw_without_going_through_g() -> None:
    rng = np.random.default_rng(3)
    curve = PairDistribution(R, np.sin(2 * R) / (1 + R), dg=0.5 + rng.random(len(R)), qmin=0.8, qmax=24.0)
    target = select_target(curve)
    transform = SineTransform(target, 15.0)
    f = torch.sin(2.2 * transform.q) * torch.exp(-0.01 * transform.q**2)
    f = f + 20 * transform.matrix @ torch.from_numpy(target.g)  # one that agrees in part
    g, weighted = transform(f).numpy(), target.weighted(target.g)
    scale = max(0.0, float(target.weighted(g) @ weighted / np.square(target.weighted(g)).sum()))
    assert float(transform.rw(f[None])[0]) == pytest.approx(rw(weighted, scale * target.weighted(g)), rel=1e-9)


@pytest.mark.parametrize("width", [1e6, np.inf])
def test_a_transform_too_large_to_hold_is_refused(width: float) -> None:
    with pytest.raises(ValueError, match=r"^curve: 3 points up to 20 Å .* cluster (1e\+06|inf) Å wide; lower --rmax"):
        SineTransform(Target(np.array([2.0, 7.7, 20.0]), np.ones(3), 0.8, 24.0, 0.05), width)
