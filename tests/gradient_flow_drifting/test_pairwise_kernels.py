"""Kernels evaluated pair by pair: as written, normalised, true scores, one result whatever the chunk."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from gradient_flow_drifting import (
    Gaussian,
    GeodesicGaussian,
    InverseMultiquadric,
    Kernel,
    Laplace,
    SharpLaplace,
    Sphere,
    SphereHeat,
    Torus,
    VonMisesFisher,
    WrappedGaussian,
    drift,
    resolve_kernel,
)
from gradient_flow_drifting.kernels import pairwise
from gradient_flow_drifting.kernels.heat import log_heat_rest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import eval_legendre
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

F64 = torch.float64
SEEDS = st.integers(0, 2**31)
H = (0.4, 1.1)
FLAT = [Laplace(H), SharpLaplace(H), InverseMultiquadric(H), InverseMultiquadric(H, power=3.0)]
WOUND = [WrappedGaussian((0.4, 1.1, 2.5)), GeodesicGaussian(H, Torus())]
ROUND = [SphereHeat((0.4, 1.1)), GeodesicGaussian(H, Sphere())]
ALL = [*FLAT, *WOUND, *ROUND]
LOG_KERNELS: dict[str, Callable[[Tensor, float], Tensor]] = {  # of the distance and the bandwidth
    "Laplace": lambda rho, h: -rho / h,
    "SharpLaplace": lambda rho, h: torch.log(1 + rho / h) - rho / h,
    "InverseMultiquadric": lambda rho, h: -0.5 * torch.log(1 + rho**2 / h**2),
}


def clouds(kernel: Kernel, seed: int = 0, n: int = 7, m: int = 9, dtype: torch.dtype = F64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = 1.5 * torch.randn(n, 3, generator=generator, dtype=dtype)
    y = 0.2 + torch.randn(m, 3, generator=generator, dtype=dtype)
    return kernel.manifold.projx(x), kernel.manifold.projx(y)


def called(kernel: Kernel) -> str:
    return f"{type(kernel).__name__}-{type(kernel.manifold).__name__}"


@pytest.mark.parametrize("kernel", [*FLAT[:3]], ids=called)
@pytest.mark.parametrize("d", [1, 2, 12])
def test_as_written(kernel: Kernel, d: int) -> None:
    x, y, u = torch.randn(5, d, dtype=F64), torch.randn(8, d, dtype=F64), torch.rand(8, dtype=F64)
    log_kernel = LOG_KERNELS[type(kernel).__name__]
    leaf = x.clone().requires_grad_()
    result = kernel.score(x, y, weights=u)
    shifts = kernel.mean_shift(x, y, weights=u)
    sizes = kernel.effective_sample_size(x, y, weights=u)
    for k, h in enumerate(kernel.lengths):
        rho = torch.stack([(leaf - each).norm(dim=1) for each in y], 1)
        terms = log_kernel(rho, h) + u.log()
        log_density = torch.logsumexp(terms, 1) - u.sum().log()
        (score,) = torch.autograd.grad(log_density.sum(), leaf, retain_graph=True)
        volume = log_density.detach() - result.log_density[k]
        assert torch.allclose(volume, volume[:1].expand(5), atol=1e-12)
        assert torch.allclose(result.score[k], score, atol=1e-11)
        shares = torch.softmax(terms, 1).detach()
        assert torch.allclose(shifts.score[k], shares @ y - x, atol=1e-11)
        assert torch.allclose(sizes[k], 1 / (shares**2).sum(1), rtol=1e-11)
    single = kernel.with_lengths(H[0]).score(x, y, weights=u)
    assert torch.allclose(single.score, result.score[0], rtol=1e-12)
    assert single.log_density.shape == (5,)


@pytest.mark.parametrize("kernel", [Laplace(0.5), SharpLaplace(0.4), InverseMultiquadric(0.5, power=4.0)], ids=called)
@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_flat_kernels_integrate_to_one(kernel: Kernel, d: int) -> None:
    """In polar coordinates about a single point, ρ = tan of an angle."""
    node, weight = np.polynomial.legendre.leggauss(400)
    angle = torch.from_numpy((node + 1) * math.pi / 4)
    rho, step = angle.tan(), torch.from_numpy(weight) * math.pi / 4 / angle.cos() ** 2
    x = torch.zeros(400, d, dtype=F64)
    x[:, 0] = rho
    density = kernel.score(x, torch.zeros(1, d, dtype=F64)).log_density.exp()
    area = 2 * math.pi ** (d / 2) / math.gamma(d / 2)
    assert float((area * rho ** (d - 1) * density * step).sum()) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("h", [0.05, 0.5, 0.69, 0.71, 0.99, 1.01, 4.0])
def test_wrapped_gaussian_by_many_images(h: float) -> None:
    x = torch.linspace(-7, 7, 57, dtype=F64)[:, None].requires_grad_()
    y = torch.tensor([[0.4]], dtype=F64)
    turns = 2 * math.pi * torch.arange(-60, 61, dtype=F64)
    expected = torch.logsumexp(-0.5 * ((x - y + turns) / h) ** 2, 1) - math.log(h * math.sqrt(2 * math.pi))
    (slope,) = torch.autograd.grad(expected.sum(), x)
    result = WrappedGaussian(h).score(x.detach(), y)
    assert torch.allclose(result.log_density, expected.detach(), rtol=1e-12, atol=1e-12)
    assert torch.allclose(result.score, slope, rtol=1e-10, atol=1e-9)
    angles = torch.arange(2000, dtype=F64)[:, None] * 2 * math.pi / 2000
    density = WrappedGaussian(h).score(angles, torch.rand(6, 1, dtype=F64)).log_density.exp()
    assert float(density.mean()) * 2 * math.pi == pytest.approx(1, abs=1e-12)


def at_angles(angle: Tensor) -> Tensor:
    return torch.stack([angle.sin(), torch.zeros_like(angle), angle.cos()], 1)


@pytest.mark.parametrize("h", [0.35, 0.69, 0.72, 1.5, 5.0])
def test_heat_kernel_is_the_spectral_sum(h: float) -> None:
    """Where double precision can tell: the sum's terms cancel to values far below the largest."""
    t, angle = h**2 / 2, np.concatenate([[0, 1e-5, math.pi - 1e-5, math.pi], np.linspace(0.01, 3.13, 60)])
    order = np.arange(60)[:, None]
    terms = (2 * order + 1) / (4 * math.pi) * np.exp(-order * (order + 1) * t) * eval_legendre(order, np.cos(angle))
    density = SphereHeat(h).score(at_angles(torch.from_numpy(angle)), at_angles(torch.zeros(1, dtype=F64)))
    expected = torch.from_numpy(terms.sum(0))
    assert torch.allclose(density.log_density.exp(), expected, rtol=1e-7, atol=1e-14 * float(expected.max()))


