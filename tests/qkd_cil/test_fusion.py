"""How adapters answer together: logits, the best alone, or mixed inside each block."""

from dataclasses import replace

import pytest
import torch
from cil_small import QUICK, TINY, small_scenario
from qkd_cil import PROFILES, QKD, KeptFeatures, QKDConfig, evaluate
from qkd_cil.learners.qkd import Fusion
from qkd_cil.models.adapter import Adapter, AdapterConfig, mix_adapters
from qkd_cil.models.classical_gates import CosineGateConfig, OracleGateConfig, UniformGateConfig
from qkd_cil.models.gate import QuantumGateConfig

pytestmark = pytest.mark.filterwarnings("ignore::qkd_cil.models.diagnostics.GateWarning")
QUICKLY = replace(PROFILES["robust"], routing_steps=5)


def fitted(config: QKDConfig) -> QKD:
    learner = QKD(config, backbone=TINY, schedule=QUICK)
    for task in small_scenario().train_tasks:
        learner.fit_task(task)
    return learner


def same_but(learner: QKD, fusion: Fusion) -> QKD:
    """The same weights, fused in another way."""
    other = QKD(replace(learner.qkd, fusion=fusion), backbone=TINY, schedule=QUICK)
    other.load_learned_state(learner.learned_state())
    return other


def test_a_mixture_is_the_sum_of_its_adapters() -> None:
    generator = torch.Generator().manual_seed(0)
    adapters = [Adapter(8, AdapterConfig(3), generator=generator).double() for _ in range(4)]
    for adapter in adapters:
        for parameter in adapter.parameters():
            torch.nn.init.normal_(parameter, generator=generator)
    x = torch.randn(5, 7, 8, dtype=torch.float64, generator=generator)
    weights = torch.randn(5, 4, dtype=torch.float64, generator=generator)
    expected = sum(weights[:, i, None, None] * adapter(x) for i, adapter in enumerate(adapters))
    torch.testing.assert_close(mix_adapters(adapters, x, weights), expected)


@pytest.mark.parametrize("profile", ["robust", "paper"])
def test_with_all_weight_on_one_adapter_the_three_agree(profile: str) -> None:
    learner = fitted(replace(QUICKLY if profile == "robust" else PROFILES["paper"], gate=OracleGateConfig()))
    images = small_scenario().train_tasks[1].train.images
    logits = learner.classify_of_task(learner.encode(images), 1)
    best = same_but(learner, "top1")
    torch.testing.assert_close(best.classify_of_task(best.encode(images), 1).logits, logits.logits)
    features = learner.backbone.mixed(learner.prepare(images), torch.tensor([[0.0, 1.0, 0.0]]).expand(len(images), -1))
    torch.testing.assert_close(features, learner.backbone.adapted(learner.prepare(images), tasks=[1])[0])


def test_fusions_are_what_they_say() -> None:
    learner = fitted(replace(QUICKLY, gate=CosineGateConfig(width=8, temperature=1.0)))
    images = small_scenario().train_tasks[1].train.images
    alpha = learner.outputs(images).routing
    assert alpha is not None
    features = learner.encode(images).unflatten(1, (3, -1))
    each = learner.discriminants()(features)
    torch.testing.assert_close(learner.outputs(images).logits, (alpha[..., None] * each).sum(1))
    top = same_but(learner, "top1").outputs(images)
    assert torch.equal(top.logits, each[torch.arange(len(images)), alpha.argmax(1)])
    assert torch.equal(top.routing, alpha)
    block = same_but(learner, "block")
    mixed = block.backbone.mixed(block.prepare(images), alpha)
    heads = block.discriminants()(mixed[:, None].expand(-1, block.task_count, -1))
    torch.testing.assert_close(block.outputs(images).logits, (alpha[..., None] * heads).sum(1))


@pytest.mark.parametrize("fusion", ["block", "top1"])
def test_kept_features_and_any_batch_give_the_same_answers(fusion: Fusion) -> None:
    learner = QKD(replace(QUICKLY, fusion=fusion), backbone=TINY, schedule=QUICK)
    scenario, kept = small_scenario(), KeptFeatures()
    for task in scenario.train_tasks:
        learner.fit_task(task)
        ours = evaluate(learner, scenario.test_seen(task), kept=kept)
        anew = evaluate(learner, scenario.test_seen(task))
        assert torch.equal(ours.predictions, anew.predictions)
    images = scenario.train_tasks[0].train.images
    alone = torch.cat([learner.predict(image[None]) for image in images])
    assert torch.equal(alone, learner.predict(images))


def test_the_oracle_bounds_routing_and_does_not_predict() -> None:
    learner = fitted(replace(QUICKLY, gate=OracleGateConfig()))
    scenario = small_scenario()
    found = evaluate(learner, scenario.test_seen(scenario.train_tasks[2]))
    assert found.routing_accuracy == 1
    with pytest.raises(ValueError, match="the oracle gate must be told the true task"):
        learner.predict(scenario.train_tasks[0].train.images)
    assert learner.diagnostics == {}


def test_equal_weights_are_a_mean_of_logits() -> None:
    learner = fitted(replace(QUICKLY, gate=UniformGateConfig()))
    outputs = learner.outputs(small_scenario().train_tasks[0].train.images)
    assert outputs.routing is not None
    assert torch.allclose(outputs.routing, torch.tensor(1 / 3))


def test_a_noisy_gate_answers() -> None:
    learner = fitted(replace(QUICKLY, gate=QuantumGateConfig(qubits=2, noise=0.05, shots=100)))
    outputs = learner.outputs(small_scenario().train_tasks[0].train.images[:3])
    assert outputs.routing is not None
    assert torch.allclose(outputs.routing.sum(1), torch.ones(3))


def test_what_does_not_go_together() -> None:
    with pytest.raises(ValueError, match="with the oracle gate one adapter has all the weight; take fusion logits"):
        QKDConfig(gate=OracleGateConfig(), fusion="block")
    with pytest.raises(ValueError, match="5 weights for 0 adapters"):
        QKD(backbone=TINY).backbone.mixed(torch.zeros(1, 3, 16, 16), torch.zeros(1, 5))
