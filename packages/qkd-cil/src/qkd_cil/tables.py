"""Results of several runs as tables: Markdown, LaTeX, differences paired by seed."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from papertrio_shared.metrics import mean_interval

from qkd_cil.names import method_name

RESULT = "result.json"
KEYS = {"accuracy", "class_names", "config", "dataset", "peak_memory_bytes", "seconds", "summary", "task_classes"}
NEEDED = {"average_accuracy", "last_accuracy", "forgetting", "last_routing_accuracy"}
COLUMNS = {
    "average": ("average_accuracy", 100, ".2f"),
    "last": ("last_accuracy", 100, ".2f"),
    "forgetting": ("forgetting", 100, ".2f"),
    "routing": ("last_routing_accuracy", 100, ".2f"),
    "seconds": ("seconds", 1, ".0f"),
    "MiB": ("peak_memory_bytes", 2**-20, ".0f"),
}


@dataclass(frozen=True)
class ComparedRun:
    """One method's results over its seeds.

    Attributes:
        name: Its folder.
        results: What stands in each seed's `result.json`.
    """

    name: str
    results: tuple[dict[str, Any], ...]

    def values(self, measure: str) -> list[float]:
        """One figure of each seed, those without it left out."""
        found = [each["summary"].get(measure, each.get(measure)) for each in self.results]
        return [value for value in found if value is not None]

    def by_seed(self) -> dict[int, dict[str, float]]:
        """The summary of each seed."""
        return {each["config"]["seed"]: each["summary"] for each in self.results}


def read_runs(folders: Sequence[Path]) -> list[ComparedRun]:
    """Results of runs, each folder holding one seed or a folder for each of several.

    Raises:
        FileNotFoundError: If a folder holds no finished run.
        ValueError: If a result is damaged.
    """
    runs = []
    for folder in folders:
        files = [folder / RESULT] if (folder / RESULT).is_file() else sorted(folder.glob(f"*/{RESULT}"))
        if not files:
            raise FileNotFoundError(f"{folder}: holds no finished run ({RESULT} is missing); check it or run --resume")
        try:
            results = tuple(json.loads(file.read_text(encoding="utf-8")) for file in files)
            whole = all(set(each) >= KEYS and set(each["summary"]) >= NEEDED for each in results)
        except (ValueError, TypeError):
            whole = False
        if not whole:
            raise ValueError(f"{folder}: a {RESULT} is damaged; resume the run to write it anew")
        runs.append(ComparedRun(folder.name or str(folder), results))
    return runs


def markdown_table(runs: Sequence[ComparedRun]) -> str:
    """Runs side by side: percentages as mean ± standard deviation over the seeds, seconds, most memory in use.

    Args:
        runs: One for each row.

    >>> summary = {"average_accuracy": 0.5, "last_accuracy": 0.4, "forgetting": 0.1, "last_routing_accuracy": None}
    >>> learner = {"class": "SimpleCILConfig"}
    >>> result = {"summary": summary, "seconds": 3.2, "peak_memory_bytes": 2**20, "config": {"learner": learner}}
    >>> print(markdown_table([ComparedRun("a", (result,))]).splitlines()[2])
    | a | SimpleCIL | 1 | 50.00 | 40.00 | 10.00 | – | 3 | 1 |
    """
    head, *rows = rows_of(runs)
    lines = [head, ["---", "---", *["---:"] * (len(head) - 2)], *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def latex_table(runs: Sequence[ComparedRun]) -> str:
    r"""The same table for LaTeX, without any package.

    Args:
        runs: One for each row.

    >>> summary = {"average_accuracy": 0.5, "last_accuracy": 0.4, "forgetting": 0.1, "last_routing_accuracy": None}
    >>> learner = {"class": "SimpleCILConfig"}
    >>> result = {"summary": summary, "seconds": 3.2, "peak_memory_bytes": 2**20, "config": {"learner": learner}}
    >>> print(latex_table([ComparedRun("a_1", (result,))]).splitlines()[4])
    a\_1 & SimpleCIL & 1 & 50.00 & 40.00 & 10.00 & -- & 3 & 1 \\
    """
    head, *rows = rows_of(runs)
    lines = [f"\\begin{{tabular}}{{ll{'r' * (len(head) - 2)}}}", "\\hline", _latex_row(head), "\\hline"]
    lines += [*map(_latex_row, rows), "\\hline", "\\end{tabular}"]
    return "\n".join(lines) + "\n"


def _latex_row(cells: Sequence[str]) -> str:
    escaped = [re.sub(r"([_&%#$])", r"\\\1", cell).replace("–", "--").replace(" ± ", " $\\pm$ ") for cell in cells]
    return " & ".join(escaped) + r" \\"


def rows_of(runs: Sequence[ComparedRun]) -> list[list[str]]:
    """The head of the table and a row for each run, as text."""
    rows = [["run", "method", "seeds", *COLUMNS]]
    for run in runs:
        methods = sorted({method_name(each["config"]["learner"]) for each in run.results})
        figures = [
            spread([factor * value for value in run.values(measure)], form)
            for measure, factor, form in COLUMNS.values()
        ]
        rows.append([run.name, ", ".join(methods), str(len(run.results)), *figures])
    return rows


def paired_table(runs: Sequence[ComparedRun]) -> str:
    """How far each run is ahead of the first one, seed by seed: mean difference and Student's 95 % interval, per cent.

    Args:
        runs: The first is what the others are held against.

    Returns:
        A Markdown table; empty if no run shares two seeds with the first.

    >>> summary = {"average_accuracy": 0.5, "last_accuracy": 0.4}
    >>> results = tuple({"summary": summary, "config": {"seed": seed}} for seed in (1, 2))
    >>> print(paired_table([ComparedRun("a", results), ComparedRun("b", results)]).splitlines()[2])
    | b | 2 | +0.00 (+0.00 to +0.00) | +0.00 (+0.00 to +0.00) |
    """
    head = (f"against {runs[0].name}", "seeds in common", "average", "last")
    lines = [head, ("---", "---:", "---:", "---:")]
    first = runs[0].by_seed()
    for run in runs[1:]:
        own = run.by_seed()
        seeds = sorted(set(first) & set(own))
        if len(seeds) < 2:
            continue
        cells = []
        for measure in ("average_accuracy", "last_accuracy"):
            found = mean_interval([100 * (own[seed][measure] - first[seed][measure]) for seed in seeds])
            cells.append(f"{found.value:+.2f} ({found.low:+.2f} to {found.high:+.2f})")
        lines.append((run.name, str(len(seeds)), cells[0], cells[1]))
    return "".join("| " + " | ".join(line) + " |\n" for line in lines) if len(lines) > 2 else ""


def spread(values: Sequence[float], form: str) -> str:
    """Mean ± standard deviation, the latter where there are several.

    Args:
        values: One for each seed; a dash stands for none.
        form: How numbers are written.

    >>> spread([1.0, 3.0], ".1f"), spread([], ".1f")
    ('2.0 ± 1.4', '–')
    """
    if not values:
        return "–"
    mean = f"{np.mean(values):{form}}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):{form}}"