def test_heat_kernel_where_both_series_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    theta = np.concatenate([np.linspace(0, math.pi, 50), [1e-4, math.pi - 1e-4]])
    short = log_heat_rest(theta, math.pi - theta, 0.2)
    monkeypatch.setattr("gradient_flow_drifting.kernels.heat._LONG_TIME", 0.1)
    assert log_heat_rest(theta, math.pi - theta, 0.2) == pytest.approx(short, abs=1e-10)


@pytest.mark.parametrize("h", [1e-3, 0.01, 0.1])
def test_heat_kernel_of_short_times_is_the_expansion(h: float) -> None:
    """√(θ / sin θ) (1 + t (1 + (1 − θ cot θ)/θ²)/4) e^{−θ²/4t} / 4πt + O(t²) away from the antipode."""
    t, theta = h**2 / 2, np.linspace(0.2, 2.0, 30)
    first = 0.25 + (1 - theta / np.tan(theta)) / (4 * theta**2)
    expected = 0.5 * np.log(theta / np.sin(theta)) + t * first - math.log(4 * math.pi * t)
    assert log_heat_rest(theta, math.pi - theta, t) == pytest.approx(expected, abs=t**2 + 1e-10)


def test_heat_kernel_is_a_semigroup() -> None:
    """Spread for two times one after the other it is that of their sum: ∫ p_s(x, z) p_t(z, y) dz = p_{s+t}(x, y)."""
    z, weights = np.polynomial.legendre.leggauss(120)
    phi = np.arange(240) * 2 * np.pi / 240
    rim = np.sqrt(1 - z**2)[:, None]
    nodes = np.stack([rim * np.cos(phi), rim * np.sin(phi), np.broadcast_to(z[:, None], (120, 240))], -1).reshape(-1, 3)
    area = torch.from_numpy(np.repeat(weights, 240) * 2 * np.pi / 240)
    points, grid = at_angles(torch.tensor([0.0, 0.7, 2.0, math.pi], dtype=F64)), torch.from_numpy(nodes)

    def kernel(h: float, x: Tensor, y: Tensor) -> Tensor:
        return torch.stack([SphereHeat(h).score(x, each[None]).log_density.exp() for each in y])

    spread = kernel(0.3, grid, points)
    assert torch.allclose(spread @ area, torch.ones(4, dtype=F64), atol=1e-8)
    once = (spread * area) @ kernel(0.6, grid, points).T
    assert torch.allclose(once, kernel(math.hypot(0.3, 0.6), points, points), rtol=1e-6)


