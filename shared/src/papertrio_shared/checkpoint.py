"""Files that are whole or absent: weights as safetensors, resumable state by torch."""

import json
import os
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

_CONFIG = "papertrio_config"


class CheckpointError(ValueError):
    """A file that cannot be read as what it should be; the message names its path."""


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Give a temporary path that takes the place of `path` once the block has ended well.

    The file is flushed to disk before the rename, so whatever happens the path holds the old content or the new one.

    Args:
        path: Where the file shall stand; its folder is made where it is missing.

    Yields:
        A path in the same folder, of the same suffix, to write to.

    Raises:
        OSError: If the folder cannot be made or written (a full disk, say); nothing is left behind then.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "note.txt"
        >>> with atomic_write(target) as temporary:
        ...     _ = temporary.write_text("whole")
        >>> target.read_text()
        'whole'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}-{uuid4().hex[:8]}{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def save_weights(path: str | Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Write tensors and the config that rebuilds their model into one safetensors file.

    Args:
        path: The file, usually `*.safetensors`.
        tensors: Names and values; views are made contiguous and moved to the CPU.
        config: What JSON can hold.

    Raises:
        OSError: If the file cannot be written.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "model.safetensors"
        >>> save_weights(file, {"w": torch.ones(2)}, {"width": 2})
        >>> load_weights(file)
        ({'w': tensor([1., 1.])}, {'width': 2})
    """
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with atomic_write(path) as temporary:
        try:
            save_file(whole, temporary, metadata={_CONFIG: json.dumps(config)})
        except SafetensorError as error:  # so it reports a full disk
            raise OSError(f"{path}: cannot be written ({_first_line(error)}): check the free space") from error


def load_weights(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_weights` wrote.

    Args:
        path: The file.

    Returns:
        The tensors on the CPU, and the config; a safetensors file of another origin has an empty config.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file is truncated or no safetensors file.
    """
    path = _existing(path)
    try:
        with safe_open(path, framework="pt") as file:
            config = json.loads((file.metadata() or {}).get(_CONFIG, "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, config  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not a whole safetensors file ({_first_line(error)}): write it anew") from error


def save_state(path: str | Path, state: Mapping[str, Any]) -> None:
    """Write the state from which a run goes on: tensors and plain types, so that it loads without running code.

    Args:
        path: The file, usually `*.pt`.
        state: Nested dictionaries and lists of tensors, numbers, strings, booleans and None.

    Raises:
        OSError: If the file cannot be written; an earlier file of that name stays as it was.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "state.pt"
        >>> save_state(file, {"step": 3})
        >>> load_state(file)
        {'step': 3}
    """
    with atomic_write(path) as temporary:
        try:
            torch.save(dict(state), temporary)
        except RuntimeError as error:  # torch's zip writer reports a full disk so
            raise OSError(f"{path}: cannot be written ({_first_line(error)}): check the free space") from error


def load_state(path: str | Path, device: str | torch.device = "cpu") -> dict[str, Any]:
    """Read what `save_state` wrote, with `weights_only=True`.

    Args:
        path: The file.
        device: Where the tensors go.

    Returns:
        The state.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file is truncated, foreign, or holds more than tensors and plain types.
    """
    path = _existing(path)
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path}: not a whole checkpoint ({_first_line(error)}): resume from another") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: holds a {type(state).__name__} and no state: resume from another file")
    return state


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file: check the path")
    return path


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:120]
