"""Residual blocks and attention over pictures, as U-Nets of diffusion have them."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def normalised(channels: int) -> nn.GroupNorm:
    """Group normalisation in groups of at least four channels, 32 at most."""
    groups = next(
        each for each in (32, 16, 8, 4, 2, 1) if (channels % each == 0 and channels // each >= 4) or each == 1
    )
    return nn.GroupNorm(groups, channels, eps=1e-6)


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut; a vector, where there is one, is added between them (Ho et al. 2020).

    Args:
        into: Channels that come in.
        out: Channels that go out.
        vector: Numbers in the vector, 0 for none.
    """

    def __init__(self, into: int, out: int, vector: int = 0) -> None:
        super().__init__()
        self.first = nn.Sequential(normalised(into), nn.SiLU(), nn.Conv2d(into, out, 3, padding=1))
        self.vector = nn.Sequential(nn.SiLU(), nn.Linear(vector, out)) if vector else None
        self.second = nn.Sequential(normalised(out), nn.SiLU(), nn.Conv2d(out, out, 3, padding=1))
        self.shortcut = nn.Identity() if into == out else nn.Conv2d(into, out, 1)

    def forward(
        self, x: Float[Tensor, "batch into height width"], vector: Float[Tensor, "batch numbers"] | None = None
    ) -> Float[Tensor, "batch out height width"]:
        """The block's output."""
        h = self.first(x)
        if self.vector is not None and vector is not None:
            h = h + self.vector(vector)[:, :, None, None]
        return self.shortcut(x) + self.second(h)


class PictureAttention(nn.Module):
    """Attention of the places of a picture among themselves, beside a shortcut.

    Args:
        channels: Of the picture.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = normalised(channels)
        self.look = nn.MultiheadAttention(channels, 1, batch_first=True)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
        """The picture with what each place has seen."""
        tokens = self.norm(x).flatten(2).mT
        found, _ = self.look(tokens, tokens, tokens, need_weights=False)
        return x + found.mT.reshape(x.shape)


class PictureTransformer(nn.Module):
    """Attention among places, then to a condition, then a perceptron, each beside a shortcut (Rombach et al. 2022).

    Where the condition is a single token, attention to it gives every place the same vector whatever the place asks:
    it is an added vector, and nothing more. It is kept because the profile `paper` is to be what its paper has.

    Args:
        channels: Of the picture.
        condition: Numbers in a token of the condition.
        heads: Of the attention.
    """

    def __init__(self, channels: int, condition: int, heads: int) -> None:
        super().__init__()
        self.norm = normalised(channels)
        self.into, self.out = nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)
        assert self.out.bias is not None
        nn.init.zeros_(self.out.bias)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(3))
        self.among = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.beyond = nn.MultiheadAttention(channels, heads, kdim=condition, vdim=condition, batch_first=True)
        self.wide = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))

    def forward(
        self, x: Float[Tensor, "batch channels height width"], condition: Float[Tensor, "batch tokens numbers"]
    ) -> Float[Tensor, "batch channels height width"]:
        """The picture with what each place has seen of the others and of the condition."""
        tokens = self.into(self.norm(x)).flatten(2).mT
        seen = self.norms[0](tokens)
        tokens = tokens + self.among(seen, seen, seen, need_weights=False)[0]
        tokens = tokens + self.beyond(self.norms[1](tokens), condition, condition, need_weights=False)[0]
        tokens = tokens + self.wide(self.norms[2](tokens))
        return x + self.out(tokens.mT.reshape(x.shape))


class Halve(nn.Module):
    """Half the height and width, by a convolution of stride two.

    Args:
        channels: Of the picture.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Tensor:
        """The smaller picture."""
        return self.convolution(x)


class Double(nn.Module):
    """Twice the height and width: each place four times, then a convolution.

    Args:
        channels: Of the picture.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Tensor:
        """The larger picture."""
        return self.convolution(torch.nn.functional.interpolate(x, scale_factor=2.0, mode="nearest"))
