"""What an evaluation leaves: tables in Markdown, CSV and JSON, and a report with pictures."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from papertrio_shared.checkpoint import atomic_write
from papertrio_shared.run import config_to_dict, environment

from ..sample import SHIPPED_WEIGHTS
from .judge import Record
from .measures import CLOSE, ENOUGH, Comparison, Spread, by_method, compare_methods, figures, interval, summary
from .methods import trained_split
from .pictures import PICTURES, draw
from .run import EvaluateConfig, rows_of

REPORT, TABLE, NUMBERS, CURVES = "report.md", "table.md", "table.json", "curves.csv"
_CANDIDATE = ("label", "type", "source", "atoms", "bond", "rw_proposed", "rw_scaled", "rw_refined", "rw", "rw_moved")


class Column(NamedTuple):
    """A column of a table: the name of a figure, the title, how it is written."""

    name: str
    title: str
    form: str


TABLES: dict[str, tuple[Column, ...]] = {
    "What is found": (
        Column("n_exact", "N exact", "%"),
        Column("n_error", "off in N by", ".0f"),
        Column("type_exact", "type right", "%"),
        Column("success_1", "success@1", "%±"),
        Column("success_10", "success@10", "%±"),
        Column("success_moved_10", "success@10, atoms moved", "%±"),
        Column("n_exact_10", "N among ten", "%"),
    ),
    "Rw of the best of ten": (
        Column("rw_proposed_10", "nothing refined", ".3f"),
        Column("rw_scaled_10", "scale", ".3f"),
        Column("rw_refined_10", "scale, dilation, Biso", ".3f"),
        Column("rw_10", "and delta2", ".3f"),
        Column("rw_moved_10", "and atoms moved", ".3f"),
    ),
    "Rw of the first": (
        Column("rw_proposed_1", "nothing refined", ".3f"),
        Column("rw_scaled_1", "scale", ".3f"),
        Column("rw_refined_1", "scale, dilation, Biso", ".3f"),
        Column("rw_1", "and delta2", ".3f"),
        Column("rw_moved_1", "and atoms moved", ".3f"),
    ),
    "Structures": (
        Column("rmsd_1", "RMSD of the first, Å", ".3f"),
        Column("mae_1", "MAE of the first, Å", ".3f"),
        Column("missing_1", "missing", ".0f"),
        Column("extra_1", "extra", ".0f"),
        Column("mae_10", "MAE of ten with the right N, Å", ".3f"),
        Column("coverage", "coverage", "%"),
        Column("bond_error_proposed", "bond as proposed, error in %", "p"),
        Column("bond_error", "bond refined, error in %", "p"),
    ),
    "Diversity of the ten": (
        Column("diversity", "diversity", ".2f"),
        Column("sizes", "different N", ".0f"),
        Column("types", "types", ".0f"),
        Column("families", "families of fits", ".0f"),
    ),
    "How sure, and how fast": (
        Column("n_likeliest", "likeliest N right", "%"),
        Column("n_confidence", "its mean probability", "%"),
        Column("n_held", "N in the 90 % set", "%"),
        Column("n_held_size", "numbers in that set", ".0f"),
        Column("head_likeliest", "likeliest N of the head right", "%"),
        Column("head_confidence", "its mean probability", "%"),
        Column("scope_right", "scope told rightly", "%"),
        Column("cpu_seconds", "CPU seconds a curve", ".1f"),
        Column("seconds_per_candidate", "CPU seconds a candidate", ".2f"),
    ),
}
_NAMES = {"success_10": "success@10", "n_exact": "N exact", "rw_refined_10": "best Rw of ten"}


def write_evaluation(
    records: Sequence[Record], config: EvaluateConfig, folder: Path, *, table: Path | None = None
) -> str:
    """Write `table.md`, `table.json`, `curves.csv`, the pictures, and `report.md`, which holds tables and pictures.

    Args:
        records: The answers.
        config: What was evaluated.
        folder: Where to write.
        table: A further file that takes the tables, without the pictures.

    Returns:
        The tables in Markdown.
    """
    comparisons = compare_methods(records)
    text = markdown(records, config, comparisons)
    numbers = {
        "config": config_to_dict(config),
        "environment": environment(),
        "methods": {name: _numbers(each) for name, each in by_method(records).items()},
        "comparisons": [{**each._asdict(), "difference": each.difference._asdict()} for each in comparisons],
    }
    drawn = draw(records, folder)
    pictures = "\n".join(f"![{PICTURES[name]}]({name})\n\n{PICTURES[name]}\n" for name in drawn)
    _write(folder / TABLE, text)
    _write(folder / NUMBERS, json.dumps(numbers, indent=1) + "\n")
    _write(folder / REPORT, f"{text}\n{pictures}" if drawn else text)
    _write_curves(records, folder / CURVES)
    if table is not None:
        _write(table, text)
    return text


def markdown(records: Sequence[Record], config: EvaluateConfig, comparisons: Sequence[Comparison]) -> str:
    """The tables.

    Args:
        records: The answers.
        config: What was evaluated.
        comparisons: Of the methods.

    Returns:
        Markdown.
    """
    methods = by_method(records)
    sums = {name: summary(each) for name, each in methods.items()}
    lines = [f"# Split {config.split}", "", _explanation(records, config), ""]
    for title, columns in TABLES.items():
        there = [each for each in columns if any(sums[name].get(each.name) is not None for name in methods)]
        rows = [[name, *(_cell(each, sums[name], methods[name]) for each in there)] for name in methods]
        if there:
            lines += [f"## {title}", "", *_table(["method", *(each.title for each in there)], rows), ""]
    if config.split == "experimental":
        lines += ["## Each curve", "", *_measured(records), ""]
    if comparisons:
        head = ["methods", "figure", "difference", "95 % interval", "counts"]
        rows = [_comparison(each) for each in comparisons]
        lines += ["## Methods against each other", "", *_table(head, rows), ""]
    return "\n".join(lines)


def _numbers(records: Sequence[Record]) -> dict[str, Any]:
    found = {name: value._asdict() if isinstance(value, Spread) else value for name, value in summary(records).items()}
    return {"curves": len(records), "geometries": len({each["group"] for each in records}), **found}


def _explanation(records: Sequence[Record], config: EvaluateConfig) -> str:
    facts = environment()
    curves, groups = len({each["case"] for each in records}), len({each["group"] for each in records})
    outside = len({each["case"] for each in records if not each.get("inside", True)})
    searched, truth = "", ""
    whose = f"{curves - outside} measured curves, and {outside} that no particle of one metal explains"
    if config.split != "experimental":
        whose = f"{curves} curves of {groups} clusters"
        if config.noise:
            whose += f", with noise of {100 * config.noise:g} % of the largest |G|"
        knows = config.split in ("random", "instrument")
        searched = ", which has each of them" if knows else " without what is kin to one held out"
        truth = (
            "success@k: one of the first k has the right number of atoms and a mean absolute error of a coordinate "
            f"below {CLOSE:g} Å, at the size it was refined to. Coverage: share of the true atoms that the best of ten "
            "has within half a bond. "
        )
    return (
        f"{whose}; {config.candidates} candidates of each method; retrieval searches "
        f"`{config.library}`{searched}. Medians with quartiles in brackets, shares with the 95 % interval of a "
        f"bootstrap over clusters, which has no width where all are alike. {truth}Nothing refined: as proposed, with "
        "the scale one and Biso that of the curve, where it is known. A difference counts where its interval leaves "
        f"zero out and there are at least {ENOUGH} clusters. CPU seconds of one thread. {_trained(config)}"
        f"Seed {config.seed}. Commit {facts['commit']}, {facts['machine']}, Python {facts['python']}, "
        f"torch {facts['versions']['torch']}."
    )


def _trained(config: EvaluateConfig) -> str:
    """What was held out in the training of the weights, which decides whether a figure means anything."""
    said = ""
    for path in config.weights or dict.fromkeys(path for path in rows_of(config).values() if path is not None):
        name, split = f"The weights {path.name}", trained_split(path)
        if path.resolve() == SHIPPED_WEIGHTS.resolve():
            name, split = "The weights that come with the package", "geometry"
        if split is None:
            said += f"What the weights {path.name} were trained with is not known. "
        else:
            said += f"{name} were trained with {split} held out. "
    return said


def _cell(column: Column, figures_of: dict[str, float | Spread | None], records: Sequence[Record]) -> str:
    value = figures_of.get(column.name)
    if value is None:
        return "–"
    if isinstance(value, Spread):
        form = ".2f" if column.form == "p" else column.form
        factor = 100 if column.form == "p" else 1
        median, low, high = (f"{factor * each:{form}}" for each in value)
        return f"{median} [{low}, {high}]"
    if column.form == "%±":
        found = interval(records, column.name)
        assert found is not None
        return f"{100 * value:.0f} % ({100 * found.low:.0f} to {100 * found.high:.0f})"
    return f"{100 * value:.0f} %" if column.form == "%" else f"{value:{column.form}}"


def _comparison(each: Comparison) -> list[str]:
    percent = each.figure != "rw_refined_10"
    value, low, high = (_signed(number, percent=percent) for number in each.difference)
    return [
        f"{each.first} less {each.second}",
        _NAMES.get(each.figure, each.figure),
        value,
        f"{low} to {high}",
        "yes" if each.counts else "no",
    ]


def _signed(value: float, *, percent: bool) -> str:
    return f"{100 * value:+.0f} %" if percent else f"{value:+.3f}"


def _measured(records: Sequence[Record]) -> list[str]:
    rows = []
    base = {each["case"]: _best(each) for each in records if each["method"] == "retrieval"}
    for record in records:
        best = min(record["candidates"][:10], key=lambda each: each["rw_refined"], default=None)
        if best is not None and record.get("inside", True):
            rw = best["rw_refined"]
            ratio = f"{rw / base[record['case']]:.2f}" if record["case"] in base else "–"
            rows.append([record["case"], record["method"], best["label"], str(best["atoms"]), f"{rw:.3f}", ratio])
    return _table(["curve", "method", "best of ten", "N", "Rw (scale, dilation, Biso)", "of retrieval's"], rows)


def _best(record: Record) -> float:
    return min(each["rw_refined"] for each in record["candidates"][:10])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(each)} |" for each in lines]


def _write_curves(records: Sequence[Record], path: Path) -> None:
    """A line for each answer: its figures, and its first candidate."""
    rows = []
    for record in records:
        first = record["candidates"][0] if record["candidates"] else {}
        head = {key: record.get(key) for key in ("method", "case", "group", "true_type", "true_atoms", "true_bond")}
        rows.append({**head, **{f"first_{key}": first.get(key) for key in _CANDIDATE}, **figures(record)})
    names = list(dict.fromkeys(name for row in rows for name in row))
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows(rows)


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
