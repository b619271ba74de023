"""Metrics against closed forms, and what they tell of known faults."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from gradient_flow_drifting.data import ArrayFile, Digits, Modes, SphereMixture, Toy, named
from gradient_flow_drifting.metrics import (
    Support,
    evaluate,
    evaluate_cloud,
    mmd2,
    mode_coverage,
    mode_shares,
    sliced_wasserstein2,
    wasserstein2,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from papertrio_shared.seed import generator
from scipy.stats import norm
from torch import Tensor


@given(st.integers(0, 10**6), st.integers(1, 4), st.floats(-3, 3))
@settings(max_examples=10)
def test_a_translation_is_its_length(seed: int, dimension: int, length: float) -> None:
    x = torch.randn(40, dimension, generator=generator(seed, "x"))
    shift = torch.zeros(dimension)
    shift[0] = length
    assert wasserstein2(x, x + shift) == pytest.approx(abs(length), abs=1e-5)


def test_gaussians_of_one_dimension_have_their_closed_form() -> None:
    """W₂² = (μ₁ − μ₂)² + (σ₁ − σ₂)², shown on quantiles, which are optimally coupled."""
    quantiles = torch.from_numpy(norm.ppf((torch.arange(400).numpy() + 0.5) / 400)).float()[:, None]
    x, y = 1 + 2 * quantiles, 3 + 0.5 * quantiles[torch.randperm(400, generator=generator(0, "p"))]
    expected = math.sqrt(2**2 + 1.5**2 * float(quantiles.square().mean()))
    assert wasserstein2(x, y) == pytest.approx(expected, rel=1e-5)
    assert sliced_wasserstein2(x, y) == pytest.approx(expected, rel=1e-5)
    assert expected == pytest.approx(2.5, rel=1e-2)


def test_clouds_of_unequal_size_are_weighed_evenly() -> None:
    x, y = torch.tensor([[0.0]]), torch.tensor([[1.0], [-1.0], [2.0]])
    assert wasserstein2(x, y) == pytest.approx(math.sqrt((1 + 1 + 4) / 3))


def test_the_distance_on_the_sphere_is_the_angle() -> None:
    pole, equator = torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    assert wasserstein2(pole, equator, geometry="sphere") == pytest.approx(math.pi / 2, rel=1e-6)
    assert wasserstein2(pole, -pole, geometry="sphere") == pytest.approx(math.pi, rel=1e-6)
    assert wasserstein2(pole, equator) == pytest.approx(math.sqrt(2), rel=1e-6)


def test_sliced_distance_of_a_translation_in_the_plane() -> None:
    """The mean of cos² over directions of the plane is one half."""
    x = torch.randn(500, 2, generator=generator(0, "x"))
    found = sliced_wasserstein2(x, x + torch.tensor([1.0, 0.0]), projections=20_000)
    assert found == pytest.approx(math.sqrt(0.5), rel=0.01)


def test_shapes_and_values_are_checked() -> None:
    x = torch.zeros(3, 2)
    with pytest.raises(ValueError, match=r"x and y have the shapes \(3, 2\) and \(2, 2\)"):
        sliced_wasserstein2(x, x[:2])
    with pytest.raises(ValueError, match=r"y: 3 of 3 points have a NaN or infinite coordinate"):
        wasserstein2(x, x * math.nan)
    with pytest.raises(ValueError, match=r"x: the cloud is empty"):
        wasserstein2(x[:0], x)
    with pytest.raises(ValueError, match=r"y: 2 coordinates are needed as in x, found 3"):
        wasserstein2(x, torch.zeros(3, 3))
    for cloud in (x[:0], x * math.nan):
        with pytest.raises(ValueError, match=r"x: (the cloud is empty|3 of 3 points have a NaN)"):
            sliced_wasserstein2(cloud, cloud)
    assert wasserstein2(x.clone().requires_grad_(), x) == sliced_wasserstein2(x.clone().requires_grad_(), x) == 0
    with pytest.raises(ValueError, match="draws: a whole number, at least 1, is needed, found 0"):
        evaluate(lambda count, _: torch.zeros(count, 2), Toy(), draws=0)
    with pytest.raises(ValueError, match=r"y: 3 coordinates are needed as in x, found 2"):
        evaluate(lambda count, _: torch.zeros(count, 3), Toy(), draws=1)


def test_a_mode_with_under_half_of_its_share_is_not_covered() -> None:
    modes = Modes(torch.tensor([[0.0], [10.0]]), radius=1.0)
    at = [torch.zeros(76, 1), torch.full((24, 1), 10.0)]
    assert mode_coverage(torch.cat(at), modes) == 0.5
    at = [torch.zeros(75, 1), torch.full((25, 1), 10.0)]
    assert mode_coverage(torch.cat(at), modes) == 1.0
    far = torch.cat([*at, torch.full((100, 1), 5.0)])
    assert mode_shares(far, modes).tolist() == [0.375, 0.125]
    assert mode_coverage(far, modes) == 0.5


def test_the_support_leaves_one_real_point_in_a_hundred_outside() -> None:
    toy, stream = Toy("checkerboard"), generator(0, "support")
    support = Support(toy.sample(20_000, stream), toy.sample(20_000, stream))
    assert support.share_off(toy.sample(20_000, stream)) == pytest.approx(0.01, abs=0.003)
    uniform = (torch.rand(20_000, 2, generator=stream) * 4 - 2) / math.sqrt(4 / 3)
    assert support.share_off(uniform) > 0.4  # half of the board is empty


@pytest.mark.parametrize("name", ["8gaussians", "sphere"])
def test_real_points_stand_at_the_floor(name: str) -> None:
    source = named(name)
    found = evaluate(lambda count, seed: source.sample(count, generator(seed, "real")), source, draws=2)
    assert found.coverage is not None
    assert found.high_quality is not None
    assert 0.6 < found.w2.ratio < 1.6
    assert found.coverage.value == found.coverage.floor == 1
    assert found.high_quality.value == pytest.approx(found.high_quality.floor, abs=0.003)
    assert found.off_support.value == pytest.approx(0.01, abs=0.004)


@pytest.mark.parametrize("rows", [500, 5000])
def test_real_points_of_an_array_stand_at_the_floor(tmp_path: Path, rows: int) -> None:
    """Held-out rows are few, and the floor must not be measured from a row to itself."""
    toy = Toy("moons")
    np.save(tmp_path / "a.npy", toy.sample(rows, generator(0, "rows")).numpy())
    source = ArrayFile(tmp_path / "a.npy")

    def fresh(count: int, seed: int) -> Tensor:
        return (toy.sample(count, generator(seed, "real")) - source.location) / source.scale

    found = evaluate(fresh, source, draws=3)
    assert 0.5 < found.w2.ratio < 1.6
    assert 0.3 < found.sliced_w2.ratio < 2.5
    assert found.off_support.value < 0.12
    assert found.off_support.floor < 0.12


def test_faults_are_seen() -> None:
    """A dropped mode shows in W₂ and coverage, noise in quality and support."""
    toy = Toy("8gaussians")
    modes = toy.modes
    assert modes is not None

    def dropped(count: int, seed: int) -> Tensor:
        points = toy.sample(2 * count, generator(seed, "real"))
        return points[torch.cdist(points, modes.centres).argmin(1) > 0][:count]

    def noisy(count: int, seed: int) -> Tensor:
        stream = generator(seed, "real")
        return toy.sample(count, stream) + 0.2 * torch.randn(count, 2, generator=stream)

    found = evaluate(dropped, toy, draws=1)
    assert found.coverage is not None
    assert found.coverage.value == pytest.approx(7 / 8)
    assert found.w2.ratio > 1.3
    assert found.sliced_w2.ratio > 5
    assert found.off_support.value < 0.02
    found = evaluate(noisy, toy, draws=1)
    assert found.high_quality is not None
    assert found.high_quality.value < 0.6
    assert found.off_support.value > 0.3


def test_figures_go_into_json_with_their_floor() -> None:
    points = SphereMixture().sample(200, generator(0, "cloud"))
    found = evaluate_cloud(points, SphereMixture(), draws=2).to_dict()
    assert found["draws"] == 2
    of_clouds = {"w2", "sliced_w2", "mmd2", "off_support", "missed"}
    assert set(found) == of_clouds | {"coverage", "high_quality", "w2_over_floor", "draws"}
    assert found["w2_over_floor"] == found["w2"]["value"] / found["w2"]["floor"]  # type: ignore[index]
    moons = evaluate_cloud(Toy("moons").sample(200, generator(0, "cloud")), Toy("moons"), draws=1).to_dict()
    assert "coverage" not in moons


def test_figures_of_images_are_those_of_their_features() -> None:
    digits, seen = Digits(), []

    def draw(count: int, seed: int) -> Tensor:
        return digits.sample(count, generator(seed, "real"))

    def half(images: Tensor) -> Tensor:
        seen.append(len(images))
        return images[:, :32]

    of_features = {"precision", "recall", "density", "neighbour_coverage", "frechet", "kernel"}
    pixels, features = evaluate(draw, digits, draws=1), evaluate(draw, digits, draws=1, encoder=half)
    assert of_features < set(pixels.figures())
    assert set(pixels.figures()) == set(features.figures())
    assert seen == [296, 296, 296]  # samples, floor and what both are measured against
    assert pixels.w2 == features.w2
    assert pixels.frechet != features.frechet
    assert pixels.precision is not None
    assert pixels.recall is not None
    assert pixels.precision.value > 0.8
    assert pixels.recall.floor > 0.8
    noise = evaluate(lambda count, seed: torch.randn(count, 64, generator=generator(seed, "x")), digits, draws=1)
    assert noise.precision is not None
    assert noise.frechet is not None
    assert noise.precision.value < 0.1
    assert noise.frechet.ratio > 5
    assert [name for name, *_ in pixels.rows()][-2:] == ["Fréchet distance", "kernel distance"]


def test_one_point_to_measure_against_is_enough_for_what_needs_no_two(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(10, 2)))
    source = ArrayFile(tmp_path / "a.npy")
    found = evaluate_cloud(torch.zeros(5, 2), source, draws=1)
    assert found.mmd2 is None
    assert set(found.figures()) == {"w2", "sliced_w2", "off_support", "missed"}


def test_what_samples_miss_is_seen() -> None:
    """A dropped mode of eight leaves an eighth of the data far from every sample; as many samples are counted."""
    toy = Toy("8gaussians")
    reference, probe, samples = (toy.sample(5000, generator(seed, "real")) for seed in range(3))
    support = Support(reference, probe)
    assert support.share_missed(samples) == pytest.approx(0.01, abs=0.006)
    kept, labels = toy.sample_labelled(8000, generator(3, "real"))
    missed = support.share_missed(kept[labels > 0][:5000])
    assert missed == pytest.approx(1 / 8 + 7 / 8 * 0.01, abs=0.02)
    assert support.share_off(kept[labels > 0]) == pytest.approx(0.01, abs=0.006)


def test_the_support_of_the_torus_has_no_seam() -> None:
    angles = 0.1 * torch.randn(3000, 1, generator=generator(0, "angles")) + torch.pi  # half of them beyond π
    wrapped = torch.remainder(angles + torch.pi, 2 * torch.pi) - torch.pi
    support = Support(wrapped[:1000], wrapped[1000:2000], geometry="torus")
    assert support.threshold < 0.05
    assert support.share_off(wrapped[2000:]) < 0.03
    assert support.share_off(torch.tensor([[-torch.pi], [torch.pi], [3 * torch.pi], [0.0], [-1e-12]])) == 0.4


@pytest.mark.parametrize("metric", [wasserstein2, sliced_wasserstein2, mmd2])
def test_an_unknown_space_and_points_off_it_are_told(metric: Callable[..., float]) -> None:
    x = torch.randn(6, 3)
    with pytest.raises(ValueError, match=r"geometry: .* is needed, found 'shpere'"):
        metric(x, x, geometry="shpere")
    with pytest.raises(ValueError, match="x: points off the sphere; project them"):
        metric(x, x, geometry="sphere")


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (torch.full((3, 2), torch.nan), "NaN"),
        (torch.zeros(0, 2), "empty"),
        (torch.zeros(3, 5), "5 coordinates"),
        (torch.zeros(3), "shape"),
    ],
)
def test_modes_are_not_counted_of_samples_that_are_none(samples: Tensor, message: str) -> None:
    modes = Toy("8gaussians").modes
    assert modes is not None
    with pytest.raises(ValueError, match=message):
        mode_coverage(samples, modes)


@pytest.mark.parametrize(
    ("cloud", "message"),
    [
        (torch.full((3, 2), torch.nan), "3 of 3 points have a NaN"),
        (torch.zeros(0, 2), "the cloud is empty"),
        (torch.zeros(3, 5), "2 coordinates are needed, found 5"),
        (torch.zeros(3), "shape"),
        ([[0.0, 1.0]], "tensor .* is needed, found list"),
    ],
)
def test_a_support_refuses_what_is_no_cloud(cloud: Tensor, message: str) -> None:
    real = torch.randn(30, 2)
    support = Support(real, real)
    for call in (support.share_off, support.share_missed, lambda z: Support(real, z)):
        with pytest.raises(ValueError, match=message):
            call(cloud)
    with pytest.raises(ValueError, match=r"geometry: .* is needed, found 'spher'"):
        Support(real, real, geometry="spher")  # type: ignore[arg-type]


def test_widths_of_the_discrepancy_are_numbers() -> None:
    x = torch.randn(9, 2)
    with pytest.raises(ValueError, match="bandwidths: a number or a sequence of them is needed"):
        mmd2(x, x, bandwidths=["a"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"draws: a whole number, at least 1, is needed, found 1.5"):
        evaluate_cloud(x, Toy("moons"), draws=1.5)  # type: ignore[arg-type]
