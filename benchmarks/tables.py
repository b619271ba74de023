"""The table of a reproduction, from the files of its runs alone.

`python -m benchmarks.tables results/cbldm --file candidates.csv --figures "Rw=rw" "atoms=atoms"` reads
`results/cbldm/<preset>/<seed>/candidates.csv` and writes `results/cbldm/table.md`.
"""

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import Any

from papertrio_shared.checkpoint import atomic_write
from papertrio_shared.metrics import mean_interval
from papertrio_shared.run import environment

Row = dict[str, Any]


def read_result(path: Path) -> Row:
    """Figures of one run: a JSON object with nested names joined by dots, or the first row of a CSV file."""
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            return dict(next(csv.DictReader(file)))
    return flatten(json.loads(path.read_text(encoding="utf-8")))


def flatten(data: Row, prefix: str = "") -> Row:
    """Nested dictionaries as one, names joined by dots."""
    flat: Row = {}
    for name, value in data.items():
        flat.update(flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value})
    return flat


def cell(values: list[Any]) -> str:
    """Mean ± half of Student's 95 % interval over seeds; a text that all seeds share as it is."""
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        texts = sorted({str(value) for value in values if value not in (None, "")})
        return " / ".join(texts) or "–"
    interval = mean_interval(numbers)
    return f"{interval.value:.4g}" + (f" ± {interval.high - interval.value:.2g}" if len(numbers) > 1 else "")


def table(folder: Path, file: str, figures: dict[str, str]) -> str:
    """Markdown: a row for each preset, then what the figures depend on.

    Args:
        folder: Holds `<preset>/<seed>/<file>`.
        file: Name of the file of results.
        figures: Name of the figure in the file by the title of its column.

    Raises:
        FileNotFoundError: If there is no finished run.
        ValueError: If a figure stands in none of the files.
    """
    paths = sorted(folder.glob(f"*/*/{file}"))
    if not paths:
        raise FileNotFoundError(f"{folder}: holds no finished run (<preset>/<seed>/{file}): run the paper target first")
    results = {path: read_result(path) for path in paths}
    lines = ["| preset | seeds | " + " | ".join(figures) + " |", "| --- |" + " --- |" * (len(figures) + 1)]
    for preset in sorted({path.parent.parent for path in paths}):
        rows = [(path, results[path]) for path in paths if path.parent.parent == preset]
        seeds = ", ".join(sorted(path.parent.name for path, _ in rows))
        cells = [cell([row.get(name) for _, row in rows]) for name in figures.values()]
        lines.append(f"| {preset.name} | {seeds} | " + " | ".join(cells) + " |")
    missing = [name for name in figures.values() if not any(name in row for row in results.values())]
    if missing:
        raise ValueError(f"{folder}: no {file} has the figure {missing[0]!r}: it has {', '.join(results[paths[0]])}")
    return "\n".join([*lines, "", *origins(paths), ""])


def origins(paths: list[Path]) -> list[str]:
    """Commit, device and threads that the runs name, or else those of this process, each once."""
    known = [path.parent / "environment.json" for path in paths]
    facts = [json.loads(path.read_text(encoding="utf-8")) for path in known if path.is_file()] or [environment()]
    names = ("commit", "device", "threads", "python")
    kinds = {name: ", ".join(sorted({str(fact.get(name)) for fact in facts})) for name in names}
    return [
        "Mean ± half of Student's 95 % interval over seeds. " + "; ".join(f"{k} {v}" for k, v in kinds.items() if v)
    ]


def main() -> int:
    """Parse the command line, write the table and show it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--file", required=True)
    parser.add_argument("--figures", nargs="+", required=True, metavar="TITLE=NAME")
    asked = parser.parse_args()
    figures = dict(each.split("=", 1) for each in asked.figures)
    try:
        text = table(asked.folder, asked.file, figures)
        with atomic_write(asked.folder / "table.md") as temporary:
            temporary.write_text(text, encoding="utf-8")
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{text}\n{asked.folder / 'table.md'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
