"""Pictures of generated images: a grid with a row for each class, and the nearest real images beside them."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from .data import Distribution, Labelled, labelled
from .models import OneStep

_COLUMNS, _NEAREST, _TRAINING = 12, 10, 20_000


def picture_of_images(
    generator: OneStep, data: Distribution, *, seed: int = 0, strengths: Sequence[float] = ()
) -> Figure:
    """Samples, with a row for each class where the generator knows classes, beside real images.

    Args:
        generator: What to draw from.
        data: Images.
        seed: Of samples and real images.
        strengths: Of guidance, a panel for each, beside that without.

    Returns:
        The figure.
    """
    shape, stream = data.image_shape, torch.Generator().manual_seed(seed)
    assert shape is not None
    rows = min(generator.classes, 10) or 8
    labels = torch.arange(rows).repeat_interleave(_COLUMNS) if generator.classes else None
    panels = []
    for strength in (None, *(strengths if generator.guided else ())):
        title = "samples" if strength is None else f"samples, guidance {strength:g}"
        panels.append((title, generator.sample(rows * _COLUMNS, seed=seed, labels=labels, guidance=strength)))
    panels.append(("real images", data.location + data.scale * _real(data, rows, labels is not None, stream)))
    figure = Figure(figsize=(4.2 * len(panels), 4.2 * rows / _COLUMNS + 0.5), layout="constrained")
    for axes, (title, images) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        _tile(axes, images, shape, _COLUMNS)
        axes.set_title(title, fontsize=11)
    return figure


def picture_of_image_points(points: Float[Tensor, "n d"], data: Distribution, *, rows: int = 8) -> Figure:
    """Points that are images, beside real images.

    Args:
        points: Standardised.
        data: Images.
        rows: Of the grid.

    Returns:
        Two panels.
    """
    assert data.image_shape is not None
    real = data.sample(rows * _COLUMNS, torch.Generator().manual_seed(0))
    figure = Figure(figsize=(8.4, 4.2 * rows / _COLUMNS + 0.5), layout="constrained")
    panels = {"particles": points[: _COLUMNS * rows], "real images": real}
    for axes, (title, each) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        blank = torch.nn.functional.pad(each, (0, 0, 0, -len(each) % _COLUMNS))
        _tile(axes, data.location + data.scale * blank, data.image_shape, _COLUMNS)
        axes.set_title(title, fontsize=11)
    return figure


def picture_of_nearest(generator: OneStep, data: Distribution, *, seed: int = 0) -> Figure:
    """Samples above the training images nearest to them, to see that they are no copies.

    Args:
        generator: What to draw from.
        data: Images; the part that was trained on.
        seed: Of the samples.

    Returns:
        The figure: for each sample its three nearest below it, and their distances in units of that which a held-out
        image has to its nearest on average.
    """
    shape, stream = data.image_shape, torch.Generator().manual_seed(seed)
    assert shape is not None
    scale, location = generator.scale.cpu(), generator.location.cpu()
    samples = (generator.sample(_NEAREST, seed=seed) - location) / scale
    training = data.sample(min(data.size or _TRAINING, _TRAINING), stream)
    held_out = data.held_out()[0]
    other = held_out.sample(min(held_out.size or 1000, 1000), stream)
    usual = float(torch.cdist(other, training).min(1).values.mean())
    distance, index = torch.cdist(samples, training).topk(3, largest=False)
    rows = torch.cat([samples, *(training[index[:, i]] for i in range(3))])
    figure = Figure(figsize=(0.75 * _NEAREST + 1.6, 3.9), layout="constrained")
    axes = figure.subplots()
    _tile(axes, data.location + data.scale * rows, shape, _NEAREST)
    height, width = (side + 1 for side in shape[1:])
    axes.set_yticks([(i + 0.5) * height for i in range(4)], ["sample", "nearest", "second", "third"])
    nearest = [f"{each / usual:.2f}" for each in distance[:, 0].tolist()]
    axes.set_xticks([(i + 0.5) * width for i in range(_NEAREST)], nearest)
    axes.set_xlabel("distance to the nearest training image; 1 is what a held-out image has on average")
    axes.tick_params(length=0, labelsize=9)
    axes.axhline(height - 0.5, color="black", lw=1)
    return figure


def _real(data: Distribution, rows: int, by_class: bool, stream: torch.Generator) -> Float[Tensor, "n d"]:
    if not by_class:
        return data.sample(rows * _COLUMNS, stream)
    source: Labelled = labelled(data)
    return torch.cat([source.sample_class(label, _COLUMNS, stream) for label in range(rows)])


def _tile(axes: Axes, images: Float[Tensor, "n d"], shape: tuple[int, int, int], columns: int) -> None:
    """Draw images, whose values are 0 to 1, in rows, with a thin line between them."""
    channels, height, width = shape
    padded = torch.nn.functional.pad(images.reshape(-1, *shape).clamp(0, 1), (0, 1, 0, 1), value=0.5)
    tiled = padded.reshape(-1, columns, channels, height + 1, width + 1).permute(0, 3, 1, 4, 2)
    picture = tiled.reshape(-1, columns * (width + 1), channels)[:-1, :-1].numpy()
    options: dict[str, Any] = {"cmap": "gray_r", "vmin": 0, "vmax": 1} if channels == 1 else {}
    axes.imshow(picture[..., 0] if channels == 1 else picture, interpolation="nearest", **options)
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(False)
