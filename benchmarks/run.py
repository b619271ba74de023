"""Runs benchmarks and writes their tables: `python -m benchmarks.run --package cbldm --device cpu`."""

import argparse
import importlib
import json
import sys
from pathlib import Path

from .registry import REGISTRY, Benchmark, Rows
from .timing import machine

HERE = Path(__file__).parent
RESULTS = HERE / "results"


def discover() -> list[Benchmark]:
    """Import every module below this folder, so that its benchmarks are registered."""
    for path in sorted(HERE.glob("*/*.py")):
        importlib.import_module(f"benchmarks.{path.parent.name}.{path.stem}")
    return REGISTRY


def markdown(title: str, rows: Rows, facts: dict[str, object]) -> str:
    """The rows as a Markdown table, with the machine's facts below."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [f"# {title}", "", "| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(_cell(row.get(name, "")) for name in columns) + " |" for row in rows]
    return "\n".join([*lines, "", "Measured on: " + ", ".join(f"{name} {value}" for name, value in facts.items()), ""])


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def run(chosen: list[Benchmark]) -> None:
    """Run benchmarks one after the other; each table is written as soon as it is there."""
    for each in chosen:
        print(f"{each.package} {each.name} ({each.device}) …", flush=True)
        rows, facts = each.function(), machine()
        folder = RESULTS / each.package
        folder.mkdir(parents=True, exist_ok=True)
        title = (each.function.__doc__ or each.name).strip().splitlines()[0].rstrip(".")
        text = markdown(title, rows, facts)
        (folder / f"{each.name}-{each.device}.md").write_text(text, encoding="utf-8")
        record = json.dumps({"machine": facts, "rows": rows}, indent=1) + "\n"
        (folder / f"{each.name}-{each.device}.json").write_text(record, encoding="utf-8")
        print(text)


def main() -> int:
    """Parse the command line and run what it names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--package", help="only those of this distribution")
    parser.add_argument("--name", help="only this one")
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu")
    asked = parser.parse_args()
    known = discover()
    chosen = [
        each
        for each in known
        if each.device == asked.device and asked.package in (None, each.package) and asked.name in (None, each.name)
    ]
    if not chosen and (asked.package or asked.name):
        names = ", ".join(f"{each.package}/{each.name} ({each.device})" for each in known)
        print(f"error: no such benchmark: there are {names}", file=sys.stderr)
        return 2
    run(chosen)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
