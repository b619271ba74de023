"""One self-contained page for a run."""

import html
import json
from pathlib import Path
from typing import Any

from qkd_cil import page, plots
from qkd_cil.names import method_name, protocol

REPORT = "report.html"
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
        f'<p class="sub">{html.escape(protocol(result))}</p>',
        f'<p class="sub">{html.escape(result["skipped_images"])}</p>',
        "<h2>Measures</h2>",
        page.table(_measure_rows(result)),
        "<h2>Pictures</h2>",
        '<div class="pictures">',
        *(page.embedded(path, caption) for path, (_, caption) in zip(paths, pictures.values(), strict=True)),
        "</div>",
        "<h2>Tasks</h2>",
        page.table(
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
    page.write_page(folder / REPORT, f"{method} on {result['dataset']}", body)
    return [folder / REPORT, *paths]


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
