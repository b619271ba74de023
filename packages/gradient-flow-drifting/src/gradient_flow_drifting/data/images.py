"""Images of a user's folder."""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from papertrio_shared.checkpoint import atomic_write
from papertrio_shared.progress import progress

from ..checks import require_choices
from .distribution import Geometry
from .rows import Part, Rows, Table, as_labels

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")


@dataclass(frozen=True)
class ImageFolder(Rows):
    """Images of one size; one in five is kept for measuring, half of these for the floor.

    The sub-folders of the folder are the classes, where it has any that hold images. Everything is decoded once, into
    an array of bytes beside the images that later runs map into memory; it is made anew when a file changes.

    Attributes:
        path: The folder.
        side: Height and width. An image of another size is refused, or fitted: scaled, then cropped to its middle.
        other_sizes: What is done with one.
        channels: 1 for grey, 3 for colour.
        cache: Folder of the array; the folder of the images where None.
        rows: Which images are drawn.

    Raises:
        ValueError: If the side is below one.

    Example:
        >>> import tempfile, torch
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> for i in range(20):
        ...     Image.new("L", (8, 8), 10 * i).save(folder / f"{i}.png")
        >>> ImageFolder(folder, side=8, channels=1).sample(3, torch.Generator()).shape
        torch.Size([3, 64])
    """

    path: Path = Path("images")
    side: int = 32
    other_sizes: Literal["refuse", "fit"] = "refuse"
    channels: Literal[1, 3] = 3
    cache: Path | None = None
    rows: Part = "train"

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        if self.cache is not None:
            object.__setattr__(self, "cache", Path(self.cache))
        require_choices(self, "data")
        if self.side < 1:
            raise ValueError(f"data.side = {self.side}: give at least one pixel")

    @property
    def geometry(self) -> Geometry:
        """Euclidean space."""
        return "euclidean"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return self.channels, self.side, self.side

    @property
    def _source(self) -> str:
        return str(self.path)

    def _read(self) -> Table:
        files = self._files()
        rows = self._cached(files)
        classes = sorted({file.parent for file in files})
        if classes == [self.path]:
            return Table(rows)
        names = np.array([file.parent.name for file in files])
        return Table(rows, *as_labels(names, len(files), str(self.path)))

    def _files(self) -> list[Path]:
        """Those of the classes, or of the folder itself."""
        if not self.path.is_dir():
            raise FileNotFoundError(f"{self.path}: no such folder: check the path")
        own = _images(self.path)
        folders = {each: _images(each) for each in sorted(self.path.iterdir()) if each.is_dir()}
        of_classes = [file for files in folders.values() for file in files]
        if own and of_classes:
            where = of_classes[0].parent
            raise ValueError(f"{self.path}: has images of its own and some in {where.name}/: which are the classes?")
        if not own and not of_classes:
            raise ValueError(f"{self.path}: holds no image ({', '.join(ENDINGS)}): check the path")
        return own or of_classes

    def _cached(self, files: list[Path]) -> np.ndarray:
        folder, kind = self.cache or self.path, f".decoded-{self.channels}x{self.side}-{self.other_sizes}-"
        state = [(str(file.relative_to(self.path)), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        path = folder / f"{kind}{hashlib.sha256(repr(state).encode()).hexdigest()[:16]}.npy"
        if not path.is_file():
            rows = np.empty((len(files), math.prod(self.image_shape)), dtype=np.uint8)
            for i, file in enumerate(progress(files, "decode images")):
                rows[i] = self._decode(file)
            try:
                with atomic_write(path) as temporary, temporary.open("wb") as stream:
                    np.save(stream, rows)
            except OSError:  # a folder that cannot be written to: decoded anew next time
                return rows
            for old in folder.glob(f"{kind}*.npy"):
                if old != path:
                    old.unlink()
        try:
            return np.asarray(np.load(path, mmap_mode="r"))
        except (OSError, ValueError) as error:
            raise ValueError(f"{path}: is damaged: remove it, and the images are decoded anew") from error

    def _decode(self, file: Path) -> np.ndarray:
        from PIL import Image, ImageOps

        try:
            with Image.open(file) as image:
                picture: Any = ImageOps.exif_transpose(image).convert("L" if self.channels == 1 else "RGB")
        except Exception as error:  # damaged files raise whatever their decoder stumbles over
            raise ValueError(f"{file}: is no image that can be read: mend or remove it") from error
        if picture.size != (self.side, self.side):
            if self.other_sizes == "refuse":
                found, wanted = "{} × {}".format(*picture.size), f"{self.side} × {self.side}"
                raise ValueError(f"{file}: is {found}, not {wanted}: set data.side, or data.other-sizes to fit")
            picture = ImageOps.fit(picture, (self.side, self.side))
        pixels = np.asarray(picture, dtype=np.uint8)
        return np.moveaxis(np.atleast_3d(pixels), 2, 0).reshape(-1)


def _images(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file() and file.suffix.lower() in ENDINGS)
