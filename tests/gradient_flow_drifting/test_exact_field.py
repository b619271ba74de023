"""The exact field against the gradient of the energy with respect to the particles, both by quadrature."""

import math
from collections.abc import Callable

import pytest
import torch
from gradient_flow_drifting import Gaussian, drift, mixed
from gradient_flow_drifting.divergences import Divergence
from gradient_flow_drifting.drift import gaussian_draws
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

H = 0.6
UNLIMITED = {"log_weight_limit": None, "max_step": None, "velocity_unit": "score"}
ENERGIES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "kl_qp": lambda p, q: q * torch.log(q / p),
    "kl_pq": lambda p, q: p * torch.log(p / q),
    "chi2_qp": lambda p, q: q**2 / p - q,
}
MIXED = mixed({"kl_pq": 1.0, "chi2_qp": 0.5, "kl_qp": 0.25})
CASES: list[tuple[str | Divergence, dict[str, float]]] = [
    ("kl_qp", {"kl_qp": 1.0}),
    ("kl_pq", {"kl_pq": 1.0}),
    ("chi2_qp", {"chi2_qp": 1.0}),
    (MIXED, {"kl_pq": 1.0, "chi2_qp": 0.5, "kl_qp": 0.25}),
]


def clouds(d: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(d)
    x = 0.5 * torch.randn(4, d, generator=generator, dtype=torch.float64)
    return x, 0.3 + 0.6 * torch.randn(5, d, generator=generator, dtype=torch.float64)


def grid(d: int, reach: float, points: int) -> tuple[Tensor, float]:
    """Equally spaced nodes and their weight: for smooth integrands that vanish outside, exponentially accurate."""
    axis = torch.linspace(-reach, reach, points, dtype=torch.float64)
    nodes = torch.cartesian_prod(*[axis] * d).reshape(-1, d)
    return nodes, (2 * reach / (points - 1)) ** d


def energy(weights: dict[str, float], x: Tensor, y: Tensor) -> Tensor:
    """D(p_h, q_h), the estimates by PyTorch's mixtures."""
    nodes, volume = grid(x.shape[1], 9.0, 1201 if x.shape[1] == 1 else 361)

    def density(sample: Tensor) -> Tensor:
        ones = torch.ones(len(sample), dtype=sample.dtype)
        return MixtureSameFamily(Categorical(ones), Independent(Normal(sample, H), 1)).log_prob(nodes)

    log_p, log_q = density(y), density(x)
    seen = (log_p > -250) & (log_q > -250)  # outside, every integrand is below 1e-100
    p, q = log_p[seen].exp(), log_q[seen].exp()
    return volume * sum(weight * ENERGIES[name](p, q).sum() for name, weight in weights.items())  # type: ignore[return-value]


def exact_field(divergence: str | Divergence, x: Tensor, y: Tensor) -> Tensor:
    """E[v(x + hε)] by quadrature over ε, of the package's density field."""
    nodes, volume = grid(x.shape[1], 8.5, 401 if x.shape[1] == 1 else 161)
    density = torch.exp(-0.5 * (nodes**2).sum(1)) * volume / (2 * math.pi) ** (x.shape[1] / 2)
    at = (x[:, None] + H * nodes).reshape(-1, x.shape[1])
    field = drift(at, positives=y, negatives=x, kernel=Gaussian(H), divergence=divergence, **UNLIMITED)  # type: ignore[arg-type]
    return (density[:, None] * field.velocity.reshape(len(x), len(nodes), -1)).sum(1)


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize(("divergence", "weights"), CASES)
def test_exact_field_is_the_gradient_of_the_energy(
    divergence: str | Divergence, weights: dict[str, float], d: int
) -> None:
    x, y = clouds(d)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(energy(weights, x, y), x)
    field = exact_field(divergence, x.detach(), y)
    assert float(gradient.abs().max()) > 1e-2
    assert float((field + len(x) * gradient).abs().max()) < 1e-8


@pytest.mark.parametrize(("divergence", "weights"), CASES)
def test_energy_falls_along_the_exact_flow(divergence: str | Divergence, weights: dict[str, float]) -> None:
    x, y = clouds(1)
    energies = []
    for _ in range(6):
        energies.append(float(energy(weights, x, y)))
        velocity = exact_field(divergence, x, y)
        slope = -float(velocity.square().sum()) / len(x)
        x = x + 0.02 * velocity
        assert float(energy(weights, x, y)) - energies[-1] < 0.5 * 0.02 * slope  # at least half of the first order
    assert energies == sorted(energies, reverse=True)


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize(("divergence", "weights"), CASES[:2] + CASES[3:])
def test_monte_carlo_is_within_four_standard_errors(
    divergence: str | Divergence, weights: dict[str, float], d: int
) -> None:
    del weights
    x, y = clouds(d)
    options = {"positives": y, "negatives": x, "kernel": Gaussian(H), "divergence": divergence, "field": "exact"}
    generator = torch.Generator().manual_seed(0)
    runs = torch.stack([drift(x, draws=8, generator=generator, **options, **UNLIMITED).velocity for _ in range(200)])  # type: ignore[arg-type]
    error = runs.std(0) / math.sqrt(len(runs))
    expected = exact_field(divergence, x, y)
    assert bool(((runs.mean(0) - expected).abs() < 4 * error).all())
    assert float(error.median() / expected.abs().mean()) < 0.15  # else it would see nothing; the tails of r are long
    density = drift(x, **{**options, "field": "density"}, **UNLIMITED).velocity  # type: ignore[arg-type]
    assert bool(((density - expected).abs() > 8 * error).any())  # which tells the two fields apart


def test_mmd_needs_no_further_smoothing() -> None:
    """½ MMD² is a functional of the points themselves: its density field is minus N times its gradient."""
    x, y = clouds(2)
    x.requires_grad_()

    def mean_kernel(a: Tensor, b: Tensor) -> Tensor:
        square = ((a[:, None] - b) ** 2).sum(-1)
        return torch.exp(-square / (2 * H**2)).mean() / (2 * math.pi * H**2)

    half = 0.5 * (mean_kernel(x, x) - 2 * mean_kernel(x, y) + mean_kernel(y, y))
    (gradient,) = torch.autograd.grad(half, x)
    result = drift(x.detach(), positives=y, negatives=x.detach(), kernel=Gaussian(H), divergence="mmd2", **UNLIMITED)  # type: ignore[arg-type]
    assert torch.allclose(result.velocity, -len(x) * gradient, atol=1e-13)


def test_exact_field_of_several_bandwidths_spreads_each_by_itself() -> None:
    x, y = clouds(2)
    options = {"positives": y, "negatives": x, "divergence": "kl_pq", "field": "exact"}

    def velocity(bandwidth: float | tuple[float, ...]) -> Tensor:
        generator = torch.Generator().manual_seed(3)
        return drift(x, kernel=Gaussian(bandwidth), generator=generator, **options, **UNLIMITED).velocity  # type: ignore[arg-type]

    assert torch.allclose(velocity((0.4, 0.8)), (velocity(0.4) + velocity(0.8)) / 2, rtol=1e-12)


def test_draws_are_normal_and_stratified() -> None:
    draws = gaussian_draws(512, 8, 2, generator=torch.Generator().manual_seed(1))
    assert draws.shape == (8, 512, 2)
    assert torch.isfinite(draws).all()
    assert abs(float(draws.mean())) < 1e-2
    assert abs(float(draws.square().mean()) - 1) < 1e-2
    eighth = torch.floor(8 * torch.special.ndtr(draws)).sort(dim=0).values  # each point: one draw in each eighth
    assert bool((eighth == torch.arange(8.0, dtype=torch.float64)[:, None, None]).all())
    again = gaussian_draws(512, 8, 2, generator=torch.Generator().manual_seed(1))
    assert torch.equal(draws, again)
