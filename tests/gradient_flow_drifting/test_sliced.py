"""The sliced-Wasserstein flow beside POT's distance and its gradient."""

import math

import numpy as np
import ot
import pytest
import torch
from gradient_flow_drifting import SlicedWasserstein, Sphere
from gradient_flow_drifting.baselines.sliced import quantile_transport
from torch import Tensor


def directions_of(projections: int, d: int) -> Tensor:
    """Those that the field draws next."""
    state = torch.get_rng_state()
    directions = torch.linalg.qr(torch.randn(math.ceil(projections / d), d, d)).Q.mT.reshape(-1, d)
    torch.set_rng_state(state)
    return directions.double()


@pytest.mark.parametrize("geometry", ["euclidean", "sphere"])
@pytest.mark.parametrize("count", [12, 7])
def test_it_is_minus_the_gradient_of_pots_distance(count: int, geometry: str) -> None:
    x, y = torch.randn(12, 3, dtype=torch.float64), torch.randn(count, 3, dtype=torch.float64)
    if geometry == "sphere":
        x, y = Sphere().projx(x), Sphere().projx(y)
    torch.manual_seed(3)
    directions = directions_of(30, 3)
    x.requires_grad_()
    distance = ot.sliced_wasserstein_distance(x, y, projections=directions.T)
    (gradient,) = torch.autograd.grad(distance.square() / 2, x)
    gradient = gradient if geometry == "euclidean" else Sphere().proju(x.detach(), gradient)
    field = SlicedWasserstein(projections=30)
    velocity = field.velocity(x.detach(), positives=y, negatives=x.detach(), geometry=geometry)  # type: ignore[arg-type]
    assert torch.allclose(velocity, -3 * len(x) * gradient, atol=1e-9)


def test_directions_come_in_whole_bases() -> None:
    directions = directions_of(5, 3)
    assert torch.allclose(directions.T @ directions, 2 * torch.eye(3, dtype=torch.float64), atol=1e-6)


@pytest.mark.parametrize(("n", "m"), [(5, 5), (6, 4), (4, 6), (3, 9), (1, 4), (4, 1)])
def test_unequal_numbers_go_to_the_barycentres_of_the_exact_plan(n: int, m: int) -> None:
    ordered = torch.randn(m, dtype=torch.float64).sort().values
    x = torch.randn(n, dtype=torch.float64).sort().values
    plan = ot.emd_1d(x.numpy(), ordered.numpy(), np.full(n, 1 / n), np.full(m, 1 / m))
    expected = torch.as_tensor(plan) @ ordered * n
    assert torch.allclose(quantile_transport(n, ordered[None])[0], expected, atol=1e-12)


def test_points_beside_the_batch_move_as_their_neighbours() -> None:
    negatives = torch.tensor([[0.0], [1.0], [3.0]])
    positives = torch.tensor([[0.0], [2.0], [5.0]])
    at = torch.tensor([[-1.0], [0.5], [1.0], [2.5], [9.0]])
    velocity = SlicedWasserstein(projections=1).velocity(at, positives=positives, negatives=negatives)
    assert velocity.flatten().tolist() == pytest.approx([0.0, 0.5, 1.0, 1.75, 2.0])


def test_the_same_state_of_the_generator_gives_the_same_velocity() -> None:
    x, y = torch.randn(9, 3), torch.randn(8, 3)
    field = SlicedWasserstein(projections=6)
    found = []
    for _ in range(2):
        torch.manual_seed(1)
        found.append(field.velocity(x, positives=y, negatives=x))
    assert torch.equal(*found)
