"""The command line: presets, overrides, and errors of one line."""

import errno
import subprocess
import sys
from dataclasses import dataclass

import pytest
from papertrio_shared.cli import main, presets


@dataclass(frozen=True)
class Adam:
    rate: float = 1e-3


@dataclass(frozen=True)
class Sgd:
    momentum: float = 0.9


@dataclass(frozen=True)
class Config:
    optimizer: Adam | Sgd = Adam()
    steps: int = 5


Preset = presets({"short": Config(), "long": Config(Sgd(), 90)})


def train(config: Preset, *, out: str = "runs/a") -> None:  # type: ignore[valid-type]
    """Train a preset."""
    print(config, out)


def fail(kind: str) -> None:
    """Go wrong."""
    if kind == "value":
        raise ValueError("curve.gr, line 3: r does not increase:\n sort the file")
    if kind == "file":
        open("no/such/file")  # noqa: PTH123, SIM115
    if kind == "disk":
        raise OSError(errno.ENOSPC, "No space left on device")
    if kind == "interrupt":
        raise KeyboardInterrupt
    if kind == "pipe":
        raise BrokenPipeError
    raise KeyError("bug")


def run(*words: str) -> int:
    return main({"train": train, "fail": fail}, prog="trial", description="A trial.", argv=words)


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (["short"], "Config(optimizer=Adam(rate=0.001), steps=5) runs/a"),
        (["long", "--out", "b", "--steps", "7"], "Config(optimizer=Sgd(momentum=0.9), steps=7) b"),
        (
            ["short", "optimizer:sgd", "--optimizer.momentum", "0.5"],
            "Config(optimizer=Sgd(momentum=0.5), steps=5) runs/a",
        ),
        (["short", "--out", "c", "optimizer:sgd", "--steps", "8"], "Config(optimizer=Sgd(momentum=0.9), steps=8) c"),
    ],
)
def test_presets_and_overrides(capsys: pytest.CaptureFixture[str], words: list[str], printed: str) -> None:
    assert run("train", *words) == 0
    assert capsys.readouterr().out.strip() == printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fail", "--kind", "value"], "error: curve.gr, line 3: r does not increase: sort the file\n"),
        (["fail", "--kind", "file"], "error: no/such/file: no such file or directory\n"),
        (["fail", "--kind", "disk"], "error: no space left on device; free some space, then give the command again\n"),
        (["fail", "--kind", "bug"], "error: KeyError: 'bug' (an error in the program: --debug shows where)\n"),
        (["train", "shrot"], "error: Unrecognized options: shrot; did you mean 'short'? (trial --help says more)\n"),
        (["fly"], "error: Unrecognized options: fly; there are train, fail (trial --help says more)\n"),
        ([], "error: Expected one of {train, fail} (trial --help says more)\n"),
    ],
)
def test_what_goes_wrong_is_one_line(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert run(*words) == 2
    assert capsys.readouterr() == ("", message)


def test_a_wrong_value_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "short", "--steps", "many") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: Error parsing --steps")
    assert error.count("\n") == 1


def test_a_mistyped_option_is_one_line_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "short", "--stesp", "3") == 2
    error = capsys.readouterr().err
    assert error == "error: Unrecognized options: --stesp, 3; did you mean '--steps'? (trial --help says more)\n"


def test_help_goes_to_the_output_and_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    out, err = capsys.readouterr()
    assert "A trial." in out
    assert err == ""


def test_interrupt_and_closed_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fail", "--kind", "interrupt") == 130
    assert "trial: interrupted" in capsys.readouterr().err
    assert run("fail", "--kind", "pipe") == 0


def test_debug_shows_the_traceback() -> None:
    with pytest.raises(ValueError, match="does not increase"):
        run("fail", "--kind", "value", "--debug")


PROGRAM = """
import sys
from papertrio_shared.cli import main
def many(lines: int = 100_000) -> None:
    '''Print many lines.'''
    for i in range(lines):
        print(i, "x" * 70)
raise SystemExit(main({"many": many}, prog="x", description="A program. " * 2000))
"""


@pytest.mark.parametrize("word", ["--help", "many"])
def test_a_reader_that_leaves_early_is_no_error(word: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, word], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 0


def test_a_name_is_suggested_for_the_word_that_was_not_understood(capsys: pytest.CaptureFixture[str]) -> None:
    """The command `train` before it resembles `ring`."""

    def train(config: presets({"ring": Config(), "8gaussians": Config()})) -> None:  # type: ignore[valid-type]
        """Train a preset."""

    assert main({"train": train, "fail": fail}, prog="p", description="d", argv=["train", "8gausians"]) == 2
    assert "did you mean '8gaussians'?" in capsys.readouterr().err
