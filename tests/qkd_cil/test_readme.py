"""The README's code runs as it stands there."""

import re
from pathlib import Path

import pytest
from qkd_cil.report import markdown_table, read_runs

README = Path(__file__).parents[2] / "packages" / "qkd-cil" / "README.md"


def test_the_tour_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 2
    namespace: dict[str, object] = {"__name__": "tour"}
    for block in blocks:
        exec(compile(block, str(README), "exec"), namespace)
    assert capsys.readouterr().out.count("accuracy") == 6
    assert namespace["summary"].last_accuracy > 0.85
    assert len(namespace["labels"]) == 8


def test_what_the_readme_links_to_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README.read_text(encoding="utf-8")):
        assert (README.parent / target).is_file(), target


def test_the_tables_are_those_of_the_committed_results() -> None:
    text = README.read_text(encoding="utf-8")
    results = README.parents[2] / "benchmarks" / "results" / "qkd_cil"
    folders = sorted({path.parent.parent for path in results.glob("*/*/result.json")})
    assert folders
    for folder in folders:
        rows = markdown_table(read_runs(sorted(folder.iterdir()))).splitlines()[2:]
        assert [row for row in rows if row not in text] == []
