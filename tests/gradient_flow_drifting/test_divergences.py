"""Each velocity against the functional as it is written, by automatic differentiation."""

from collections.abc import Callable

import pytest
import torch
from close import assert_close_by_name
from gradient_flow_drifting import Gaussian, alpha, drift, mixed, resolve_divergence
from gradient_flow_drifting.divergences import FDivergence
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

# Integrands of the functionals, as functions of the densities p and q at a point.
INTEGRANDS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "kl_qp": lambda p, q: q * torch.log(q / p),
    "kl_pq": lambda p, q: p * torch.log(p / q),
    "chi2_qp": lambda p, q: q**2 / p - q,
    "chi2_pq": lambda p, q: p**2 / q - p,
    "js": lambda p, q: 0.5 * (p * torch.log(2 * p / (p + q)) + q * torch.log(2 * q / (p + q))),
    "hellinger2": lambda p, q: (p.sqrt() - q.sqrt()) ** 2,
    "alpha(0.25)": lambda p, q: (p - p**0.25 * q**0.75) / (0.25 * 0.75),
    "alpha(-2.5)": lambda p, q: (p**-2.5 * q**3.5 - p) / (2.5 * 3.5),
    "alpha(3)": lambda p, q: (p**3 / q**2 - p) / 6,
}
SINGLE = tuple(INTEGRANDS)
INTEGRANDS["mixed"] = lambda p, q: INTEGRANDS["kl_pq"](p, q) + 0.5 * INTEGRANDS["chi2_qp"](p, q)
UNLIMITED = {"log_weight_limit": None, "max_step": None}


def density(x: Tensor, sample: Tensor, h: float) -> Tensor:
    """The estimate by PyTorch's mixtures, which share no code with the op."""
    weights = torch.ones(len(sample), dtype=sample.dtype)
    return MixtureSameFamily(Categorical(weights), Independent(Normal(sample, h), 1)).log_prob(x).exp()


def clouds(d: int) -> tuple[Tensor, Tensor, Tensor]:
    x, y = torch.randn(40, d, dtype=torch.float64), 0.3 + 0.8 * torch.randn(50, d, dtype=torch.float64)
    return torch.randn(30, d, dtype=torch.float64), y, x


def velocity_by_autograd(name: str, x: Tensor, positives: Tensor, negatives: Tensor, h: float) -> Tensor:
    """−∇ of the first variation ∂(integrand)/∂q, both derivatives by autograd."""
    x = x.clone().requires_grad_()
    p, q = density(x, positives, h), density(x, negatives, h)
    if name == "mmd2":  # δ/δq of ½∬ k (p − q)(p − q) is the smoothed q − p
        first_variation = q - p
    else:
        (first_variation,) = torch.autograd.grad(INTEGRANDS[name](p, q).sum(), q, create_graph=True)
    return -torch.autograd.grad(first_variation.sum(), x)[0]


@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("name", [*INTEGRANDS, "mmd2"])
def test_velocity_is_minus_the_gradient_of_the_first_variation(name: str, d: int) -> None:
    x, y, negatives = clouds(d)
    h = 0.8
    result = drift(
        x,
        positives=y,
        negatives=negatives,
        kernel=Gaussian(h),
        divergence=name,
        velocity_unit="score",
        **UNLIMITED,  # type: ignore[arg-type]
    )
    expected = velocity_by_autograd(name, x, y, negatives, h)
    assert_close_by_name({name: result.velocity}, {name: expected}, rtol=1e-11)


@pytest.mark.parametrize("name", SINGLE)
def test_log_weight_is_that_of_the_integrand(name: str) -> None:
    """log w = log r² f''(r), f'' by autograd of the functional, which is ∫ q f(p/q)."""
    divergence = resolve_divergence(name)
    assert isinstance(divergence, FDivergence)
    r = torch.linspace(0.1, 5, 50, dtype=torch.float64, requires_grad=True)
    f = INTEGRANDS[name](r, torch.ones_like(r))
    (first,) = torch.autograd.grad(f.sum(), r, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), r)
    assert torch.allclose(divergence.log_weight(r.log()).exp(), r**2 * second, rtol=1e-12)


