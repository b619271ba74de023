"""L2P, DualPrompt and CODA-Prompt: what is chosen, what is frozen, what is orthogonal."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from cil_small import QUICK, TINY, small_scenario
from hypothesis import given
from hypothesis import strategies as st
from qkd_cil import L2P, Augmentation, CODAPrompt, CODAPromptConfig, DualPrompt, DualPromptConfig, L2PConfig, Learner
from qkd_cil.learners.coda_prompt import component_weights, orthogonality_loss, orthonormal
from qkd_cil.learners.l2p import most_chosen
from qkd_cil.models.prompt import present_layers

ADAM = replace(QUICK, optimizer="adam", learning_rate=0.01, decay="constant")
DEEP = replace(TINY, depth=3)


def fitted(learner: Learner, sizes: tuple[int, ...] = (2, 2, 2)) -> Learner:
    """A learner after all tasks."""
    for task in small_scenario(task_sizes=sizes).train_tasks:
        learner.fit_task(task)
    return learner


@pytest.mark.parametrize("method", [L2P, DualPrompt, CODAPrompt])
def test_the_earlier_rows_stand_still(method: type) -> None:
    learner = method(backbone=DEEP, schedule=replace(ADAM, weight_decay=0.1))
    first, second, _ = small_scenario().train_tasks
    learner.fit_task(first)
    weight, bias = learner.classifier.weight.clone(), learner.classifier.bias.clone()
    learner.fit_task(second)
    assert torch.equal(learner.classifier.weight[:2], weight)
    assert torch.equal(learner.classifier.bias[:2], bias)


@pytest.mark.parametrize("method", [L2P, DualPrompt, CODAPrompt])
def test_queries_are_of_the_images_as_they_are_shown(method: type) -> None:
    """With augmentation the frozen network sees each batch anew, without it only once; unaugmented they agree."""
    learner = method(backbone=DEEP, schedule=replace(ADAM, augmentation=Augmentation(flip=0.5)))
    task = small_scenario().train_tasks[0]
    learner.fit_task(task)
    assert learner.outputs(task.train.images).logits.isfinite().all()
    assert learner.queries is None


def test_an_image_of_l2p_gets_its_own_nearest_prompts() -> None:
    learner = fitted(L2P(L2PConfig(pool=6, length=2, chosen=3), backbone=TINY, schedule=ADAM))
    images = small_scenario().train_tasks[1].train.images[:5]
    values = learner.prepare(images)
    for row in range(5):
        query = learner.backbone(values[row : row + 1])
        order = F.cosine_similarity(query, learner.keys).argsort(descending=True)[:3]
        learner.backbone.activate(())
        tokens = torch.cat([learner.backbone.embed(values[row : row + 1]), learner.prompts[order].reshape(1, 6, -1)], 1)
        after = learner.backbone.vit.norm(learner.backbone.vit.blocks(tokens))[:, -6:].mean(1)
        expected = learner.classifier(after)[0]
        torch.testing.assert_close(learner.outputs(images).logits[row], expected, rtol=1e-4, atol=1e-5)


def test_by_batch_an_answer_depends_on_the_other_images() -> None:
    """What all public code does; by image it does not."""
    tasks = small_scenario().train_tasks
    changed = {}
    for selection in ("image", "batch"):
        torch.manual_seed(0)
        learner = L2P(L2PConfig(pool=6, length=2, chosen=1, selection=selection), backbone=TINY, schedule=ADAM)
        fitted(learner)
        learner.schedule = replace(ADAM, evaluation_batch_size=64)
        company = tasks[1].train.images
        chosen = most_chosen_key(learner, company)
        other = next(
            image[None]
            for task in tasks
            for image in task.train.images
            if most_chosen_key(learner, image[None]) != chosen
        )
        alone = learner.outputs(other).logits[0]
        among = learner.outputs(torch.cat([other, company])).logits[0]
        changed[selection] = (alone - among).abs().max().item()
    assert changed["image"] < 1e-4 < changed["batch"]


def most_chosen_key(learner: L2P, images: torch.Tensor) -> int:
    """The nearest key of most images."""
    query = F.normalize(learner.backbone(learner.prepare(images)), dim=1)
    return int((query @ F.normalize(learner.keys, dim=1).T).argmax(1).mode().values)


def test_votes_are_counted() -> None:
    assert most_chosen(torch.tensor([[4, 0], [4, 1], [1, 4]]), 2).tolist() == [4, 1]
    assert most_chosen(torch.tensor([[3], [1]]), 1).tolist() == [1]


def test_keys_of_l2p_are_drawn_to_the_features() -> None:
    losses: list[float] = []
    learner = L2P(L2PConfig(pool=3, chosen=3, pull=1.0), backbone=TINY, schedule=replace(ADAM, epochs=6))
    learner.fit_task(small_scenario().train_tasks[0], on_step=lambda step: losses.append(step.losses["pull"]))
    assert losses[-1] < losses[0] - 0.2
    assert all(-3 <= loss <= 3 for loss in losses)


def test_an_image_of_dual_prompt_gets_the_prefixes_of_the_nearest_key() -> None:
    learner = fitted(DualPrompt(backbone=DEEP, schedule=ADAM), sizes=(1, 3, 2))
    assert (learner.general_layers, learner.expert_layers) == ((0, 1), (2,))
    images = small_scenario().train_tasks[1].train.images[:5]
    values, found = learner.prepare(images), learner.outputs(images)
    for row in range(5):
        value = values[row : row + 1]
        task = int(F.cosine_similarity(learner.backbone(value), learner.keys).argmax())
        prefixes = {0: learner.general[0], 1: learner.general[1], 2: learner.experts[task, 0]}
        with learner.prefixes.using({layer: prefix[None] for layer, prefix in prefixes.items()}):
            expected = learner.classifier(learner.backbone(value))[0]
        torch.testing.assert_close(found.logits[row], expected, rtol=1e-4, atol=1e-5)
        assert found.routing[row, task] == 1


def test_earlier_prefixes_keep_their_bits_and_a_new_one_goes_on_from_the_last() -> None:
    learner = DualPrompt(backbone=DEEP, schedule=replace(ADAM, epochs=0))
    kept: list[torch.Tensor] = []
    for task in small_scenario().train_tasks:
        if task.index == 2:
            learner.schedule = ADAM
        learner.fit_task(task)
        assert torch.equal(learner.experts[: len(kept)], torch.stack(kept) if kept else learner.experts[:0])
        kept.append(learner.experts[-1].clone())
    assert torch.equal(kept[0], kept[1])  # nothing was trained
    assert not torch.equal(kept[1], kept[2])
    assert len(learner.keys.unique(dim=0)) == 3


@given(old=st.integers(0, 5), count=st.integers(1, 4), seed=st.integers(0, 99))
def test_new_components_are_orthonormal_to_all(old: int, count: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    before = torch.randn(old, 12, generator=generator)
    new = orthonormal(before, count, generator=generator)
    torch.testing.assert_close(new @ new.T, torch.eye(count), atol=1e-5, rtol=0)
    torch.testing.assert_close(before @ new.T, torch.zeros(old, count), atol=1e-5, rtol=0)


def test_components_without_room_are_random_of_length_one() -> None:
    new = orthonormal(torch.eye(4)[:3], 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(new.norm(dim=1), torch.ones(3))
    assert len(new.unique(dim=0)) == 3


def test_the_orthogonality_loss_of_coda_entry_by_entry() -> None:
    components = torch.randn(2, 3, 5)
    expected = 0.0
    for layer in components:
        total = sum(float((layer[i] @ layer[j]) - (1 if i == j else 0)) ** 2 for i in range(3) for j in range(3))
        expected += total / 9
    assert orthogonality_loss(components).item() == pytest.approx(expected, rel=1e-5)
    orthonormal_rows = torch.linalg.qr(torch.randn(5, 3)).Q.T
    assert orthogonality_loss(orthonormal_rows[None]) < 1e-10


def test_the_prefix_of_coda_is_the_weighted_sum() -> None:
    learner = fitted(CODAPrompt(CODAPromptConfig(components=3, length=4), backbone=TINY, schedule=ADAM), (1, 3, 2))
    assert learner.old_prefixes.shape == (2, 9, 96)
    images = small_scenario().train_tasks[1].train.images[:3]
    values = learner.prepare(images)
    query = learner.backbone(values)
    prefixes = {}
    for layer in range(2):
        sums = []
        for q in query:
            parts = zip(
                learner.old_attentions[layer], learner.old_keys[layer], learner.old_prefixes[layer], strict=True
            )
            sums.append(sum(F.cosine_similarity(q * a, k, dim=0) * p for a, k, p in parts))
        prefixes[layer] = torch.stack(sums).reshape(3, 2, 2, 24)
    with learner.network.using(prefixes):
        expected = learner.classifier(learner.backbone(values))
    torch.testing.assert_close(learner.outputs(images).logits, expected, rtol=1e-4, atol=1e-5)
    weights = component_weights(query, learner.old_attentions[0], learner.old_keys[0])
    assert weights.abs().max() <= 1 + 1e-6


def test_earlier_components_keep_their_bits() -> None:
    learner = CODAPrompt(CODAPromptConfig(components=2), backbone=TINY, schedule=replace(ADAM, weight_decay=0.1))
    for task in small_scenario().train_tasks:
        before = [old.clone() for _, old in learner._components()]
        learner.fit_task(task)
        after = [old for _, old in learner._components()]
        assert all(torch.equal(new[:, : old.shape[1]], old) for new, old in zip(after, before, strict=True))
        assert all(new.shape[1] == 2 * (task.index + 1) for new in after)


def test_layers_a_network_has() -> None:
    assert present_layers((0, 3, 9), 4, "layers") == (0, 3)
    with pytest.raises(ValueError, match=r"layers \[4\]: the network has blocks 0 to 3; name some of these"):
        present_layers((4,), 4, "layers")
    with pytest.raises(ValueError, match="dual-prompt: expert_layers"):
        DualPrompt(backbone=replace(TINY, depth=2), config=DualPromptConfig(expert_layers=(2,)))


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="l2p: chosen 11 must be from 1 to pool 10"):
        L2PConfig(chosen=11)
    with pytest.raises(ValueError, match="dual-prompt: block 1 has both kinds"):
        DualPromptConfig(general_layers=(0, 1), expert_layers=(1,))
    with pytest.raises(ValueError, match=r"coda-prompt: .* length 7 even"):
        CODAPromptConfig(length=7)
