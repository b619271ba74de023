"""The Drifting Model's field: by hand, antisymmetry, its force's length, and what its floor does."""

import math

import pytest
import torch
from gradient_flow_drifting import BiSoftmax

RAW = BiSoftmax(temperatures=(0.5,), temperature_unit="absolute", affinity_floor=None, force="raw")


def by_hand(
    x: list[list[float]], positives: list[list[float]], negatives: list[list[float]], tau: float, own: bool
) -> list:
    """Algorithm 2 in loops over numbers: softmax over rows, over columns, geometric mean, cross weights."""
    targets = positives + negatives
    weight = [[math.exp(-math.dist(a, b) / tau) for b in targets] for a in x]
    if own:
        for i in range(len(x)):
            weight[i][len(positives) + i] = 0.0
    rows = [sum(row) for row in weight]
    columns = [sum(row[j] for row in weight) for j in range(len(targets))]
    affinity = [
        [w / math.sqrt(rows[i] * columns[j]) if w else 0.0 for j, w in enumerate(row)] for i, row in enumerate(weight)
    ]
    result = []
    for row in affinity:
        plus, minus = sum(row[: len(positives)]), sum(row[len(positives) :])
        signed = [a * minus if j < len(positives) else -a * plus for j, a in enumerate(row)]
        result.append([sum(s * target[k] for s, target in zip(signed, targets, strict=True)) for k in range(2)])
    return result


@pytest.mark.parametrize("own", [False, True])
def test_it_is_algorithm_2(own: bool) -> None:
    x, positives = [[0.0, 0.0], [1.0, 0.5]], [[0.3, 0.4], [2.0, 0.0], [-1.0, 1.0]]
    negatives = [*x, [0.5, -0.5]]
    found = RAW.velocity(
        torch.tensor(x),
        positives=torch.tensor(positives),
        negatives=torch.tensor(negatives),
        self_terms="leave_one_out" if own else "keep",
    )
    assert torch.allclose(found, torch.tensor(by_hand(x, positives, negatives, 0.5, own)), atol=1e-6)


@pytest.mark.parametrize("floor", [None, 1e-6])
@pytest.mark.parametrize("force", ["raw", "normalised"])
def test_exchanging_data_and_model_turns_the_field_round(floor: float | None, force: str) -> None:
    field = BiSoftmax(affinity_floor=floor, force=force)  # type: ignore[arg-type]
    x, y, z = torch.randn(9, 3), torch.randn(7, 3) + 1, torch.randn(8, 3)
    one = field.velocity(x, positives=y, negatives=z)
    assert torch.allclose(one, -field.velocity(x, positives=z, negatives=y), atol=1e-5 * float(one.abs().max()))


def test_a_normalised_force_has_a_length_that_does_not_depend_on_the_distance() -> None:
    x, y = torch.randn(50, 2), torch.randn(60, 2)
    field = BiSoftmax(temperatures=(0.2,))
    for shift in (0.5, 3.0):
        distance = torch.cdist(x, torch.cat([y + shift, x])).mean()
        velocity = field.velocity(x, positives=y + shift, negatives=x, self_terms="leave_one_out")
        assert velocity.square().mean().sqrt() == pytest.approx(float(distance) / math.sqrt(2), rel=1e-4)


def test_temperatures_add_up() -> None:
    x, y = torch.randn(9, 2), torch.randn(7, 2)
    parts = [BiSoftmax(temperatures=(tau,)).velocity(x, positives=y, negatives=x) for tau in (0.05, 0.2)]
    both = BiSoftmax(temperatures=(0.05, 0.2)).velocity(x, positives=y, negatives=x)
    assert torch.allclose(both, parts[0] + parts[1], atol=1e-5)


def test_the_floor_lets_the_far_pairs_pull() -> None:
    """Of two far clusters each holds half of the model: nothing is to move between them, yet with the floor it does."""
    cluster = torch.cat([0.05 * torch.randn(200, 2), 0.05 * torch.randn(200, 2) + torch.tensor([10.0, 0.0])])
    data = cluster[torch.randperm(400)][:300] + 0.01 * torch.randn(300, 2)
    inside = {}
    for floor in (None, 1e-6):
        field = BiSoftmax(temperatures=(0.02,), affinity_floor=floor, force="raw")
        velocity = field.velocity(cluster, positives=data, negatives=cluster, self_terms="leave_one_out")
        inside[floor] = float(velocity.norm(dim=1).mean())
    assert inside[None] < 0.1
    assert inside[1e-6] > 3 * inside[None]


def test_a_lone_sample_and_one_that_is_far_from_all_are_finite() -> None:
    x = torch.tensor([[0.0, 0.0], [1e4, 0.0]])
    for floor in (None, 1e-6):
        field = BiSoftmax(affinity_floor=floor)
        for samples in (x, x[:1]):
            velocity = field.velocity(samples, positives=x[:1] + 0.1, negatives=x, self_terms="leave_one_out")
            assert bool(velocity.isfinite().all())