@pytest.mark.parametrize("kernel", ALL, ids=called)
@given(SEEDS)
def test_score_is_the_gradient_of_the_log_density(kernel: Kernel, seed: int) -> None:
    x, y = clouds(kernel, seed)
    for self_terms, a, b in (("keep", x, y), ("leave_one_out", y, y)):
        leaf = a.clone().requires_grad_()
        result = kernel.score(leaf, b, self_terms=self_terms)  # type: ignore[arg-type]
        for k in range(len(kernel.lengths)):
            (gradient,) = torch.autograd.grad(result.log_density[k].sum(), leaf, retain_graph=True)
            gradient = kernel.manifold.proju(a, gradient)
            assert torch.allclose(result.score[k], gradient, rtol=1e-6, atol=1e-6)
        assert torch.allclose(kernel.manifold.proju(a, result.score[0]), result.score[0], atol=1e-12)  # tangent


@pytest.mark.parametrize("kernel", ALL, ids=called)
def test_results_have_right_gradients(kernel: Kernel) -> None:
    x, y = clouds(kernel, n=3, m=4)
    u = torch.rand(4, dtype=F64)

    def results(x: Tensor, y: Tensor, u: Tensor) -> tuple[Tensor, ...]:
        x, y = kernel.manifold.projx(x), kernel.manifold.projx(y)
        return (*kernel.score(x, y, weights=u), kernel.mean_shift(x, y, weights=u).score)

    tolerance = 2e-4 if isinstance(kernel, SphereHeat) else 1e-6  # its spline has no smooth third derivative
    leaves = tuple(each.requires_grad_() for each in (x, y, u))
    assert torch.autograd.gradcheck(results, leaves, atol=tolerance, rtol=1e-4)


@pytest.mark.parametrize("kernel", ALL, ids=called)
def test_gradients_are_finite_at_coincident_points_and_antipodes(kernel: Kernel) -> None:
    x, _ = clouds(kernel)
    y = torch.cat([x[:3], -x[3:5], x[5:]])
    leaves = [each.requires_grad_() for each in (x, y)]
    result = kernel.score(*leaves)
    assert all(bool(torch.isfinite(each).all()) for each in result)
    for each in torch.autograd.grad(result.score.sum() + result.log_density.sum(), leaves):
        assert bool(torch.isfinite(each).all())


