"""Pictures of an evaluation, each with a line or a panel for every method."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from papertrio_shared.checkpoint import atomic_write

from .judge import Record
from .measures import by_method, figures

COLOURS = (
    *("#1f5fa8", "#c8553d", "#3c8d5a", "#8a5aa8", "#b8892b"),
    *("#5b6675", "#53b3c9", "#e08fb4", "#a3b84c", "#23262d"),
)
GREY, INK = "#9aa5b1", "#5b6675"
PICTURES = {
    "rw.png": "Rw of the best of ten: share of the curves (up) that lie below a value (across).",
    "atoms.png": "Number of atoms of the first candidate against the true one; on the line it is right.",
    "success.png": "Success@10 by number of atoms and by structure type; the number of curves below each.",
    "calibration.png": "How often the likeliest number of atoms is right, against the probability it was given.",
}
_STAGES = {"rw_proposed_10": "nothing refined", "rw_scaled_10": "scale", "rw_refined_10": "scale, dilation, Biso"}
_SIZES = (0, 25, 50, 100, 150, 256)
_DASHES = ("solid", (0, (5, 2)), (0, (2, 1.5)), (0, (6, 2, 1, 2)))
_LABELLED = 3
"""Methods up to which bars have their per cent above them: more have no room."""
_CHANCES = (0.0, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0 + 1e-9)


def draw(records: Sequence[Record], folder: Path) -> list[str]:
    """Draw the pictures that the answers have figures for.

    Args:
        records: The answers.
        folder: Where to write.

    Returns:
        Names of the files, keys of `PICTURES`.
    """
    records = [each for each in records if each.get("inside", True)]
    makers: dict[str, Callable[[Sequence[Record]], Figure]] = {"rw.png": picture_of_rw}
    if any("true_atoms" in each for each in records):
        makers |= {
            "atoms.png": picture_of_atoms,
            "success.png": picture_of_success,
            "calibration.png": picture_of_calibration,
        }
    for name, maker in makers.items():
        figure = maker(records)
        FigureCanvasAgg(figure)
        with atomic_write(folder / name) as temporary:
            figure.savefig(temporary, dpi=130, facecolor="white", metadata={"Software": None})
    return list(makers)


def picture_of_rw(records: Sequence[Record]) -> Figure:
    """Distribution of the best Rw of ten, a panel for each stage of the refinement.

    Args:
        records: The answers.

    Returns:
        Three panels.
    """
    figure = Figure(figsize=(11, 4), layout="constrained")
    panels = figure.subplots(1, 3, sharex=True, sharey=True)
    rows = [(colour, method, [figures(each) for each in answers]) for colour, (method, answers) in _coloured(records)]
    known = [value for _, _, found in rows for row in found for name in _STAGES if (value := row[name]) is not None]
    most = max([0.1, *known])
    for axes, (name, title) in zip(panels, _STAGES.items(), strict=True):
        for turn, (colour, method, found) in enumerate(rows):
            values = np.sort([row[name] for row in found if row[name] is not None])
            shares = np.arange(1, len(values) + 1) / len(found)
            last = shares[-1] if len(shares) else 0.0
            dashes = _DASHES[turn % len(_DASHES)]  # so that one line does not hide another
            line = axes.step([0, *values, most], [0, *shares, last], where="post", color=colour, label=method)
            line[0].set(linewidth=2, linestyle=dashes)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("Rw")
        _plain(axes)
        axes.set_xlim(0, most)
        axes.set_ylim(0, 1.02)
    panels[0].set_ylabel("share of curves")
    _legend(figure, panels[0])
    return figure


def picture_of_atoms(records: Sequence[Record]) -> Figure:
    """N found against N true.

    Args:
        records: The answers.

    Returns:
        A panel for each method.
    """
    methods = _coloured(records)
    across = min(3, len(methods))
    down = -(-len(methods) // across)
    figure = Figure(figsize=(3.9 * across, 3.9 * down), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).ravel()
    most = max(
        [each["true_atoms"] for each in records] + [c["atoms"] for each in records for c in each["candidates"][:1]]
    )
    for axes, (colour, (method, answers)) in zip(grid, methods, strict=False):
        points = [(each["true_atoms"], each["candidates"][0]["atoms"]) for each in answers if each["candidates"]]
        axes.plot([0, most * 1.05], [0, most * 1.05], color=GREY, linewidth=1, zorder=0)
        if points:
            axes.scatter(*zip(*points, strict=True), s=18, color=colour, alpha=0.7, linewidth=0)
        exact = sum(true == found for true, found in points) / len(answers)
        axes.set_title(f"{method}: {100 * exact:.0f} % exact", fontsize=10)
        axes.set_aspect("equal")
        axes.set_xlabel("true N")
        axes.tick_params(labelbottom=True)
        _plain(axes)
    for axes in grid[len(methods) :]:
        axes.set_visible(False)
    for row in range(down):
        grid[row * across].set_ylabel("N of the first candidate")
    return figure


def picture_of_success(records: Sequence[Record]) -> Figure:
    """Success@10 by size and by type.

    Args:
        records: The answers.

    Returns:
        Two panels with a bar for each method.
    """
    sizes = [f"{low + 1} to {high}" for low, high in pairwise(_SIZES)]
    types = list(dict.fromkeys(each["true_type"] for each in records))
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _bars(left, records, sizes, lambda each: sizes[int(np.searchsorted(_SIZES, each["true_atoms"])) - 1])
    _bars(right, records, types, lambda each: each["true_type"])
    left.set_ylabel("success@10")
    left.set_xlabel("number of atoms")
    right.set_xlabel("structure type")
    left.set_ylim(0, 1.08)
    _legend(figure, left)
    return figure


def _bars(axes: Axes, records: Sequence[Record], kinds: Sequence[str], kind: Callable[[Record], str]) -> None:
    methods = _coloured(records)
    counts = [sum(kind(each) == name for each in methods[0][1][1]) for name in kinds]
    shown = [k for k, count in enumerate(counts) if count]
    width = 0.8 / len(methods)
    for turn, (colour, (method, answers)) in enumerate(methods):
        shares = []
        for k in shown:
            hits = [figures(each)["success_10"] for each in answers if kind(each) == kinds[k]]
            shares.append(float(np.mean(hits)) if hits else np.nan)  # type: ignore[arg-type]
        places = np.arange(len(shown)) + (turn - (len(methods) - 1) / 2) * width
        bars = axes.bar(places, shares, 0.92 * width, color=colour, label=method)
        if len(methods) <= _LABELLED:
            axes.bar_label(
                bars,
                ["" if np.isnan(share) else f"{100 * share:.0f}" for share in shares],
                fontsize=7,
                color=INK,
                padding=1,
            )
    axes.set_xlim(-0.6, max(len(shown), 3) - 0.4)
    axes.set_xticks(range(len(shown)), [f"{kinds[k]}\n({counts[k]})" for k in shown], fontsize=9)
    _plain(axes)


def picture_of_calibration(records: Sequence[Record]) -> Figure:
    """How often the likeliest N is right, in groups of the probability it was given.

    Args:
        records: The answers.

    Returns:
        One panel; the size of a point tells how many curves.
    """
    figure = Figure(figsize=(4.8, 4.9), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, zorder=0)
    for colour, (method, answers) in _coloured(records):
        rows = [row for row in map(figures, answers) if row["n_confidence"] is not None]
        if not rows:
            continue
        said = np.array([row["n_confidence"] for row in rows], dtype=float)
        right = np.array([row["n_likeliest"] for row in rows], dtype=float)
        group = np.digitize(said, _CHANCES)
        points = [(said[group == k].mean(), right[group == k].mean(), (group == k).sum()) for k in np.unique(group)]
        x, y, count = (np.array(each) for each in zip(*points, strict=True))
        axes.plot(x, y, color=colour, linewidth=1.6, alpha=0.7, label=method)
        axes.scatter(x, y, s=15 + 160 * count / len(rows), color=colour, alpha=0.6, linewidth=0)
    axes.set_xlabel("probability of the likeliest N")
    axes.set_ylabel("share in which it is right")
    axes.set_xlim(0, 1.05)
    axes.set_ylim(-0.03, 1.05)
    _plain(axes)
    _legend(figure, axes, 3)
    return figure


def _coloured(records: Sequence[Record]) -> list[tuple[str, tuple[str, list[Record]]]]:
    methods = list(by_method(records).items())
    return [(COLOURS[k % len(COLOURS)], each) for k, each in enumerate(methods)]


def _legend(figure: Figure, axes: Axes, columns: int = 5) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        frameon=False,
        fontsize=9,
        loc="outside upper center",
        ncols=min(columns, len(labels)),
    )


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
    axes.grid(color="#e6e9ed", linewidth=0.7)
    axes.set_axisbelow(True)
