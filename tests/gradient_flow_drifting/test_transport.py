"""Entropic transport: closed form, two oracles, and the laws of a gradient of a convex function."""

import math
import re
from collections.abc import Callable

import ot
import pytest
import torch
from gradient_flow_drifting.drift import gaussian_draws
from gradient_flow_drifting.transport import TransportMap, transport_map
from papertrio_shared.seed import generator
from scipy.optimize import linear_sum_assignment


def cloud(count: int, name: str, dimension: int = 2) -> torch.Tensor:
    return torch.randn(count, dimension, generator=generator(0, name))


def even(count: int) -> torch.Tensor:
    return gaussian_draws(1, count, 1, generator=generator(0, "even"))[:, 0]


@pytest.mark.parametrize(("h", "error"), [(0.1, 0.02), (0.3, 5e-3), (1.0, 3e-3)])
def test_between_normal_distributions_it_is_the_known_line(h: float, error: float) -> None:
    """Minimising E|x−y|²/2 + h² KL over Gaussian plans of covariance c gives c² + h² c = σ²: the slope of the map."""
    deviation, shift = 0.5, 3.0
    found = transport_map(even(1024), shift + deviation * even(1024), bandwidth=h)
    slope = (math.sqrt(h**4 + 4 * deviation**2) - h**2) / 2
    x = torch.linspace(-1.5, 1.5, 7, dtype=torch.float64)[:, None]
    torch.testing.assert_close(found(x), shift + slope * x, rtol=0, atol=error)


def test_the_plan_is_that_of_pot() -> None:
    x, y, h = cloud(80, "x").double(), cloud(60, "y").double(), 0.5
    cost = ot.dist(x.numpy(), y.numpy()) / 2
    plan = torch.from_numpy(ot.sinkhorn([], [], cost, h**2, method="sinkhorn_log", stopThr=1e-12, numItermax=100_000))
    expected = plan @ y / plan.sum(1, keepdim=True)
    torch.testing.assert_close(transport_map(x, y, bandwidth=h)(x), expected, rtol=0, atol=3e-2)


def test_at_small_bandwidth_it_costs_what_the_best_assignment_costs() -> None:
    x, y = cloud(300, "x").double(), 0.5 * cloud(300, "y").double() ** 2
    cost = torch.cdist(x, y).square()
    best = float(cost[linear_sum_assignment(cost.numpy())].mean())
    assert float((transport_map(x, y, bandwidth=0.05)(x) - x).square().sum(1).mean()) == pytest.approx(best, rel=0.02)


def test_each_mode_gets_its_share() -> None:
    corner = torch.tensor([4.0, 0.0])
    target = torch.cat([0.1 * cloud(100, "a"), corner + 0.1 * cloud(300, "b")])
    source = gaussian_draws(1, 2048, 2, generator=generator(0, "source"))[:, 0].float()
    there = transport_map(source, target, bandwidth=0.05)(cloud(20_000, "fresh"))
    assert float((there[:, 0] > 2).float().mean()) == pytest.approx(0.75, abs=0.01)
    assert float(((there[:, 0] > 0.5) & (there[:, 0] < 3.5)).float().mean()) < 0.002  # nothing on the way between


def test_it_is_monotone_whatever_the_potential() -> None:
    """⟨T(x) − T(x'), x − x'⟩ ≥ 0, as for the gradient of any convex function."""
    there = TransportMap(cloud(50, "y").double(), cloud(50, "g", 1)[:, 0].double(), bandwidth=0.3)
    x = cloud(200, "x").double()
    inner = (there(x)[:, None] - there(x)[None]) * (x[:, None] - x[None])
    assert float(inner.sum(-1).min()) >= -1e-12


@pytest.mark.parametrize(
    "move",
    [
        lambda points: points + torch.tensor([30.0, -2.0]),
        lambda points: points @ torch.tensor([[0.6, 0.8], [-0.8, 0.6]]).to(points),
        lambda points: points.flip(1),
    ],
)
def test_it_moves_with_the_clouds(move: Callable[[torch.Tensor], torch.Tensor]) -> None:
    x, y, z = (cloud(100, name).double() for name in "xyz")
    moved = transport_map(move(x), move(y), bandwidth=0.2)(move(z))
    torch.testing.assert_close(moved, move(transport_map(x, y, bandwidth=0.2)(z)), rtol=0, atol=1e-6)


def test_order_and_chunks_do_not_matter() -> None:
    x, y, z = (cloud(100, name).double() for name in "xyz")
    one = transport_map(x, y, bandwidth=0.2)(z)
    other = transport_map(x.flip(0), y.flip(0), bandwidth=0.2)(z, chunk=7)
    torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


@pytest.mark.parametrize("backend", ["reference", "attention"])
def test_in_float32_it_is_that_of_float64(backend: str) -> None:
    x, y = cloud(500, "x"), cloud(400, "y")
    exact = transport_map(x.double(), y.double(), bandwidth=0.1)(x.double())
    found = transport_map(x, y, bandwidth=0.1, backend=backend)(x)  # type: ignore[arg-type]
    assert float((found - exact).norm(dim=1).mean()) < 2e-3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: transport_map(x, x, bandwidth=0.0), "bandwidth: a positive number is needed, found 0.0"),
        (lambda x: transport_map(x, x, bandwidth=math.inf), "bandwidth: a positive number is needed, found inf"),
        (lambda x: transport_map(x[:0], x, bandwidth=0.1), "source: "),
        (lambda x: transport_map(x, x[:, :1], bandwidth=0.1), "target: "),
        (lambda x: transport_map(x, x / 0, bandwidth=0.1), "target: "),
        (lambda x: transport_map(x, x, bandwidth=0.1)(x[:, :1]), "x: "),
    ],
)
def test_what_cannot_be_transported_is_told(call: Callable[[torch.Tensor], object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        call(cloud(10, "x"))
    assert "\n" not in str(error.value)
