"""geoopt's manifolds, as they are, with the Gaussian of their distance."""

import math

import pytest
import torch
from gradient_flow_drifting import (
    Euclidean,
    Gaussian,
    GeodesicGaussian,
    choose_bandwidth,
    drift,
    drifting_loss,
    flow_particles,
)
from torch import Tensor

geoopt = pytest.importorskip("geoopt", reason="no geoopt: install gradient-flow-drifting[geoopt]")
F64 = torch.float64

# A manifold's own curvature has a precision too, which for Lorentz must be that of the points.
MANIFOLDS = {
    "ball": (geoopt.PoincareBall(c=1.0), 3),
    "lorentz": (geoopt.Lorentz().double(), 4),
    "product": (geoopt.ProductManifold((geoopt.PoincareBall(), 2), (geoopt.Sphere(), 3)), 5),
}


def near_origin(name: str, n: int, spread: float, seed: int, dtype: torch.dtype = F64) -> Tensor:
    """Points about one of the manifold's, by its exponential map."""
    manifold, d = MANIFOLDS[name]
    origin = {"ball": torch.zeros(d), "lorentz": torch.eye(d)[0], "product": torch.tensor([0.0, 0, 0, 0, 1])}[name]
    origin = origin.to(dtype).expand(n, d)
    noise = spread * torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return manifold.expmap(origin, manifold.proju(origin, noise)).detach()


@pytest.mark.parametrize("name", MANIFOLDS)
def test_score_is_the_riemannian_gradient(name: str) -> None:
    manifold, _ = MANIFOLDS[name]
    x, y = near_origin(name, 6, 0.5, 0), near_origin(name, 8, 0.5, 1)
    kernel = GeodesicGaussian((0.4, 0.9), manifold)
    leaf = x.clone().requires_grad_()
    result = kernel.score(leaf, y)
    for k in range(2):
        (gradient,) = torch.autograd.grad(result.log_density[k].sum(), leaf, retain_graph=True)
        assert torch.allclose(result.score[k], manifold.egrad2rgrad(x, gradient), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", MANIFOLDS)
def test_drift_is_tangent_limited_and_zero_where_the_clouds_agree(name: str) -> None:
    manifold, _ = MANIFOLDS[name]
    x, y = near_origin(name, 20, 0.5, 0), near_origin(name, 30, 0.3, 1)
    kernel = GeodesicGaussian((0.3, 0.8), manifold)
    for divergence in ("kl_qp", "mixed", "mmd2"):
        result = drift(x, positives=y, negatives=x, kernel=kernel, divergence=divergence, max_step=0.02)
        assert torch.allclose(manifold.proju(x, result.velocity), result.velocity, atol=1e-10)
        length = manifold.inner(x, result.velocity, keepdim=True).sqrt()
        assert float(length.max()) == pytest.approx(0.02)  # in the manifold's own length
        same = drift(y, positives=y, negatives=y, kernel=kernel, divergence=divergence)
        assert float(same.velocity.abs().max()) < 1e-12
    leaf = x.clone().requires_grad_()
    loss = drifting_loss(leaf, y, kernel=kernel)
    (gradient,) = torch.autograd.grad(loss, leaf)
    assert bool(torch.isfinite(gradient).all())
    moved = manifold.expmap(x, -0.05 * len(x) * manifold.egrad2rgrad(x, gradient))
    assert float(manifold.dist(moved, y.mean(0) * 0 + y[:1]).mean()) < float(manifold.dist(x, y[:1]).mean())


@pytest.mark.parametrize("name", MANIFOLDS)
def test_particles_reach_the_data(name: str) -> None:
    manifold, _ = MANIFOLDS[name]
    x0, y = near_origin(name, 40, 0.4, 0), near_origin(name, 120, 0.15, 1)
    particles = flow_particles(x0, y, manifold=manifold, steps=60, step_size=0.3)
    assert manifold.check_point_on_manifold(particles)

    def mean_distance(points: Tensor) -> float:
        return float(torch.stack([manifold.dist(each.expand_as(y), y).mean() for each in points]).mean())

    assert mean_distance(particles) == pytest.approx(mean_distance(y), rel=0.15)
    assert mean_distance(x0) > 1.7 * mean_distance(y)
    assert 0 < choose_bandwidth(y, manifold=manifold) < 1


def test_hyperbolic_rotations_carry_the_field_along() -> None:
    """An isometry of the ball that is no rotation about its centre: Möbius addition from the left."""
    manifold = geoopt.PoincareBall(c=1.0)
    x, y = near_origin("ball", 10, 0.4, 0), near_origin("ball", 15, 0.4, 1)
    shift = torch.tensor([0.3, -0.2, 0.1], dtype=F64)
    kernel = GeodesicGaussian(0.5, manifold)
    plain = drift(x, positives=y, negatives=x, kernel=kernel, divergence="mixed")
    moved_x, moved_y = (manifold.mobius_add(shift.expand_as(each), each) for each in (x, y))
    moved = drift(moved_x, positives=moved_y, negatives=moved_x, kernel=kernel, divergence="mixed")
    assert torch.allclose(moved.log_ratio, plain.log_ratio, atol=1e-8)
    assert torch.allclose(moved.speed, plain.speed, rtol=1e-6)
    ends = manifold.expmap(x, 0.1 * plain.velocity), manifold.expmap(moved_x, 0.1 * moved.velocity)
    assert torch.allclose(manifold.mobius_add(shift.expand_as(x), ends[0]), ends[1], atol=1e-7)


def test_what_does_not_go_is_said() -> None:
    x = torch.linalg.qr(torch.randn(4, 3, 3, dtype=F64))[0].reshape(4, 9)
    stiefel, ball = geoopt.EuclideanStiefel(), geoopt.PoincareBall()
    inside = 0.1 * torch.randn(4, 3, dtype=F64)
    cases = [
        (
            lambda: GeodesicGaussian(0.5, stiefel).score(x.reshape(12, 3), x.reshape(12, 3)),
            "EuclideanStiefel has no logmap",
        ),
        (lambda: _drift(inside, Gaussian(0.5), ball), "kernel: Gaussian lives on Euclidean, manifold is PoincareBall"),
        (
            lambda: _drift(inside, GeodesicGaussian(0.5, ball), Euclidean()),
            "lives on PoincareBall, manifold is Euclidean",
        ),
        (
            lambda: _drift(inside, GeodesicGaussian(0.5, ball), geoopt.PoincareBall(c=2.0)),
            "manifold is another PoincareBall",
        ),
        (
            lambda: _drift(20 * inside + 1, GeodesicGaussian(0.5, ball), None),
            "x: points off the poincareball; project them",
        ),
        (
            lambda: _drift(inside, GeodesicGaussian(0.5, ball), None, field="exact"),
            'GeodesicGaussian has only "density"',
        ),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message) as error:
            call()
        assert "\n" not in str(error.value)
    assert math.isfinite(float(_drift(inside, GeodesicGaussian(0.5, ball), ball)[0, 0]))


def _drift(x: Tensor, kernel: object, manifold: object, **options: object) -> Tensor:
    return drift(x, positives=x[1:], negatives=x, kernel=kernel, manifold=manifold, **options).velocity  # type: ignore[arg-type]
