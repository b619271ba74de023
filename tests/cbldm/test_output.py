"""A folder of results is there whole or not at all."""

import errno
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from cbldm.output import result_folder

OWNED = ("report.html", "rank_*.xyz")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fill(out: Path, text: str) -> None:
    with result_folder(out, OWNED) as folder:
        (folder / "report.html").write_text(text)
        (folder / f"rank_{text}.xyz").write_text(text)


def test_a_folder_is_made_and_its_parents(tmp_path: Path) -> None:
    fill(tmp_path / "a" / "b", "1")
    assert names(tmp_path / "a" / "b") == ["rank_1.xyz", "report.html"]
    assert names(tmp_path / "a") == ["b"]
    plain = tmp_path / "plain"
    plain.mkdir()
    assert (tmp_path / "a" / "b").stat().st_mode == plain.stat().st_mode


def test_earlier_results_are_replaced_whole(tmp_path: Path) -> None:
    fill(tmp_path / "out", "1")
    fill(tmp_path / "out", "2")
    assert names(tmp_path / "out") == ["rank_2.xyz", "report.html"]
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_nothing_is_left_half_written(tmp_path: Path, error: type[BaseException]) -> None:
    def fail(out: Path) -> None:
        with result_folder(out, OWNED) as folder:
            (folder / "report.html").write_text("half")
            raise error

    with pytest.raises(error):
        fail(tmp_path / "new")
    assert names(tmp_path) == []
    fill(tmp_path / "old", "1")
    with pytest.raises(error):
        fail(tmp_path / "old")
    assert (tmp_path / "old" / "report.html").read_text() == "1"
    assert names(tmp_path) == ["old"]


@pytest.mark.parametrize(
    ("name", "told"), [(None, "out: it cannot"), ("in it", "out: it cannot"), ("of a user", "full")]
)
def test_a_full_disk_is_told_with_the_folder(name: str | None, told: str, tmp_path: Path) -> None:
    def fail() -> None:
        with result_folder(tmp_path / "out", OWNED) as folder:
            raise OSError(
                errno.ENOSPC, "Full", *([str((folder if name == "in it" else tmp_path) / "a")] if name else [])
            )

    with pytest.raises((ValueError, OSError), match=f"(?i){told}"):
        fail()
    assert names(tmp_path) == []


def test_what_is_told_of_another_file_stays_as_it_is(tmp_path: Path) -> None:
    """Errors of our own are OSErrors too, without a number."""
    with (
        pytest.raises(FileNotFoundError, match=r"^none.h5: no such library; make it$"),
        result_folder(tmp_path / "out", OWNED),
    ):
        raise FileNotFoundError("none.h5: no such library; make it")
    assert names(tmp_path) == []


def test_earlier_results_come_back_where_the_new_ones_cannot_take_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "out", "1")
    rename = Path.rename

    def refuse_the_new(source: Path, target: Path) -> Path:
        if (source / "rank_2.xyz").exists():
            raise PermissionError(13, "Permission denied", str(source))
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", refuse_the_new)
    with pytest.raises(PermissionError):
        fill(tmp_path / "out", "2")
    assert names(tmp_path / "out") == ["rank_1.xyz", "report.html"]
    assert names(tmp_path) == ["out"]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for pid in (gone.pid, os.getpid()):
        (tmp_path / f".out.{platform.node()}-{pid}-abc").mkdir()
    fill(tmp_path / "out", "1")
    assert names(tmp_path) == [f".out.{platform.node()}-{os.getpid()}-abc", "out"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    fill(tmp_path / "out", "1")
    assert (tmp_path / "out" / "report.html").exists()


def test_errors(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years")
    with pytest.raises(ValueError, match=r"mine: it holds thesis.tex, which is no earlier result; give a new folder"):
        fill(tmp_path / "mine", "1")
    assert names(tmp_path / "mine") == ["thesis.tex"]
    with pytest.raises(ValueError, match=r"thesis.tex: it is a file; give another --out"):
        fill(tmp_path / "mine" / "thesis.tex", "1")
    with pytest.raises(ValueError, match=r"below: it cannot be written \(.*\); give another --out"):
        fill(tmp_path / "mine" / "thesis.tex" / "below", "1")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    with pytest.raises(ValueError, match=r"out: it cannot be written \(permission denied\); give another --out"):
        fill(locked / "out", "1")
