"""Versions, workflows and targets agree with each other."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from workspace.isolated import pins
from workspace.layout import PACKAGES, ROOT

MEMBERS = {path.parent: tomllib.loads(path.read_text()) for path in ROOT.glob("packages/*/pyproject.toml")}
MEMBERS[ROOT / "shared"] = tomllib.loads((ROOT / "shared" / "pyproject.toml").read_text())
WORKSPACE = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = {
    re.sub("[-_.]+", "-", line.split("==")[0]).lower(): line.split("==")[1].split(";")[0].strip()
    for line in pins((ROOT / "requirements.lock").read_text()).splitlines()
}


def test_the_versions_of_members_fit_the_ranges_of_members() -> None:
    versions = {project["project"]["name"]: project["project"]["version"] for project in MEMBERS.values()}
    assert set(versions) == {*PACKAGES, "papertrio-shared"}
    for project in MEMBERS.values():
        for requirement in map(Requirement, project["project"]["dependencies"]):
            if requirement.name in versions:
                assert requirement.specifier.contains(versions[requirement.name])
                assert len(list(requirement.specifier)) == 2, "a range has two ends"


def test_the_pins_fit_the_ranges() -> None:
    for project in MEMBERS.values():
        for requirement in map(Requirement, project["project"]["dependencies"]):
            if requirement.name != "papertrio-shared":
                assert requirement.specifier.contains(LOCK[requirement.name.lower()]), str(requirement)


def test_the_changelog_names_the_version() -> None:
    assert f"## {WORKSPACE['project']['version']}" in (ROOT / "CHANGELOG.md").read_text()


def test_members_are_configured_in_the_root_alone() -> None:
    for folder, project in MEMBERS.items():
        assert set(project.get("tool", {})) == {"hatch"}, folder.name
        assert project["build-system"]["build-backend"] == "hatchling.build"
        assert project["project"]["requires-python"] == WORKSPACE["project"]["requires-python"]
    uv = WORKSPACE["tool"]["uv"]
    assert uv["package"] is False
    assert uv["python-downloads"] == "never"
    assert "index" not in uv
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}T00:00:00Z", uv["exclude-newer"])


def test_the_lock_is_hashed_and_names_no_index() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    assert "--index" not in text
    entries = re.split(r"\n(?=[A-Za-z0-9])", text.strip())
    assert len(entries) > 100
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_has_its_ci_over_the_reusable_workflow(package: str) -> None:
    caller = yaml.safe_load((ROOT / ".github" / "workflows" / f"{package}.yml").read_text())
    triggers = caller[True]  # YAML 1.1 reads the key `on` as true
    assert f"packages/{package}/**" in triggers["push"]["paths"] == triggers["pull_request"]["paths"]
    (job,) = caller["jobs"].values()
    assert job == {"uses": "./.github/workflows/package.yml", "with": {"package": package}}


def test_the_deciding_script_runs_what_the_readme_tells() -> None:
    script, readme = (ROOT / ".ci" / "run").read_text(), (ROOT / "README.md").read_text()
    assert "for target in demo check test test-isolated" in script
    assert all(f"make {target}" in readme for target in ("demo", "test"))
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o100


def test_help_lists_every_target() -> None:
    text = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][a-z%-]*):(?!=)", text, flags=re.MULTILINE))
    shown = subprocess.run(["make", "-C", str(ROOT), "help"], capture_output=True, text=True, check=True).stdout
    assert {target for target in targets if f"make {target} " not in shown} == set()
    wanted = {
        "help", "setup", "lock", "demo", "test", "test-slow", "test-gpu", "test-isolated", "check", "wheels", "bench",
        "bench-gpu", "smoke", "papers",
    }  # fmt: skip
    assert wanted <= targets


def test_pins_are_read_from_a_lock() -> None:
    lines = [
        'a==1.0 ; sys_platform == "linux" \\',
        "    --hash=sha256:00",
        "    # via b",
        "c==2 \\",
        "    --hash=sha256:2",
    ]
    text = "\n".join(lines)
    assert [line.strip() for line in pins(text).splitlines()] == ['a==1.0 ; sys_platform == "linux"', "c==2"]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_command_and_the_module_are_one_program(package: str) -> None:
    script = Path(sys.executable).parent / package
    by_name = subprocess.run([script, "--help"], capture_output=True, text=True, check=True).stdout
    module = [sys.executable, "-m", package.replace("-", "_"), "--help"]
    assert subprocess.run(module, capture_output=True, text=True, check=True).stdout == by_name
    assert package in by_name


def test_the_citation_names_the_paper_of_each_package() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == WORKSPACE["project"]["version"]
    notes = " ".join(each["notes"] for each in citation["references"])
    assert all(f"The method of {package}" in notes for package in PACKAGES)
    assert all(each["identifiers"][0]["value"].startswith("arXiv:") for each in citation["references"])
