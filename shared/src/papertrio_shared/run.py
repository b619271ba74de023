"""A run folder: what was asked, where it ran, what was measured."""

import json
import logging
import platform
import subprocess
import types
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, Union, get_args, get_origin, get_type_hints

import torch
from tqdm import tqdm

from .checkpoint import atomic_write

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

T = TypeVar("T")
CONFIG, ENVIRONMENT, METRICS, LOG = "config.json", "environment.json", "metrics.jsonl", "log.txt"


def config_to_dict(config: Any) -> Any:
    """Turn a config into what JSON can hold, each dataclass tagged with the name of its class.

    Args:
        config: A frozen dataclass of numbers, strings, paths, None, sequences, dictionaries and such dataclasses.

    Returns:
        Nested dictionaries and lists; `dict_to_config` is the inverse.

    Raises:
        TypeError: If a value is of another kind.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Gate:
        ...     qubits: int = 6
        >>> config_to_dict(Gate())
        {'class': 'Gate', 'qubits': 6}
        >>> dict_to_config({'class': 'Gate', 'qubits': 4}, Gate)
        Gate(qubits=4)
    """
    if is_dataclass(config) and not isinstance(config, type):
        values = {field.name: config_to_dict(getattr(config, field.name)) for field in fields(config)}
        return {"class": type(config).__name__, **values}
    if isinstance(config, Path):
        return str(config)
    if isinstance(config, dict):
        return {str(key): config_to_dict(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return [config_to_dict(value) for value in config]
    if config is None or isinstance(config, (bool, int, float, str)):
        return config
    raise TypeError(f"a config cannot hold {config!r}, a {type(config).__name__}")


def dict_to_config(data: Any, kind: type[T]) -> T:
    """Build a config from what `config_to_dict` made, checking names and types.

    Args:
        data: Nested dictionaries and lists.
        kind: The class (or any annotation: a union of classes, a `Literal`, `tuple[float, ...]`).

    Returns:
        The config.

    Raises:
        ValueError: If a name or a value does not fit; the message says which.
    """
    return _build(data, kind, "config")


def _build(data: Any, kind: Any, where: str) -> Any:
    origin = get_origin(kind)
    if is_dataclass(kind) and isinstance(kind, type):
        return _build_dataclass(data, kind, where)
    if origin in (Union, types.UnionType):
        return _build_union(data, get_args(kind), where)
    if hasattr(kind, "__metadata__"):
        return _build(data, get_args(kind)[0], where)
    if kind is Any or (origin is Literal and data in get_args(kind)):
        return data
    if origin in (tuple, list) or kind in (tuple, list):
        return _build_sequence(data, kind, where)
    if (origin or kind) is dict and isinstance(data, dict):
        value = (*get_args(kind), Any, Any)[1]
        return {key: _build(each, value, f"{where}.{key}") for key, each in data.items()}
    if kind is Path and isinstance(data, str):
        return Path(data)
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if kind is type(None) and data is None:
        return None
    if isinstance(kind, type) and isinstance(data, kind) and isinstance(data, bool) == (kind is bool):
        return data
    raise ValueError(f"{where} is {data!r}, which is no {getattr(kind, '__name__', kind)}: was another version used?")


def _build_dataclass(data: Any, kind: type, where: str) -> Any:
    found = data.get("class") if isinstance(data, dict) else data
    if found != kind.__name__:
        raise ValueError(f"{where} is a {found!r} and not a {kind.__name__}: was another version used?")
    hints = get_type_hints(kind, include_extras=True)
    names = {field.name for field in fields(kind) if field.init}
    unknown = sorted(set(data) - names - {"class"})
    if unknown:
        raise ValueError(f"{where}.{unknown[0]} is unknown to {kind.__name__}: was another version used?")
    return kind(**{name: _build(data[name], hints[name], f"{where}.{name}") for name in names if name in data})


def _build_union(data: Any, kinds: tuple[Any, ...], where: str) -> Any:
    errors = []
    for each in kinds:
        try:
            return _build(data, each, where)
        except ValueError as error:
            if isinstance(data, dict) and data.get("class") == getattr(each, "__name__", None):
                raise
            errors.append(error)
    found = repr(data.get("class", data) if isinstance(data, dict) else data)
    names = ", ".join(getattr(each, "__name__", str(each)) for each in kinds)
    raise ValueError(f"{where} is {found}, which is none of {names}: was another version used?") from errors[-1]


def _build_sequence(data: Any, kind: Any, where: str) -> Any:
    if not isinstance(data, (list, tuple)):
        raise ValueError(f"{where} is {data!r} and no list: was another version used?")
    inner, collect = get_args(kind), (get_origin(kind) or kind)
    if collect is tuple and inner and inner[-1] is not Ellipsis:
        if len(inner) != len(data):
            raise ValueError(f"{where} has {len(data)} entries and not {len(inner)}: was another version used?")
        each = inner
    else:
        each = (inner[0] if inner else Any,) * len(data)
    return collect(_build(value, one, f"{where}[{i}]") for i, (value, one) in enumerate(zip(data, each, strict=True)))


class Run:
    """A folder that holds one run: `config.json`, `environment.json`, `metrics.jsonl`, `log.txt`, TensorBoard's events.

    Make one by `Run.create` or `Run.resume`; use it in a `with` block, or call `close`.

    Attributes:
        folder: Where it lies.
        config: The resolved config, as `config_to_dict` gives it.
    """

    def __init__(self, folder: Path, config: Any) -> None:
        self.folder, self.config = folder, config
        self._metrics = (folder / METRICS).open("a", encoding="utf-8")
        self._events: SummaryWriter | None = None
        self._logger = logging.getLogger(f"papertrio.run.{id(self)}")
        self._logger.setLevel(logging.INFO)
        self._logger.propagate = False
        file = logging.FileHandler(folder / LOG, encoding="utf-8")
        file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        self._logger.handlers = [file, _Console()]

    @classmethod
    def create(cls, folder: str | Path, config: Any) -> Self:
        """Start a run in a new or empty folder.

        Args:
            folder: Where the run is to lie.
            config: A frozen dataclass, or what `config_to_dict` gives.

        Returns:
            The run, with config and environment written.

        Raises:
            ValueError: If the folder holds a run already.
            OSError: If the folder cannot be made.

        Example:
            >>> import tempfile
            >>> with Run.create(Path(tempfile.mkdtemp()) / "a", {"steps": 2}) as run:
            ...     run.log(1, loss=0.5)
            >>> read_metrics(run.folder)
            [{'step': 1, 'loss': 0.5}]
        """
        folder = Path(folder)
        if (folder / CONFIG).exists():
            raise ValueError(f"{folder}: holds a run already: give another folder, or go on with --resume {folder}")
        folder.mkdir(parents=True, exist_ok=True)
        resolved = config_to_dict(config)
        _write_json(folder / ENVIRONMENT, environment())
        _write_json(folder / CONFIG, resolved)
        return cls(folder, resolved)

    @classmethod
    def resume(cls, folder: str | Path, step: int) -> Self:
        """Go on with a run from the state after `step`.

        Rows of `metrics.jsonl` are never removed: a marker supersedes those after `step`, which are measured anew.

        Args:
            folder: Where the run lies.
            step: The last step whose results are kept.

        Returns:
            The run, with the config it was started with.

        Raises:
            FileNotFoundError: If the folder holds no run.
            ValueError: If its config is damaged.
        """
        folder = Path(folder)
        run = cls(folder, read_config(folder))
        path = folder / METRICS
        torn = path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")
        run._write({"resumed_after": step}, start="\n" if torn else "")
        if run._events_exist():
            run._open_events(purge_step=step + 1)
        return run

    def log(self, step: int, **values: float) -> None:
        """Append one row to `metrics.jsonl` and to TensorBoard.

        Args:
            step: Where the run stands; rows come in its order.
            values: Figures by name.
        """
        row = {name: float(value) for name, value in values.items()}
        self._write({"step": int(step), **row})
        if self._events is None:
            self._open_events()
        assert self._events is not None
        for name, value in row.items():
            self._events.add_scalar(name, value, step)

    def info(self, text: str) -> None:
        """Say something on the console, above a progress bar, and in `log.txt`."""
        self._logger.info(text)

    def close(self) -> None:
        """Write out what is buffered and close the files."""
        self._metrics.close()
        if self._events is not None:
            self._events.close()
        for handler in self._logger.handlers:
            handler.close()
        self._logger.handlers = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, row: dict[str, Any], start: str = "") -> None:
        self._metrics.write(start + json.dumps(row) + "\n")
        self._metrics.flush()

    def _events_exist(self) -> bool:
        return any(self.folder.glob("events.out.tfevents.*"))

    def _open_events(self, purge_step: int | None = None) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to import, and a short command may not need it

        self._events = SummaryWriter(str(self.folder), purge_step=purge_step)


class _Console(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record))


