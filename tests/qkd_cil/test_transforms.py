"""Resizing, normalising and augmenting."""

import numpy as np
import pytest
import torch
from PIL import Image
from qkd_cil.data.transforms import Augmentation, augment, normalise, resize


@pytest.mark.parametrize("size", [8, 24, 60])
def test_resizing_is_that_of_pillow(size: int) -> None:
    images = torch.randint(64, 192, (3, 3, 24, 24), dtype=torch.uint8)  # so that nothing is cut off
    ours = resize(images, size)
    for image, result in zip(images, ours, strict=True):
        pillow = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((size, size), Image.Resampling.BICUBIC)
        difference = np.abs(np.asarray(pillow, dtype=float) - result.permute(1, 2, 0).numpy())
        assert difference.max() <= 1  # Pillow rounds after each of its two passes
        assert difference.mean() < 0.3


def test_normalising() -> None:
    values = torch.tensor([0.0, 127.5, 255.0]).reshape(1, 1, 1, 3)
    assert normalise(values, [0.5], [0.5]).flatten().tolist() == [-1, 0, 1]
    colours = torch.full((1, 3, 1, 1), 51.0)
    assert torch.allclose(normalise(colours, [0.2, 0.1, 0.0], [1.0, 0.1, 0.5]).flatten(), torch.tensor([0, 1, 0.4]))


def test_no_change_is_no_change() -> None:
    images = torch.randint(0, 256, (2, 3, 12, 12), dtype=torch.uint8)
    same = augment(images, 12, Augmentation(), torch.Generator())
    assert torch.allclose(same, images.float(), atol=1e-2)


def test_a_mirror_image_is_drawn_with_its_probability() -> None:
    images = torch.arange(64, dtype=torch.uint8).reshape(1, 1, 8, 8).expand(400, 3, 8, 8)
    result = augment(images, 8, Augmentation(flip=0.25), torch.Generator().manual_seed(0))
    mirrored = result[:, 0, 0, 0] > result[:, 0, 0, 7]
    assert abs(mirrored.float().mean() - 0.25) < 4 * (0.25 * 0.75 / 400) ** 0.5


def test_a_cut_stays_inside_the_image() -> None:
    images = torch.zeros(300, 3, 32, 32, dtype=torch.uint8)
    ramp = torch.arange(32, dtype=torch.uint8) * 8
    images[:] = ramp
    result = augment(images, 32, Augmentation(crop=(0.25, 0.25)), torch.Generator().manual_seed(0))
    spans = result[..., -1] - result[..., 0]
    assert torch.allclose(spans, torch.full_like(spans, 8 * 31 / 2), atol=2)  # half the side
    assert result[:, 0, 0, 0].min() < 10  # some cuts start at the left edge
    assert result[:, 0, 0, -1].max() > 235  # some end at the right one


def test_the_same_generator_gives_the_same_images() -> None:
    images = torch.randint(0, 256, (4, 3, 12, 12), dtype=torch.uint8)
    both = [augment(images, 12, Augmentation((0.5, 1), 0.5), torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*both)


@pytest.mark.parametrize(("crop", "flip"), [((0.0, 1.0), 0.0), ((0.8, 0.5), 0.0), ((0.5, 1.5), 0.0), ((1.0, 1.0), 2.0)])
def test_shares_out_of_range_are_refused(crop: tuple[float, float], flip: float) -> None:
    with pytest.raises(ValueError, match="give 0 < least <= largest <= 1"):
        Augmentation(crop, flip)
