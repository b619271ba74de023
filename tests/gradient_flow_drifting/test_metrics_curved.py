"""Sliced distances on sphere and torus against POT's circle and closed forms; maximum mean discrepancy."""

import math

import numpy as np
import ot
import pytest
import torch
from gradient_flow_drifting.data import Geometry, SphereMixture, Toy
from gradient_flow_drifting.metrics import mmd2, sliced_wasserstein2, wasserstein2
from gradient_flow_drifting.metrics.distances import circle_wasserstein2_squared, distances
from hypothesis import given, settings
from hypothesis import strategies as st
from papertrio_shared.seed import generator
from scipy.stats import norm
from torch import Tensor

TURN = 2 * math.pi


@given(st.integers(0, 10**6), st.integers(1, 12), st.floats(0.01, 1))
@settings(max_examples=40)
def test_the_distance_on_the_circle_is_the_one_of_exact_transport(seed: int, count: int, width: float) -> None:
    """Against the linear programme on the squared lengths of the short ways, spread out or bunched at the seam."""
    rng = np.random.default_rng(seed)
    u, v = (np.sort(np.remainder(width * TURN * rng.random(count) - width, TURN)) for _ in range(2))
    apart = np.abs(u[:, None] - v)
    exact = ot.emd2([], [], np.minimum(apart, TURN - apart) ** 2)
    assert circle_wasserstein2_squared(u, v) == pytest.approx(exact, abs=1e-12)


def test_the_distance_on_the_circle_is_that_of_pot() -> None:
    rng = np.random.default_rng(0)
    u, v = np.sort(TURN * rng.random(300)), np.sort(np.remainder(rng.normal(0, 0.7, 300), TURN))
    found = ot.wasserstein_circle(u[:, None] / TURN, v[:, None] / TURN, p=2)[0] * TURN**2  # POT's circle has length one
    assert circle_wasserstein2_squared(u, v) == pytest.approx(found, rel=1e-3)


def test_slices_of_the_sphere_are_those_of_pot() -> None:
    """POT gives the mean over its own random circles, in turns; both estimate one integral."""
    points = SphereMixture().sample(400, generator(0, "x"))
    x, y = points[:200], torch.nn.functional.normalize(points[200:] + torch.tensor([0.5, 0.0, 0.0]), dim=1)
    found = sliced_wasserstein2(x, y, geometry="sphere", projections=2000)
    theirs = ot.sliced_wasserstein_sphere(x.double().numpy(), y.double().numpy(), n_projections=2000, seed=0)
    assert found == pytest.approx(TURN * theirs, rel=0.05)


def test_a_rotation_of_the_sphere_changes_no_sliced_distance() -> None:
    x, y = SphereMixture().sample(600, generator(0, "x")).split(300)
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=generator(0, "q"))).Q
    before, after = (
        sliced_wasserstein2(a, b, geometry="sphere", projections=1500)
        for a, b in ((x, y), (x @ rotation, y @ rotation))
    )
    assert before == pytest.approx(after, rel=0.05)
    assert sliced_wasserstein2(x, x, geometry="sphere") == 0


def test_slices_of_the_torus_know_no_seam_and_stretch_nothing() -> None:
    """A bunch is moved across π: each slice moves it by |k·δ|/‖k‖, so that the mean square is ‖δ‖²/2 in the plane."""
    bunch = 0.01 * torch.randn(100, 2, generator=generator(0, "x")) + torch.pi
    shift = torch.tensor([0.3, -0.1])
    wrapped = torch.remainder(bunch + shift + torch.pi, TURN) - torch.pi
    found = sliced_wasserstein2(bunch, wrapped, geometry="torus", projections=4000)
    assert found == pytest.approx(math.sqrt(0.05), rel=0.03)
    assert found <= wasserstein2(bunch, wrapped, geometry="torus") == pytest.approx(math.sqrt(0.1), rel=1e-4)
    assert sliced_wasserstein2(bunch, bunch + TURN, geometry="torus") == pytest.approx(0, abs=1e-5)
    one = sliced_wasserstein2(bunch[:, :1], wrapped[:, :1], geometry="torus")
    assert one == pytest.approx(wasserstein2(bunch[:, :1], wrapped[:, :1], geometry="torus"), rel=1e-4)


