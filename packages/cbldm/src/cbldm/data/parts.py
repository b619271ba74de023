"""Work cut into parts that are made on all cores, each written once and whole, so that it may stop at any time.

Each part is a function of the settings and its number alone. The parts lie in a folder beside what they will be joined
to; who comes again with the same settings finds those that are there and makes the rest. The processes are
interpreters of their own rather than forks, so that threads of the caller do no harm and no script needs a guard.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from papertrio_shared.checkpoint import atomic_write
from papertrio_shared.progress import progress

from ..output import make_folder

Part = dict[str, np.ndarray]
Maker = Callable[[dict[str, Any], int], Part]

_WAIT = 0.1
"""Between two looks at how many parts there are, s."""


def cores() -> int:
    """Number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def make_parts(
    folder: Path, maker: Maker, settings: Mapping[str, Any], count: int, *, jobs: int | None = None, description: str
) -> Iterator[Part]:
    """Make all parts that are not there yet, then give them in order.

    Args:
        folder: Where the parts lie; made where it is missing.
        maker: A function at the top of a module, which makes part k of these settings.
        settings: What JSON can hold.
        count: Number of parts.
        jobs: Number of processes; by default one for each core.
        description: What is done, for the progress bar.

    Yields:
        The parts.

    Raises:
        ValueError: If the folder holds parts of other settings, `jobs` is not positive, or a process ends early.
    """
    jobs = cores() if jobs is None else jobs
    if jobs < 1:
        raise ValueError(f"jobs {jobs}: give the number of processes, 1 or more")
    task = {"maker": f"{maker.__module__}:{maker.__qualname__}", "settings": dict(settings), "count": count}
    _claim(folder, task)
    missing = [k for k in range(count) if not _path(folder, k).is_file()]
    with progress(range(count), description, initial=count - len(missing)) as bar:
        if jobs == 1 or len(missing) < 2:
            for k in missing:
                _make(folder, maker, settings, k)
                bar.update()
        else:
            _share(folder, missing, min(jobs, len(missing)), bar.update)
    for k in range(count):
        yield _read(_path(folder, k)) or _make(folder, maker, settings, k)


def remove_parts(folder: Path) -> None:
    """Remove the parts once they have been joined.

    Args:
        folder: Where they lie.
    """
    shutil.rmtree(folder, ignore_errors=True)


def _claim(folder: Path, task: dict[str, Any]) -> None:
    make_folder(folder)
    told = folder / "task.json"
    text = json.dumps(task, indent=1, sort_keys=True)
    if told.is_file() and told.read_text(encoding="utf-8") != text:
        raise ValueError(f"{folder}: parts of an unfinished run with other settings; remove it, or take another name")
    if not told.is_file():
        with atomic_write(told) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _path(folder: Path, k: int) -> Path:
    return folder / f"{k:05d}.npz"


def _make(folder: Path, maker: Maker, settings: Mapping[str, Any], k: int) -> Part:
    part = maker(dict(settings), k)
    with atomic_write(_path(folder, k)) as temporary:
        np.savez(temporary, **part)  # type: ignore[arg-type]
    return part


def _read(path: Path) -> Part | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, BadZipFile, EOFError, KeyError):
        return None  # removed by another process, or damaged: it is made anew


def _share(folder: Path, missing: list[int], jobs: int, made: Callable[[int], object]) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with ExitStack() as stack:
        errors = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(jobs)]
        workers = []
        for k, error in enumerate(errors):
            command = [sys.executable, "-c", _WORK, str(folder), *map(str, missing[k::jobs])]
            worker = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=error, env=environment)
            stack.callback(worker.communicate)
            stack.callback(worker.terminate)
            workers.append(worker)
        done = 0
        while True:
            ended = [worker.poll() for worker in workers]
            now = sum(_path(folder, k).is_file() for k in missing)
            made(now - done)
            done = now
            for status, error in zip(ended, errors, strict=True):
                if status:
                    error.seek(0)
                    last = error.read().decode(errors="replace").strip().splitlines() or ["it was ended"]
                    raise ValueError(f"{folder}: a process ended early ({last[-1]}); run it again to go on from here")
            if None not in ended:
                return
            time.sleep(_WAIT)


_WORK = "import sys; from cbldm.data.parts import work; work(sys.argv[1], [int(k) for k in sys.argv[2:]])"


def work(folder: str, numbers: list[int]) -> None:
    """Make some of a folder's parts: the whole of a process, which ends when the one that started it does.

    Args:
        folder: The folder, with its task.
        numbers: Which parts.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    task = json.loads((Path(folder) / "task.json").read_text(encoding="utf-8"))
    module, name = task["maker"].split(":")
    maker: Maker = getattr(import_module(module), name)
    for k in numbers:
        _make(Path(folder), maker, task["settings"], k)


def _end_with_parent() -> None:
    os.read(0, 1)  # returns when the other end of the pipe is closed
    os._exit(1)
