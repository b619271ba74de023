"""Where images come from: the embedded digits, arrays in a file, CIFAR-100, folders by their name."""

import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch

from qkd_cil.data.folders import KNOWN, FolderConfig
from qkd_cil.data.images import LabelledImages, as_images
from qkd_cil.data.scenario import ImageDataset, Scenario, ScenarioConfig

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


class SkippedImagesWarning(RuntimeWarning):
    """Files of a data set cannot be read as images."""


class DataConfig(Protocol):
    """Where a data set lies, and how it is read."""

    def load(self) -> ImageDataset:
        """The images, decoded."""
        ...


@dataclass(frozen=True)
class DigitsConfig:
    """The handwritten digits that come with scikit-learn: 8 by 8 pixels, ten classes.

    The rows of each class come writer by writer, so the first 70 % of them train and the rest, mostly of other writers,
    test. (Alpaydin and Kaynak 1998, UCI, doi 10.24432/C50P49; scikit-learn has its 1,797 test images.)

    >>> digits = DigitsConfig().load()
    >>> len(digits.train), len(digits.test), digits.train.images.shape[1:]
    (1252, 545, torch.Size([3, 8, 8]))
    """

    def load(self) -> ImageDataset:
        """The images, values 0 to 16 stretched to 0 to 255."""
        from sklearn.datasets import load_digits  # slow to import, and other data have no need of it

        digits = load_digits()
        images = as_images(np.rint(digits.images * (255 / 16)).astype(np.uint8))
        labels = torch.from_numpy(digits.target.astype(np.int64))
        trains = torch.zeros(len(labels), dtype=torch.bool)
        for label in range(10):
            rows = torch.nonzero(labels == label).flatten()
            trains[rows[: int(0.7 * len(rows))]] = True
        everything = LabelledImages(images, labels)
        names = tuple(str(label) for label in range(10))
        return ImageDataset("digits", everything.rows(trains), everything.rows(~trains), names)


@dataclass(frozen=True)
class ArraysConfig:
    """Arrays in an `.npz` file: `train_images`, `train_labels`, `test_images`, `test_labels`, maybe `class_names`.

    Args:
        path: The file; images are 8-bit `[n, height, width, 3]`.
        name: What reports call the data; empty: the name of the file.
    """

    path: Path
    name: str = ""

    def load(self) -> ImageDataset:
        """The images.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is damaged, or an array is missing or of another form.
        """
        if not self.path.is_file():
            raise FileNotFoundError(
                f"data {self.path}: no such file; give an .npz file with {', '.join(ARRAYS)} as --data.path"
            )
        try:
            with np.load(self.path) as file:
                found = {name: file[name] for name in (*ARRAYS, "class_names") if name in file}
        except (zipfile.BadZipFile, OSError, ValueError, EOFError, TypeError, AttributeError) as error:
            raise ValueError(f"data {self.path}: not a whole .npz file of plain arrays; write it anew") from error
        if missing := [name for name in ARRAYS if name not in found]:
            raise ValueError(f"data {self.path}: holds no {missing[0]}; it needs {', '.join(ARRAYS)}")
        try:
            train, test = (_labelled(found[f"{part}_images"], found[f"{part}_labels"]) for part in ("train", "test"))
            names = np.atleast_1d(found.get("class_names", np.unique(found["train_labels"])))
            return ImageDataset(self.name or self.path.stem, train, test, tuple(str(name) for name in names))
        except ValueError as error:
            raise ValueError(f"data {self.path}: {error}") from error


@dataclass(frozen=True)
class Cifar100Config:
    """CIFAR-100 (Krizhevsky 2009) as torchvision has it.

    Args:
        root: Folder that holds, or shall hold, `cifar-100-python`.
        download: Whether torchvision may fetch it (169 MB) where it is missing.
    """

    root: Path = Path("data")
    download: Literal["never", "where-missing"] = "where-missing"

    def load(self) -> ImageDataset:
        """The images.

        Raises:
            FileNotFoundError: If the data are not there and cannot be had.
        """
        from torchvision.datasets import CIFAR100

        try:
            parts = [CIFAR100(self.root, train=train, download=self.download != "never") for train in (True, False)]
        except (RuntimeError, OSError) as error:
            raise FileNotFoundError(
                f"CIFAR-100: no whole {self.root / 'cifar-100-python'}, and it could not be downloaded; fetch "
                "cifar-100-python.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html and unpack it there, or give "
                "its folder as --data.root"
            ) from error
        train, test = (_labelled(part.data, np.asarray(part.targets)) for part in parts)
        return ImageDataset("cifar100", train, test, tuple(parts[0].classes))


