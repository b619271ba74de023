"""Pictures of what a run measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from papertrio_shared.checkpoint import atomic_write

COLOURS = ("#1b6ca8", "#d1495b", "#3a7d44", "#8e5ea2", "#c98a00", "#4a4a4a", "#00838f", "#ad1457")
STYLES = (("o", "-"), ("s", "--"), ("^", ":"))


def accuracy_over_tasks(curves: Mapping[str, Sequence[Sequence[float]]]) -> Figure:
    """Accuracy on all classes seen against the number of tasks, a line for each method.

    Args:
        curves: For each name its runs, each a list of shares after each task; several runs give a band of one
            standard deviation.

    Returns:
        The picture.

    >>> len(accuracy_over_tasks({"a": [[0.9, 0.8]]}).axes)
    1
    """
    many = len(curves) > len(COLOURS)
    figure = Figure(figsize=(8.4, max(4.0, 0.8 + 0.2 * len(curves))) if many else (6.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    longest = 1
    for number, (name, runs) in enumerate(curves.items()):
        values = 100 * np.asarray(runs, dtype=float)
        tasks = np.arange(1, values.shape[1] + 1)
        mean, colour = values.mean(0), COLOURS[number % len(COLOURS)]
        marker, line = STYLES[number // len(COLOURS) % len(STYLES)]
        axes.plot(tasks, mean, marker=marker, linestyle=line, markersize=4, color=colour, label=name)
        if len(values) > 1:
            spread = values.std(0, ddof=1)
            axes.fill_between(tasks, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)
        longest = max(longest, len(tasks))
    axes.set_xlabel("tasks learned")
    axes.set_ylabel("accuracy on all classes seen, %")
    axes.set_xticks(range(1, longest + 1))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if many:
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="small")
    elif len(curves) > 1:
        axes.legend(frameon=False)
    return figure


def accuracy_matrix_picture(matrix: Sequence[Sequence[float | None]]) -> Figure:
    """Accuracy on each task (column) after each task (row).

    Args:
        matrix: Shares; None where the task had not come yet.

    Returns:
        The picture.

    >>> len(accuracy_matrix_picture([[0.9, None], [0.8, 0.7]]).axes)
    1
    """
    figure, axes = _square(len(matrix))
    _cells(axes, 100 * np.asarray(matrix, dtype=float), "{:.0f}", limit=100)
    axes.set_xlabel("accuracy on task, %")
    axes.set_ylabel("after task")
    return figure


def task_confusion_picture(confusion: Sequence[Sequence[int]]) -> Figure:
    """Share of the images of each task (row) that were sent to each task (column) after the last task.

    Args:
        confusion: Number of images.

    Returns:
        The picture.

    >>> len(task_confusion_picture([[9, 1], [2, 8]]).axes)
    1
    """
    figure, axes = _square(len(confusion))
    counts = np.asarray(confusion, dtype=float)
    _cells(axes, 100 * counts / counts.sum(1, keepdims=True), "{:.0f}", limit=100)
    axes.set_xlabel("sent to task, % of images")
    axes.set_ylabel("true task")
    return figure


def routing_picture(routing: Sequence[Sequence[float]]) -> Figure:
    """Mean weight of each task (column) for images of each task (row).

    Args:
        routing: Weights, rows summing to one.

    Returns:
        The picture.

    >>> len(routing_picture([[0.9, 0.1], [0.2, 0.8]]).axes)
    1
    """
    figure, axes = _square(len(routing))
    _cells(axes, np.asarray(routing, dtype=float), "{:.2f}", limit=1.0)
    axes.set_xlabel("mean weight of task")
    axes.set_ylabel("true task")
    return figure


def calibration_picture(bins: Sequence[Sequence[float]]) -> Figure:
    """How often the task of the largest weight is the right one, against that weight.

    Args:
        bins: How many images, mean weight, share sent to the right task.

    Returns:
        The picture; a point's area is its number of images.

    >>> len(calibration_picture([(10, 0.4, 0.5), (30, 0.9, 0.8)]).axes)
    1
    """
    figure = Figure(figsize=(4.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    count, weight, right = np.asarray(bins, dtype=float).T
    axes.plot([0, 100], [0, 100], color="#999999", linewidth=1, linestyle="--", label="as sure as right")
    axes.plot(100 * weight, 100 * right, color=COLOURS[0], linewidth=1)
    axes.scatter(100 * weight, 100 * right, s=20 + 200 * count / count.sum(), color=COLOURS[0])
    axes.set(xlim=(0, 104), ylim=(0, 104), aspect="equal")
    axes.set_xlabel("largest weight, %")
    axes.set_ylabel("sent to the right task, %")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a picture as PNG."""
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _square(tasks: int) -> tuple[Figure, Axes]:
    side = min(9.0, max(3.4, 1.2 + 0.42 * tasks))
    figure = Figure(figsize=(side, side), layout="constrained")
    return figure, figure.add_subplot()


def _cells(axes: Axes, values: Any, form: str, *, limit: float) -> None:
    axes.imshow(np.ma.masked_invalid(values), cmap="Blues", vmin=0, vmax=limit)
    tasks = np.arange(len(values))
    axes.set_xticks(tasks, tasks + 1)
    axes.set_yticks(tasks, tasks + 1)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if len(tasks) <= 20:
        for row, column in zip(*np.nonzero(np.isfinite(values)), strict=True):
            value = values[row, column]
            colour = "white" if value > 0.6 * limit else "black"
            axes.text(column, row, form.format(value), ha="center", va="center", fontsize=8, color=colour)