@pytest.mark.parametrize("name", SINGLE)
def test_integrand_is_that_of_the_functional(name: str) -> None:
    """f less its tangent at r = 1, which integrates to nothing, over 1 + r."""
    divergence = resolve_divergence(name)
    assert isinstance(divergence, FDivergence)
    assert divergence.integrand is not None
    one = torch.ones((), dtype=torch.float64, requires_grad=True)
    at_one = INTEGRANDS[name](one, torch.ones_like(one))
    (slope,) = torch.autograd.grad(at_one, one)
    r = torch.cat([torch.linspace(0.02, 20, 400, dtype=torch.float64), torch.ones(1, dtype=torch.float64)])
    expected = (INTEGRANDS[name](r, torch.ones_like(r)) - at_one.detach() - slope * (r - 1)) / (1 + r)
    integrand = divergence.integrand(r.log())
    assert torch.allclose(integrand, expected, rtol=1e-9, atol=1e-12)
    assert bool((integrand >= -1e-15).all())
    close = torch.tensor([-1e-4, 1e-4], dtype=torch.float64)  # f ≈ w(1) log² r / 2, which the terms cancel down to
    quadratic = divergence.log_weight(0 * close).exp() * close**2 / 4
    assert torch.allclose(divergence.integrand(close), quadratic, rtol=1e-3)


@pytest.mark.parametrize("name", ["kl_qp", "kl_pq", "js", "hellinger2", "alpha(0.25)", "alpha(1e-9)"])
def test_integrand_is_finite_far_out(name: str) -> None:
    far = torch.tensor([-1e4, -800.0, 800.0, 1e4], dtype=torch.float64, requires_grad=True)
    integrand = resolve_divergence(name).integrand(far)  # type: ignore[attr-defined]
    assert bool(torch.isfinite(integrand).all())
    (slope,) = torch.autograd.grad(integrand.sum(), far)
    assert bool(torch.isfinite(slope).all())


@given(st.floats(-3, 3), st.floats(-2, 2))
def test_powers_contain_the_named(a: float, log_r: float) -> None:
    u = torch.tensor([log_r], dtype=torch.float64)
    assert alpha(a).log_weight(u).item() == pytest.approx(a * log_r, abs=1e-12)
    mirrored = torch.exp(u) * alpha(1 - a).integrand(-u) * (1 + torch.exp(-u)) / (1 + torch.exp(u))  # type: ignore[misc]
    assert torch.allclose(alpha(a).integrand(u), mirrored, rtol=1e-6, atol=1e-12)  # type: ignore[misc]
    for b, name, factor in ((0, "kl_qp", 1.0), (1, "kl_pq", 1.0), (-1, "chi2_qp", 0.5), (2, "chi2_pq", 0.5)):
        of_name = resolve_divergence(name)
        assert isinstance(of_name, FDivergence)
        assert alpha(b).log_weight(u).exp().item() == pytest.approx(factor * of_name.log_weight(u).exp().item())
        assert alpha(b).integrand(u).item() == pytest.approx(factor * of_name.integrand(u).item(), abs=1e-15)  # type: ignore[misc]


def test_alpha_is_continuous_where_its_form_changes() -> None:
    u = torch.linspace(-8, 8, 33, dtype=torch.float64)
    for a, limit in ((0.0, "kl_qp"), (1.0, "kl_pq")):
        expected = resolve_divergence(limit).integrand(u)  # type: ignore[attr-defined]
        for nearby in (a - 1e-9, a + 1e-9):
            assert torch.allclose(alpha(nearby).integrand(u), expected, rtol=1e-6, atol=1e-12)  # type: ignore[misc]


