"""Precision, recall, density, coverage, Fréchet and kernel distance against definitions, closed forms and oracles."""

import math

import numpy as np
import pytest
import torch
from gradient_flow_drifting.metrics import density_coverage, frechet_distance, kernel_distance, precision_recall
from papertrio_shared.seed import generator
from scipy.linalg import sqrtm
from sklearn.metrics.pairwise import polynomial_kernel
from sklearn.neighbors import NearestNeighbors
from torch import Tensor


def cloud(seed: int, count: int = 60, dimension: int = 3, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(count, dimension, generator=generator(seed, "cloud"), dtype=torch.float64)


def radii(points: np.ndarray, neighbours: int) -> np.ndarray:
    """By scikit-learn, which without a query leaves each point out of its own neighbours."""
    distance, _ = NearestNeighbors(n_neighbors=neighbours).fit(points).kneighbors()
    return distance[:, -1]


@pytest.mark.parametrize("neighbours", [1, 3, 5])
def test_neighbourhoods_are_those_of_their_definitions(neighbours: int) -> None:
    samples, real = cloud(0, 50, scale=0.7), cloud(1, 70)
    x, y = samples.numpy(), real.numpy()
    apart = np.array([[math.dist(a, b) for b in y] for a in x])
    of_real, of_samples = radii(y, neighbours), radii(x, neighbours)
    precision = np.mean([any(apart[i, j] <= of_real[j] for j in range(70)) for i in range(50)])
    recall = np.mean([any(apart[i, j] <= of_samples[i] for i in range(50)) for j in range(70)])
    density = sum(apart[i, j] <= of_real[j] for i in range(50) for j in range(70)) / (neighbours * 50)
    coverage = np.mean([min(apart[:, j]) <= of_real[j] for j in range(70)])
    assert precision_recall(samples, real, neighbours=neighbours) == pytest.approx((precision, recall))
    assert density_coverage(samples, real, neighbours=neighbours) == pytest.approx((density, coverage))


def test_what_each_figure_is_for() -> None:
    """A dropped half costs recall and coverage, far samples precision and density; an outlier does not fool density."""
    real = torch.cat([cloud(0, 200, 2), cloud(1, 200, 2) + 20])
    half = cloud(2, 400, 2)
    precision, recall = precision_recall(half, real)
    density, coverage = density_coverage(half, real)
    assert precision > 0.9
    assert recall < 0.6
    assert density > 0.9
    assert coverage < 0.6
    far = torch.cat([cloud(3, 200, 2), cloud(4, 200, 2) - 50])
    assert precision_recall(far, real)[0] < 0.6
    assert density_coverage(far, real)[0] < 1.2
    outliers = torch.cat([real, torch.tensor([[100.0, 100.0], [100.0, -100.0], [-100.0, 100.0], [-100.0, -100.0]])])
    between = cloud(5, 400, 2) + 60
    assert precision_recall(between, outliers)[0] > 0.9  # one outlier's ball holds all
    assert density_coverage(between, outliers)[0] < 2
    assert density_coverage(between, outliers)[1] < 0.05


def test_one_distribution_has_full_marks() -> None:
    """The expected coverage at k = 5 of equal numbers is 1 − 2⁻⁵ (Naeem et al. 2020)."""
    found = np.array([density_coverage(cloud(2 * i, 400, 2), cloud(2 * i + 1, 400, 2)) for i in range(40)])
    error = 4 * found.std(0, ddof=1) / math.sqrt(40)
    assert error.max() < 0.05
    assert (abs(found.mean(0) - [1, 1 - 2**-5]) < error).all()


def test_the_frechet_distance_of_gaussians_has_its_closed_form() -> None:
    """Axes alone: ‖μ₁ − μ₂‖² + Σ (σ₁ − σ₂)²; any covariances: by the matrix root of SciPy."""
    z = torch.linalg.qr(cloud(0, 500, 3) - cloud(0, 500, 3).mean(0)).Q
    z = (z - z.mean(0)) / z.std(0)
    z = z @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(z.T)).T)  # mean zero and covariance one, exactly
    first, second = torch.tensor([1.0, 2.0, 0.0]).double(), torch.tensor([0.5, 1.0, 3.0]).double()
    shift = torch.tensor([1.0, -2.0, 0.5]).double()
    expected = float(shift.square().sum() + (first - second).square().sum())
    assert frechet_distance(z * first, z * second + shift) == pytest.approx(expected, rel=1e-9)
    x, y = cloud(1, 300, 4) @ cloud(2, 4, 4), cloud(3, 200, 4) @ cloud(4, 4, 4) + 1
    a, b = np.cov(x.numpy().T), np.cov(y.numpy().T)
    root = sqrtm(a @ b).real
    expected = float((x.mean(0) - y.mean(0)).square().sum()) + np.trace(a + b - 2 * root)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    few = cloud(5, 5, 20)  # fewer points than dimensions: a singular covariance
    assert frechet_distance(few, few + 1) == pytest.approx(20, rel=1e-6)


def test_the_kernel_distance_is_its_definition_and_has_no_bias() -> None:
    x, y = cloud(0, 40, 5), cloud(1, 30, 5, scale=1.5)

    def kernel(a: Tensor, b: Tensor) -> np.ndarray:
        return polynomial_kernel(a.numpy(), b.numpy(), degree=3, gamma=1 / 5, coef0=1)

    def alone(a: Tensor) -> float:
        of = kernel(a, a)
        return (of.sum() - np.trace(of)) / (len(a) * (len(a) - 1))

    assert kernel_distance(x, y) == pytest.approx(alone(x) + alone(y) - 2 * kernel(x, y).mean(), rel=1e-9)
    same = [kernel_distance(cloud(2 * i, 50, 5), cloud(2 * i + 1, 60, 5)) for i in range(100)]
    assert abs(np.mean(same)) < 4 * np.std(same) / 10


def test_clouds_that_cannot_be_compared_are_told() -> None:
    x = cloud(0, 10)
    for figure in (precision_recall, density_coverage, frechet_distance, kernel_distance):
        with pytest.raises(ValueError, match=r"y: 3 coordinates are needed as in x, found 2"):
            figure(x, x[:, :2])
        with pytest.raises(ValueError, match=r"y: 10 of 10 points have a NaN"):
            figure(x, x * math.nan)
    with pytest.raises(ValueError, match=r"samples and real: at least 4 points of each are needed, found 3 and 10"):
        precision_recall(x[:3], x)
    with pytest.raises(ValueError, match=r"samples and real: at least 6 points of each are needed, found 10 and 5"):
        density_coverage(x, x[:5])
    with pytest.raises(ValueError, match=r"at least 2 points of each are needed, found 1 and 10"):
        frechet_distance(x[:1], x)
    with pytest.raises(ValueError, match="neighbours: a whole number, at least 1, is needed, found 0"):
        precision_recall(x, x, neighbours=0)


@pytest.mark.parametrize("kind", [torch.float16, torch.int64, torch.float64])
def test_features_of_any_precision_are_compared(kind: torch.dtype) -> None:
    x, y = ((4 * cloud(seed, 30)).round() for seed in (0, 1))
    for figure in (precision_recall, density_coverage, frechet_distance, kernel_distance):
        assert figure(x.to(kind), y) == figure(x.to(y.dtype), y)
