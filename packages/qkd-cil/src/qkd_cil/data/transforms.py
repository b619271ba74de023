"""From 8-bit images to what a network takes, whole batches at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a training image; as it stands: none.

    Args:
        crop: Least and largest share of the area that a random square cut keeps.
        flip: Probability of a mirror image.

    Raises:
        ValueError: If a number is outside [0, 1], or the two of `crop` are in the wrong order.

    >>> Augmentation().changes, Augmentation(flip=0.5).changes
    (False, True)
    """

    crop: tuple[float, float] = (1.0, 1.0)
    flip: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.crop[0] <= self.crop[1] <= 1 and 0 <= self.flip <= 1):
            raise ValueError(
                f"augmentation: crop {self.crop} and flip {self.flip} are no shares; give 0 < least <= largest <= 1"
            )

    @property
    def changes(self) -> bool:
        """Whether an image can come out differently a second time, so that its features cannot be kept."""
        return self.crop != (1.0, 1.0) or self.flip > 0


def resize(
    images: UInt8[Tensor, "batch channel height width"], size: int
) -> Float[Tensor, "batch channel {size} {size}"]:
    """Images of the wanted size by antialiased bicubic interpolation (Pillow's), values 0 to 255.

    >>> resize(torch.full((1, 3, 8, 8), 7, dtype=torch.uint8), 16).unique().tolist()
    [7.0]
    """
    values = images.contiguous().float()
    if images.shape[-2:] == (size, size):
        return values
    return F.interpolate(values, (size, size), mode="bicubic", antialias=True).round_().clamp_(0, 255)


def normalise(
    values: Float[Tensor, "batch channel height width"], mean: Sequence[float], std: Sequence[float]
) -> Float[Tensor, "batch channel height width"]:
    """Values 0 to 255 as (value / 255 − mean) / std, channel by channel.

    >>> normalise(torch.full((1, 1, 1, 1), 255.0), [0.5], [0.5]).item()
    1.0
    """
    centre = values.new_tensor(mean).reshape(-1, 1, 1)
    width = values.new_tensor(std).reshape(-1, 1, 1)
    return values.div(255).sub_(centre).div_(width)


def augment(
    images: UInt8[Tensor, "batch channel height width"],
    size: int,
    augmentation: Augmentation,
    generator: torch.Generator,
) -> Float[Tensor, "batch channel {size} {size}"]:
    """Random cuts and mirror images, brought to the wanted size in the same bicubic interpolation.

    Args:
        images: Images of one size.
        size: Side of the result, pixels.
        augmentation: What is random.
        generator: Random numbers, on the CPU.

    Returns:
        Values 0 to 255.

    >>> images = torch.arange(64, dtype=torch.uint8).reshape(1, 1, 8, 8)
    >>> mirrored = augment(images, 8, Augmentation(flip=1.0), torch.Generator())
    >>> bool((mirrored.round() == images.flip(-1)).all())
    True
    """
    count = len(images)
    low, high = augmentation.crop
    side = (low + (high - low) * torch.rand(count, generator=generator)).sqrt()
    sign = 1 - 2 * (torch.rand(count, generator=generator) < augmentation.flip).float()
    centre = (2 * torch.rand(count, 2, generator=generator) - 1) * (1 - side)[:, None]
    zero = torch.zeros(count)
    rows = [torch.stack([side * sign, zero, centre[:, 0]], 1), torch.stack([zero, side, centre[:, 1]], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), [count, images.shape[1], size, size], align_corners=False)
    values, grid = images.contiguous().float(), grid.to(images.device)
    values = F.grid_sample(values, grid, mode="bicubic", padding_mode="reflection", align_corners=False)
    return values.clamp_(0, 255)
