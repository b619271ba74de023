"""Each velocity against the functional as it is written, by automatic differentiation."""

from collections.abc import Callable

import pytest
import torch
from close import assert_close_by_name
from gradient_flow_drifting import DIVERGENCES, Gaussian, drift, mixed, resolve_divergence
from gradient_flow_drifting.divergences import FDivergence
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

# Integrands of the functionals, as functions of the densities p and q at a point.
INTEGRANDS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "kl_qp": lambda p, q: q * torch.log(q / p),
    "kl_pq": lambda p, q: p * torch.log(p / q),
    "chi2_qp": lambda p, q: q**2 / p - q,
}
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
@pytest.mark.parametrize("name", DIVERGENCES)
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


@pytest.mark.parametrize("name", [name for name in DIVERGENCES if name not in ("mixed", "mmd2")])
def test_log_weight_is_that_of_the_integrand(name: str) -> None:
    """log w = log r² f''(r), f'' by autograd of the functional, which is ∫ q f(p/q)."""
    divergence = resolve_divergence(name)
    assert isinstance(divergence, FDivergence)
    r = torch.linspace(0.1, 5, 50, dtype=torch.float64, requires_grad=True)
    f = INTEGRANDS[name](r, torch.ones_like(r))
    (first,) = torch.autograd.grad(f.sum(), r, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), r)
    assert torch.allclose(divergence.log_weight(r.log()).exp(), r**2 * second, rtol=1e-12)


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
    divergence = mixed({"kl_qp": 1.0})
    assert resolve_divergence(divergence) is divergence
