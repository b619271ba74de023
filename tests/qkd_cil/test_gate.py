"""The gate: what its equations imply, checked as numbers."""

from dataclasses import replace

import pytest
import torch
from qkd_cil.learners.qkd import PAPER
from qkd_cil.learners.routing import sparsity_penalty
from qkd_cil.models.classical_gates import (
    AttentionGateConfig,
    CosineGateConfig,
    GateConfig,
    MLPGateConfig,
    OracleGateConfig,
    UniformGateConfig,
)
from qkd_cil.models.diagnostics import GateWarning, gate_diagnostics
from qkd_cil.models.gate import Gate, QuantumGate, QuantumGateConfig, task_embedding
from qkd_cil.ops.statevector import fidelity, statevector
from torch import Tensor

DIM = 48


def make_gate(config: QuantumGateConfig, *, tasks: int = 4, dim: int = DIM) -> Gate:
    generator = torch.Generator().manual_seed(0)
    gate = QuantumGate(dim, config, generator=generator)
    return with_tasks(gate, tasks, generator)


def with_tasks(gate: Gate, tasks: int, generator: torch.Generator) -> Gate:
    for _ in range(tasks):
        gate.add_task(torch.randn(gate.embeddings.shape[1], generator=generator))
    return gate


def any_gate(config: GateConfig, *, tasks: int = 4, dim: int = DIM) -> Gate:
    generator = torch.Generator().manual_seed(0)
    return with_tasks(config.build(dim, generator=generator), tasks, generator)


@pytest.fixture
def features() -> Tensor:
    return torch.randn(9, DIM, generator=torch.Generator().manual_seed(1))


