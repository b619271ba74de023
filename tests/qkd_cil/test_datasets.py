"""Where images come from, and what is said of files that are missing or damaged."""

import importlib.util
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from qkd_cil import scenario
from qkd_cil.data.datasets import (
    ArraysConfig,
    Cifar100Config,
    DigitsConfig,
    SkippedImagesWarning,
)
from qkd_cil.data.folders import FolderConfig, read_image
from qkd_cil.data.images import LabelledImages, as_images, concatenate
from sklearn.datasets import load_digits

EMPTY = {
    **{f"{part}_images": np.zeros((0, 8, 8, 3), np.uint8) for part in ("train", "test")},
    **{f"{part}_labels": np.zeros(0, int) for part in ("train", "test")},
}


def write_arrays(path: Path, **changes: np.ndarray) -> Path:
    """A small .npz file, some of its arrays changed."""
    labels = np.repeat(np.arange(4), 3)
    images = np.random.default_rng(0).integers(0, 255, (12, 8, 8, 3), dtype=np.uint8)
    arrays = {"train_images": images, "train_labels": labels, "test_images": images, "test_labels": labels}
    np.savez(path, **{name: array for name, array in {**arrays, **changes}.items() if array is not None})
    return path


def test_digits_are_split_by_rows_of_each_class() -> None:
    digits = DigitsConfig().load()
    source = load_digits()
    for label in range(10):
        rows = np.flatnonzero(source.target == label)
        first = np.rint(source.images[rows[0]] * 255 / 16)
        assert np.array_equal(digits.train.of_classes([label]).images[0, 0].numpy(), first)
        kept = len(digits.train.of_classes([label])) + len(digits.test.of_classes([label]))
        assert kept == len(rows)


def test_arrays_come_as_they_are(tmp_path: Path) -> None:
    path = write_arrays(tmp_path / "a.npz", class_names=np.array(["ant", "bee", "cat", "dog"]))
    dataset = ArraysConfig(path).load()
    assert dataset.name == "a"
    assert dataset.class_names == ("ant", "bee", "cat", "dog")
    with np.load(path) as file:
        assert np.array_equal(dataset.train.images.permute(0, 2, 3, 1).numpy(), file["train_images"])
    assert ArraysConfig(write_arrays(tmp_path / "b.npz")).load().class_names == ("0", "1", "2", "3")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_labels": None}, "a.npz: holds no test_labels; it needs train_images, train_labels"),
        ({"train_labels": np.zeros(12)}, "labels are float64"),
        ({"train_labels": np.arange(11)}, "12 images but 11 labels"),
        ({"train_images": np.zeros((12, 8, 8, 3))}, "images are float64"),
        ({"train_images": np.zeros((12, 8, 8, 4), np.uint8)}, r"images are uint8 \[12, 8, 8, 4\]"),
        ({"class_names": np.array(["ant", "bee"])}, "2 class names, but the train labels are 4 classes"),
        ({"test_labels": np.repeat(np.arange(2), 6)}, "4 class names, but the test labels are 2 classes"),
        ({"class_names": np.array("ant")}, "1 class names, but the train labels are 4 classes"),
        ({"train_labels": np.repeat(np.arange(1, 5), 3)}, "labels must run from 0 without a gap and match"),
        ({"train_labels": np.array([0, 1, 3] * 4)}, "labels must run from 0 without a gap and match in both parts"),
        (EMPTY, "data set a: has no class"),
        ({"train_labels": np.array([None] * 12)}, "not a whole .npz file of plain arrays"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, changes: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        ArraysConfig(write_arrays(tmp_path / "a.npz", **changes)).load()
    assert "\n" not in str(error.value)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = write_arrays(tmp_path / "a.npz")
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"not an archive"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a.npz: not a whole .npz file"):
            ArraysConfig(path).load()


def test_a_flipped_byte_is_noticed(tmp_path: Path) -> None:
    path = write_arrays(tmp_path / "a.npz")
    content = bytearray(path.read_bytes())
    content[400] ^= 0xFF  # in the first array's data: the archive's checksum no longer fits
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a whole"):
        ArraysConfig(path).load()


def test_missing_data_say_where_they_were_looked_for(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such file; give an \.npz file"):
        ArraysConfig(tmp_path / "none.npz").load()
    with pytest.raises(FileNotFoundError, match=r"cifar-100-python.*fetch cifar-100-python.tar.gz from https://www.cs"):
        Cifar100Config(tmp_path, download="never").load()
    with pytest.raises(FileNotFoundError, match="train: no such folder with a folder for each class"):
        FolderConfig(tmp_path).load()
    with pytest.raises(FileNotFoundError, match=r"neither digits nor cifar100, nor an \.npz file or a folder"):
        scenario("cifra100")


def write_folder(root: Path) -> Path:
    """Two classes, two images each in train and test."""
    for part in ("train", "test"):
        for label, name in enumerate(("ant", "bee")):
            folder = root / part / name
            folder.mkdir(parents=True)
            for index in range(2):
                Image.new("RGB", (20, 10 + index), (100 * label, 0, 0)).save(folder / f"{index}.png")
    return root


def test_a_folder_of_classes(tmp_path: Path) -> None:
    dataset = FolderConfig(write_folder(tmp_path), size=8).load()
    assert dataset.class_names == ("ant", "bee")
    assert dataset.train.images.shape == (4, 3, 8, 8)
    assert dataset.train.images[:, 0].float().mean((1, 2)).tolist() == [0, 0, 100, 100]
    assert scenario(tmp_path, increment=1).task_sizes == (1, 1)


def test_a_folder_whose_parts_differ_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path)
    (tmp_path / "test" / "cat").mkdir()
    with pytest.raises(ValueError, match="class 'cat' is in only one of train and test"):
        FolderConfig(tmp_path).load()


def break_image(path: Path) -> None:
    """Cut a file off behind its header."""
    path.write_bytes(path.read_bytes()[:40])


def test_corrupt_images_are_skipped_and_counted(tmp_path: Path) -> None:
    write_folder(tmp_path)
    break_image(tmp_path / "train" / "bee" / "1.png")
    (tmp_path / "test" / "ant" / "0.png").write_text("no image")
    dataset = FolderConfig(tmp_path, size=8).load()
    assert dataset.skipped == ("train/bee/1.png", "test/ant/0.png")
    assert dataset.train.labels.tolist() == [0, 0, 1]
    assert dataset.test.labels.tolist() == [0, 1, 1]
    line = "files skipped since they cannot be read as images: 2 (train/bee/1.png, test/ant/0.png)"
    assert dataset.skipped_line == line
    assert replace(dataset, skipped=tuple("abcd")).skipped_line.endswith(": 4 (a, b, c, …)")
    with pytest.warns(SkippedImagesWarning, match=re.escape(line)):
        scenario(tmp_path, increment=1)
    break_image(tmp_path / "train" / "bee" / "0.png")
    with pytest.raises(ValueError, match="class 'bee' has no image in train that can be read"):
        FolderConfig(tmp_path, size=8).load()
    assert FolderConfig(write_folder(tmp_path / "whole"), size=8).load().skipped_line == ""


def test_a_corrupt_image_is_an_error_where_one_is_strict(tmp_path: Path) -> None:
    write_folder(tmp_path)
    break_image(tmp_path / "train" / "bee" / "1.png")
    with pytest.raises(ValueError, match=r"1.png: cannot be read as an image") as error:
        scenario(tmp_path, increment=1, strict=True)
    assert "\n" not in str(error.value)
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_image(tmp_path / "none.png", 8)
    with pytest.raises(ValueError, match="size 0; it must be positive"):
        FolderConfig(tmp_path, size=0)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp"])
def test_no_damage_of_a_file_gets_through_as_another_error(tmp_path: Path, suffix: str) -> None:
    random = np.random.default_rng(0)
    path = tmp_path / f"image{suffix}"
    Image.fromarray(random.integers(0, 255, (9, 7, 3), dtype=np.uint8)).save(path)
    whole = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    for _ in range(60):
        damaged = whole.copy()
        damaged[random.integers(0, len(damaged), 4)] = random.integers(0, 255, 4)
        path.write_bytes(damaged[: random.integers(1, len(damaged) + 1)].tobytes())
        try:
            assert read_image(path, 8).shape == (8, 8, 3)
        except ValueError as error:
            assert "cannot be read as an image" in str(error)  # noqa: PT017


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_images_of_any_mode_keep_their_brightness(tmp_path: Path, mode: str) -> None:
    """Half of the range comes out as half of the range, whatever a pixel is made of."""
    grey = np.full((1, 3), 128, dtype=np.uint8)
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 257)
    elif mode == "1":
        image = Image.fromarray(grey > 0)
    else:
        image = Image.fromarray(grey).convert(mode)
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    image.save(path)
    found = read_image(path, 4)
    assert found.shape == (4, 4, 3)
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - (255 if mode == "1" else 128)).max() <= 1


