"""Laws of the field that hold for every kernel, divergence and way of taking negatives."""

import math

import pytest
import torch
from gradient_flow_drifting import (
    DIVERGENCES,
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
    energy,
)
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

F64 = torch.float64
H = (0.5, 1.0)
FLAT = [Gaussian(H), Laplace(H), SharpLaplace(H), InverseMultiquadric(H)]
ROUND = [VonMisesFisher((4.0, 20.0)), SphereHeat(H), GeodesicGaussian(H, Sphere())]
WOUND = [WrappedGaussian(H), GeodesicGaussian(H, Torus())]
KERNELS = st.sampled_from([*FLAT, *ROUND, *WOUND])
NAMES = st.sampled_from([*DIVERGENCES, "alpha(0.3)"])
SEEDS = st.integers(0, 2**31)
UNITS = st.sampled_from(["mean_shift", "score"])
MODES = st.sampled_from(["keep", "leave_one_out"])


def clouds(kernel: Kernel, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x, y, z = (torch.randn(n, 3, generator=generator, dtype=F64) for n in (12, 15, 17))
    return tuple(kernel.manifold.projx(each) for each in (x, 1.3 * y + 0.4, z))  # type: ignore[return-value]


@given(KERNELS, NAMES, UNITS, SEEDS)
def test_no_field_where_the_clouds_agree(kernel: Kernel, name: str, unit: str, seed: int) -> None:
    """With its own term kept, and cross-fitted: wherever it is looked at from, though only in another order."""
    x, y, _ = clouds(kernel, seed)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    for at, negatives in ((y, y), (x, y[order])):
        result = drift(at, positives=y, negatives=negatives, kernel=kernel, divergence=name, velocity_unit=unit)  # type: ignore[arg-type]
        assert float(result.velocity.abs().max()) < 1e-10
        assert float(result.log_ratio.abs().max()) < 1e-12


@given(KERNELS, NAMES, UNITS, SEEDS)
def test_left_out_has_no_field_where_all_others_agree(kernel: Kernel, name: str, unit: str, seed: int) -> None:
    """What leaving one out promises: no field on a particle whose fellows are the data."""
    _, y, z = clouds(kernel, seed)
    cloud = torch.cat([z[:1], y])
    options = {"kernel": kernel, "divergence": name, "velocity_unit": unit, "self_terms": "leave_one_out"}
    result = drift(z[:1], positives=y, negatives=cloud, **options)  # type: ignore[arg-type]
    assert float(result.velocity.abs().max()) < 1e-10


@given(KERNELS, NAMES, UNITS, MODES, SEEDS)
def test_isometries_carry_the_field_along(kernel: Kernel, name: str, unit: str, self_terms: str, seed: int) -> None:
    """Rotations and shifts of flat space, rotations of the sphere, shifts and reflections of the torus."""
    x, y, z = clouds(kernel, seed)
    generator = torch.Generator().manual_seed(seed)
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=F64))[0]
    shift = 3 * torch.randn(3, generator=generator, dtype=F64)
    if isinstance(kernel.manifold, Sphere):
        shift = torch.zeros(3, dtype=F64)
    if isinstance(kernel.manifold, Torus):
        rotation = torch.diag(torch.tensor([1.0, -1.0, 1.0], dtype=F64))
    u = torch.rand(len(y), generator=generator, dtype=F64)

    def field(x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        options = {"velocity_unit": unit, "self_terms": self_terms, "positive_weights": u}
        negatives = torch.cat([x, z])
        result = drift(x, positives=y, negatives=negatives, kernel=kernel, divergence=name, **options)  # type: ignore[arg-type]
        return result.velocity, result.log_ratio, result.effective_sample_size, result.self_weight

    plain = field(x, y, z)
    moved = field(*(kernel.manifold.projx(each @ rotation.T + shift) for each in (x, y, z)))
    assert torch.allclose(moved[0], plain[0] @ rotation.T, rtol=1e-6, atol=1e-7)
    for a, b in zip(moved[1:], plain[1:], strict=True):
        assert torch.allclose(a, b, rtol=1e-7, atol=1e-7)
    assert torch.allclose(kernel.manifold.proju(x, plain[0]), plain[0], atol=1e-9)  # tangent


@given(KERNELS, NAMES, MODES, SEEDS)
def test_the_order_of_the_clouds_does_not_matter(kernel: Kernel, name: str, self_terms: str, seed: int) -> None:
    x, y, z = clouds(kernel, seed)
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(len(each), generator=generator) for each in (x, y, z)]
    u = torch.rand(len(y), generator=generator, dtype=F64)

    def velocity(x: Tensor, y: Tensor, z: Tensor, u: Tensor) -> Tensor:
        options = {"self_terms": self_terms, "positive_weights": u, "kernel": kernel, "divergence": name}
        return drift(x, positives=y, negatives=torch.cat([x, z]), **options).velocity  # type: ignore[arg-type]

    permuted = velocity(x[orders[0]], y[orders[1]], z[orders[2]], u[orders[1]])
    assert torch.allclose(permuted, velocity(x, y, z, u)[orders[0]], atol=1e-10)


