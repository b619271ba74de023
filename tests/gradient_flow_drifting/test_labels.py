"""Sources whose points belong to classes: parts of the toys, scikit-learn's digits, arrays with labels."""

import math
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from gradient_flow_drifting.data import ArrayFile, Digits, Labelled, SphereMixture, Toy, labelled
from gradient_flow_drifting.data.toy import ToyName
from papertrio_shared.seed import generator
from torch import Tensor

PARTS = {"8gaussians": 8, "25grid": 25, "moons": 2, "checkerboard": 8, "pinwheel": 5, "two_spirals": 2}
SOURCES = [*map(Toy, PARTS), SphereMixture(), Digits()]  # type: ignore[arg-type]
IDS = [*PARTS, "sphere", "digits"]
COUNT = 20_000


def gram(points: Tensor) -> Tensor:
    return torch.cat([points.mean(0), (points.T @ points / len(points)).flatten()])


def test_the_parts_of_a_toy_are_its_classes() -> None:
    assert {name: Toy(name).classes for name in get_args(ToyName) if Toy(name).classes} == PARTS
    for name in ("swissroll", "ring"):
        with pytest.raises(ValueError, match=rf"Toy\(name='{name}'\) has no labels: class conditions need"):
            labelled(Toy(name))  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"label = 0: there is no such class: the data set has no labels"):
            Toy(name).sample_class(0, 5, generator(0, "test"))  # type: ignore[arg-type]


@pytest.mark.parametrize("source", SOURCES, ids=IDS)
def test_labels_belong_to_their_points(source: Labelled) -> None:
    """Points of one label have the moments of draws of that class; a draw with labels is the draw without."""
    points, labels = source.sample_labelled(COUNT, generator(0, "test"))
    assert torch.equal(points, source.sample(COUNT, generator(0, "test")))
    assert labels.dtype == torch.int64
    shares = torch.bincount(labels, minlength=source.classes) / COUNT
    assert len(shares) == source.classes
    assert (shares - 1 / source.classes).abs().max() < 5 * math.sqrt(1 / source.classes / COUNT) + (
        0.01 if isinstance(source, Digits) else 0
    )
    last = source.classes - 1
    alone = source.sample_class(last, COUNT, generator(1, "test"))
    of_last, spread = points[labels == last], points.abs().max() ** 2
    noise = 5 * float(spread) / math.sqrt(len(of_last))
    assert (gram(alone) - gram(of_last)).abs().max() < noise
    assert (gram(alone)[: source.dimension] - points[labels == 0].mean(0)).abs().max() > 2 * (
        gram(alone)[: source.dimension] - of_last.mean(0)
    ).abs().max()
    assert torch.equal(alone, source.sample_class(last, COUNT, generator(1, "test")))
    with pytest.raises(ValueError, match=rf"label = {last + 1}: there is no such class: labels are 0 to {last}"):
        source.sample_class(last + 1, 5, generator(0, "test"))
    with pytest.raises(ValueError, match=r"label = -1: there is no such class"):
        source.sample_class(-1, 5, generator(0, "test"))
    for refused in (source.sample_labelled, lambda count, stream: source.sample_class(0, count, stream)):
        with pytest.raises(ValueError, match=r"count = 0: ask for at least one point"):
            refused(0, generator(0, "test"))


@pytest.mark.parametrize("name", ["8gaussians", "25grid", "sphere"])
def test_labels_of_a_mixture_number_its_modes(name: str) -> None:
    source = SphereMixture() if name == "sphere" else Toy(name)  # type: ignore[arg-type]
    assert source.modes is not None
    points, labels = source.sample_labelled(1000, generator(0, "test"))
    near = torch.cdist(points, source.modes.centres).argmin(1)
    assert float((near == labels).float().mean()) > 0.99


def test_the_digits_are_those_of_scikit_learn_and_come_back_as_pixels() -> None:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    source = Digits()
    parts = (source, *source.held_out())
    assert [part.size for part in parts] == [1201, 300, 296]
    found, of = [], []
    for part in parts:
        points, classes = part.sample_labelled(part.size, generator(0, "test"))
        found.append((16 * (source.location + source.scale * points)).numpy())
        of.append(classes.numpy())
    together = np.concatenate([np.column_stack(each) for each in zip(found, of, strict=True)])
    expected = np.column_stack([images, labels])
    assert np.allclose(together, np.round(together), atol=1e-4)  # pixels are whole numbers up to 16
    assert sorted(map(tuple, np.round(together).astype(int))) == sorted(map(tuple, expected.astype(int)))
    standard = np.concatenate(found) / 16 - source.location.numpy()
    assert abs(standard.mean(0)).max() < 1e-5
    assert math.sqrt(standard.var(0).mean()) == pytest.approx(source.scale, rel=1e-5)
    assert source.dimension == math.prod(source.image_shape) == 64


