"""Images of a user's folder: values, classes, cache and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from gradient_flow_drifting.data import ImageFolder, labelled
from papertrio_shared.seed import generator
from PIL import Image

SIDE = 4


def fill(folder: Path, count: int, channels: int = 3, start: int = 0, ending: str = "png") -> np.ndarray:
    """Write images of random bytes, and return them as [n, channels, height, width]."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(start).integers(0, 256, (count, SIDE, SIDE, channels), dtype=np.uint8)
    for i, each in enumerate(pixels, start):
        Image.fromarray(each[..., 0] if channels == 1 else each).save(folder / f"{i:03}.{ending}")
    return np.moveaxis(pixels, 3, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_images_come_back_as_they_are(tmp_path: Path, channels: int) -> None:
    pixels = fill(tmp_path, 40, channels)
    (tmp_path / "notes.txt").write_text("no image")
    source = ImageFolder(tmp_path, side=SIDE, channels=channels)  # type: ignore[arg-type]
    assert source.image_shape == (channels, SIDE, SIDE)
    assert source.classes == 0
    parts = (source, *source.held_out())
    points = torch.cat([part.sample(part.size, generator(0, "test")) for part in parts])
    back = (255 * (source.location + source.scale * points)).round().long().numpy()
    assert sorted(map(tuple, back)) == sorted(map(tuple, pixels.reshape(40, -1).astype(int)))
    assert points.mean(0).abs().max() < 1e-5
    assert float(points.var(0, correction=0).mean()) == pytest.approx(1, rel=1e-4)


def test_sub_folders_are_classes(tmp_path: Path) -> None:
    brightness = {"night": 10, "day": 200}
    for name, value in brightness.items():
        (tmp_path / name).mkdir()
        for i in range(20):
            Image.new("L", (SIDE, SIDE), value + i % 5).save(tmp_path / name / f"{i}.png")
    (tmp_path / "empty").mkdir()
    source = ImageFolder(tmp_path, side=SIDE, channels=1)
    assert source.class_names == ("day", "night")
    assert labelled(source).classes == 2
    points, labels = source.sample_labelled(30, generator(0, "test"))
    values = 255 * (source.location + source.scale * points).mean(1)
    assert torch.equal(labels, (values < 100).long())
    assert [part.size for part in (source, *source.held_out())] == [32, 4, 4]


def test_images_are_decoded_once_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, 20)
    first = ImageFolder(tmp_path, side=SIDE).sample(5, generator(0, "test"))
    decoded: list[Path] = []
    original = ImageFolder._decode

    def counted(self: ImageFolder, file: Path) -> np.ndarray:
        decoded.append(file)
        return original(self, file)

    monkeypatch.setattr(ImageFolder, "_decode", counted)
    assert torch.equal(ImageFolder(tmp_path, side=SIDE).sample(5, generator(0, "test")), first)
    assert decoded == []
    fill(tmp_path, 1, start=50)
    ImageFolder(tmp_path, side=SIDE).sample(5, generator(0, "test"))
    assert len(decoded) == 21
    assert len(list(tmp_path.glob(".decoded-*.npy"))) == 1  # that of the former files is gone
    cache = tmp_path / "cache"
    cache.mkdir()
    ImageFolder(tmp_path, side=SIDE, cache=cache).sample(5, generator(0, "test"))
    assert len(decoded) == 42
    assert len(list(cache.iterdir())) == 1
    next(cache.iterdir()).write_bytes(b"torn")
    with pytest.raises(ValueError, match=r"is damaged: remove it, and the images are decoded anew"):
        ImageFolder(tmp_path, side=SIDE, cache=cache).sample(5, generator(0, "test"))


def test_other_sizes_are_refused_or_fitted(tmp_path: Path) -> None:
    fill(tmp_path, 20)
    wide = np.zeros((SIDE, 2 * SIDE, 3), dtype=np.uint8)
    wide[:, SIDE // 2 : -SIDE // 2] = 255  # the middle is white, what is cropped away black
    Image.fromarray(wide).save(tmp_path / "wide.png")
    with pytest.raises(ValueError, match=r"wide.png: is 8 × 4, not 4 × 4: set data.side, or data.other-sizes to fit"):
        ImageFolder(tmp_path, side=SIDE).sample(1, generator(0, "test"))
    source = ImageFolder(tmp_path, side=SIDE, other_sizes="fit")
    parts = (source, *source.held_out())
    values = torch.cat([part.sample(part.size, generator(0, "test")) for part in parts])
    back = source.location + source.scale * values
    assert float(back.min(1).values.max()) == pytest.approx(1, abs=1e-5)


def test_folders_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    def message(error: type[Exception] = ValueError) -> str:
        with pytest.raises(error) as raised:
            ImageFolder(tmp_path / "a", side=SIDE).sample(1, generator(0, "test"))
        assert "\n" not in str(raised.value)
        return str(raised.value)

    assert message(FileNotFoundError).endswith("a: no such folder: check the path")
    (tmp_path / "a").mkdir()
    assert "a: holds no image (.png, .jpg" in message()
    fill(tmp_path / "a", 20)
    whole = (tmp_path / "a" / "000.png").read_bytes()
    for damaged in (b"", b"no image", whole[: len(whole) // 2], whole[:40]):
        (tmp_path / "a" / "007.png").write_bytes(damaged)
        assert message().endswith("007.png: is no image that can be read: mend or remove it")
    assert not list((tmp_path / "a").glob(".decoded*"))
    (tmp_path / "a" / "007.png").write_bytes(whole)
    fill(tmp_path / "a" / "cats", 1)
    assert "a: has images of its own and some in cats/: which are the classes?" in message()
    with pytest.raises(ValueError, match=r"data.side = 0: give at least one pixel"):
        ImageFolder(tmp_path, side=0)
    fill(tmp_path / "few", 3)
    with pytest.raises(ValueError, match=r"few: has 3 rows: give at least 10"):
        ImageFolder(tmp_path / "few", side=SIDE).sample(1, generator(0, "test"))