@given(st.sampled_from(ALL), SEEDS, st.integers(1, 60), st.booleans())
def test_one_result_whatever_the_chunk(kernel: Kernel, seed: int, numbers: int, weighted: bool) -> None:
    x, _ = clouds(kernel, seed, n=13)
    u = torch.rand(13, generator=torch.Generator().manual_seed(seed), dtype=F64) if weighted else None

    def results() -> list[Tensor]:
        leaves = [x.clone().requires_grad_(), x.clone().requires_grad_()]
        score, log_density = kernel.score(*leaves, weights=u, self_terms="leave_one_out")
        return [score, log_density, *torch.autograd.grad(score.square().sum() + log_density.sum(), leaves)]

    whole = results()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairwise, "NUMBERS_AT_ONCE", 13 * numbers)
        for chunked, expected in zip(results(), whole, strict=True):
            assert torch.allclose(chunked, expected, rtol=1e-10, atol=1e-10)


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that any operation made."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        for each in result if isinstance(result, tuple | list) else (result,):
            if isinstance(each, Tensor):
                self.numbers = max(self.numbers, each.untyped_storage().nbytes() // each.element_size())
        return result


@pytest.mark.parametrize("kernel", ALL, ids=called)
def test_memory_is_bounded(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairwise, "NUMBERS_AT_ONCE", 2**14)
    x, y = clouds(kernel, n=300, m=400)
    with Largest() as largest:
        kernel.score(x.requires_grad_(), y.requires_grad_()).score.sum().backward()
    assert largest.numbers <= 2**14 + 400 * 18  # at least a row at a time


@pytest.mark.parametrize("kernel", [*ALL, Gaussian(H), VonMisesFisher((3.0, 9.0))], ids=called)
def test_left_out_is_as_if_it_were_not_there(kernel: Kernel) -> None:
    _, y = clouds(kernel)
    u = torch.rand(len(y), dtype=F64)
    for weights, others in ((None, None), (u, u[1:])):
        left_out = kernel.score(y, y, weights=weights, self_terms="leave_one_out")
        without = kernel.score(y[:1], y[1:], weights=others)
        assert torch.allclose(left_out.score[:, :1], without.score, atol=1e-11)
        assert torch.allclose(left_out.log_density[:, :1], without.log_density, atol=1e-11)
    some = u * (torch.arange(len(y)) % 2)
    assert torch.allclose(
        kernel.score(y, y, weights=some).score, kernel.score(y, y[1::2], weights=some[1::2]).score, atol=1e-11
    )


def test_mean_shift_is_the_squared_bandwidth_times_the_score_for_gaussians_alone() -> None:
    for kernel in (Gaussian(H), VonMisesFisher((3.0, 9.0)), *WOUND, *ROUND):
        x, y = clouds(kernel)
        squares = torch.tensor([h**2 for h in kernel.lengths], dtype=F64)[:, None, None]
        assert torch.allclose(kernel.mean_shift(x, y).score, squares * kernel.score(x, y).score, atol=1e-12)
    x, y = clouds(Laplace(0.5))
    laplace, sharp = Laplace(0.5), SharpLaplace(0.5)
    # k (y − x) is τ² times the gradient of the sharp kernel, both without their integrals
    sums = [(k.score(x, y).log_density + k.log_volume(3)[0]).exp() for k in (sharp, laplace)]
    expected = 0.5**2 * (sums[0] / sums[1])[:, None] * sharp.score(x, y).score
    assert torch.allclose(laplace.mean_shift(x, y).score, expected, atol=1e-12)
    assert not torch.allclose(laplace.mean_shift(x, y).score, 0.5**2 * laplace.score(x, y).score, rtol=0.1)


def test_laplace_drift_is_the_drifting_models() -> None:
    """The weighted mean of the data less that of the model's samples, weights e^{−‖x − y‖/τ}."""
    x, y = clouds(Laplace(0.5))

    def mean(sample: Tensor) -> Tensor:
        return torch.softmax(-torch.cdist(x, sample) / 0.5, 1) @ sample

    result = drift(x, positives=y, negatives=x, kernel=Laplace(0.5), max_step=None)
    assert torch.allclose(result.velocity, mean(y) - mean(x), atol=1e-12)
    flow = drift(x, positives=y, negatives=x, kernel=Laplace(0.5), max_step=None, velocity_unit="score")
    difference = Laplace(0.5).score(x, y).score - Laplace(0.5).score(x, x).score
    assert torch.allclose(flow.velocity, difference, atol=1e-12)


def test_kernels_by_name() -> None:
    assert resolve_kernel("gaussian", 0.3) == Gaussian(0.3)
    assert resolve_kernel("inverse_multiquadric", [0.3, 1]) == InverseMultiquadric((0.3, 1.0))
    assert resolve_kernel("von_mises_fisher", 0.5) == VonMisesFisher(4.0)
    assert resolve_kernel("geodesic_gaussian", 0.5) == GeodesicGaussian(0.5, Sphere())
    assert resolve_kernel("geodesic_gaussian", 0.5, manifold=Torus()) == GeodesicGaussian(0.5, Torus())
    assert Laplace((0.1, 0.2)).with_lengths(0.5) == Laplace(0.5)
    assert InverseMultiquadric(0.1, power=2.0).with_lengths([0.5, 1]) == InverseMultiquadric((0.5, 1.0), power=2.0)


def test_bad_input_is_named() -> None:
    x, y = torch.randn(3, 2), torch.randn(4, 2)
    for kernel in (Laplace, SharpLaplace, InverseMultiquadric, GeodesicGaussian, SphereHeat, WrappedGaussian):
        for bandwidth in (0.0, -1.0, (0.1, math.inf), ()):
            with pytest.raises(ValueError, match="bandwidth: "):
                kernel(bandwidth)  # type: ignore[arg-type]
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: resolve_kernel("gausian", 0.1), r'kernel: "gausian" is unknown; did you mean "gaussian"\? There are'),
        (lambda: resolve_kernel(Laplace(1.0), 0.1), "kernel: a name is needed, one of gaussian, .* found Laplace"),  # type: ignore[arg-type]
        (lambda: GeodesicGaussian(1.0, Torus), r"manifold: an object is needed, Torus\(\) say, found the class itself"),  # type: ignore[arg-type]
        (lambda: resolve_kernel("sharp", 0.1), r'did you mean "sharp_laplace"\?'),
        (lambda: resolve_kernel("laplace", 0), "bandwidth: must be positive and finite, found 0.0"),
        (lambda: InverseMultiquadric(1.0, power=0.0), "power: must be above 0, found 0.0"),
        (lambda: SphereHeat(1e-5), "bandwidth: between 1e-4 and 1e4 are possible on the sphere, found 1e-05"),
        (lambda: SphereHeat(1.0).score(x, y), r"x: points of the sphere S² have 3 coordinates, found 2"),
        (lambda: GeodesicGaussian(1.0, "sphere"), "manifold: str has no expmap, which geodesics need"),  # type: ignore[arg-type]
        (lambda: Laplace(1.0).score(x, y, backend="triton"), 'backend: Laplace has only "reference", found "triton"'),
        (lambda: Laplace(1.0).score(x, y[:0]), "y: the cloud is empty"),
        (lambda: Laplace(1.0).score(x * torch.nan, y), "x: 3 of 3 points have a NaN"),
        (lambda: Laplace(1.0).score(x, y[:, :1]), "y: 2 coordinates are needed as in x, found 1"),
        (lambda: Laplace(1.0).score(x, y, weights=torch.ones(3)), "weights: a tensor of 4 weights"),
        (lambda: Laplace(1.0).score(x, y, self_terms="leave"), 'self_terms: "keep" or "leave_one_out"'),  # type: ignore[arg-type]
        (lambda: Laplace(1.0).score(x[:1], y[:1], self_terms="leave_one_out"), "y: leaving one out needs at least 2"),
        (lambda: Laplace(1.0).score(x, y[:2], self_terms="leave_one_out"), "y: leaving one out needs at least 3"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message) as error:
            call()
        assert "\n" not in str(error.value)
    assert Laplace(1.0).score(x[:0], y).score.shape == (0, 2)


@pytest.mark.parametrize("power", ["a", None, math.nan])
def test_a_power_is_a_number(power: float) -> None:
    with pytest.raises(ValueError, match="power: a finite number is needed"):
        InverseMultiquadric(1.0, power=power)
