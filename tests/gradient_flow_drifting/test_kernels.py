"""The kernels' normalisers by quadrature and closed forms, their scores as written."""

import math

import numpy as np
import pytest
import torch
from gradient_flow_drifting import Gaussian, Sphere, VonMisesFisher, kde_score
from gradient_flow_drifting.kernels.von_mises_fisher import log_scaled_bessel_i
from scipy.special import ive
from torch import Tensor


def on_sphere(n: int, d: int) -> Tensor:
    return Sphere().projx(torch.randn(n, d, dtype=torch.float64))


@pytest.mark.parametrize("kappa", [0.3, 5.0, 50.0])
def test_von_mises_fisher_integrates_to_one_on_the_sphere(kappa: float) -> None:
    z, weights = np.polynomial.legendre.leggauss(200)
    phi = np.arange(400) * 2 * np.pi / 400
    rim = np.sqrt(1 - z**2)[:, None]
    points = np.stack([rim * np.cos(phi), rim * np.sin(phi), np.broadcast_to(z[:, None], (200, 400))], -1)
    area = torch.from_numpy(np.repeat(weights, 400) * 2 * np.pi / 400)
    log_density = VonMisesFisher(kappa).score(torch.from_numpy(points.reshape(-1, 3)), on_sphere(7, 3)).log_density
    assert abs(float((log_density.exp() * area).sum()) - 1) < 1e-12


@pytest.mark.parametrize("kappa", [0.3, 5.0, 50.0])
def test_von_mises_fisher_integrates_to_one_on_the_circle(kappa: float) -> None:
    angle = torch.arange(1000, dtype=torch.float64) * 2 * math.pi / 1000
    points = torch.stack([angle.cos(), angle.sin()], 1)
    log_density = VonMisesFisher(kappa).score(points, on_sphere(5, 2)).log_density
    assert abs(float(log_density.exp().sum()) * 2 * math.pi / 1000 - 1) < 1e-12


@pytest.mark.parametrize("d", [2, 3, 8])
@pytest.mark.parametrize("kappa", [2.0, 300.0])
def test_von_mises_fisher_as_written(kappa: float, d: int) -> None:
    x, y, u = on_sphere(6, d), on_sphere(9, d), torch.rand(9, dtype=torch.float64)
    result = VonMisesFisher(kappa).score(x, y, weights=u)
    attraction = torch.softmax(kappa * x @ y.T + u.log(), 1) @ y
    expected = kappa * (attraction - (x * attraction).sum(1, keepdim=True) * x)
    assert torch.allclose(result.score, expected, rtol=1e-9, atol=1e-9)
    constant = (d / 2 - 1) * math.log(kappa) - d / 2 * math.log(2 * math.pi) - math.log(ive(d / 2 - 1, kappa)) - kappa
    log_density = torch.logsumexp(kappa * x @ y.T + u.log(), 1) - u.sum().log() + constant
    assert torch.allclose(result.log_density, log_density, rtol=1e-11, atol=1e-11)
    if d == 3:  # κ / (4π sinh κ), Mardia and Jupp 2000, Eq. 9.3.5
        closed = math.log(kappa / (2 * math.pi)) - kappa - math.log1p(-math.exp(-2 * kappa))
        assert abs(constant - closed) < 1e-12 * abs(closed)


def test_score_is_the_gradient_along_the_sphere() -> None:
    sphere, x, y = Sphere(), on_sphere(6, 3), on_sphere(9, 3)
    kernel = VonMisesFisher((3.0, 30.0))
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(kernel.score(sphere.projx(leaf), y).log_density[1].sum(), leaf)
    assert torch.allclose(kernel.score(x, y).score[1], gradient, atol=1e-11)
    left_out = kernel.score(y, y, self_terms="leave_one_out")
    without = kernel.score(y[:1], y[1:])
    assert torch.allclose(left_out.log_density[:, 0], without.log_density[:, 0], rtol=1e-12)


@pytest.mark.parametrize("order", [0.0, 0.5, 31.0, 127.0, 600.0])
@pytest.mark.parametrize("x", [0.01, 1.0, 40.0, 2000.0, 1e6, 1e13])
def test_bessel_function_by_its_recurrence(order: float, x: float) -> None:
    """I_ν − I_{ν+2} = (2 (ν + 1)/x) I_{ν+1} (DLMF 10.29.1), across the change from SciPy to the series."""
    low, middle, high = (log_scaled_bessel_i(order + k, x) for k in range(3))
    assert abs(1 - math.exp(high - low) - 2 * (order + 1) / x * math.exp(middle - low)) < 1e-8


def test_bessel_series_agrees_with_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [log_scaled_bessel_i(order, x) for order in (0.0, 3.5, 60.0) for x in (0.1, 10.0, 500.0)]
    monkeypatch.setattr("gradient_flow_drifting.kernels.von_mises_fisher.ive", lambda order, x: 0.0)  # noqa: ARG005
    series = [log_scaled_bessel_i(order, x) for order in (0.0, 3.5, 60.0) for x in (0.1, 10.0, 500.0)]
    assert series == pytest.approx(expected, rel=1e-11, abs=1e-11)


@pytest.mark.parametrize("kappa", [1e-12, 1e-6, 1e6, 1e12])
def test_extreme_concentrations_have_the_closed_form_of_the_sphere(kappa: float) -> None:
    """At its centre the density is κ / (4π sinh κ) e^κ = κ / (2π (1 − e^{−2κ}))."""
    y = on_sphere(1, 3)
    log_density = float(VonMisesFisher(kappa).score(y, y).log_density)
    assert log_density == pytest.approx(math.log(kappa / (2 * math.pi * -math.expm1(-2 * kappa))), abs=1e-10)


def test_gaussian_is_the_op() -> None:
    x, y = torch.randn(5, 2), torch.randn(8, 2)
    result, expected = Gaussian([0.3, 1.0]).score(x, y), kde_score(x, y, bandwidth=[0.3, 1.0])
    assert torch.equal(result.score, expected.score)
    assert torch.equal(result.log_density, expected.log_density)


def test_kernels_are_values() -> None:
    assert Gaussian([0.1, 0.2]) == Gaussian((0.1, 0.2))
    assert hash(Gaussian(np.array([0.1, 0.2]))) == hash(Gaussian((0.1, 0.2)))
    assert Gaussian(1).bandwidth == 1.0
    assert Gaussian((0.1, 0.2)).with_lengths(0.3) == Gaussian(0.3)
    assert VonMisesFisher((4.0, 25.0)).lengths == (0.5, 0.2)
    assert VonMisesFisher(1.0).with_lengths((0.5, 0.2)).concentration == pytest.approx((4.0, 25.0))
