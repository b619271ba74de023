"""Scaling and shifting the outputs of a frozen network's layers."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from timm.models import VisionTransformer


class ScaleShift(nn.Module):
    r"""A scale and a shift for every channel that leaves a layer: $y \mapsto \gamma \odot y + \beta$.

    They follow the patch embedding, both norms, both projections of the attention, both layers of the MLP and the last
    norm (Lian et al. 2022, arXiv 2210.08823, Sec. 3.2), by hooks: the network's own modules stay what they are. At the
    start $\gamma = 1$ and $\beta = 0$ change nothing; the public code draws both with a deviation of 0.02 around them.

    Args:
        vit: The network; it is changed only within `on()`.

    >>> from qkd_cil.models.backbone import Backbone, BackboneConfig
    >>> backbone = Backbone(BackboneConfig("vit_tiny_patch16_224", weights="random", img_size=32, depth=1))
    >>> ssf = ScaleShift(backbone.vit)
    >>> images = torch.rand(2, 3, 32, 32)
    >>> with ssf.on():
    ...     features = backbone(images)
    >>> bool((features == backbone(images)).all())
    True
    """

    def __init__(self, vit: "VisionTransformer") -> None:
        super().__init__()
        layers: list[tuple[nn.Module, int]] = [(vit.patch_embed, vit.embed_dim)]
        for block in vit.blocks:
            attention, mlp = block.attn, getattr(block.mlp, "mlp", block.mlp)
            linear = [attention.qkv, attention.proj, mlp.fc1, mlp.fc2]
            layers += [(block.norm1, vit.embed_dim), (block.norm2, vit.embed_dim)]
            layers += [(layer, layer.out_features) for layer in linear]
        layers.append((vit.norm, vit.embed_dim))
        self.scales = nn.ParameterList([torch.ones(width) for _, width in layers])
        self.shifts = nn.ParameterList([torch.zeros(width) for _, width in layers])
        self.active = False
        for index, (layer, _) in enumerate(layers):
            layer.register_forward_hook(partial(self._change, index))

    @contextmanager
    def on(self) -> Iterator[None]:
        """Within it the network is scaled and shifted."""
        self.active = True
        try:
            yield
        finally:
            self.active = False

    def _change(self, index: int, layer: nn.Module, arguments: Any, output: Tensor) -> Tensor:  # noqa: ARG002
        return torch.addcmul(self.shifts[index], output, self.scales[index]) if self.active else output