def test_the_distance_of_the_torus_is_the_short_way() -> None:
    x, y = torch.tensor([[3.0, 0.0]]), torch.tensor([[-3.0, 0.0], [3.0, 3.0], [0.0, TURN]])
    expected = torch.tensor([[TURN - 6, 3.0, 3.0]], dtype=torch.float64)
    assert torch.allclose(distances(x, y, "torus"), expected, atol=1e-6)


def test_at_least_one_slice_is_needed() -> None:
    with pytest.raises(ValueError, match=r"projections: a whole number, at least 1, is needed, found 0"):
        sliced_wasserstein2(torch.zeros(2, 2), torch.zeros(2, 2), projections=0)


def chords(x: Tensor, y: Tensor, geometry: Geometry) -> Tensor:
    """Squared, pair by pair."""
    if geometry == "torus":
        return (2 - 2 * (x[:, None] - y).cos()).sum(2)
    return (x[:, None] - y).square().sum(2)


@pytest.mark.parametrize("geometry", ["euclidean", "sphere", "torus"])
def test_mmd_is_its_definition(geometry: Geometry) -> None:
    x, y = torch.randn(30, 3, generator=generator(0, "x")), torch.randn(20, 3, generator=generator(1, "x")) + 0.5
    if geometry == "sphere":
        x, y = torch.nn.functional.normalize(x, dim=1), torch.nn.functional.normalize(y, dim=1)
    x, y = x.double(), y.double()

    def mean(a: Tensor, b: Tensor, h: float, alone: bool) -> float:
        total = 0.0
        squared = chords(a, b, geometry)
        for i in range(len(a)):
            for j in range(len(b)):
                if not (alone and i == j):
                    total += math.exp(-float(squared[i, j]) / (2 * h * h))
        return total / (len(a) * (len(b) - alone))

    widths = (0.3, 1.0)
    expected = [mean(x, x, h, True) + mean(y, y, h, True) - 2 * mean(x, y, h, False) for h in widths]
    assert mmd2(x, y, bandwidths=widths, geometry=geometry) == pytest.approx(np.mean(expected), rel=1e-9)
    assert mmd2(x.float(), y, bandwidths=widths, geometry=geometry) == pytest.approx(np.mean(expected), rel=1e-5)


def test_mmd_has_no_bias_and_sees_a_shift() -> None:
    """Of two draws from one distribution it is zero on average; of shifted Gaussians it has a closed form."""
    toy = Toy("8gaussians")
    same = [mmd2(toy.sample(100, generator(i, "x")), toy.sample(150, generator(i, "y"))) for i in range(200)]
    assert abs(np.mean(same)) < 4 * np.std(same) / math.sqrt(200)
    assert min(same) < 0 < max(same)
    x = torch.from_numpy(norm.ppf((np.arange(2000) + 0.5) / 2000))[:, None]
    expected = 2 / math.sqrt(3) * (1 - math.exp(-1 / 6))  # of unit variances and h = 1, one apart
    assert mmd2(x, x + 1, bandwidths=[1.0]) == pytest.approx(expected, abs=1e-3)
    images, other = torch.randn(2, 300, 64, generator=generator(0, "x"))  # widths grow with the dimension
    assert mmd2(images, 1.2 * other) > 20 * abs(mmd2(images, other))
    with pytest.raises(ValueError, match=r"bandwidths: must be positive and finite, found 0.0"):
        mmd2(x, x, bandwidths=[0.0])
    with pytest.raises(ValueError, match=r"x and y: at least two points of each are needed, found 1 and 2000"):
        mmd2(x[:1], x)
    with pytest.raises(ValueError, match=r"y: 1 coordinates are needed as in x, found 2"):
        mmd2(x, torch.zeros(5, 2))
    with pytest.raises(ValueError, match=r"x: shape \[points, coordinates\] is needed, found \[2000\]"):
        mmd2(x[:, 0], x)