def test_every_part_of_the_digits_has_the_same_share_of_each_class() -> None:
    shares = []
    for part in (Digits(), *Digits().held_out()):
        _, labels = part.sample_labelled(part.size, generator(0, "test"))
        shares.append(torch.bincount(labels, minlength=10) / part.size)
    assert max((share - shares[0]).abs().max() for share in shares) < 0.004
    drawn = Digits("held_out").sample_class(3, 25, generator(0, "test"))
    assert len(torch.unique(drawn, dim=0)) == 25  # each at most once


@pytest.mark.parametrize(
    ("form", "words"), [("npy", False), ("npz", False), ("pt", False), ("npy", True), ("npz", True)]
)
def test_an_array_with_labels(tmp_path: Path, form: str, words: bool) -> None:
    """Labels may be any whole numbers or words; they follow their rows and every part has its share of each."""
    kind = np.repeat([5, -1, 7], [100, 200, 300])
    rows = np.column_stack([kind, np.arange(600)]).astype(np.float64)
    order = np.random.default_rng(0).permutation(600)
    rows, kind = rows[order], kind[order]
    named = np.array([{5: "c", -1: "a", 7: "b"}[each] for each in kind]) if words else kind
    path, labels = tmp_path / f"points.{form}", None if form == "npz" else tmp_path / f"labels.{form}"
    if form == "npz":
        np.savez(path, points=rows, labels=named)
    for file, array in ((path, rows), (labels, named)) if labels is not None else ():
        np.save(file, array) if form == "npy" else torch.save(torch.from_numpy(array), file)
    source = ArrayFile(path, labels=labels)
    assert source.class_names == (("a", "b", "c") if words else ("-1", "5", "7"))
    assert labelled(source).classes == 3
    values = [-1, 7, 5] if words else [-1, 5, 7]
    for part, size in zip((source, *source.held_out()), (480, 60, 60), strict=True):
        points, found = part.sample_labelled(size, generator(0, "test"))
        back = source.location + source.scale * points
        assert torch.equal(back[:, 0].round(), torch.tensor(values)[found].float())
        expected = {-1: 200, 5: 100, 7: 300}
        assert torch.bincount(found).tolist() == [expected[value] * size // 600 for value in values]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.arange(19), r"labels.npy: 20 labels are needed, one for each row, found the shape \(19,\)"),
        (np.zeros((20, 2)), r"labels.npy: 20 labels are needed, one for each row, found the shape \(20, 2\)"),
        (np.linspace(0, 1, 20), r"labels.npy: labels must be whole numbers or words, found float64"),
        (np.full(20, np.nan), r"labels.npy: labels must be whole numbers or words, found float64"),
        (np.arange(20), r"points.npy: has 1 rows of one class: give at least 10"),
    ],
)
def test_labels_that_cannot_be_used_are_told(tmp_path: Path, labels: np.ndarray, message: str) -> None:
    np.save(tmp_path / "points.npy", np.random.default_rng(0).normal(size=(20, 2)))
    np.save(tmp_path / "labels.npy", labels)
    with pytest.raises(ValueError, match=message) as error:
        ArrayFile(tmp_path / "points.npy", labels=tmp_path / "labels.npy").sample(1, generator(0, "test"))
    assert "\n" not in str(error.value)


def test_labels_that_are_missing_are_told(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(20, 2))
    np.save(tmp_path / "points.npy", rows)
    np.savez(tmp_path / "other.npz", rows=rows)
    np.savez(tmp_path / "alone.npz", points=rows)
    with pytest.raises(FileNotFoundError, match=r"none.npy: no such file"):
        ArrayFile(tmp_path / "points.npy", labels=tmp_path / "none.npy").sample(1, generator(0, "test"))
    for name in ("points.npy", "alone.npz"):
        source = ArrayFile(tmp_path / name)
        assert source.classes == 0
        with pytest.raises(ValueError, match=rf"{name}: has no labels: draw with sample, or give labels"):
            source.sample_labelled(1, generator(0, "test"))
    with pytest.raises(ValueError, match=r"other.npz: holds no array 'points': save it with points=…"):
        ArrayFile(tmp_path / "other.npz").sample(1, generator(0, "test"))


def test_a_part_without_a_row_of_a_class_says_so(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(23, 2))
    np.savez(tmp_path / "few.npz", points=rows, labels=np.repeat([0, 1], [20, 3]))
    source = ArrayFile(tmp_path / "few.npz")
    assert len(torch.unique(source.sample_class(1, 3, generator(0, "test")), dim=0)) == 3
    with pytest.raises(ValueError, match=r"few.npz: no held_out row is of class 1: give more rows of it"):
        source.held_out()[0].sample_class(1, 1, generator(0, "test"))
