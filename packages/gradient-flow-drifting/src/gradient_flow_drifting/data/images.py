"""Images of a user's folder."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from papertrio_shared.checkpoint import atomic_write
from papertrio_shared.progress import progress

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
    """

    path: Path = Path("images")
    side: int = 32
    other_sizes: Literal["refuse", "fit"] = "refuse"
    channels: Literal[1, 3] = 3
    cache: Path | None = None
    rows: Part = "train"

    def __post_init__(self) -> None:
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
        state = [(str(file.relative_to(self.path)), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        key = hashlib.sha256(repr((state, self.side, self.channels, self.other_sizes)).encode()).hexdigest()[:16]
        path = (self.cache or self.path) / f".decoded-{key}.npy"
        if path.is_file():
            return np.load(path, mmap_mode="r")
        rows = np.stack([self._decode(file) for file in progress(files, "decode images")])
        try:
            with atomic_write(path) as temporary, temporary.open("wb") as stream:
                np.save(stream, rows)
        except OSError:  # a folder that cannot be written to: decoded anew next time
            return rows
        return np.load(path, mmap_mode="r")

    def _decode(self, file: Path) -> np.ndarray:
        from PIL import Image, ImageOps, UnidentifiedImageError

        try:
            with Image.open(file) as image:
                picture: Any = image.convert("L" if self.channels == 1 else "RGB")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, UnidentifiedImageError) as error:
            raise ValueError(f"{file}: is no image that can be read: mend or remove it") from error
        if picture.size != (self.side, self.side):
            if self.other_sizes == "refuse":
                width, height = picture.size
                wanted = f"{self.side} × {self.side}"
                raise ValueError(f"{file}: is {width} × {height}, not {wanted}: set data.side, or data.other-sizes fit")
            picture = ImageOps.fit(picture, (self.side, self.side))
        pixels = np.asarray(picture, dtype=np.uint8)
        return np.moveaxis(np.atleast_3d(pixels), 2, 0).reshape(-1)


def _images(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file() and file.suffix.lower() in ENDINGS)
