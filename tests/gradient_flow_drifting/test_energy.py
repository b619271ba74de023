"""The energy against quadrature and closed forms, and the exact field as its gradient."""

import math

import pytest
import torch
from gradient_flow_drifting import (
    Gaussian,
    InverseMultiquadric,
    Laplace,
    Sphere,
    VonMisesFisher,
    alpha,
    drift,
    energy,
    mixed,
    resolve_divergence,
)
from gradient_flow_drifting.divergences import FDivergence
from gradient_flow_drifting.energy import integrand
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

F64 = torch.float64
H = 0.6
NAMES = ["kl_qp", "kl_pq", "chi2_qp", "js", "hellinger2", "alpha(0.25)", "mixed"]
UNLIMITED = {"log_weight_limit": None, "max_step": None, "velocity_unit": "score", "field": "exact"}


def clouds(d: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = 0.5 * torch.randn(4, d, generator=generator, dtype=F64)
    return x, 0.3 + 0.6 * torch.randn(5, d, generator=generator, dtype=F64)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def by_quadrature(name: str, x: Tensor, y: Tensor, limit: float | None = None, h: float = H) -> Tensor:
    """∫ (p + q) f / (1 + r) on a grid fine enough for the tails."""
    axis = torch.linspace(-8, 8, 1601 if x.shape[1] == 1 else 321, dtype=F64)
    nodes = torch.cartesian_prod(*[axis] * x.shape[1]).reshape(-1, x.shape[1])
    log_p, log_q = (Gaussian(h).score(nodes, each).log_density for each in (y, x))
    parts = resolve_divergence(name).parts()
    f = sum(weight * integrand(part, log_p - log_q, limit) for weight, part in parts if isinstance(part, FDivergence))
    return ((log_p.exp() + log_q.exp()) * f).sum() * float(axis[1] - axis[0]) ** x.shape[1]


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("name", [*NAMES, "chi2_pq"])
def test_value_by_quadrature(name: str, d: int) -> None:
    x, y = clouds(d)
    expected = float(by_quadrature(name, x, y))
    value = float(energy(x, y, kernel=Gaussian(H), divergence=name, draws=8192, generator=seeded()))
    assert value == pytest.approx(expected, rel=2e-2)
    few = torch.stack(
        [energy(x, y, kernel=Gaussian(H), divergence=name, draws=8, generator=seeded(k)) for k in range(200)]
    )
    assert abs(float(few.mean()) - expected) < 4 * float(few.std()) / math.sqrt(200)
    assert float(few.min()) > 0


@pytest.mark.parametrize(
    ("name", "closed"), [("kl_qp", 0.5), ("kl_pq", 0.5), ("chi2_qp", math.e - 1), ("chi2_pq", math.e - 1)]
)
def test_value_of_two_gaussians(name: str, closed: float) -> None:
    """One bandwidth apart: KL = a²/2h², χ² = e^{a²/h²} − 1; squared Hellinger 2 − 2 e^{−a²/8h²}."""
    x, y = torch.zeros(1, 2, dtype=F64), torch.tensor([[0.0, H]], dtype=F64)
    options = {"kernel": Gaussian(H), "draws": 2**16}
    assert float(energy(x, y, divergence=name, generator=seeded(), **options)) == pytest.approx(closed, rel=1e-2)  # type: ignore[arg-type]
    hellinger = energy(x, y, divergence="hellinger2", generator=seeded(), **options)  # type: ignore[arg-type]
    assert float(hellinger) == pytest.approx(2 - 2 * math.exp(-1 / 8), rel=1e-2)


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_exact_field_is_its_gradient(name: str, d: int) -> None:
    """Both by many draws, the gradient of the energy by autograd; and the energy's by finite differences."""
    x, y = clouds(d)
    leaf = x.clone().requires_grad_()
    value = energy(leaf, y, kernel=Gaussian(H), divergence=name, draws=4096, generator=seeded(1))
    (gradient,) = torch.autograd.grad(value, leaf)
    options = {"positives": y, "negatives": x, "kernel": Gaussian(H), "divergence": name, **UNLIMITED}
    field = drift(x, draws=16384, generator=seeded(2), **options).velocity  # type: ignore[arg-type]
    assert float((field + len(x) * gradient).abs().max()) < 0.03 * float(field.abs().max())
    step = torch.zeros_like(x)
    step[0, 0] = 1e-5
    ends = [
        energy(x + s * step, y, kernel=Gaussian(H), divergence=name, draws=4096, generator=seeded(1)) for s in (1, -1)
    ]
    assert float(ends[0] - ends[1]) / 2e-5 == pytest.approx(float(gradient[0, 0]), rel=1e-5, abs=1e-8)


@given(st.sampled_from(NAMES), st.integers(0, 2**31), st.integers(1, 3), st.sampled_from([None, 1.0, 3.0]))
def test_energy_falls_along_the_exact_flow_for_a_small_step(name: str, seed: int, d: int, limit: float | None) -> None:
    """With the weights limited the energy is that of the limited field. Common draws before and after the step."""
    x, y = clouds(d, seed)
    options = {"positives": y, "negatives": x, "kernel": Gaussian(H), "divergence": name, **UNLIMITED}
    options |= {"log_weight_limit": limit}
    velocity = drift(x, draws=512, generator=seeded(seed), **options).velocity  # type: ignore[arg-type]
    step = 1e-2 / float(velocity.norm(dim=1).max())
    before, after = (
        float(
            energy(
                at, y, kernel=Gaussian(H), divergence=name, draws=256, generator=seeded(seed), log_weight_limit=limit
            )
        )
        for at in (x, x + step * velocity)
    )
    slope = -float(velocity.square().sum()) / len(x)
    assert after - before < 0.3 * step * slope


@pytest.mark.parametrize("name", ["kl_qp", "kl_pq", "chi2_qp", "chi2_pq", "js", "hellinger2", "alpha(0.01)"])
@pytest.mark.parametrize("limit", [0.2, 1.0, 3.0])
def test_limited_integrand_has_the_limited_weight(name: str, limit: float) -> None:
    """r² f'' of it by autograd is the clamped weight, and it is f(1) = f'(1) = 0 like the others."""
    part = resolve_divergence(name)
    assert isinstance(part, FDivergence)
    r = torch.logspace(-3, 3, 101, dtype=F64).requires_grad_()

    def f(r: Tensor) -> Tensor:
        return integrand(part, r.log(), limit) * (1 + r)

    (first,) = torch.autograd.grad(f(r).sum(), r, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), r)
    expected = part.log_weight(r.detach().log()).clamp(-limit, limit).exp()
    assert torch.allclose(r.detach() ** 2 * second, expected, rtol=1e-6)
    one = torch.ones(1, dtype=F64, requires_grad=True)
    at_one = f(one)
    assert abs(float(at_one.detach())) < 1e-12
    assert abs(float(torch.autograd.grad(at_one, one)[0])) < 1e-12
    assert float(f(r.detach()).min()) > -1e-12


