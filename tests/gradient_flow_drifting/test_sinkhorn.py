"""The Sinkhorn drift beside POT's divergence and the gradient of it."""

import ot
import pytest
import torch
from gradient_flow_drifting import SinkhornDrift, Sphere
from gradient_flow_drifting.baselines.sinkhorn import potentials
from torch import Tensor


def divergence(x: Tensor, y: Tensor, cost: object, epsilon: float) -> Tensor:
    """S by POT's plans: their cost and entropy relative to the product, which is the dual value at convergence."""

    def transport(one: Tensor, other: Tensor) -> Tensor:
        a, b = (torch.full((len(each),), 1 / len(each), dtype=torch.float64) for each in (one, other))
        table = cost(one, other)  # type: ignore[operator]
        plan = ot.sinkhorn(a, b, table.detach(), epsilon, method="sinkhorn_log", numItermax=20_000, stopThr=1e-13)
        return (plan * table).sum() + epsilon * (plan * (plan / (a[:, None] * b)).log()).sum()

    return transport(x, y) - transport(x, x) / 2 - transport(y, y) / 2


def flat(x: Tensor, y: Tensor) -> Tensor:
    return (x[:, None] - y).square().sum(-1) / 2


@pytest.mark.parametrize("geometry", ["euclidean", "sphere"])
def test_it_is_minus_the_gradient_of_the_divergence(geometry: str) -> None:
    """The plans do not depend on the points to first order (envelope theorem), so autograd holds them fixed."""
    x, y = torch.randn(12, 3, dtype=torch.float64), torch.randn(17, 3, dtype=torch.float64) + 0.5
    cost = flat
    if geometry == "sphere":
        x, y = Sphere().projx(x), Sphere().projx(y)
        x[:, 2] = x[:, 2].abs()  # a hemisphere, without antipodes
        y[:, 2] = y[:, 2].abs()

        def cost(one: Tensor, other: Tensor) -> Tensor:
            cosine = (one[:, None] * other).sum(-1)
            apart = torch.acos(cosine.clamp(-1 + 1e-15, 1 - 1e-12))
            return apart.square() / 2

    x.requires_grad_()
    epsilon = 0.3
    (gradient,) = torch.autograd.grad(divergence(x, y, cost, epsilon), x)
    gradient = gradient if geometry == "euclidean" else Sphere().proju(x.detach(), gradient)
    field = SinkhornDrift(blur=epsilon**0.5, iterations=2000)
    velocity = field.velocity(x.detach(), positives=y, negatives=x.detach(), geometry=geometry)  # type: ignore[arg-type]
    assert torch.allclose(velocity, -len(x) * gradient, atol=1e-5)


def test_the_gradient_is_that_of_finite_differences() -> None:
    x, y = torch.randn(6, 2, dtype=torch.float64), torch.randn(7, 2, dtype=torch.float64)
    velocity = SinkhornDrift(blur=0.5, iterations=3000).velocity(x, positives=y, negatives=x)
    step = torch.zeros_like(x)
    step[2, 1] = 1e-4
    difference = divergence(x + step, y, flat, 0.25) - divergence(x - step, y, flat, 0.25)
    assert float(-len(x) * difference / 2e-4) == pytest.approx(float(velocity[2, 1]), abs=1e-5)


def test_its_plan_is_pots() -> None:
    x, y = torch.randn(15, 2, dtype=torch.float64), torch.randn(20, 2, dtype=torch.float64)
    f, g = potentials(flat(x, y), [0.1] * 3000)
    plan = torch.exp((f[:, None] + g - flat(x, y)) / 0.1) / 300
    a, b = torch.full((15,), 1 / 15, dtype=torch.float64), torch.full((20,), 1 / 20, dtype=torch.float64)
    expected = ot.sinkhorn(a, b, flat(x, y), 0.1, method="sinkhorn_log", numItermax=20_000, stopThr=1e-13)
    assert torch.allclose(plan, expected, atol=1e-8)


def test_with_little_blur_it_is_the_exact_transport() -> None:
    x, y = torch.randn(30, 2, dtype=torch.float64), 3 * torch.randn(30, 2, dtype=torch.float64)
    partner = torch.as_tensor(ot.emd([], [], flat(x, y).numpy())).argmax(1)
    velocity = SinkhornDrift(blur=0.01, scaling=0.97, iterations=500).velocity(x, positives=y, negatives=x)
    assert (velocity - (y[partner] - x)).norm(dim=1).median() < 1e-3


def test_beside_the_batch_it_is_the_extrapolated_velocity() -> None:
    """At the points of the batch itself both ways agree; a little beside them nearly so."""
    x, y = torch.randn(20, 2, dtype=torch.float64), torch.randn(25, 2, dtype=torch.float64)
    field = SinkhornDrift(blur=0.5, iterations=50)
    own = field.velocity(x, positives=y, negatives=x)
    assert torch.allclose(field.velocity(x[5:9], positives=y, negatives=x), own[5:9], atol=1e-12)
    beside = field.velocity(x[5:9] + 1e-6, positives=y, negatives=x)
    assert torch.allclose(beside, own[5:9], atol=1e-4)
