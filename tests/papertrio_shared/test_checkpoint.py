"""Files that are whole or absent."""

import pickle
from pathlib import Path

import pytest
import torch
from papertrio_shared import checkpoint
from papertrio_shared.checkpoint import (
    CheckpointError,
    atomic_write,
    load_state,
    load_weights,
    save_state,
    save_weights,
)
from safetensors import SafetensorError


def test_weights_and_config_come_back(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6.0).view(2, 3).T, "b": torch.tensor([1, 2])}
    save_weights(tmp_path / "deep" / "m.safetensors", tensors, {"width": 3, "name": "π"})
    loaded, config = load_weights(tmp_path / "deep" / "m.safetensors")
    assert config == {"width": 3, "name": "π"}
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)


def test_tied_tensors_are_saved(tmp_path: Path) -> None:
    shared = torch.ones(3)
    save_weights(tmp_path / "m.safetensors", {"a": shared, "b": shared}, {})
    assert set(load_weights(tmp_path / "m.safetensors")[0]) == {"a", "b"}


@pytest.mark.parametrize(("name", "load"), [("m.safetensors", load_weights), ("s.pt", load_state)])
@pytest.mark.parametrize("damage", ["truncated", "empty", "foreign"])
def test_a_damaged_file_is_one_line_that_names_it(tmp_path: Path, name: str, load, damage: str) -> None:
    path = tmp_path / name
    save_weights(path, {"a": torch.ones(1000)}, {}) if name.startswith("m") else save_state(path, {"a": torch.ones(99)})
    content = {"truncated": path.read_bytes()[:-200], "empty": b"", "foreign": b"<html>not a checkpoint</html>"}
    path.write_bytes(content[damage])
    with pytest.raises(CheckpointError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("load", [load_weights, load_state])
def test_a_missing_file_is_named(tmp_path: Path, load) -> None:
    with pytest.raises(FileNotFoundError, match="no such file"):
        load(tmp_path / "nothing")


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("1/0",)


def test_a_state_file_cannot_run_code(tmp_path: Path) -> None:
    path = tmp_path / "evil.pt"
    torch.save({"x": _Evil()}, path)
    with pytest.raises(CheckpointError, match=r"evil\.pt: not a whole checkpoint"):
        load_state(path)
    path.write_bytes(pickle.dumps(_Evil()))
    with pytest.raises(CheckpointError):
        load_state(path)


def test_a_state_that_is_no_dictionary_is_told(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="holds a list and no state"):
        load_state(tmp_path / "list.pt")


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_text("old")

    def interrupted() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_file_keeps_the_suffix(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "points.npy") as temporary:
        assert temporary.suffix == ".npy"
        assert temporary.parent == tmp_path
        temporary.write_bytes(b"x")
    assert (tmp_path / "points.npy").read_bytes() == b"x"


def test_a_full_disk_keeps_the_last_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.pt"
    save_state(path, {"step": 1})

    def full(*_: object) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc] . unexpected pos 64 vs 0")

    monkeypatch.setattr(checkpoint.torch, "save", full)
    with pytest.raises(OSError, match="check the free space"):
        save_state(path, {"step": 2})
    monkeypatch.undo()
    assert load_state(path) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_weights_meet_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match=r"cannot be written .*: check the free space"):
        save_weights(tmp_path / "w.safetensors", {"a": torch.ones(1)}, {})
    assert list(tmp_path.iterdir()) == []