def test_limited_exact_field_is_the_gradient_of_the_limited_energy() -> None:
    x, y = clouds(1)
    y = y + 1.5
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(by_quadrature("mixed", leaf, y, limit=0.5), leaf)
    options = {"positives": y, "negatives": x, "kernel": Gaussian(H), "divergence": "mixed", **UNLIMITED}
    options |= {"log_weight_limit": 0.5}
    field = drift(x, draws=2**13, generator=seeded(), **options).velocity  # type: ignore[arg-type]
    assert torch.allclose(field, -len(x) * gradient, rtol=5e-3)


@pytest.mark.parametrize("kernel", [Gaussian(0.7), Laplace(0.7), InverseMultiquadric(0.7), VonMisesFisher(4.0)])
@pytest.mark.parametrize("self_terms", ["keep", "leave_one_out"])
def test_mmd_in_closed_form_and_its_field(kernel: Gaussian, self_terms: str) -> None:
    x, y = (kernel.manifold.projx(each) for each in clouds(3))
    u, v = torch.rand(4, dtype=F64), torch.rand(5, dtype=F64)
    leaf = x.clone().requires_grad_()

    def k(a: Tensor, b: Tensor) -> Tensor:
        return torch.stack([kernel.score(a, each[None]).log_density.exp() for each in b], 1)

    def mean(a: Tensor, own: bool) -> Tensor:
        return (k(a, a) * (1 - torch.eye(len(a), dtype=F64) * own)).sum() / (len(a) * (len(a) - own))

    own = self_terms == "leave_one_out"
    expected = 0.5 * (mean(leaf, own) + mean(y, own)) - k(leaf, y).mean()
    value = energy(leaf, y, kernel=kernel, divergence="mmd2", self_terms=self_terms)  # type: ignore[arg-type]
    assert torch.allclose(value, expected, rtol=1e-11)
    (gradient,) = torch.autograd.grad(value, leaf)
    options = UNLIMITED | {"positives": y, "negatives": x, "kernel": kernel, "self_terms": self_terms}
    field = drift(x, divergence="mmd2", **options).velocity  # type: ignore[arg-type]
    assert torch.allclose(field, -len(x) * kernel.manifold.proju(x, gradient), atol=1e-10)
    weighted = energy(x, y, kernel=kernel, divergence="mmd2", negative_weights=u, positive_weights=v)
    a, b = u / u.sum(), v / v.sum()
    assert torch.allclose(weighted, 0.5 * (a @ k(x, x) @ a + b @ k(y, y) @ b) - a @ k(x, y) @ b, atol=1e-12)


