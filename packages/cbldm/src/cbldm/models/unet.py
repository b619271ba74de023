"""The U-Net that denoises latents of the profile `paper`."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .convolution import Double, Halve, PictureTransformer, ResidualBlock, normalised
from .denoiser import step_waves


class LatentUnet(nn.Module):
    """Residual and transformer blocks at falling and rising sizes, joined by shortcuts at each (Rombach et al. 2022).

    Args:
        channels: Of the latent.
        width: Channels at the first size.
        multiples: Channels at each size, in units of the width.
        blocks: Residual blocks at each size.
        condition: Numbers in a token of the condition.
        heads: Of the attention.
    """

    def __init__(
        self, *, channels: int, width: int, multiples: Sequence[int], blocks: int, condition: int, heads: int
    ) -> None:
        super().__init__()
        self.width, vector = width, 4 * width
        self.step = nn.Sequential(nn.Linear(width, vector), nn.SiLU(), nn.Linear(vector, vector))
        self.into = nn.Conv2d(channels, width, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        now, kept = width, [width]
        for k, multiple in enumerate(multiples):
            for _ in range(blocks):
                self.down.append(_Level(now, width * multiple, vector, condition, heads))
                now = width * multiple
                kept.append(now)
            if k < len(multiples) - 1:
                self.down.append(Halve(now))
                kept.append(now)
        self.first, self.last = ResidualBlock(now, now, vector), ResidualBlock(now, now, vector)
        self.middle = PictureTransformer(now, condition, heads)
        for k, multiple in reversed(list(enumerate(multiples))):
            for _ in range(blocks + 1):
                self.up.append(_Level(now + kept.pop(), width * multiple, vector, condition, heads))
                now = width * multiple
            if k:
                self.up.append(Double(now))
        self.out = nn.Sequential(normalised(now), nn.SiLU(), nn.Conv2d(now, channels, 3, padding=1))

    def forward(
        self,
        z: Float[Tensor, "batch channels height width"],
        t: Int[Tensor, " batch"],
        condition: Float[Tensor, "batch tokens numbers"],
    ) -> Float[Tensor, "batch channels height width"]:
        """The prediction for each latent at its step."""
        vector = self.step(step_waves(t, self.width))
        x = self.into(z)
        kept = [x]
        for layer in self.down:
            x = layer(x, vector, condition) if isinstance(layer, _Level) else layer(x)
            kept.append(x)
        x = self.last(self.middle(self.first(x, vector), condition), vector)
        for layer in self.up:
            x = layer(torch.cat([x, kept.pop()], 1), vector, condition) if isinstance(layer, _Level) else layer(x)
        return self.out(x)


class _Level(nn.Module):
    """A residual block, then a transformer block."""

    def __init__(self, into: int, out: int, vector: int, condition: int, heads: int) -> None:
        super().__init__()
        self.block = ResidualBlock(into, out, vector)
        self.look = PictureTransformer(out, condition, heads)

    def forward(self, x: Tensor, vector: Tensor, condition: Tensor) -> Tensor:
        return self.look(self.block(x, vector), condition)