@given(KERNELS, SEEDS)
def test_self_weight_is_the_share_of_the_own_term(kernel: Kernel, seed: int) -> None:
    x, y, z = clouds(kernel, seed)
    u = torch.rand(len(x) + len(z), generator=torch.Generator().manual_seed(seed), dtype=F64)
    for weights in (None, u):
        negatives = torch.cat([x, z])
        result = drift(x, positives=y, negatives=negatives, kernel=kernel, negative_weights=weights)
        shares = torch.ones_like(u) / len(u) if weights is None else u / u.sum()
        for i in range(3):
            others = torch.cat([negatives[:i], negatives[i + 1 :]])
            rest = torch.cat([shares[:i], shares[i + 1 :]])
            without = kernel.score(x[i : i + 1], others, weights=rest).log_density.exp()[:, 0] * rest.sum()
            own = kernel.score(x[i : i + 1], x[i : i + 1]).log_density.exp()[:, 0] * shares[i]
            assert torch.allclose(result.self_weight[:, i], own / (own + without), rtol=1e-8)
    left_out = drift(x, positives=y, negatives=negatives, kernel=kernel, self_terms="leave_one_out")
    crossed = drift(x, positives=y, negatives=z, kernel=kernel)
    for result in (left_out, crossed):
        assert result.self_weight.shape == (2, len(x))
        assert not result.self_weight.any()


def test_self_weight_of_a_narrow_and_a_wide_kernel() -> None:
    x = torch.randn(20, 2)
    for h, expected in ((1e-3, 1.0), (1e3, 1 / 20)):
        result = drift(x, positives=x, negatives=x, kernel=Gaussian(h))
        assert result.self_weight.tolist() == pytest.approx([expected] * 20, rel=1e-3)


@given(st.sampled_from(FLAT), SEEDS, st.floats(0.1, 10))
def test_units_of_length(kernel: Kernel, seed: int, scale: float) -> None:
    """In other units of length mean shifts scale with the points, scores against them, log ratios not at all."""
    x, y, _ = clouds(kernel, seed)
    other = kernel.with_lengths([scale * h for h in kernel.lengths])
    for unit, power in (("mean_shift", 1), ("score", -1)):
        plain = drift(x, positives=y, negatives=x, kernel=kernel, divergence="mixed", velocity_unit=unit)  # type: ignore[arg-type]
        scaled = drift(
            scale * x,
            positives=scale * y,
            negatives=scale * x,
            kernel=other,
            divergence="mixed",
            velocity_unit=unit,  # type: ignore[arg-type]
        )
        assert torch.allclose(scaled.velocity, scale**power * plain.velocity, rtol=1e-8, atol=1e-10)
        assert torch.allclose(scaled.log_ratio, plain.log_ratio, atol=1e-9)


@given(NAMES, SEEDS)
def test_energy_knows_no_place(name: str, seed: int) -> None:
    x, y, _ = clouds(Gaussian(H), seed)
    shift = torch.tensor([10.0, -3.0, 1.0], dtype=F64)
    values = [
        energy(x + s, y + s, kernel=Gaussian(H), divergence=name, generator=torch.Generator().manual_seed(seed))
        for s in (0 * shift, shift)
    ]
    assert torch.allclose(*values, rtol=1e-8)
    assert all(math.isfinite(each) and each >= 0 for each in values[0].tolist())
