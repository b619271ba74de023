"""What no tracked file may hold, and what every file keeps to."""

import re
from pathlib import Path

import pytest
from workspace.layout import ROOT, SOURCES, text_of, tracked_files

FILES = tracked_files()
PYTHON = [path for path in FILES if path.suffix == ".py"]
# Assembled, so that this file does not hold what it looks for.
HOSTS = re.compile("|".join(["py" + r"pi\.org", "python" + "hosted", "npm" + r"js\.(org|com)", r"deb\." + "debian"]))
MACHINE = re.compile(r"(?<![\w.~/-])/(" + "|".join(["work", "home", "root", "Users", "farm"]) + r")/[\w.-]+")


def name(path: Path) -> str:
    """Path of a file within the repository."""
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("pattern", [HOSTS, MACHINE], ids=["registry host", "machine path"])
def test_no_file_names_a_registry_host_or_a_machine_path(pattern: re.Pattern[str]) -> None:
    found = [f"{name(path)}: {match.group()}" for path in FILES if (match := pattern.search(text_of(path)))]
    assert found == []


def test_the_patterns_find_what_they_look_for() -> None:
    assert HOSTS.search("https://" + "files." + "python" + "hosted.org/x")
    assert MACHINE.search("see /" + "home/someone/data")
    assert not MACHINE.search("https://example.org/" + "home/page")


def test_names_say_something() -> None:
    empty = {"utils.py", "common.py", "helpers.py", "misc.py", "base.py", "util.py"}
    assert [name(path) for path in PYTHON if path.name in empty] == []


def test_no_file_is_too_long_to_read() -> None:
    assert [name(path) for path in PYTHON if len(path.read_text(encoding="utf-8").splitlines()) > 600] == []


def test_nothing_is_left_open() -> None:
    pattern = re.compile(r"\b(TO" + "DO|FIX" + "ME|XX" + r"X)\b|raise Not" + "ImplementedError")
    assert [name(path) for path in PYTHON if pattern.search(path.read_text(encoding="utf-8"))] == []


def test_tests_stand_in_their_only_home() -> None:
    strays = [path for path in PYTHON if path.name.startswith("test_") and not path.is_relative_to(ROOT / "tests")]
    assert strays == []


def test_no_large_file_is_tracked() -> None:
    assert [name(path) for path in FILES if path.stat().st_size > 16 * 2**20] == []


def test_nothing_stands_at_the_top_that_the_layout_does_not_name() -> None:
    allowed = {
        "pyproject.toml", "uv.lock", "requirements.lock", "packages", "shared", "benchmarks", "tests", "Makefile",
        "README.md", "CONTRIBUTING.md", "CITATION.cff", "CHANGELOG.md", "LICENSE",
    }  # fmt: skip
    top = {path.relative_to(ROOT).parts[0] for path in FILES}
    assert {each for each in top - allowed if not each.startswith(".")} == set()
    assert allowed - top == {"uv.lock"}, "uv.lock is made, not committed"


def test_every_wheel_carries_the_licence() -> None:
    text = (ROOT / "LICENSE").read_text()
    members = [source.parents[1] for source in SOURCES.values()]
    assert all((member / "LICENSE").read_text() == text for member in members)
    assert all((source / "py.typed").is_file() for source in SOURCES.values())


@pytest.mark.parametrize("readme", [path for path in FILES if path.suffix == ".md"], ids=name)
def test_links_within_the_repository_lead_somewhere(readme: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", readme.read_text(encoding="utf-8"))
    local = [each for each in targets if not re.match(r"[a-z]+:", each)]
    assert [each for each in local if not (readme.parent / each).exists()] == []