def test_images_in_any_usual_form() -> None:
    images = np.random.default_rng(0).integers(0, 255, (2, 5, 6, 3), dtype=np.uint8)
    held = as_images(images)
    assert torch.equal(held, torch.from_numpy(images).permute(0, 3, 1, 2))
    assert torch.equal(as_images(held), held)
    assert torch.equal(as_images(images[..., 0])[:, 2], held[:, 0])
    with pytest.raises(ValueError, match=r"give 8-bit values as \[n, height, width, 3\]"):
        as_images(images.astype(np.float32))


def test_the_exported_cifar_is_read(data_folder: Path, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("read", data_folder / "cil" / "read.py")
    read = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(read)
    images, labels = read.cifar100("train_0")
    tests, test_labels = read.cifar100("test")
    path = tmp_path / "cifar100.npz"
    np.savez(path, train_images=images, train_labels=labels, test_images=tests, test_labels=test_labels)
    small = scenario(path, increment=10, train_per_class=50, test_per_class=50)
    assert [len(task.train) for task in small.train_tasks] == [500] * 10
    assert small.train_tasks[0].classes[:3] == (68, 56, 78)
    assert [len(part) for part in small.test_seen(small.train_tasks[-1]).parts] == [500] * 10


def test_chosen_images_are_not_copied() -> None:
    """Tasks, few of each class and several tasks together are rows of the same pixels; arrays are not copied either."""
    array = np.arange(6 * 8 * 8 * 3, dtype=np.int64).reshape(6, 8, 8, 3).astype(np.uint8)
    held = LabelledImages(as_images(array), torch.tensor([0, 1, 2, 0, 1, 2]))
    assert held.stored.data_ptr() == array.ctypes.data
    first, rest = held.of_classes([2, 0]).first_per_class(1), held.of_classes([1])
    both = concatenate([first, rest])
    assert both.stored is held.stored
    assert both.labels.tolist() == [0, 2, 1, 1]
    assert torch.equal(both.images, held.images[[0, 2, 1, 4]])
    assert torch.equal(torch.cat(list(both.batches(3))), both.images)
    assert torch.equal(both.at(torch.tensor([3, 0])), held.images[[4, 0]])
    assert torch.equal(both.rows(torch.tensor([False, True, True, False])).images, held.images[[2, 1]])
    elsewhere = LabelledImages(held.images.clone(), held.labels)
    assert torch.equal(concatenate([first, elsewhere]).images, torch.cat([first.images, held.images]))
