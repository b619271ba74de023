"""A folder of results that is there whole or not at all."""

import glob
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def result_folder(out: Path, owned: Sequence[str]) -> Iterator[Path]:
    """A temporary folder beside `out` that takes its place when the block ends without an error.

    Args:
        out: Folder of the results. One that holds nothing but earlier results of the same kind is replaced.
        owned: Patterns of the names of such results.

    Yields:
        Where to write.

    Raises:
        ValueError: If `out` is a file, holds something else, or cannot be written.
    """
    out = out.resolve()
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out}: it is a file; give another --out")
    foreign = sorted(p.name for p in out.iterdir() if not any(p.match(name) for name in owned)) if out.exists() else []
    if foreign:
        raise ValueError(f"{out}: it holds {foreign[0]}, which is no earlier result; give a new folder as --out")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{out.name}.{platform.node()}-"
        _remove_abandoned(out.parent, prefix)
        temporary = Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=out.parent))
    except OSError as error:
        raise _cannot_be_written(out, error) from error
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        _replace(temporary, out)
    except OSError as error:
        about_out = error.filename is None or temporary in Path(error.filename).parents
        if error.errno is not None and about_out:  # a full disk, and not what was read or our own words
            raise _cannot_be_written(out, error) from error
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def make_folder(out: Path) -> None:
    """Make a folder of results, and those it lies in, where it is not there; before work begins that ends in it.

    Args:
        out: The folder.

    Raises:
        ValueError: If it is a file, or cannot be made.

    >>> make_folder(Path(__file__))
    Traceback (most recent call last):
    ValueError: ...output.py: it cannot be written (file exists); give another --out
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_be_written(out, error) from error


def _cannot_be_written(out: Path, error: OSError) -> ValueError:
    reason = (error.strerror or str(error)).lower()
    return ValueError(f"{out}: it cannot be written ({reason}); give another --out")


def _remove_abandoned(parent: Path, prefix: str) -> None:
    """Folders of processes of this machine that were killed while they wrote."""
    for path in parent.glob(f"{glob.escape(prefix)}*"):
        pid = path.name.removeprefix(prefix).partition("-")[0]
        if pid.isdigit() and not _runs(int(pid)):
            shutil.rmtree(path, ignore_errors=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _replace(temporary: Path, out: Path) -> None:
    if not out.exists():
        temporary.rename(out)
        return
    former = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        out.rename(former / out.name)
        try:
            temporary.rename(out)
        except BaseException:
            (former / out.name).rename(out)
            raise
    finally:
        shutil.rmtree(former, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
