"""Prompts: learned tokens among the image's own, and learned keys and values in the attention."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from qkd_cil.models.backbone import Backbone


class VisualPrompts(nn.Module):
    r"""Learned tokens beside those of the image (Jia et al. 2022, arXiv 2203.12119), after them and cut off in the end.

    They start uniform in $\pm\sqrt{6 / (3 p^2 + d)}$ with $p$ the side of a patch, as published. LAMDA-PILOT starts all
    at zero; then they get equal gradients and stay one and the same token for ever.

    Args:
        backbone: The network they are for.
        tokens: How many.
        deep: New ones before every block, or the same ones through all of them.
        generator: Random numbers of the initial tokens, on the CPU.

    >>> from qkd_cil.models.backbone import BackboneConfig
    >>> backbone = Backbone(BackboneConfig("vit_tiny_patch16_224", weights="random", img_size=32, depth=2))
    >>> prompts = VisualPrompts(backbone, tokens=5, deep=True, generator=torch.Generator().manual_seed(0))
    >>> prompts(backbone, torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 192])
    """

    def __init__(self, backbone: Backbone, *, tokens: int, deep: bool, generator: torch.Generator) -> None:
        super().__init__()
        height, width = backbone.vit.patch_embed.patch_size
        bound = math.sqrt(6 / (3 * height * width + backbone.dim))
        count = len(backbone.vit.blocks) if deep else 1
        start = torch.empty(count, tokens, backbone.dim).uniform_(-bound, bound, generator=generator)
        self.tokens = nn.Parameter(start)

    def forward(self, backbone: Backbone, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
        """Features of the network with the prompts."""
        backbone.activate(())
        x = backbone.embed(images)
        own = x.shape[1]
        for index, block in enumerate(backbone.vit.blocks):
            if index < len(self.tokens):
                x = torch.cat([x[:, :own], self.tokens[index].expand(len(x), -1, -1)], dim=1)
            x = block(x)
        return backbone.pool(x[:, :own])


class Prefixes:
    """Further keys and values for the attention of some blocks (prefix tuning), by hooks on timm's own modules.

    The queries stay the image's: a block's attention gets as many blank tokens as there are prefixes, their keys and
    values are overwritten by the prefixes, and what it gives for them is cut off.

    Args:
        backbone: The network; it is changed only within `using`.

    >>> from qkd_cil.models.backbone import BackboneConfig
    >>> backbone = Backbone(BackboneConfig("vit_tiny_patch16_224", weights="random", img_size=32, depth=2))
    >>> prefixes = Prefixes(backbone)
    >>> with prefixes.using({1: torch.rand(2, 2, 5, 192)}):
    ...     backbone(torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 192])
    """

    def __init__(self, backbone: Backbone) -> None:
        self.current: Mapping[int, Tensor] = {}
        for index, block in enumerate(backbone.vit.blocks):
            block.attn.register_forward_pre_hook(partial(self._make_room, index))
            block.attn.qkv.register_forward_hook(partial(self._overwrite, index))
            block.attn.register_forward_hook(partial(self._cut, index))

    @contextmanager
    def using(self, prefixes: Mapping[int, Float[Tensor, "batch 2 tokens dim"]]) -> Iterator[None]:
        """Within it the blocks have these keys (first) and values for each image of the batch.

        Args:
            prefixes: By the index of the block.
        """
        self.current = prefixes
        try:
            yield
        finally:
            self.current = {}

    def _make_room(self, index: int, attention: nn.Module, arguments: tuple[Any, ...]) -> Any:  # noqa: ARG002
        if index not in self.current:
            return arguments
        x, *rest = arguments
        return (torch.cat([x, x.new_zeros(len(x), self.current[index].shape[2], x.shape[2])], dim=1), *rest)

    def _overwrite(self, index: int, layer: nn.Module, arguments: Any, output: Tensor) -> Tensor:  # noqa: ARG002
        if index not in self.current:
            return output
        keys, values = self.current[index].to(output).unbind(1)
        row = torch.cat([torch.zeros_like(keys), keys, values], dim=2)
        return torch.cat([output[:, : -row.shape[1]], row], dim=1)

    def _cut(self, index: int, attention: nn.Module, arguments: Any, output: Tensor) -> Tensor:  # noqa: ARG002
        return output[:, : -self.current[index].shape[2]] if index in self.current else output


def nearest_keys(
    queries: Float[Tensor, "batch dim"], keys: Float[Tensor, "key dim"], count: int
) -> tuple[Float[Tensor, "batch {count}"], Tensor]:
    """Cosines to the nearest keys and which they are, for each query.

    Args:
        queries: One row for each image.
        keys: At least `count`.
        count: How many to choose.

    >>> nearest_keys(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]]), 1)[1]
    tensor([[1]])
    """
    cosines = nn.functional.normalize(queries, dim=1) @ nn.functional.normalize(keys, dim=1).T
    best = cosines.topk(count, dim=1)
    return best.values, best.indices


def present_layers(layers: tuple[int, ...], depth: int, what: str) -> tuple[int, ...]:
    """The blocks among those asked for that a network has.

    Args:
        layers: Numbers of blocks, from 0.
        depth: Blocks of the network.
        what: What a message calls them.

    Raises:
        ValueError: If none is there, or one is negative.

    >>> present_layers((0, 4), 3, "layers")
    (0,)
    """
    found = tuple(layer for layer in layers if layer < depth)
    if not found or min(found) < 0:
        raise ValueError(f"{what} {list(layers)}: the network has blocks 0 to {depth - 1}; name some of these")
    return found