AnyData = DigitsConfig | ArraysConfig | Cifar100Config | FolderConfig


def scenario(
    data: str | Path | ImageDataset,
    *,
    base_classes: int = 0,
    increment: int = 10,
    task_sizes: tuple[int, ...] = (),
    class_order_seed: int | None = 1993,
    train_per_class: int | None = None,
    test_per_class: int | None = None,
    first_tasks: int | None = None,
    validation: bool = False,
    root: str | Path = "data",
    strict: bool = False,
) -> Scenario:
    """The tasks of a data set.

    Args:
        data: `digits`, `cifar100`, a name of a folder (`imagenet-r`, `imagenet-a`, `cub200`, `vtab`, `objectnet`,
            `omnibenchmark`), an `.npz` file, a folder of images, or a data set in memory.
        base_classes: Classes of the first task; 0: as many as `increment`.
        increment: Classes of every later task.
        task_sizes: Classes of each task, for tasks of unequal size.
        class_order_seed: Seed of the order of the classes; None: by label.
        train_per_class: Only the first so many training images of each class.
        test_per_class: The same for the test images.
        first_tasks: Only so many tasks.
        validation: Judge on training images that are left over, `test_per_class` of each class; to choose settings by.
        root: Where CIFAR-100 lies or shall lie; of a named folder the folder itself, or what holds it.
        strict: Whether a file in a folder that cannot be read as an image is an error; else it is left out with a
            warning.

    Returns:
        The scenario, with `train_tasks` and `test_seen`.

    Raises:
        FileNotFoundError: If the data are missing.
        ValueError: If the tasks do not use up the classes, or the data are damaged.

    >>> scenario("digits", increment=2)
    Scenario(digits, 5 tasks, 10 classes)
    """
    tasks = ScenarioConfig(
        base_classes,
        increment,
        task_sizes,
        class_order_seed,
        train_per_class,
        test_per_class,
        first_tasks,
        validation,
    )
    dataset = data if isinstance(data, ImageDataset) else data_config(data, root=root, strict=strict).load()
    if dataset.skipped:
        warnings.warn(f"data {dataset.name}: {dataset.skipped_line}", SkippedImagesWarning, stacklevel=2)
    return Scenario(dataset, tasks)


def data_config(data: str | Path, *, root: str | Path = "data", strict: bool = False) -> AnyData:
    """Where the data of a name, a file or a folder lie.

    Args:
        data: `digits`, `cifar100`, a name of `KNOWN`, an `.npz` file, or a folder of images.
        root: Where CIFAR-100 lies or shall lie; of a named folder the folder itself, or what holds it.
        strict: Whether a file in a folder that cannot be read as an image is an error.

    Raises:
        FileNotFoundError: If it is none of these.

    >>> data_config("digits")
    DigitsConfig()
    """
    if str(data) == "digits":
        return DigitsConfig()
    if str(data) == "cifar100":
        return Cifar100Config(Path(root))
    if str(data) in KNOWN:
        below = Path(root) / str(data)
        return FolderConfig(below if below.is_dir() else Path(root), name=str(data), strict=strict)
    path = Path(data)
    if path.suffix == ".npz":
        return ArraysConfig(path)
    if path.is_dir():
        return FolderConfig(path, strict=strict)
    raise FileNotFoundError(
        f"data {str(data)!r}: neither digits nor cifar100, nor an .npz file or a folder that exists, nor one of "
        f"{', '.join(KNOWN)}; check the name"
    )


def _labelled(images: np.ndarray, labels: np.ndarray) -> LabelledImages:
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels are {labels.dtype} {list(labels.shape)}; give one whole number for each image")
    return LabelledImages(as_images(images), torch.from_numpy(labels.astype(np.int64)))
