"""Folders of images in their three forms, decoded once; answers for a folder."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from qkd_cil import scenario
from qkd_cil.__main__ import main
from qkd_cil.data import folders
from qkd_cil.data.datasets import data_config
from qkd_cil.data.folders import KNOWN, FolderConfig, images_in
from qkd_cil.presets import PRESETS

NAMES = ("ant", "bee", "cat")


def write_image(path: Path, seed: int, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(value, value + 40, (12, 10, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def write_classes(root: Path, count: int = 5) -> Path:
    for label, name in enumerate(NAMES):
        for index in range(count):
            write_image(root / name / f"{index}.png", 10 * label + index, 80 * label)
    return root


def test_a_folder_without_a_split_is_split_the_same_way_every_time(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "a")
    found, again = (FolderConfig(root, size=8).load() for _ in range(2))
    assert found.class_names == NAMES
    assert found.train.labels.bincount().tolist() == [4, 4, 4]
    assert found.test.labels.bincount().tolist() == [1, 1, 1]
    assert torch.equal(found.test.images, again.test.images)
    both = torch.cat([found.train.images, found.test.images]).flatten(1)
    assert len(torch.unique(both, dim=0)) == 15  # no image is in both
    half = FolderConfig(root, size=8, test_share=0.5).load()
    assert half.test.labels.bincount().tolist() == [2, 2, 2]
    with pytest.raises(ValueError, match=r"test_share 1.0; give a share between 0 and 1"):
        FolderConfig(root, test_share=1.0)


def test_val_stands_for_test(tmp_path: Path) -> None:
    write_classes(tmp_path / "train")
    write_classes(tmp_path / "val", count=2)
    assert len(FolderConfig(tmp_path, size=8).load().test) == 6


def write_cub(root: Path) -> Path:
    lines: dict[str, list[str]] = {"images": [], "image_class_labels": [], "train_test_split": []}
    for number, (label, index) in enumerate((label, index) for label in range(3) for index in range(4)):
        path = f"00{label + 1}.{NAMES[label]}/{index}.jpg"
        write_image(root / "images" / path, number, 80 * label)
        lines["images"].append(f"{number + 1} {path}")
        lines["image_class_labels"].append(f"{number + 1} {label + 1}")
        lines["train_test_split"].append(f"{number + 1} {int(index < 3)}")
    for name, rows in lines.items():
        (root / f"{name}.txt").write_text("\n".join(rows) + "\n")
    return root


def test_the_lists_of_cub(tmp_path: Path) -> None:
    root = write_cub(tmp_path / "CUB_200_2011")
    found = FolderConfig(root, size=8).load()
    assert found.class_names == ("001.ant", "002.bee", "003.cat")
    assert found.train.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert found.test.labels.tolist() == [0, 1, 2]
    (root / "images" / "001.ant" / "0.jpg").unlink()
    assert FolderConfig(root, size=8).load().skipped == ("images/001.ant/0.jpg",)
    (root / "image_class_labels.txt").write_text("1 1\n")
    with pytest.raises(ValueError, match=r"its images.txt, .* do not fit together"):
        FolderConfig(root, size=8).load()


def test_a_known_data_set_must_have_its_classes(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "imagenet-r")
    with pytest.raises(ValueError, match=r"3 classes, but imagenet-r has 200; get https://github.com/hendrycks"):
        FolderConfig(root, name="imagenet-r", size=8).load()
    assert FolderConfig(root, size=8).load().name == "imagenet-r"  # by its folder, which promises nothing
    with pytest.raises(
        FileNotFoundError, match=r"give what holds train/ and test/ as --data.root; get https://objectnet"
    ):
        FolderConfig(tmp_path / "nowhere", name="objectnet").load()


@pytest.mark.parametrize("name", KNOWN)
def test_names_stand_for_folders(name: str, tmp_path: Path) -> None:
    assert data_config(name, root=tmp_path) == FolderConfig(tmp_path, name=name)
    (tmp_path / name).mkdir()
    assert data_config(name, root=tmp_path) == FolderConfig(tmp_path / name, name=name)
    preset = next(each for key, each in PRESETS.items() if key.startswith(name))
    assert isinstance(preset.data, FolderConfig)
    assert KNOWN[name].classes % preset.tasks.increment == 0


def test_each_image_is_decoded_once_and_kept_for_the_next_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    read = folders.read_image

    def counted(path: Path, size: int) -> np.ndarray:
        opened.append(path)
        return read(path, size)

    monkeypatch.setattr(folders, "read_image", counted)
    root = write_classes(tmp_path / "a")
    (root / "bee" / "3.png").write_text("no image")
    config = FolderConfig(root, size=8, cache=tmp_path / "cache")
    first = config.load()
    assert len(opened) == len(set(opened)) == 15
    second = config.load()
    assert len(opened) == 15
    assert torch.equal(first.train.images, second.train.images)
    assert torch.equal(first.test.labels, second.test.labels)
    assert first.skipped == second.skipped == ("bee/3.png",)
    second.train.images[:] = 0  # what is kept stays as it was
    assert torch.equal(config.load().train.images, first.train.images)
    with pytest.raises(ValueError, match=r"3.png: cannot be read as an image"):
        FolderConfig(root, size=8, cache=tmp_path / "cache", strict=True).load()
    write_image(root / "ant" / "0.png", 99, 10)  # a changed file is another set of images
    third = config.load()
    assert not torch.equal(
        torch.cat([third.train.images, third.test.images]), torch.cat([first.train.images, first.test.images])
    )
    assert not [path for path in (tmp_path / "cache").iterdir() if path.name.startswith(".")]


def test_few_images_unequal_tasks_and_a_base(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "a")
    found = scenario(root, base_classes=2, increment=1, train_per_class=2)
    assert found.task_sizes == (2, 1)
    assert [len(task.train) for task in found.train_tasks] == [4, 2]
    assert scenario(root, task_sizes=(1, 2)).task_sizes == (1, 2)


# Answers for a folder

SMALL = ["--tasks.train-per-class", "4", "--tasks.test-per-class", "2", "learner:simple-cil"]


def test_answers_for_a_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    root = write_classes(tmp_path / "a")
    run = tmp_path / "run"
    words = [
        "run",
        "digits-b0-inc2",
        "--data",
        root,
        "--tasks.increment",
        1,
        "--out",
        run,
        "--cache",
        tmp_path / "cache",
    ]
    assert main([str(word) for word in [*words, "--schedule.evaluation-batch-size", 4, *SMALL]]) == 0
    assert len(list((tmp_path / "cache").iterdir())) == 2  # train and test
    asked = write_classes(tmp_path / "asked" / "deeper", count=3)
    (asked / "bee" / "1.png").write_text("no image")
    capsys.readouterr()
    table = tmp_path / "answers.csv"
    assert main(["predict", str(run), str(tmp_path / "asked"), str(root / "ant" / "0.png"), "--out", str(table)]) == 0
    said = capsys.readouterr()
    lines = [line.split("\t") for line in said.out.splitlines()]
    assert len(lines) == 9
    right = [Path(path).parent.name == name for path, name in lines]
    assert sum(right) >= 8
    assert "files skipped since they cannot be read as images: 1" in said.err
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["path"], row["class"]) for row in rows] == [tuple(line) for line in lines]
    assert {int(row["task"]) for row in rows} <= {1, 2, 3}
    saved = run / "1993" / "learner.safetensors"
    assert main(["predict", str(saved), str(asked / "cat")]) == 0
    assert {line.split("\t")[1] for line in capsys.readouterr().out.splitlines()} <= {"0", "1", "2"}
    assert main(["predict", str(run), str(asked), "--strict"]) == 2
    assert "1.png: cannot be read as an image" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    for missing in ("empty", "nowhere.png"):
        assert main(["predict", str(run), str(tmp_path / missing)]) == 2
        assert str(tmp_path / missing) in capsys.readouterr().err


def test_images_are_found_below_and_in_order(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "a", count=2)
    (root / "ant" / "notes.txt").write_text("no image")
    found = images_in([root, root / "ant" / "notes.txt"])
    assert [path.relative_to(root).as_posix() for path in found] == [
        "ant/0.png", "ant/1.png", "bee/0.png", "bee/1.png", "cat/0.png", "cat/1.png", "ant/notes.txt",
    ]  # fmt: skip


def test_a_class_without_an_image_is_named(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "split", count=1)
    with pytest.raises(ValueError, match=r"class 'ant' has one image; where no train/ and test/ are given"):
        FolderConfig(root, size=8).load()
    for part in ("train", "test"):
        write_classes(tmp_path / "given" / part, count=1)
    (tmp_path / "given" / "test" / "bee" / "0.png").write_text("no image")
    with pytest.raises(ValueError, match=r"class 'bee' has no image in test that can be read"):
        FolderConfig(tmp_path / "given", size=8).load()