def test_mixed_is_the_weighted_sum() -> None:
    x, y, negatives = clouds(2)
    options = {"positives": y, "negatives": negatives, "kernel": Gaussian((0.5, 1.0)), **UNLIMITED}
    parts = {name: drift(x, divergence=name, **options).velocity for name in ("kl_qp", "kl_pq", "chi2_qp", "mmd2")}  # type: ignore[arg-type]
    weights = {"kl_qp": 0.7, "kl_pq": 1.3, "chi2_qp": 0.2, "mmd2": 2.0}
    result = drift(x, divergence=mixed(weights), **options).velocity  # type: ignore[arg-type]
    assert torch.allclose(result, sum(weights[name] * parts[name] for name in parts), rtol=1e-12)
    practical = drift(x, divergence="mixed", **options)  # type: ignore[arg-type]
    kl = drift(x, divergence="kl_qp", positives=y, negatives=negatives, kernel=Gaussian(0.5), **UNLIMITED)  # type: ignore[arg-type]
    r = kl.log_ratio.exp()[:, None]
    single = drift(x, divergence="mixed", positives=y, negatives=negatives, kernel=Gaussian(0.5), **UNLIMITED)  # type: ignore[arg-type]
    assert torch.allclose(single.velocity, (r + 1 / r) * kl.velocity, rtol=1e-11)
    assert practical.log_ratio.shape == (2, 30)


def test_log_weight_is_clamped_for_each_term() -> None:
    x, y, negatives = clouds(2)
    options = {"positives": y, "negatives": negatives + 20, "kernel": Gaussian(0.5), "max_step": None}
    plain = drift(x, divergence="kl_qp", **options)  # type: ignore[arg-type]
    assert float(plain.log_ratio.min()) > 3  # far from the negatives: r is large, 1/r small
    for name, log_weight in (("kl_pq", 3.0), ("chi2_qp", -3.0)):
        limited = drift(x, divergence=name, **options)  # type: ignore[arg-type]
        factor = torch.tensor(log_weight, dtype=torch.float64).exp()
        assert torch.allclose(limited.velocity, factor * plain.velocity, rtol=1e-12)


def test_names_and_weights_are_checked() -> None:
    with pytest.raises(ValueError, match=r'divergence: "kl_pg" is unknown; did you mean "kl_pq"\?'):
        resolve_divergence("kl_pg")
    with pytest.raises(ValueError, match=r'divergence: "chi2" is unknown; did you mean "chi2_qp"\?'):
        mixed({"chi2": 1.0})
    with pytest.raises(ValueError, match=r"weights: the weight of kl_qp must be positive and finite, found -1\.0"):
        mixed({"kl_qp": -1.0})
    with pytest.raises(ValueError, match="weights: at least one divergence is needed"):
        mixed({})
    with pytest.raises(ValueError, match=r"divergence: a name or what `mixed` makes is needed, found \{'kl_qp': 1.0\}"):
        resolve_divergence({"kl_qp": 1.0})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r'divergence: "alpha\(x\)" needs a finite number in its brackets'):
        resolve_divergence("alpha(x)")
    with pytest.raises(ValueError, match=r'divergence: "alpha\(inf\)" needs a finite number'):
        mixed({"alpha(inf)": 1.0})
    with pytest.raises(ValueError, match=r'"alfa\(0.5\)" is unknown; did you mean "alpha\(0.5\)"\?'):
        resolve_divergence("alfa(0.5)")
    with pytest.raises(ValueError, match="a: a finite number is needed, found nan"):
        alpha(float("nan"))
    with pytest.raises(ValueError, match="a: a finite number is needed, found 'a'"):
        alpha("a")  # type: ignore[arg-type]
    assert mixed({"alpha(0.5)": 2.0}).parts() == ((2.0, alpha(0.5)),)
    divergence = mixed({"kl_qp": 1.0})
    assert resolve_divergence(divergence) is divergence
