"""What is watched while a run goes on, against its definitions."""

import math

import numpy as np
import pytest
import torch
from gradient_flow_drifting.data import Distribution, SphereMixture, Toy
from gradient_flow_drifting.diagnostics import field_diagnostics
from gradient_flow_drifting.drift import drift
from gradient_flow_drifting.geometry import kernel_of, space_of
from papertrio_shared.seed import generator
from torch import Tensor

SCALES = (0.2, 0.4, 0.8)


def clouds(source: Distribution, count: int = 120) -> tuple[Tensor, Tensor]:
    x = source.sample(count, generator(0, "x"))
    return (torch.nn.functional.normalize(x + 0.2, dim=1) if source.geometry == "sphere" else x + 0.2), source.sample(
        150, generator(0, "y")
    )


def test_the_figures_are_their_definitions() -> None:
    """Density estimates of the middle scale written out in numpy; each point left out of its own."""
    toy = Toy("8gaussians")
    x, y = clouds(toy)
    a, b, h = x.double().numpy(), y.double().numpy(), SCALES[1]
    to_real = np.exp(-np.square(a[:, None] - b).sum(2) / (2 * h * h))
    to_self = np.exp(-np.square(a[:, None] - a).sum(2) / (2 * h * h))
    others = to_self - np.eye(len(a))
    log_ratio = np.log(to_real.mean(1)) - np.log(others.sum(1) / (len(a) - 1))
    found = field_diagnostics(x, y, toy, bandwidths=SCALES)
    assert found["energy"] == pytest.approx(-log_ratio.mean(), rel=1e-4)
    for name, quantile in (("log_ratio_05", 0.05), ("log_ratio_50", 0.5), ("log_ratio_95", 0.95)):
        assert found[name] == pytest.approx(np.quantile(log_ratio, quantile), rel=1e-3, abs=1e-4)
    seen = to_real.sum(1) ** 2 / np.square(to_real).sum(1)
    assert found["effective_sample_size"] == pytest.approx(seen.mean(), rel=1e-4)
    assert found["self_weight"] == pytest.approx((1 / to_self.sum(1)).mean(), rel=1e-4)
    velocity = np.zeros_like(a)
    for width in SCALES:
        p, q = (np.exp(-np.square(a[:, None] - z).sum(2) / (2 * width * width)) for z in (b, a))
        np.fill_diagonal(q, 0)
        velocity += (p @ b / p.sum(1, keepdims=True) - q @ a / q.sum(1, keepdims=True)) / len(SCALES)
    assert found["velocity_squared"] == pytest.approx(np.square(velocity).sum(1).mean(), rel=1e-4)


@pytest.mark.parametrize("source", [Toy("moons"), SphereMixture()], ids=["plane", "sphere"])
def test_the_self_weight_is_that_of_a_field_which_keeps_self_terms(source: Distribution) -> None:
    x, y = clouds(source)
    kept = drift(
        x,
        positives=y,
        negatives=x,
        kernel=kernel_of(source.geometry, SCALES),
        manifold=space_of(source.geometry),
        self_terms="keep",
    )
    found = field_diagnostics(x, y, source, bandwidths=SCALES)
    assert found["self_weight"] == pytest.approx(float(kept.self_weight[1].mean()), rel=1e-4)


def test_the_self_weight_tells_a_bandwidth_that_sees_nothing() -> None:
    x, y = clouds(Toy("moons"))
    fine, coarse = (field_diagnostics(x, y, Toy("moons"), bandwidths=(h,))["self_weight"] for h in (1e-3, 10.0))
    assert fine > 0.95
    assert coarse == pytest.approx(1 / len(x), rel=0.05)


def test_the_mass_of_each_mode_is_in_fair_shares() -> None:
    """Two modes of eight hold everything, one three times as much as the other."""
    toy = Toy("8gaussians")
    x = torch.cat([toy.sample_class(2, 90, generator(0, "x")), toy.sample_class(5, 30, generator(1, "x"))])
    modes = toy.modes
    assert modes is not None
    inside = [
        float(((x[part] - modes.centres[mode]).norm(dim=1) <= modes.radius).float().mean())
        for part, mode in ((slice(0, 90), 2), (slice(90, 120), 5))
    ]
    found = field_diagnostics(x, toy.sample(150, generator(0, "y")), toy, bandwidths=SCALES)
    masses = [found[f"mode_{i:02d}"] for i in range(8)]
    assert masses == pytest.approx([0, 0, 6 * inside[0], 0, 0, 2 * inside[1], 0, 0], rel=1e-4)
    assert (found["least_mode"], found["largest_mode"], found["coverage"]) == (0, masses[2], 0.25)
    assert found["high_quality"] == pytest.approx(sum(masses) / 8)
    assert not [name for name in field_diagnostics(x, x, Toy("moons"), bandwidths=SCALES) if "mode" in name]


def test_clouds_that_cannot_be_looked_at_are_told() -> None:
    x, y = clouds(Toy())
    with pytest.raises(ValueError, match="negatives"):
        field_diagnostics(x[:1], y, Toy(), bandwidths=SCALES)
    with pytest.raises(ValueError, match="finite"):
        field_diagnostics(x, y * math.nan, Toy(), bandwidths=SCALES)
