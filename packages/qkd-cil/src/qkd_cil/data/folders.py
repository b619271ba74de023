"""Folders of images: every class a folder of its own, or CUB-200's lists; each image decoded once."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from papertrio_shared.progress import progress
from PIL import Image

from qkd_cil.data.images import LabelledImages
from qkd_cil.data.scenario import ImageDataset

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
SPLITS = "the splits of arXiv 2303.07338 are linked from https://github.com/zhoudw-zdw/RevisitingCIL"


class Known(NamedTuple):
    """A data set that is given as a folder.

    Attributes:
        classes: How many it must have.
        source: Where it is to be had.
    """

    classes: int
    source: str


KNOWN = {
    "imagenet-r": Known(200, f"https://github.com/hendrycks/imagenet-r; {SPLITS}"),
    "imagenet-a": Known(200, f"https://github.com/hendrycks/natural-adv-examples; {SPLITS}"),
    "cub200": Known(200, f"https://www.vision.caltech.edu/datasets/cub_200_2011 (CUB_200_2011 as it is); {SPLITS}"),
    "vtab": Known(50, SPLITS),
    "objectnet": Known(200, f"https://objectnet.dev; {SPLITS}"),
    "omnibenchmark": Known(300, f"https://github.com/ZhangYuanhan-AI/OmniBenchmark; {SPLITS}"),
}


@dataclass(frozen=True)
class FolderConfig:
    """A folder of images (ImageNet-R, CUB-200, VTAB, …), in one of three forms.

    `train` and `test` (or `val`), in each a folder of images for every class; CUB-200's own `images.txt`,
    `image_class_labels.txt` and `train_test_split.txt`; or a folder for every class alone, of whose images a share
    tests.

    Args:
        root: The folder.
        size: Side to which images are brought once, pixels: the shorter side first, then the middle is cut out.
        name: What reports call the data; empty: the name of the folder. A name of `KNOWN` fixes the number of classes.
        strict: Whether a file that cannot be read as an image is an error; else it is skipped and counted.
        test_share: Share of each class that tests where the folder names no split, the same files every time.
        cache: Folder where decoded images are kept for the next run; None: every run decodes them once.

    Raises:
        ValueError: If the size is not positive, or the share not between 0 and 1.
    """

    root: Path
    size: int = 224
    name: str = ""
    strict: bool = False
    test_share: float = 0.2
    cache: Path | None = None

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"data {self.root}: size {self.size}; it must be positive")
        if not 0 < self.test_share < 1:
            raise ValueError(f"data {self.root}: test_share {self.test_share}; give a share between 0 and 1")

    def load(self) -> ImageDataset:
        """The images, decoded and resized.

        Raises:
            FileNotFoundError: If a folder is missing or empty.
            ValueError: If the classes of `train` and `test` differ or are not as many as the data set has, one has no
                image that can be read, or `strict` is set and a file cannot be read.
        """
        names, parts = self._listed()
        known = KNOWN.get(self.name)
        if known is not None and len(names) != known.classes:
            raise ValueError(
                f"data {self.root}: {len(names)} classes, but {self.name} has {known.classes}; get {known.source}, or "
                "leave the name empty"
            )
        skipped: list[str] = []
        train, test = (self._decoded(part, files, skipped) for part, files in parts.items())
        for part, images in (("train", train), ("test", test)):
            if without := sorted(set(range(len(names))) - set(images.labels.tolist())):
                raise ValueError(
                    f"data {self.root}: class {names[without[0]]!r} has no image in {part} that can be read; give it "
                    "one, or remove its folder"
                )
        return ImageDataset(self.name or self.root.resolve().name, train, test, names, tuple(skipped))

    def _listed(self) -> tuple[tuple[str, ...], dict[str, list[tuple[Path, int]]]]:
        """Names of the classes, and for `train` and `test` the files with their labels."""
        if (self.root / "train_test_split.txt").is_file():
            return self._listed_as_cub()
        folders = {part: self.root / part for part in ("train", "test")}
        if not folders["test"].is_dir() and (self.root / "val").is_dir():
            folders["test"] = self.root / "val"
        if not folders["train"].is_dir() and not folders["test"].is_dir() and _folders_in(self.root):
            return self._split()
        names = {part: self._classes(folder) for part, folder in folders.items()}
        if names["train"] != names["test"]:
            odd = sorted(set(names["train"]) ^ set(names["test"]))[0]
            raise ValueError(f"data {self.root}: class {odd!r} is in only one of train and test; both need every class")
        return names["train"], {part: list(_files(folders[part], names[part])) for part in folders}

    def _classes(self, folder: Path) -> tuple[str, ...]:
        names = _folders_in(folder)
        if not names:
            known = KNOWN.get(self.name)
            raise FileNotFoundError(
                f"data {folder}: no such folder with a folder for each class; give what holds train/ and test/ as "
                f"--data.root{f'; get {known.source}' if known else ''}"
            )
        return names

    def _split(self) -> tuple[tuple[str, ...], dict[str, list[tuple[Path, int]]]]:
        """One folder for each class: a share of its images tests, at least one, drawn by a fixed seed."""
        names = _folders_in(self.root)
        parts: dict[str, list[tuple[Path, int]]] = {"train": [], "test": []}
        for label, name in enumerate(names):
            files = list(_files(self.root, (name,)))
            if len(files) == 1:
                raise ValueError(
                    f"data {self.root}: class {name!r} has one image; where no train/ and test/ are given it needs two"
                )
            order = np.random.RandomState(1993).permutation(len(files))
            tests = set(order[: max(1, round(self.test_share * len(files)))].tolist())
            for index, (path, _) in enumerate(files):
                parts["test" if index in tests else "train"].append((path, label))
        return names, parts

    def _listed_as_cub(self) -> tuple[tuple[str, ...], dict[str, list[tuple[Path, int]]]]:
        try:
            paths, labels, trains = (
                dict(line.split(maxsplit=1) for line in (self.root / name).read_text(encoding="utf-8").splitlines())
                for name in ("images.txt", "image_class_labels.txt", "train_test_split.txt")
            )
            order = sorted({int(label) for label in labels.values()})
            names = {int(labels[key]): Path(path).parent.name for key, path in paths.items()}
            parts: dict[str, list[tuple[Path, int]]] = {"train": [], "test": []}
            for key, path in paths.items():
                place = self.root / "images" / path.strip()
                parts["train" if trains[key].strip() == "1" else "test"].append((place, order.index(int(labels[key]))))
        except (FileNotFoundError, KeyError, ValueError) as error:
            raise ValueError(
                f"data {self.root}: its images.txt, image_class_labels.txt and train_test_split.txt do not fit "
                f"together ({error!r}); unpack CUB_200_2011 anew"
            ) from error
        return tuple(names[label] for label in order), parts

    def _decoded(self, part: str, files: Sequence[tuple[Path, int]], skipped: list[str]) -> LabelledImages:
        """The images of one part; the names of files that cannot be read are added to `skipped`."""
        place = None if self.cache is None else self.cache / self._digest(files)
        if place is not None and (place / "kept.json").is_file():
            kept = json.loads((place / "kept.json").read_text(encoding="utf-8"))
            images = torch.from_numpy(np.load(place / "images.npy", mmap_mode="c"))
        else:
            images, kept = self._decode(part, files)
            if place is not None:
                _keep(place, images, kept)
        if self.strict and kept["skipped"]:
            raise ValueError(f"image {self.root / kept['skipped'][0]}: cannot be read as an image; mend or remove it")
        skipped += kept["skipped"]
        return LabelledImages(images, torch.tensor(kept["labels"], dtype=torch.int64))

    def _decode(
        self, part: str, files: Sequence[tuple[Path, int]]
    ) -> tuple[torch.Tensor, dict[str, list[int] | list[str]]]:
        images = torch.empty(len(files), 3, self.size, self.size, dtype=torch.uint8)
        labels: list[int] = []
        unread: list[str] = []

        def decoded(file: tuple[Path, int]) -> np.ndarray | ValueError:
            try:
                return read_image(file[0], self.size)
            except (ValueError, FileNotFoundError) as error:
                return ValueError(str(error))

        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # Pillow decodes outside Python's lock
            found = pool.map(decoded, files)
            for (path, label), image in progress(zip(files, found, strict=True), f"decode {part}", total=len(files)):
                if isinstance(image, ValueError):
                    if self.strict:
                        raise image
                    unread.append(str(path.relative_to(self.root)))
                    continue
                images[len(labels)] = torch.from_numpy(image).permute(2, 0, 1)
                labels.append(label)
        if not labels:
            raise FileNotFoundError(
                f"data {self.root}: no image for {part} that can be read ({', '.join(SUFFIXES)}) in its class folders; "
                "give what holds train/ and test/, or a folder for every class, as --data.root"
            )
        return images[: len(labels)], {"labels": labels, "skipped": unread}

    def _digest(self, files: Sequence[tuple[Path, int]]) -> str:
        """What the decoded images depend on: the files, as far as the file system tells, and the size."""
        digest = hashlib.sha256(f"{self.size} {self.root.resolve()}".encode())
        for path, label in files:
            state = path.stat() if path.exists() else None
            digest.update(f"{path} {label} {state and (state.st_size, state.st_mtime_ns)}".encode())
        return digest.hexdigest()[:24]


def read_image(path: Path, size: int) -> np.ndarray:
    """One image from a file, its shorter side resized (bicubic) and the middle square cut out.

    Grey images get three equal channels, 16-bit values are brought to 8, transparency is left out.

    Args:
        path: The file.
        size: Side of the square, pixels.

    Returns:
        8-bit RGB, `[size, size, 3]`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no image.
    """
    try:
        with Image.open(path) as file:
            deep = file.mode.startswith("I")  # 16 bits: Pillow's own conversion cuts off whatever is above 255
            image = Image.fromarray((np.asarray(file) // 257).clip(0, 255).astype(np.uint8)) if deep else file
            width, height = image.size
            edge = min(width, height)
            left, top = (width - edge) / 2, (height - edge) / 2
            box = (left, top, left + edge, top + edge)
            return np.array(image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC, box=box))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"image {path}: no such file; check the path") from error
    except Exception as error:  # Pillow's readers raise whatever a damaged file leads them to
        raise ValueError(f"image {path}: cannot be read as an image; mend or remove it") from error


def images_in(paths: Sequence[Path]) -> list[Path]:
    """Image files among the paths and, in the order of their names, in the folders among them and below.

    Args:
        paths: Files, which are taken as they are, and folders.

    Raises:
        FileNotFoundError: If a path is not there, or a folder holds no image.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            if not path.exists():
                raise FileNotFoundError(f"image {path}: no such file; check the path")
            found.append(path)
            continue
        within = sorted(each for each in path.rglob("*") if each.suffix.lower() in SUFFIXES and each.is_file())
        if not within:
            raise FileNotFoundError(f"{path}: holds no image ({', '.join(SUFFIXES)}); check the path")
        found += within
    return found


def _folders_in(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        return ()
    return tuple(sorted(each.name for each in folder.iterdir() if each.is_dir() and not each.name.startswith(".")))


def _files(folder: Path, names: Sequence[str]) -> Iterator[tuple[Path, int]]:
    """The image files of each class with its label."""
    for label, name in enumerate(names):
        for path in sorted((folder / name).iterdir()):
            if path.suffix.lower() in SUFFIXES:
                yield path, label


def _keep(place: Path, images: torch.Tensor, kept: dict[str, list[int] | list[str]]) -> None:
    """Decoded images for the next run: a folder that is whole or absent."""
    temporary = place.with_name(f".{place.name}-{os.getpid()}")
    try:
        temporary.mkdir(parents=True, exist_ok=True)
        np.save(temporary / "images.npy", images.numpy())
        (temporary / "kept.json").write_text(json.dumps(kept), encoding="utf-8")
        if not place.exists():
            temporary.replace(place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
