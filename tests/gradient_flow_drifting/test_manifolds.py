"""Laws of the spaces."""

import math

import pytest
import torch
from gradient_flow_drifting import Euclidean, Manifold, Sphere, Torus
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

DIMENSIONS = st.integers(2, 7)
SEEDS = st.integers(0, 2**31)
DTYPES = st.sampled_from([torch.float32, torch.float64])


def on_sphere(n: int, d: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    points = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (points / points.norm(dim=1, keepdim=True)).to(dtype)


def test_both_follow_the_protocol() -> None:
    assert isinstance(Sphere(), Manifold)
    assert isinstance(Euclidean(), Manifold)
    assert isinstance(Torus(), Manifold)


@given(DIMENSIONS, SEEDS, DTYPES)
def test_exp_after_log(d: int, seed: int, dtype: torch.dtype) -> None:
    sphere = Sphere()
    x, y = on_sphere(20, d, seed, dtype), on_sphere(20, d, seed + 1, dtype)
    y[0], y[1] = x[0], -x[1]  # coincident points and antipodes
    y[2] = sphere.projx(x[2] + 1e-6 * y[2])
    tolerance = 30 * torch.finfo(dtype).eps
    u = sphere.logmap(x, y)
    assert float((sphere.expmap(x, u) - y).abs().max()) < tolerance
    assert float((x * u).sum(1).abs().max()) < tolerance  # tangent
    assert float((u.norm(dim=1) - sphere.dist(x, y)).abs().max()) < tolerance
    assert sphere.check_point_on_manifold(sphere.expmap(x, u))


@given(DIMENSIONS, SEEDS)
def test_log_after_exp(d: int, seed: int) -> None:
    sphere, x = Sphere(), on_sphere(20, d, seed)
    direction = sphere.proju(x, on_sphere(20, d, seed + 1))
    length = torch.linspace(0, 3.1, 20, dtype=torch.float64)[:, None]  # up to nearly π
    u = length * direction / direction.norm(dim=1, keepdim=True)
    assert torch.allclose(sphere.logmap(x, sphere.expmap(x, u)), u, atol=1e-11)


@given(DIMENSIONS, SEEDS)
def test_projections(d: int, seed: int) -> None:
    sphere, x = Sphere(), on_sphere(20, d, seed)
    u = 2 * on_sphere(20, d, seed + 1)
    tangent = sphere.proju(x, u)
    assert float((x * tangent).sum(1).abs().max()) < 1e-14
    assert torch.allclose(sphere.proju(x, tangent), tangent, atol=1e-14)
    assert torch.allclose(sphere.projx(3 * x), x, atol=1e-15)


@given(DIMENSIONS, SEEDS)
def test_distance_is_an_angle_and_a_metric(d: int, seed: int) -> None:
    sphere = Sphere()
    x, y, z = (on_sphere(20, d, seed + k) for k in range(3))
    assert torch.allclose(sphere.dist(x, y), torch.acos((x * y).sum(1)), atol=1e-7)
    assert torch.equal(sphere.dist(x, y), sphere.dist(y, x))
    assert bool((sphere.dist(x, z) <= sphere.dist(x, y) + sphere.dist(y, z) + 1e-14).all())
    assert torch.allclose(sphere.dist(x, -x), torch.full((20,), math.pi, dtype=torch.float64))
    assert not sphere.dist(x, x).any()


@pytest.mark.parametrize("angle", [1e-9, 1e-5, 1.0, math.pi - 1e-5, math.pi - 1e-9])
def test_distance_is_accurate_to_the_ends(angle: float) -> None:
    x = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    y = torch.tensor([math.cos(angle), math.sin(angle), 0.0], dtype=torch.float64)
    assert abs(float(Sphere().dist(x, y)) - angle) < 1e-15 * max(1.0, angle) + 2e-7 * angle * (angle < 1e-6)
    assert abs(float(Sphere().logmap(x, y)[1]) - angle) < 1e-8 * angle


def test_gradients_are_finite_at_coincident_points_and_antipodes() -> None:
    for y in (torch.tensor([1.0, 0.0, 0.0]), torch.tensor([-1.0, 0.0, 0.0])):
        x = torch.tensor([1.0, 0.0, 0.0], requires_grad=True)
        for value in (Sphere().dist(x, y) ** 2, Sphere().logmap(x, y).sum(), Sphere().expmap(x, 0 * x).sum()):
            (grad,) = torch.autograd.grad(value, x, retain_graph=True)
            assert torch.isfinite(grad).all()


def test_points_off_the_sphere_are_seen() -> None:
    sphere, x = Sphere(), on_sphere(10, 3, 0, torch.float32)
    assert sphere.check_point_on_manifold(x)
    assert not sphere.check_point_on_manifold(1.001 * x)


@given(SEEDS)
def test_flat_space(seed: int) -> None:
    flat, generator = Euclidean(), torch.Generator().manual_seed(seed)
    x, y = (torch.randn(5, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    assert torch.allclose(flat.expmap(x, flat.logmap(x, y)), y)
    assert torch.allclose(flat.dist(x, y), flat.logmap(x, y).norm(dim=1))
    assert torch.equal(flat.projx(x), x)
    assert torch.equal(flat.proju(x, y), y)
    assert flat.check_point_on_manifold(x)


@given(DIMENSIONS, SEEDS, DTYPES)
def test_flat_torus(d: int, seed: int, dtype: torch.dtype) -> None:
    torus, generator = Torus(), torch.Generator().manual_seed(seed)
    x, y, z, u = (5 * torch.randn(20, d, generator=generator, dtype=dtype) for _ in range(4))
    y[0], y[1] = x[0], x[1] + math.pi  # coincident points and antipodes
    turns = 2 * math.pi * torch.randint(-3, 4, (20, d), generator=generator).to(dtype)
    tolerance = 500 * torch.finfo(dtype).eps

    def apart(a: Tensor, b: Tensor) -> float:
        return float(torus.dist(a, b).max())

    assert apart(torus.expmap(x, torus.logmap(x, y)), y) < tolerance
    assert torch.allclose(torus.dist(x, y), torus.logmap(x, y).norm(dim=1))
    assert torch.allclose(torus.dist(x, y), torus.dist(y, x), atol=tolerance)
    assert torch.allclose(torus.dist(x, y), torus.dist(x + turns, y), atol=tolerance)
    assert apart(x, x + turns) < tolerance
    assert float(torus.projx(x).abs().max()) <= math.pi + tolerance
    assert float(torus.dist(x, y).max()) <= math.pi * math.sqrt(d) + tolerance
    assert bool((torus.dist(x, z) <= torus.dist(x, y) + torus.dist(y, z) + tolerance).all())
    assert torch.equal(torus.proju(x, u), u)
    assert torus.check_point_on_manifold(x)
    short = u / u.abs().max()
    assert torch.allclose(torus.logmap(x, torus.expmap(x, short)), short, atol=tolerance)


def test_torus_keeps_the_digits_of_small_angles_and_has_gradients_everywhere() -> None:
    torus, x = Torus(), torch.tensor([0.0, 1e-30, math.pi, -math.pi], requires_grad=True)
    assert float(torus.logmap(x, torch.tensor([1e-20, 0.0, math.pi, -math.pi]))[0].detach()) == pytest.approx(1e-20)
    (grad,) = torch.autograd.grad(torus.logmap(torch.zeros(4), x).sum(), x)
    assert torch.allclose(grad, torch.ones(4))
