"""One self-contained page for a run, one that compares runs, and their table."""

import base64
import html
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from papertrio_shared.checkpoint import atomic_write
from papertrio_shared.metrics import mean_interval
from papertrio_shared.run import dict_to_config

from qkd_cil import plots
from qkd_cil.learners.qkd import PROFILES, QKDConfig
from qkd_cil.models.gate import QuantumGateConfig

REPORT, RESULT = "report.html", "result.json"
KEYS = {"accuracy", "class_names", "config", "dataset", "peak_memory_bytes", "seconds", "summary", "task_classes"}
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2rem; }
p.sub { color: #666; margin-top: .2rem; }
table { border-collapse: collapse; } td, th { padding: .3rem .9rem .3rem 0; text-align: left; }
tr + tr td { border-top: 1px solid #e3e3e3; } td.n { text-align: right; font-variant-numeric: tabular-nums; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
figure { margin: 0; display: table; } img { max-width: 100%; }
figcaption { color: #555; font-size: .9rem; display: table-caption; caption-side: bottom; }
pre { background: #f5f5f5; padding: 1rem; overflow: auto; font-size: .8rem; }
"""
MEASURES = {
    "average_accuracy": "average accuracy (mean over tasks of the accuracy on all classes seen)",
    "last_accuracy": "last accuracy (all classes, after the last task)",
    "mean_task_accuracy": "mean of the last accuracies on each task",
    "last_accuracy_given_task": "last accuracy if the true task is known",
    "forgetting": "forgetting",
    "backward_transfer": "backward transfer",
    "forward_transfer": "forward transfer",
    "average_routing_accuracy": "average routing accuracy",
    "last_routing_accuracy": "last routing accuracy",
    "last_gate_entropy": "entropy of the weights over that of equal ones",
    "last_gate_calibration_error": "calibration error of the largest weight",
}
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
NEEDED = {"average_accuracy", "last_accuracy", "forgetting", "last_routing_accuracy"}
COLUMNS = {
    "average": ("average_accuracy", 100, ".2f"),
    "last": ("last_accuracy", 100, ".2f"),
    "forgetting": ("forgetting", 100, ".2f"),
    "routing": ("last_routing_accuracy", 100, ".2f"),
    "seconds": ("seconds", 1, ".0f"),
    "MiB": ("peak_memory_bytes", 2**-20, ".0f"),
}


def write_report(folder: Path, result: dict[str, Any]) -> list[Path]:
    """Write a run's pictures and `report.html`.

    Args:
        folder: Where they go.
        result: What stands in `result.json`.

    Returns:
        The page, then the pictures.
    """
    routed = result["routing"] is not None
    sent_by = "the gate's largest weight" if routed else "the predicted class"
    pictures = {
        "accuracy": (
            plots.accuracy_over_tasks({method_name(result["config"]["learner"]): [result["accuracy"]]}),
            "Accuracy on the test images of all classes seen, after each task.",
        ),
        "matrix": (
            plots.accuracy_matrix_picture(result["accuracy_matrix"]),
            "Accuracy on each task after each task: forgetting shows down a column.",
        ),
        "task_confusion": (
            plots.task_confusion_picture(result["task_confusion"]),
            f"Where the images of each task were sent after the last task, by {sent_by}.",
        ),
    }
    if routed:
        pictures["routing"] = (
            plots.routing_picture(result["routing"]),
            "Mean weight the gate gives each task after the last task.",
        )
    if result.get("gate_calibration"):
        pictures["calibration"] = (
            plots.calibration_picture(result["gate_calibration"]),
            "How often the task of the largest weight is the right one, after the last task.",
        )
    paths = [folder / f"{name}.png" for name in pictures]
    for path, (figure, _) in zip(paths, pictures.values(), strict=True):
        plots.save(figure, path)
    method = method_name(result["config"]["learner"])
    body = [
        f"<h1>{html.escape(method)} on {html.escape(result['dataset'])}</h1>",
        f'<p class="sub">{_protocol(result)}</p>',
        f'<p class="sub">{html.escape(result["skipped_images"])}</p>',
        "<h2>Measures</h2>",
        _table(_measure_rows(result)),
        "<h2>Pictures</h2>",
        '<div class="pictures">',
        *(_embedded(path, caption) for path, (_, caption) in zip(paths, pictures.values(), strict=True)),
        "</div>",
        "<h2>Tasks</h2>",
        _table(
            _task_rows(result),
            head=(
                "task",
                "classes",
                "accuracy on all seen, %",
                "s to learn",
                "s to judge",
                "numbers learned",
                "peak MiB",
            ),
        ),
        "<h2>Config</h2>",
        f"<pre>{html.escape(json.dumps(result['config'], indent=2))}</pre>",
        "<h2>Environment</h2>",
        f"<pre>{html.escape(json.dumps(result['environment'], indent=2))}</pre>",
    ]
    _write_page(folder / REPORT, f"{method} on {result['dataset']}", body)
    return [folder / REPORT, *paths]


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
    head, *rows = _rows(runs)
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
    head, *rows = _rows(runs)
    lines = [f"\\begin{{tabular}}{{ll{'r' * (len(head) - 2)}}}", "\\hline", _latex_row(head), "\\hline"]
    lines += [*map(_latex_row, rows), "\\hline", "\\end{tabular}"]
    return "\n".join(lines) + "\n"


def _latex_row(cells: Sequence[str]) -> str:
    escaped = [re.sub(r"([_&%#$])", r"\\\1", cell).replace("–", "--").replace(" ± ", " $\\pm$ ") for cell in cells]
    return " & ".join(escaped) + r" \\"


def _rows(runs: Sequence[ComparedRun]) -> list[list[str]]:
    """The head and a row for each run."""
    rows = [["run", "method", "seeds", *COLUMNS]]
    for run in runs:
        methods = sorted({method_name(each["config"]["learner"]) for each in run.results})
        figures = [
            _spread([factor * value for value in run.values(measure)], form)
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
    table, latex, picture, page = (folder / f"comparison.{suffix}" for suffix in ("md", "tex", "png", "html"))
    paired = paired_table(runs)
    for path, text in ((table, "\n".join(filter(None, (markdown_table(runs), paired)))), (latex, latex_table(runs))):
        with atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    plots.save(comparison_picture(runs), picture)
    head, *rows = _rows(runs)
    body = [
        "<h1>Comparison</h1>",
        f'<p class="sub">{_protocol(*(each for run in runs for each in run.results))}</p>',
        _table(rows, head=head),
        '<p class="sub">Percent, seconds, most memory in use; mean ± standard deviation where there are several '
        "seeds.</p>",
        *_paired_section(paired),
        _embedded(picture, "Accuracy on the test images of all classes seen, after each task."),
        "<h2>Every measure</h2>",
        _table(*_measures_of_all(runs)),
        "<p class=\"sub\">Percent. Given task: the answer restricted to the true task's classes. Entropy of the gate's "
        "weights over that of equal ones; calibration error of the largest.</p>",
    ]
    _write_page(page, "Comparison", body)
    return [table, latex, picture, page]


def _paired_section(table: str) -> list[str]:
    if not table:
        return []
    head, _, *rows = ([cell.strip() for cell in line.strip("| ").split("|")] for line in table.splitlines())
    note = '<p class="sub">Mean difference over the seeds in common, per cent, and its 95 % interval (Student).</p>'
    return [_table(rows, head=head), note]


def _measures_of_all(runs: Sequence[ComparedRun]) -> tuple[list[list[str]], list[str]]:
    """A row for each run with every measure that one of them has, and the head."""
    found = [measure for measure in SHORT if any(run.values(measure) for run in runs)]
    rows = []
    for run in runs:
        cells = [_spread([100 * value for value in run.values(measure)], ".2f") for measure in found]
        rows.append([run.name, *cells])
    return rows, ["run", *(SHORT[measure] for measure in found)]


def comparison_picture(runs: Sequence[ComparedRun]) -> Figure:
    """Accuracy over tasks of several runs."""
    return plots.accuracy_over_tasks({run.name: [each["accuracy"] for each in run.results] for run in runs})


def method_name(learner: dict[str, Any]) -> str:
    """What a learner's config is called: its class, and what tells it from others of the class.

    >>> from papertrio_shared.run import config_to_dict
    >>> from qkd_cil.learners import APERConfig, FinetuneConfig
    >>> method_name(config_to_dict(QKDConfig())), method_name(config_to_dict(FinetuneConfig()))
    ('QKD robust', 'Finetune adapter')
    >>> method_name(config_to_dict(QKDConfig(fusion="top1"))), method_name(config_to_dict(APERConfig(tuning="ssf")))
    ('QKD robust top1', 'APER ssf')
    """
    name = str(learner["class"]).removesuffix("Config")
    detail = str(learner.get("trains") or (learner.get("tuning") if name == "APER" else "") or "")
    if name == "QKD":
        detail = _qkd_detail(learner)
    return f"{name} {detail}" if detail else name


def _qkd_detail(learner: dict[str, Any]) -> str:
    """The profile, if only gate and fusion differ from it; then these where they do."""
    try:
        config = dict_to_config(learner, QKDConfig)
    except ValueError:  # of another version
        return ""
    words: list[str] = []
    published = PROFILES["robust"]
    for profile, known in PROFILES.items():
        if replace(config, gate=known.gate, fusion=known.fusion) == known:
            words, published = [profile], known
    if not isinstance(config.gate, QuantumGateConfig):
        words.append(type(config.gate).__name__.removesuffix("GateConfig").lower())
    elif isinstance(published.gate, QuantumGateConfig):
        names = [each.name for each in fields(config.gate)]
        changed = [name for name in names if getattr(config.gate, name) != getattr(published.gate, name)]
        words += [f"{name} {getattr(config.gate, name)}" for name in changed] if words else []
    return " ".join([*words, *([config.fusion] if config.fusion != published.fusion else [])])


def _protocol(*results: dict[str, Any]) -> str:
    result = results[0]
    sizes = [len(classes) for classes in result["task_classes"]]
    tasks = f"{len(sizes)} tasks of {sizes[0]} classes" if len(set(sizes)) == 1 else f"tasks of {sizes} classes"
    config = result["config"]
    orders = sorted({str(each["config"]["tasks"]["class_order_seed"]) for each in results})
    return html.escape(
        f"{result['dataset']}, {tasks}, class order seed {', '.join(orders)}, backbone {config['backbone']['name']} at "
        f"{config['backbone']['img_size']} px, {config['schedule']['epochs']} epochs"
    )


def _measure_rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    summary = result["summary"]
    rows = [(name, f"{100 * summary[key]:.2f} %") for key, name in MEASURES.items() if summary.get(key) is not None]
    rows.append(("time to learn", f"{sum(result['fit_seconds']):.1f} s"))
    rows.append(("time to judge after every task", f"{sum(result['evaluation_seconds']):.1f} s"))
    if "probe_seconds" in result:
        rows.append(("time to probe features for tasks to come", f"{result['probe_seconds']:.1f} s"))
    rows.append(("numbers learned", f"{result['parameters'][-1]:,}"))
    rows.append(("peak memory", f"{result['peak_memory_bytes'] / 2**20:,.0f} MiB"))
    return rows


def _task_rows(result: dict[str, Any]) -> list[tuple[str, ...]]:
    names = result["class_names"]
    rows: list[tuple[str, ...]] = []
    for task, classes in enumerate(result["task_classes"]):
        figures = 100 * result["accuracy"][task], result["fit_seconds"][task], result["evaluation_seconds"][task]
        shown = ", ".join(names[label] for label in classes)
        memory = result.get("peak_memory_bytes_after", [result["peak_memory_bytes"]] * (task + 1))[task] / 2**20
        cells = f"{figures[0]:.2f}", f"{figures[1]:.1f}", f"{figures[2]:.1f}"
        rows.append((str(task + 1), shown, *cells, f"{result['parameters'][task]:,}", f"{memory:,.0f}"))
    return rows


def _spread(values: Sequence[float], form: str) -> str:
    if not values:
        return "–"
    mean = f"{np.mean(values):{form}}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):{form}}"


def _table(rows: Sequence[Sequence[str]], head: Sequence[str] = ()) -> str:
    def cell(text: str) -> str:
        number = re.fullmatch(r"[-–]?[\d.,]*( [%\w]+| ± [\d.]+)?", text)
        return f"<td{' class=n' if number else ''}>{html.escape(text)}</td>"

    top = "".join(f"<th>{html.escape(text)}</th>" for text in head)
    return f"<table><tr>{top}</tr>" + "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in rows) + "</table>"


def _embedded(picture: Path, caption: str) -> str:
    data = base64.b64encode(picture.read_bytes()).decode()
    text = html.escape(caption)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'


def _write_page(path: Path, title: str, body: Sequence[str]) -> None:
    page = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>",
        *body,
        "</body></html>",
    ]
    with atomic_write(path) as temporary:
        temporary.write_text("\n".join(page) + "\n", encoding="utf-8")