def test_sums_bandwidths_and_weights() -> None:
    x, y = clouds(2)
    kernel, weights = Gaussian((0.4, 0.8)), {"kl_pq": 1.0, "js": 2.0, "mmd2": 0.5}
    both = energy(x, y, kernel=kernel, divergence=mixed(weights), generator=seeded())
    each = {name: energy(x, y, kernel=kernel, divergence=name, generator=seeded()) for name in weights}
    assert torch.allclose(both, sum(weights[name] * each[name] for name in weights), rtol=1e-12)
    assert both.shape == (2,)
    repeated = energy(torch.cat([x, x[:1]]), y, kernel=Gaussian(0.5), draws=2**13, generator=seeded())
    u = torch.tensor([2.0, 1, 1, 1], dtype=F64)
    by_weight = energy(x, y, kernel=Gaussian(0.5), negative_weights=u, draws=2**13, generator=seeded())
    assert float(by_weight) == pytest.approx(float(repeated), rel=2e-2)
    options = {"positives": y, "negatives": x, "kernel": Gaussian(0.5), "draws": 2, **UNLIMITED}
    fields = {name: drift(x, divergence=name, generator=seeded(), **options).velocity for name in weights}  # type: ignore[arg-type]
    total = drift(x, divergence=mixed(weights), generator=seeded(), **options).velocity  # type: ignore[arg-type]
    assert torch.allclose(total, sum(weights[name] * fields[name] for name in weights), atol=1e-12)


@given(st.sampled_from(NAMES), st.integers(0, 2**31))
def test_nothing_where_the_clouds_agree(name: str, seed: int) -> None:
    x, _ = clouds(2, seed)
    order = torch.randperm(len(x), generator=seeded(seed))
    value = energy(x, x[order], kernel=Gaussian(H), divergence=name, generator=seeded(seed))
    assert abs(float(value)) < 1e-14


def test_far_clouds_have_a_finite_energy_where_it_is_bounded() -> None:
    x, y = clouds(2)
    for name, bound in (("js", math.log(2)), ("hellinger2", 2.0)):
        assert float(energy(x, y + 1e3, kernel=Gaussian(0.1), divergence=name)) == pytest.approx(bound, rel=1e-6)
    assert math.isfinite(float(energy(x, y + 100, kernel=Gaussian(0.1), divergence="mixed", log_weight_limit=3.0)))


def test_bad_input_is_named() -> None:
    x, y = clouds(2)
    own = FDivergence("own", torch.zeros_like)
    cases = [
        (x[:0], y, {}, "x: the cloud is empty"),
        (x, y * torch.nan, {}, "y: 5 of 5 points have a NaN"),
        (x, y[:, :1], {}, "y: 2 coordinates are needed as in x, found 1"),
        (x, y, {"divergence": "kl_qq"}, 'divergence: "kl_qq" is unknown; did you mean'),
        (x, y, {"divergence": own}, "divergence: own was made without an integrand and has no energy"),
        (x, y, {"kernel": Laplace(0.5)}, "kernel: the energy of kl_qp is for the Gaussian kernel, found Laplace"),
        (x, y, {"kernel": 0.5}, "kernel: a kernel is needed"),
        (x, y, {"draws": 0}, "draws: a whole number, at least 1, is needed, found 0"),
        (x, y, {"self_terms": "leave_one_out"}, "self_terms: the energy of kl_qp has no pairs to leave out"),
        (x, y, {"negative_weights": torch.ones(5)}, "negative_weights: a tensor of 4 weights, one for each of x"),
        (x, y, {"positive_weights": -torch.ones(5)}, "positive_weights: weights must be finite and ≥ 0, found -1.0"),
        (x, y, {"log_weight_limit": -1.0}, "log_weight_limit: a number ≥ 0 or None is needed"),
        (x, y, {"divergence": "mmd2", "kernel": VonMisesFisher(1.0)}, "x: points off the sphere; project them"),
        (x[:1], y, {"divergence": "mmd2", "self_terms": "leave_one_out"}, "at least two|at least 2"),
    ]
    for a, b, options, message in cases:
        with pytest.raises(ValueError, match=message) as error:
            energy(a, b, **{"kernel": Gaussian(0.5), **options})  # type: ignore[arg-type]
        assert "\n" not in str(error.value)
    assert alpha(0.5).integrand is not None
    assert Sphere() == VonMisesFisher(1.0).manifold