CONFIGS = {
    "robust": QuantumGateConfig(),
    "linear": QuantumGateConfig(projection="linear"),
    "projected": QuantumGateConfig(score="projected"),
    "paper": PAPER.gate,
    "amplitude": replace(PAPER.gate, task_state="amplitude"),
    "projected amplitude": replace(PAPER.gate, task_state="amplitude", score="projected"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_weights_sum_to_one_and_follow_a_permutation_of_the_tasks(name: str, features: Tensor) -> None:
    gate = make_gate(CONFIGS[name])
    alpha = gate(features)
    assert alpha.shape == (9, 4)
    assert torch.allclose(alpha.sum(dim=1), torch.ones(9))
    gate.embeddings = gate.embeddings[[2, 0, 3, 1]]
    assert torch.allclose(gate(features), alpha[:, [2, 0, 3, 1]], atol=1e-6)


@pytest.mark.parametrize("name", CONFIGS)
def test_scores_lie_between_zero_and_one_and_agree_between_back_ends(name: str, features: Tensor) -> None:
    config = CONFIGS[name]
    ours = make_gate(config).double().scores(features.double())
    oracle = make_gate(replace(config, backend="pennylane")).double().scores(features.double())
    assert torch.allclose(ours, oracle, atol=1e-12)
    assert ours.min() >= 0
    assert ours.max() <= 1 + 1e-12


def test_any_batch_gives_the_same_weights(features: Tensor) -> None:
    gate = make_gate(QuantumGateConfig())
    apart = torch.cat([gate(part) for part in features.split(4)])
    assert torch.allclose(gate(features), apart, atol=1e-6)


def test_state_goes_round_with_any_number_of_tasks(features: Tensor) -> None:
    gate = make_gate(QuantumGateConfig(), tasks=5)
    fresh = make_gate(QuantumGateConfig(), tasks=0)
    fresh.load_state_dict(gate.state_dict())
    assert torch.equal(fresh(features), gate(features))


# What the equations of the paper imply: one test for each point.


def test_1_the_l1_norm_of_a_softmax_has_no_gradient(features: Tensor) -> None:
    gate = make_gate(QuantumGateConfig())
    weights = [parameter for parameter in gate.parameters() if parameter.requires_grad]
    l1 = torch.autograd.grad(sparsity_penalty(gate(features), "l1"), weights, allow_unused=True)
    spread = torch.autograd.grad(sparsity_penalty(gate(features), "entropy"), weights)
    assert sparsity_penalty(gate(features), "l1").item() == pytest.approx(1.0, abs=1e-6)
    assert max(gradient.abs().max().item() for gradient in l1 if gradient is not None) < 1e-6
    assert min(gradient.abs().max().item() for gradient in spread) > 1e-4


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_2_the_last_weights_cancel_unless_the_task_is_an_amplitude_or_the_data_come_last(
    layers: int, features: Tensor
) -> None:
    def gradient(config: QuantumGateConfig) -> Tensor:
        gate = make_gate(config).double()
        (found,) = torch.autograd.grad(gate.scores(features.double() * 3)[:, 0].sum(), [gate.theta])
        return found.abs().amax(dim=1)

    published = replace(PAPER.gate, layers=layers)
    assert gradient(published)[-1] < 1e-12
    assert (gradient(published)[:-1] > 1e-9).all()
    assert (gradient(replace(published, task_state="amplitude")) > 1e-6).all()
    assert (gradient(QuantumGateConfig(layers=layers + 1)) > 1e-6).all()


def test_2_one_layer_is_a_product_of_cosines(features: Tensor) -> None:
    gate = make_gate(replace(PAPER.gate, layers=1)).double()
    normed = torch.nn.functional.normalize(features.double(), dim=1)[:, :6]
    expected = ((normed[:, None] - gate.embeddings[None, :, :6]) / 2).cos().square().prod(dim=-1)
    assert torch.allclose(gate.scores(features.double()), expected, atol=1e-14)


def test_3_a_temperature_of_one_cannot_route() -> None:
    """With scores in [0, 1], the largest weight is that of one perfect match among nine opposites."""
    scores = torch.eye(10)[:1]
    assert (scores / 1.0).softmax(dim=1).max().item() == pytest.approx(0.232, abs=5e-4)
    assert (scores / 0.1).softmax(dim=1).max().item() > 0.999
    gate = make_gate(PAPER.gate, tasks=10)
    assert gate(torch.randn(64, DIM)).max() < 0.2321


def test_4_first_coordinates_hardly_turn_and_angles_of_order_one_turn_too_far() -> None:
    generator = torch.Generator().manual_seed(0)
    gate = make_gate(replace(PAPER.gate, qubits=9), tasks=10, dim=768)
    published = gate.scores(torch.randn(256, 768, generator=generator))
    assert 0.975 < published.mean() < 0.995
    assert published.std() < 0.01
    gate = make_gate(replace(PAPER.gate, qubits=9), tasks=0, dim=9)
    for _ in range(10):
        gate.add_task(torch.randn(9, generator=generator))
    samples = torch.randn(256, 9, generator=generator)
    states = [statevector(angles, gate.theta) for angles in (samples, torch.randn(10, 9, generator=generator))]
    assert fidelity(*states).median() < 0.004


def test_5_distillation_teaches_the_gate_to_pick_the_teacher_that_agrees(features: Tensor) -> None:
    gate = make_gate(QuantumGateConfig(bandwidth=0.3))
    divergence = torch.tensor([0.9, 0.5, 0.1, 0.7]).expand(9, 4)
    optimizer = torch.optim.Adam(gate.parameters(), lr=0.01)
    for _ in range(100):
        optimizer.zero_grad()
        (gate(features) * divergence).sum(dim=1).mean().backward()
        optimizer.step()
    assert (gate(features).argmax(dim=1) == 2).all()
    assert gate(features)[:, 2].min() > 0.8


def test_task_embedding_is_the_sum_of_the_columns_of_the_best_approximation() -> None:
    generator = torch.Generator().manual_seed(0)
    matrices = [torch.randn(6, 5, generator=generator).double() for _ in range(2)]
    joined = torch.cat(matrices, dim=1)
    whole = task_embedding(matrices, rank=6)
    assert torch.allclose(whole, torch.nn.functional.normalize(joined.sum(dim=1), dim=0), atol=1e-12)
    u, s, vh = torch.linalg.svd(joined)
    best = (u[:, :2] * s[:2]) @ vh[:2]
    expected = torch.nn.functional.normalize(best.sum(dim=1), dim=0)
    assert torch.allclose(task_embedding(matrices, rank=2), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"qubits": 17}, "17 qubits; choose 1 to 16"),
        ({"qubits": 0}, "0 qubits; choose 1 to 16"),
        ({"layers": 1}, "1 layers; the ending 'data' needs more"),
        ({"temperature": 0.0}, "both must be positive"),
        ({"hidden": 0}, "hidden 0; it must be positive"),
    ],
)
def test_numbers_out_of_range(change: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(QuantumGateConfig(), **change)


def test_more_qubits_than_features() -> None:
    with pytest.raises(ValueError, match=r"6 qubits want as many features, the backbone has 4"):
        QuantumGate(4, PAPER.gate, generator=torch.Generator())


def test_a_gate_without_task() -> None:
    with pytest.raises(ValueError, match=r"no task yet: call add_task first"):
        make_gate(QuantumGateConfig(), tasks=0)(torch.zeros(1, DIM))


# Gates without a circuit

CLASSICAL: dict[str, GateConfig] = {
    "cosine": CosineGateConfig(),
    "cosine as published": CosineGateConfig("none", temperature=1.0, learn_temperature=False),
    "cosine, linear": CosineGateConfig("linear"),
    "mlp": MLPGateConfig(),
    "attention": AttentionGateConfig(),
    "uniform": UniformGateConfig(),
}


@pytest.mark.parametrize("name", CLASSICAL)
def test_classical_weights_sum_to_one_and_follow_a_permutation(name: str, features: Tensor) -> None:
    gate = any_gate(CLASSICAL[name])
    alpha = gate(features)
    assert torch.allclose(alpha.sum(dim=1), torch.ones(9))
    assert torch.allclose(torch.cat([gate(part) for part in features.split(2)]), alpha, atol=1e-6)
    gate.embeddings = gate.embeddings[[2, 0, 3, 1]]
    assert torch.allclose(gate(features), alpha[:, [2, 0, 3, 1]], atol=1e-6)
    fresh = any_gate(CLASSICAL[name], tasks=0)
    fresh.load_state_dict(gate.state_dict())
    assert torch.equal(fresh(features), gate(features))


def test_classical_scores_are_what_their_formulas_say(features: Tensor) -> None:
    cosine = any_gate(CLASSICAL["cosine as published"])
    expected = torch.nn.functional.cosine_similarity(features[:, None], cosine.embeddings[None], dim=-1)
    assert torch.allclose(cosine.scores(features), expected, atol=1e-6)
    mlp = any_gate(CLASSICAL["mlp"])
    unit = [DIM**0.5 * torch.nn.functional.normalize(rows, dim=1) for rows in (features, mlp.embeddings)]
    first = torch.cat([mlp.of_sample[0].weight, mlp.of_task[0].weight], dim=1)  # type: ignore[index]
    for sample, task in ((0, 0), (5, 2)):
        both = torch.cat([unit[0][sample], unit[1][task]])
        score = mlp.out[0].weight @ torch.relu(first @ both)  # type: ignore[index]
        assert mlp.scores(features)[sample, task].item() == pytest.approx(score.item(), rel=1e-4, abs=1e-5)
    attention = any_gate(CLASSICAL["attention"])
    keys = DIM**0.5 * torch.nn.functional.normalize(attention.embeddings, dim=1)
    query, key = attention.query(unit[0]), attention.key(keys)
    assert torch.allclose(attention.scores(features), query @ key.T / 8, atol=1e-5)
    assert (any_gate(UniformGateConfig())(features) == 0.25).all()


@pytest.mark.parametrize("name", ["cosine", "cosine, linear", "mlp", "attention"])
def test_every_weight_of_a_classical_gate_learns(name: str, features: Tensor) -> None:
    gate = any_gate(CLASSICAL[name])
    gate(features)[:, 0].log().sum().backward()
    still = {each for each, weight in gate.named_parameters() if weight.grad is None or not weight.grad.any()}
    assert still <= {"key.0.bias", "of_task.0.bias", "out.0.bias"}  # what all tasks share may drop out of the softmax
    found = gate_diagnostics(gate, features)
    assert set(found) == {"score_spread", "gate_entropy", "largest_weight", "uniform_weight"}
    assert found["score_spread"] > 0


def test_the_published_cosine_gate_does_not_route(features: Tensor) -> None:
    with pytest.warns(GateWarning, match="the gate does not route"):
        gate_diagnostics(any_gate(CLASSICAL["cosine as published"]), features)


def test_the_oracle_must_be_told(features: Tensor) -> None:
    gate = any_gate(OracleGateConfig())
    assert torch.equal(gate(features, task=2), torch.eye(4)[[2] * 9])
    assert (gate.over_teachers(features) == 0.25).all()
    with pytest.raises(ValueError, match="the oracle gate must be told the true task"):
        gate(features)


def test_a_measured_gate_is_exact_in_training_and_noisy_in_judging(features: Tensor) -> None:
    exact = make_gate(QuantumGateConfig(qubits=3))
    noisy = make_gate(QuantumGateConfig(qubits=3, noise=0.1))
    assert torch.allclose(noisy.scores(features), exact.scores(features))
    noisy.eval()
    with torch.no_grad():
        found = noisy.scores(features)
    assert not torch.allclose(found, exact.scores(features), atol=1e-2)
    assert found.std() < exact.scores(features).std()  # errors wash the states out
    quiet = make_gate(QuantumGateConfig(qubits=3, device="default.qubit")).eval()
    with torch.no_grad():
        assert torch.allclose(quiet.scores(features), exact.scores(features), atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise": 0.8}, "noise 0.8 and shots 0; give 0 to 0.75"),
        ({"shots": -1}, "noise 0.0 and shots -1"),
        ({"noise": 0.1, "score": "projected"}, "need the score fidelity and the task_state embedding"),
    ],
)
def test_measurements_out_of_range(change: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(QuantumGateConfig(), **change)


@pytest.mark.parametrize("kind", [CosineGateConfig, MLPGateConfig, AttentionGateConfig])
def test_classical_numbers_out_of_range(kind: type) -> None:
    with pytest.raises(ValueError, match="all must be positive and finite"):
        kind(temperature=0.0)
