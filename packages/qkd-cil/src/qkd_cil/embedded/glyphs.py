"""Pictures of letters, drawn from matplotlib's own fonts and bent as a hand would: the pretraining's images.

No digit is among them, nor the Cyrillic letters that are drawn like one (З, Ч); letters whose capitals have the same
form (c, o, s, …) stand once.
"""

from pathlib import Path

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

LATIN = "ABDEFGHIJKLMNPQRTUYabcdefghijklmnopqrstuvwxyz"
GREEK = "ΓΔΘΛΞΠΣΦΨΩαβγδεζηθλμξπρστφχψω"
CYRILLIC = "БГДЖИЛЦШЪЫЮЯбгджлфцшъыэюя"
SIGNS = "+=?!&@#%<>*/"
CHARACTERS = LATIN + GREEK + CYRILLIC + SIGNS
SIDE = 32


def draw_glyphs() -> tuple[UInt8[Tensor, "n side side"], Int64[Tensor, " n"]]:
    """Every character in every font that has it, white on black, its box stretched to three quarters of the height.

    Returns:
        Pictures, and the place of each one's character in `CHARACTERS`.
    """
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    pictures, labels = [], []
    for path in sorted(folder.glob("DejaVu*.ttf")) + sorted(folder.glob("STIXGeneral*.ttf")):
        if "Display" in path.name:
            continue
        font = ImageFont.truetype(str(path), 64)
        missing = _draw("\uffff", font)
        for label, character in enumerate(CHARACTERS):
            picture = _draw(character, font)
            if picture.any() and not np.array_equal(picture, missing):
                pictures.append(picture)
                labels.append(label)
    return torch.from_numpy(np.stack(pictures)), torch.tensor(labels)


def _draw(character: str, font: ImageFont.FreeTypeFont) -> np.ndarray:
    canvas = Image.new("L", (192, 192))
    ImageDraw.Draw(canvas).text((64, 48), character, fill=255, font=font)
    result = Image.new("L", (SIDE, SIDE))
    box = canvas.getbbox()
    if box is None:
        return np.asarray(result)
    glyph = canvas.crop(box)
    scale = 0.75 * SIDE / max(glyph.size)
    width, height = (max(1, round(side * scale)) for side in glyph.size)
    glyph = glyph.resize((width, height), Image.Resampling.BICUBIC)
    result.paste(glyph, ((SIDE - width) // 2, (SIDE - height) // 2))
    return np.asarray(result)


def bend(
    pictures: UInt8[Tensor, "batch side side"], size: int, generator: torch.Generator
) -> Float[Tensor, "batch {size} {size}"]:
    """Pictures turned, slanted, stretched, waved, thickened or thinned at random, then averaged down to few pixels.

    Args:
        pictures: Glyphs as drawn.
        size: Side of the result, pixels.
        generator: Random numbers.

    Returns:
        Values 0 to 255.
    """
    count = len(pictures)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    angle, slant = uniform(-0.3, 0.3), uniform(-0.4, 0.4)
    width, height = uniform(0.75, 1.5), uniform(0.7, 0.9)
    cosine, sine = angle.cos(), angle.sin()
    rows = [
        torch.stack([width * cosine, width * (slant * cosine - sine), uniform(-0.06, 0.06)], 1),
        torch.stack([height * sine, height * (slant * sine + cosine), uniform(-0.06, 0.06)], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), [count, 1, SIDE, SIDE], align_corners=False)
    waves = 0.09 * torch.randn(count, 2, 4, 4, generator=generator)
    grid = grid + F.interpolate(waves, (SIDE, SIDE), mode="bicubic").permute(0, 2, 3, 1)
    values = F.grid_sample(pictures[:, None].float() / 255, grid, align_corners=False)
    thick, thin = F.max_pool2d(values, 3, 1, 1), -F.max_pool2d(-values, 3, 1, 1)
    share = uniform(-0.9, 0.9)[:, None, None, None]
    values = torch.where(share > 0, values.lerp(thick, share.clamp(min=0)), values.lerp(thin, (-share).clamp(min=0)))
    values = F.adaptive_avg_pool2d(values, size).squeeze(1)
    peak = values.amax((1, 2), keepdim=True).clamp(min=0.1)
    values = (values / peak).pow(uniform(0.5, 1.1, 1, 1)) + 0.01 * torch.randn(values.shape, generator=generator)
    return values.clamp(0, 1) * 255
