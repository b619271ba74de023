"""The convolutional autoencoder of the profile `paper`: an affinity as a picture of four channels."""

import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .convolution import Double, Halve, PictureAttention, ResidualBlock, normalised
from .gaussian import Gaussian


def folded(w: Float[Tensor, "batch places places"]) -> Float[Tensor, "batch 4 half half"]:
    """Blocks of two by two as channels.

    >>> folded(torch.arange(4.0).reshape(1, 2, 2)).flatten()
    tensor([0., 1., 2., 3.])
    """
    return nn.functional.pixel_unshuffle(w[:, None], 2)


def unfolded(picture: Float[Tensor, "batch 4 half half"]) -> Float[Tensor, "batch places places"]:
    """The inverse of `folded`."""
    return nn.functional.pixel_shuffle(picture, 2)[:, 0]


class PictureEncoder(nn.Module):
    """Residual blocks at falling sizes, attention at the smallest, a Gaussian over a latent of one channel.

    Args:
        width: Channels at the first size.
        multiples: Channels at each size, in units of the width.
        blocks: Residual blocks at each size.
        channels: Of the latent.
    """

    def __init__(self, *, width: int, multiples: Sequence[int], blocks: int, channels: int) -> None:
        super().__init__()
        now = width * multiples[0]
        layers: list[nn.Module] = [nn.Conv2d(4, now, 3, padding=1)]
        for k, multiple in enumerate(multiples):
            for _ in range(blocks):
                layers.append(ResidualBlock(now, width * multiple))
                now = width * multiple
                if k == len(multiples) - 1:
                    layers.append(PictureAttention(now))
            if k < len(multiples) - 1:
                layers.append(Halve(now))
        layers += [ResidualBlock(now, now), PictureAttention(now), ResidualBlock(now, now)]
        self.layers = nn.Sequential(*layers, normalised(now), nn.SiLU(), nn.Conv2d(now, 2 * channels, 3, padding=1))

    def forward(self, w: Float[Tensor, "batch places places"]) -> Gaussian:
        """The Gaussian over latents of each affinity."""
        return Gaussian.of(self.layers(folded(w)), dim=1)


class PictureDecoder(nn.Module):
    """The way back, at rising sizes.

    Args:
        width: Channels at the last size.
        multiples: Channels at each size from the largest, in units of the width.
        blocks: Residual blocks at each size.
        channels: Of the latent.
    """

    def __init__(self, *, width: int, multiples: Sequence[int], blocks: int, channels: int) -> None:
        super().__init__()
        now = width * multiples[-1]
        layers: list[nn.Module] = [
            nn.Conv2d(channels, now, 3, padding=1),
            ResidualBlock(now, now),
            PictureAttention(now),
            ResidualBlock(now, now),
        ]
        for k, multiple in reversed(list(enumerate(multiples))):
            for _ in range(blocks):
                layers.append(ResidualBlock(now, width * multiple))
                now = width * multiple
                if k == len(multiples) - 1:
                    layers.append(PictureAttention(now))
            if k:
                layers.append(Double(now))
        self.layers = nn.Sequential(*layers, normalised(now), nn.SiLU(), nn.Conv2d(now, 4, 3, padding=1))

    def forward(self, latent: Float[Tensor, "batch channels small small"]) -> Float[Tensor, "batch places places"]:
        """A matrix for each latent; that it is an affinity is left to training."""
        return unfolded(self.layers(latent))


class PerceptronPrior(nn.Module):
    """The conditional prior p(z|G): a perceptron from the points of a curve to a Gaussian over latents.

    Args:
        points: Of the curve.
        widths: Of the hidden layers and of the output, which is mean and logarithm of the variance.
        shape: Of the latent.

    Raises:
        ValueError: If the last width is not twice the latent's size.
    """

    def __init__(self, *, points: int, widths: Sequence[int], shape: tuple[int, int, int]) -> None:
        super().__init__()
        size = shape[0] * shape[1] * shape[2]
        if widths[-1] != 2 * size:
            raise ValueError(f"prior widths end with {widths[-1]}: the latent of {size} numbers needs {2 * size}")
        self.shape = shape
        layers: list[nn.Module] = []
        now = points
        for width in widths:
            layers += [nn.Linear(now, width), nn.ReLU()]
            now = width
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, curve: Float[Tensor, "batch points"]) -> Gaussian:
        """The Gaussian over latents of each curve."""
        return Gaussian.of(self.layers(curve).reshape(len(curve), 2 * self.shape[0], *self.shape[1:]), dim=1)


class CurveAutoencoder(nn.Module):
    """A one-dimensional convolutional autoencoder of curves, whose code is the condition.

    Args:
        points: Of the curve, divisible by 8.
        width: Channels at the first size; they double as the length falls by half, three times.
        code: Numbers in the code.
    """

    def __init__(self, *, points: int, width: int, code: int) -> None:
        super().__init__()
        if points % 8:
            raise ValueError(f"points = {points}: give a multiple of 8")
        widths = [1, width, 2 * width, 4 * width]
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for a, b in itertools.pairwise(widths):
            down += [nn.Conv1d(a, b, 5, stride=2, padding=2), nn.SiLU()]
        for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True):
            up += [nn.SiLU(), nn.ConvTranspose1d(a, b, 4, stride=2, padding=1)]
        inner = widths[-1] * points // 8
        self.down = nn.Sequential(*down, nn.Flatten(), nn.Linear(inner, 2 * code))
        self.up = nn.Sequential(nn.Linear(code, inner), nn.Unflatten(1, (widths[-1], points // 8)), *up)

    def encode(self, curve: Float[Tensor, "batch points"]) -> Gaussian:
        """The Gaussian over codes of each curve."""
        return Gaussian.of(self.down(curve[:, None]))

    def decode(self, code: Float[Tensor, "batch code"]) -> Float[Tensor, "batch points"]:
        """A curve for each code."""
        return self.up(code)[:, 0]


def standard_like(found: Gaussian) -> Gaussian:
    """The standard normal of the same shape."""
    return Gaussian(torch.zeros_like(found.mean), torch.zeros_like(found.log_variance))
