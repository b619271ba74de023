"""The README's code runs as it stands there."""

import json
import re
from pathlib import Path

import pytest
from qkd_cil.tables import markdown_table, read_runs

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
    """A row of the README has every figure of its result, and none that is not."""
    lines = README.read_text(encoding="utf-8").replace("`", "").splitlines()
    results = README.parents[2] / "benchmarks" / "results" / "qkd-cil"
    files = sorted(results.glob("*/*/result.json"))
    assert files
    for file in files:
        result = json.loads(file.read_text(encoding="utf-8"))
        (row,) = markdown_table(read_runs([file.parent])).splitlines()[2:]
        name, method, _, *figures = cells(row)
        given = f"{100 * result['summary']['last_accuracy_given_task']:.2f}"
        known = {*figures, given, "1", str(result["config"]["schedule"]["learning_rate"]), "–"}
        rows = [cells(line) for line in lines if line.startswith(f"| {name} | {method} |")]
        assert any(set(figures) <= set(found[2:]) <= known for found in rows), f"{file}: {figures} stand in no row"


def cells(row: str) -> list[str]:
    """Cells of a row of a Markdown table."""
    return [cell.strip() for cell in row.strip("| ").split("|")]