def read_config(folder: str | Path) -> Any:
    """The resolved config of a run, as `config_to_dict` gave it.

    Args:
        folder: Where the run lies.

    Returns:
        Nested dictionaries and lists.

    Raises:
        FileNotFoundError: If the folder holds no run.
        ValueError: If the file is damaged.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: holds no run ({CONFIG} is missing): check the path")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: is damaged ({error}): start the run anew") from error


def read_metrics(folder: str | Path) -> list[dict[str, Any]]:
    """Rows of a run's `metrics.jsonl`, without those that a resumed run has measured anew.

    Args:
        folder: Where the run lies.

    Returns:
        One dictionary for each row, `step` first; a line torn by a crash is passed over.

    Raises:
        FileNotFoundError: If the folder holds no `metrics.jsonl`.
    """
    path = Path(folder) / METRICS
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: holds no {METRICS}: check the path")
    rows: list[dict[str, Any]] = []
    for row in _parsed(path):
        if "resumed_after" in row:
            rows = [each for each in rows if each["step"] <= row["resumed_after"]]
        else:
            rows.append(row)
    return rows


def _parsed(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and ("step" in row or "resumed_after" in row):
            yield row


def environment() -> dict[str, Any]:
    """What a figure depends on besides its config: commit, versions, device.

    Returns:
        What JSON can hold; no name or path of a machine.

    Example:
        >>> sorted(environment())
        ['commit', 'device', 'machine', 'python', 'threads', 'versions']
    """
    wanted = {"torch", "numpy", "scipy", "papertrio-shared", "qkd-cil", "gradient-flow-drifting", "cbldm"}
    names = ((each.metadata["Name"], each.version) for each in distributions())
    return {
        "commit": _commit(),
        "python": platform.python_version(),
        "versions": dict(sorted((name, version) for name, version in names if name in wanted)),
        "machine": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
    }


def _commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _write_json(path: Path, data: Any) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
