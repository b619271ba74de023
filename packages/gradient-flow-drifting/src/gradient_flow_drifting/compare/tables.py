"""What a comparison leaves: a Markdown table, JSON, a picture of each set and one page that holds all of it."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from papertrio_shared.checkpoint import atomic_write
from papertrio_shared.run import environment
from papertrio_shared.seed import generator as seeded

from ..page import html_table, image, markdown_table, write_page
from ..pictures import picture_of_clouds, save_picture
from ..sample import drawer, load
from .methods import OURS
from .run import Entry, read_entry

FIGURES = {
    "w2_over_floor": ("W₂/floor", min, "{:.2f}"),
    "sliced_over_floor": ("sliced W₂/floor", min, "{:.1f}"),
    "off_support": ("off-support", min, "{:.3f}"),
    "coverage": ("mode coverage c", max, "{:.2f}"),
    "high_quality": ("high quality q", max, "{:.3f}"),
}
SHOWN = 4000
Row = dict[str, Any]


def write_comparison(entries: Sequence[Entry], folder: Path, *, seconds: float) -> str:
    """Write `comparison.md`, `comparison.json`, `comparison-<set>.png` and `comparison.html`.

    Args:
        entries: What was run.
        folder: Where to write.
        seconds: The budget, for the text.

    Returns:
        The Markdown.
    """
    rows = [read_entry(each) for each in entries]
    sets = list(dict.fromkeys(each.data for each in entries))
    how = explanation(rows, entries, seconds)
    markdown, body = [], f"<p>{how}</p>\n"
    if len(sets) > 1:
        head, cells = winners(rows)
        markdown += ["### Best method of each set at one evaluation", "", markdown_table(head, cells), ""]
        body += f"<h2>Best method of each set at one evaluation</h2>\n{html_table(head, cells)}\n"
    for name in sets:
        head, cells = table([row for row in rows if row["set"] == name])
        markdown += [f"### {name}", "", markdown_table(head, cells), ""]
        path = _picture([each for each in entries if each.data == name], folder / f"comparison-{name}.png")
        shown = image(path, f"{name}: samples of each method (seed 0, blue) over held-out data (grey)")
        body += f"<h2>{name}</h2>\n{html_table(head, cells)}\n{shown}"
    text = "\n".join([*markdown, how, ""])
    budgets = {f"{each.data}/{each.method}": _budget(each) for each in entries}
    data = {"seconds": seconds, "rows": rows, "budgets": budgets, "environment": environment()}
    for name, content in (("comparison.md", text), ("comparison.json", json.dumps(data, indent=2) + "\n")):
        with atomic_write(folder / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
    details = {"budgets": json.dumps(budgets, indent=2), "environment": json.dumps(environment(), indent=2)}
    write_page(folder / "comparison.html", "Methods on an equal budget", body, **details)
    return text


def table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """The table of one set: mean and deviation over the seeds, the best of each column in bold.

    The best at one evaluation is marked by †, where one of several evaluations is better still.

    Args:
        rows: Of the set, from `read_entry`.

    Returns:
        Titles, and cells.
    """
    there = [name for name in FIGURES if any(row["figures"].get(name) for row in rows)]
    cells = [[row["label"], str(len(row["seeds"])) + _diverged(row)] for row in rows]
    for name in there:
        _, best, form = FIGURES[name]
        means = [_mean(row["figures"].get(name, [])) for row in rows]
        known = [value for value in means if value is not None]
        single = [v for v, row in zip(means, rows, strict=True) if v is not None and row["evaluations"] == 1]
        for line, row, value in zip(cells, rows, means, strict=True):
            text = _cell(row["figures"].get(name, []), form)
            if value is not None and value == best(known):
                text = f"**{text}**"
            elif value is not None and row["evaluations"] == 1 and value == best(single):
                text += " †"
            line.append(text)
    for line, row in zip(cells, rows, strict=True):
        line.append(_cell(row["figures"]["seconds"], "{:.0f}", deviation=False))
    return ["method", "seeds", *(FIGURES[name][0] for name in there), "CPU s"], cells


def winners(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """For each set and figure the best method at one evaluation of the network.

    Args:
        rows: Of all sets, from `read_entry`.

    Returns:
        Titles, and cells; the package's own preset in bold.
    """
    cells = []
    for data in dict.fromkeys(row["set"] for row in rows):
        line = [data]
        for name, (_, best, _) in FIGURES.items():
            means = {
                row["method"]: value
                for row in rows
                if row["set"] == data and row["evaluations"] == 1
                for value in [_mean(row["figures"].get(name, []))]
                if value is not None
            }
            first = [method for method, value in means.items() if value == best(means.values())]
            line.append(", ".join(f"**{OURS}**" if method == OURS else method for method in first) or "–")
        cells.append(line)
    return ["set", *(title for title, _, _ in FIGURES.values())], cells


def explanation(rows: Sequence[Row], entries: Sequence[Entry], seconds: float) -> str:
    """How the figures came about, in words.

    Args:
        rows: From `read_entry`.
        entries: What was run.
        seconds: The budget.

    Returns:
        One paragraph.
    """
    seeds, draws = max(len(row["seeds"]) for row in rows), entries[0].jobs[0].draws
    facts = environment()
    return (
        f"Mean ± standard deviation over the seeds ({seeds}); best of each column in bold, † the best at one "
        f"evaluation where several are better. Budget: {seconds:g} CPU seconds of training on one thread, made a "
        "number of steps by timing some steps of each method once, at their quickest; the last column is what the "
        "training took in the end. "
        f"W₂ of 2,000 samples, mean of {draws} pairs of draws for each seed; sliced W₂ of 50,000; off-support: ideal "
        "0.01; c: share of the modes with at least half of their fair share; q: share within 3σ of a mode. "
        f"Commit {facts['commit']}, {facts['machine']}, Python {facts['python']}, torch {facts['versions']['torch']}."
    )


def _cell(values: Sequence[float], form: str, *, deviation: bool = True) -> str:
    if not values:
        return "–"
    spread = f" ± {form.format(statistics.stdev(values))}" if deviation and len(values) > 1 else ""
    return form.format(_mean(values)) + spread


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _diverged(row: Row) -> str:
    return f" ({len(row['diverged'])} diverged)" if row["diverged"] else ""


def _budget(entry: Entry) -> Row:
    file = entry.jobs[0].folder.parent / "budget.json"
    found = json.loads(file.read_text(encoding="utf-8"))
    steps = {stretch.label: stretch.steps for stretch in entry.jobs[0].config.stretches}
    return {"seconds_per_step": found["seconds_per_step"], "steps": steps}


def _picture(entries: Sequence[Entry], path: Path) -> Path:
    data = entries[0].jobs[0].config.data
    stream = seeded(0, "pictures")
    real = data.held_out()[0].sample(min(SHOWN, data.held_out()[0].size or SHOWN), stream)
    clouds = {}
    for entry in entries:
        job = entry.jobs[0]
        if job.file(entry.evaluations).exists():
            generator = load(job.folder)
            samples = drawer(generator, evaluations=entry.evaluations)(SHOWN, 0)
            clouds[entry.label] = (samples - generator.location) / generator.scale
    return save_picture(picture_of_clouds(clouds, real, geometry=data.geometry), path)
