"""Prompts, prefixes, scales and shifts around timm's own blocks."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from cil_small import TINY
from close import assert_close_by_name
from qkd_cil.models.backbone import Backbone
from qkd_cil.models.prompt import Prefixes, VisualPrompts, nearest_keys
from qkd_cil.models.ssf import ScaleShift
from qkd_cil.models.tuning import Tuning
from torch import Tensor

IMAGES = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def backbone() -> Backbone:
    return Backbone(TINY)


def numbers() -> torch.Generator:
    """The same random numbers each time."""
    return torch.Generator().manual_seed(1)


def test_new_scales_and_shifts_change_nothing(backbone: Backbone) -> None:
    expected, names = backbone(IMAGES), list(backbone.state_dict())
    ssf = ScaleShift(backbone.vit)
    with ssf.on():
        assert torch.equal(backbone(IMAGES), expected)
    assert list(backbone.state_dict()) == names


def test_scales_and_shifts_are_those_of_each_layer(backbone: Backbone) -> None:
    """What they do is what scaled weights and shifted biases of the layers themselves do, up to rounding."""
    ssf = ScaleShift(backbone.vit)
    with torch.no_grad():
        for parameter in ssf.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=numbers()))
        with ssf.on():
            ours = backbone(IMAGES)
        layers = [backbone.vit.patch_embed.proj]
        for block in backbone.vit.blocks:
            layers += [block.norm1, block.norm2, block.attn.qkv, block.attn.proj, block.mlp.mlp.fc1, block.mlp.mlp.fc2]
        layers.append(backbone.vit.norm)
        for layer, scale, shift in zip(layers, ssf.scales, ssf.shifts, strict=True):
            layer.weight.mul_(scale.reshape(-1, *[1] * (layer.weight.ndim - 1)))
            layer.bias.mul_(scale).add_(shift)
    assert_close_by_name({"features": ours}, {"features": backbone(IMAGES)}, rtol=1e-5)


def test_outside_its_context_nothing_is_changed(backbone: Backbone) -> None:
    expected = backbone(IMAGES)
    ssf, prefixes = ScaleShift(backbone.vit), Prefixes(backbone)
    with torch.no_grad():
        ssf.shifts[0].add_(1)
    with pytest.raises(RuntimeError), ssf.on(), prefixes.using({0: torch.rand(3, 2, 2, 24)}):
        raise RuntimeError
    assert torch.equal(backbone(IMAGES), expected)


@pytest.mark.parametrize("deep", [False, True])
def test_visual_prompts_are_tokens_among_the_images_own(backbone: Backbone, deep: bool) -> None:
    prompts = VisualPrompts(backbone, tokens=3, deep=deep, generator=numbers())
    assert prompts.tokens.shape == (2 if deep else 1, 3, 24)
    assert len(prompts.tokens.reshape(-1, 24).unique(dim=0)) == len(prompts.tokens) * 3  # no two start alike
    assert prompts.tokens.abs().max() <= (6 / (3 * 64 + 24)) ** 0.5
    x = backbone.embed(IMAGES)
    first, second = backbone.vit.blocks
    x = first(torch.cat([prompts.tokens[0].expand(3, -1, -1), x], dim=1))  # before the image's: no block sees an order
    if deep:
        x = torch.cat([prompts.tokens[1].expand(3, -1, -1), x[:, 3:]], dim=1)
    expected = backbone.vit.norm(second(x))[:, 3]
    assert_close_by_name({"features": prompts(backbone, IMAGES)}, {"features": expected}, rtol=1e-5)


def test_prefixes_are_keys_and_values_of_the_attention(backbone: Backbone) -> None:
    attention = backbone.vit.blocks[1].attn
    x, prefix = torch.randn(3, 5, 24, generator=numbers()), torch.randn(3, 2, 4, 24, generator=numbers())
    plain = attention(x)
    with Prefixes(backbone).using({1: prefix}):
        ours = attention(x)
    query, key, value = attention.qkv(x).reshape(3, 5, 3, 24).unbind(2)
    key, value = torch.cat([key, prefix[:, 0]], dim=1), torch.cat([value, prefix[:, 1]], dim=1)

    def heads(part: Tensor) -> Tensor:
        return part.reshape(3, -1, 2, 12).transpose(1, 2)

    expected = F.scaled_dot_product_attention(heads(query), heads(key), heads(value)).transpose(1, 2).reshape(3, 5, 24)
    assert_close_by_name({"attention": ours}, {"attention": attention.proj(expected)}, rtol=1e-5)
    assert (ours - plain).abs().max() > 0.01
    assert torch.equal(attention(x), plain)


def test_prefixes_get_gradients_and_blocks_without_them_none(backbone: Backbone) -> None:
    prefix = torch.randn(3, 2, 4, 24, requires_grad=True)
    with Prefixes(backbone).using({0: prefix}):
        backbone(IMAGES).square().sum().backward()
    assert prefix.grad is not None
    assert prefix.grad.abs().min(dim=2).values.min() > 0


def test_nearest_keys_by_cosine() -> None:
    queries, keys = torch.tensor([[1.0, 0.1], [0.0, -5.0]]), torch.tensor([[9.0, 0.0], [0.0, 1.0], [1.0, -1.0]])
    values, chosen = nearest_keys(queries, keys, 2)
    assert chosen.tolist() == [[0, 2], [2, 0]]
    torch.testing.assert_close(values[1, 0].item(), 0.5**0.5)


@pytest.mark.parametrize("kind", ["adapter", "ssf", "vpt-shallow", "vpt-deep", "none"])
def test_a_tuning_learns_and_leaves_the_frozen_weights(backbone: Backbone, kind: str) -> None:
    before = backbone.fingerprint()
    tuning = Tuning(backbone, kind, tokens=2, generator=numbers())
    if kind in ("adapter", "ssf", "none"):
        assert torch.equal(tuning(backbone, IMAGES), backbone(IMAGES))
    trained = tuning.trained(backbone)
    assert bool(trained) == (kind != "none")
    if trained:
        tuning(backbone, IMAGES).square().sum().backward()
        assert any(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in trained)
    assert all(parameter.grad is None for name, parameter in backbone.named_parameters() if "adapters" not in name)
    assert backbone.fingerprint() == before


def test_raw_inputs_are_values_from_zero_to_one() -> None:
    raw = Backbone(replace(TINY, inputs="raw"))
    assert (raw.mean, raw.std) == ((0.0,) * 3, (1.0,) * 3)
    assert Backbone(TINY).mean == (0.5, 0.5, 0.5)
