"""Small changes of a frozen network that one task is to teach."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from qkd_cil.models.backbone import Backbone
from qkd_cil.models.prompt import VisualPrompts
from qkd_cil.models.ssf import ScaleShift

TuningKind = Literal["adapter", "ssf", "vpt-shallow", "vpt-deep", "none"]


class Tuning(nn.Module):
    """What may be trained of a network that is frozen otherwise.

    Args:
        backbone: The network; an adapter lives in it, everything else here.
        kind: `adapter` beside each MLP, scales and shifts (`ssf`), prompts before the first block or before each, or
            nothing at all.
        tokens: Number of prompts.
        generator: Random numbers of the initial weights, on the CPU.

    >>> from qkd_cil.models.backbone import BackboneConfig
    >>> backbone = Backbone(BackboneConfig("vit_tiny_patch16_224", weights="random", img_size=32, depth=1))
    >>> tuning = Tuning(backbone, "ssf", tokens=5, generator=torch.Generator().manual_seed(0))
    >>> tuning(backbone, torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 192])
    """

    def __init__(self, backbone: Backbone, kind: TuningKind, *, tokens: int, generator: torch.Generator) -> None:
        super().__init__()
        self.kind = kind
        self.part: VisualPrompts | ScaleShift | None = None
        if kind == "adapter":
            backbone.add_adapter(generator)
        elif kind == "ssf":
            self.part = ScaleShift(backbone.vit)
        elif kind != "none":
            self.part = VisualPrompts(backbone, tokens=tokens, deep=kind == "vpt-deep", generator=generator)

    def forward(self, backbone: Backbone, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
        """Features of the changed network."""
        if self.kind == "adapter":
            return backbone.adapted(images, tasks=[0])[0]
        if isinstance(self.part, VisualPrompts):
            return self.part(backbone, images)
        if isinstance(self.part, ScaleShift):
            with self.part.on():
                return backbone(images)
        return backbone(images)

    def trained(self, backbone: Backbone) -> list[nn.Parameter]:
        """What the optimizer changes."""
        return backbone.adapter_parameters(0) if self.kind == "adapter" else list(self.parameters())
