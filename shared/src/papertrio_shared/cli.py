"""The command line: presets and overrides by tyro, errors as one line."""

import errno
import functools
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, suppress
from difflib import get_close_matches
from io import StringIO
from typing import Annotated, Any

import tyro

_REMEDIES = {
    errno.ENOSPC: "free some space, then give the command again",
    errno.EDQUOT: "free some space, then give the command again",
    errno.EROFS: "name another place",
    errno.EACCES: "mend its permissions, or name another place",
    errno.EPERM: "mend its permissions, or name another place",
}


def presets(configs: Mapping[str, Any]) -> Any:
    """A type for a command's parameter: the name of a preset, then overrides as tyro spells them.

    Args:
        configs: Presets by name, all instances of one config class.

    Returns:
        An annotation; the parameter's name is no part of the overrides' names.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Config:
        ...     steps: int = 5
        >>> def train(config: presets({"short": Config(2), "long": Config(9)})) -> None:
        ...     '''Train.'''
        ...     print(config)
        >>> main({"train": train}, prog="x", description="", argv=["train", "long", "--steps", "8"])
        Config(steps=8)
        0
    """
    kind = tyro.extras.subcommand_type_from_defaults(dict(configs), prefix_names=False, sort_subcommands=False)
    return Annotated[kind, tyro.conf.arg(name="")]


def main(
    commands: Mapping[str, Callable[..., None]], *, prog: str, description: str, argv: Sequence[str] | None = None
) -> int:
    """Parse a command line, run its command, and turn what goes wrong into one line.

    Every annotated function in `commands` becomes a sub-command; `--debug` anywhere shows the traceback.

    Args:
        commands: Functions by the name of their command.
        prog: Name of the program.
        description: What it is for.
        argv: The words after the program's name; by default those of the process.

    Returns:
        Exit status: 0, 2 after an error, 130 after an interrupt.

    Example:
        >>> def add(a: int, b: int = 1) -> None:
        ...     '''Add two numbers.'''
        ...     print(a + b)
        >>> main({"add": add}, prog="sum", description="Sums.", argv=["add", "--a", "2"])
        3
        0
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    captured = StringIO()
    try:
        with redirect_stderr(captured):
            command = _parse(commands, prog, description, words)
    except BrokenPipeError:  # the reader of --help has seen enough
        return _leave_pipe()
    except SystemExit as stop:
        if stop.code in (None, 0):
            return 0
        return _fail(_usage_error(captured.getvalue(), words, prog))
    try:
        command()
    except KeyboardInterrupt:
        if debug:
            raise
        print(f"\n{prog}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return _leave_pipe()
    except Exception as error:
        if debug:
            raise
        return _fail(_one_line(error))
    return 0


def _leave_pipe() -> int:
    """Point standard output elsewhere, so that its flush at exit meets no broken pipe; the status is success."""
    with suppress(OSError, ValueError):  # a test's stand-in has no file descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parse(
    commands: Mapping[str, Callable[..., None]], prog: str, description: str, words: Sequence[str]
) -> Callable[[], None]:
    deferred = {name: _deferred(function) for name, function in commands.items()}
    return tyro.extras.subcommand_cli_from_dict(
        deferred, prog=prog, description=description, args=words, config=(tyro.conf.CascadeSubcommandArgs,)
    )


def _deferred(function: Callable[..., None]) -> Callable[..., Callable[[], None]]:
    """The same signature, but the call is left for later: parsing must not be mistaken for running."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Callable[[], None]:
        return functools.partial(function, *args, **kwargs)

    return wrapper


def _usage_error(text: str, words: Sequence[str], prog: str) -> str:
    """The first statement below the title of tyro's box, and the nearest name to what was typed."""
    plain = " ".join(re.sub("[│╭╮╰╯]", " ", text).split())
    statements = [part.strip() for part in re.split("[─-]{3,}", plain) if part.strip()]
    if len(statements) < 2:
        return plain or "the command line cannot be read"
    message = statements[1].replace("__tyro-dummy-inner__.", "").rstrip(".")  # tyro's word for a nameless parameter
    sections = dict(part.split(":", 1) for part in statements[2:] if ":" in part)
    names = [name.strip() for name in sections.get("Available subcommands", "").split(",") if name.strip()]
    meant = [word for word in words if word in message] or words  # not the words before it, which were understood
    near = [match for word in meant for match in get_close_matches(word, names, n=1) if word not in names]
    near += re.findall(r"^ *(--[\w.-]+)", sections.get("Perhaps you meant", ""))
    if near:
        message += f"; did you mean {near[0]!r}?"
    elif names:
        message += f"; there are {', '.join(names)}"
    return f"{message} ({prog} --help says more)"


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        remedy = f"; {_REMEDIES[error.errno]}" if error.errno in _REMEDIES else ""
        return f"{where}{error.strerror.lower()}{remedy}"
    expected = isinstance(error, (ValueError, OSError, ImportError, FloatingPointError))
    return text if expected else f"{type(error).__name__}: {text} (an error in the program: --debug shows where)"


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2
