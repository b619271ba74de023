"""Finished runs side by side: tables, a picture, one self-contained page."""

import html
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from papertrio_shared.checkpoint import atomic_write

from qkd_cil import page, plots
from qkd_cil.names import protocol
from qkd_cil.tables import ComparedRun, latex_table, markdown_table, paired_table, rows_of, spread

SHORT = {
    "average_accuracy": "average",
    "last_accuracy": "last",
    "mean_task_accuracy": "mean of tasks",
    "last_accuracy_given_task": "given task",
    "forgetting": "forgetting",
    "backward_transfer": "backward",
    "forward_transfer": "forward",
    "average_routing_accuracy": "average routing",
    "last_routing_accuracy": "routing",
    "last_gate_entropy": "entropy",
    "last_gate_calibration_error": "calibration",
}


def write_comparison(folder: Path, runs: Sequence[ComparedRun]) -> list[Path]:
    """Write `comparison.md`, `comparison.tex`, `comparison.png` and `comparison.html`.

    Args:
        folder: Where they go.
        runs: At least one.

    Returns:
        Their paths.

    Raises:
        ValueError: If the runs have different numbers of tasks.
    """
    lengths = {len(each["accuracy"]) for run in runs for each in run.results}
    if len(lengths) > 1:
        raise ValueError(f"the runs have {sorted(lengths)} tasks; compare runs of one scenario")
    table, latex, picture, whole = (folder / f"comparison.{suffix}" for suffix in ("md", "tex", "png", "html"))
    paired = paired_table(runs)
    for path, text in ((table, "\n".join(filter(None, (markdown_table(runs), paired)))), (latex, latex_table(runs))):
        with atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    plots.save(comparison_picture(runs), picture)
    head, *rows = rows_of(runs)
    body = [
        "<h1>Comparison</h1>",
        f'<p class="sub">{html.escape(protocol(*(each for run in runs for each in run.results)))}</p>',
        page.table(rows, head=head),
        '<p class="sub">Percent, seconds, most memory in use; mean ± standard deviation where there are several '
        "seeds.</p>",
        *_paired_section(paired),
        page.embedded(picture, "Accuracy on the test images of all classes seen, after each task."),
        "<h2>Every measure</h2>",
        page.table(*_measures_of_all(runs)),
        "<p class=\"sub\">Percent. Given task: the answer restricted to the true task's classes. Entropy of the gate's "
        "weights over that of equal ones; calibration error of the largest.</p>",
    ]
    page.write_page(whole, "Comparison", body)
    return [table, latex, picture, whole]


def _paired_section(table: str) -> list[str]:
    if not table:
        return []
    head, _, *rows = ([cell.strip() for cell in line.strip("| ").split("|")] for line in table.splitlines())
    note = '<p class="sub">Mean difference over the seeds in common, per cent, and its 95 % interval (Student).</p>'
    return [page.table(rows, head=head), note]


def _measures_of_all(runs: Sequence[ComparedRun]) -> tuple[list[list[str]], list[str]]:
    """A row for each run with every measure that one of them has, and the head."""
    found = [measure for measure in SHORT if any(run.values(measure) for run in runs)]
    rows = []
    for run in runs:
        cells = [spread([100 * value for value in run.values(measure)], ".2f") for measure in found]
        rows.append([run.name, *cells])
    return rows, ["run", *(SHORT[measure] for measure in found)]


def comparison_picture(runs: Sequence[ComparedRun]) -> Figure:
    """Accuracy over tasks of several runs."""
    return plots.accuracy_over_tasks({run.name: [each["accuracy"] for each in run.results] for run in runs})
