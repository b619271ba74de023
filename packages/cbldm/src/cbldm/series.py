"""Many curves, one after the other: a folder of results for each and a summary; what is done is not done again."""

import csv
import hashlib
import html
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from papertrio_shared.checkpoint import atomic_write

from .data.gr import PairDistribution, read_gr
from .output import make_folder, result_folder
from .rank import Recovery
from .report import RECOVERY_FILES, record, write_recovery

SUMMARY = (
    "curve",
    "folder",
    "in_scope",
    "best",
    "type",
    "atoms",
    "bond_length_angstrom",
    "rw",
    "rw_moved",
    "weight",
    "likeliest_atoms",
    "likeliest_type",
    "error",
)


@dataclass(frozen=True)
class Outcome:
    """What became of one curve of a series.

    Attributes:
        folder: Where its results lie.
        record: `recovery.json` of it, or `{"error": …}`.
        was_done: Whether an earlier run had done it.
    """

    folder: Path
    record: Mapping[str, Any]
    was_done: bool


def curves_of(paths: Iterable[Path]) -> list[Path]:
    """The curves that are named, folders taken apart.

    Args:
        paths: Files, and folders with `.gr` files.

    Returns:
        The files, those of a folder in the order of their names.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If a folder has no curve, or two curves would be written to one place.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(each for each in path.iterdir() if each.suffix.lower() == ".gr" and each.is_file())
            if not inside:
                raise ValueError(f"{path}: the folder holds no .gr file; name the curves")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise FileNotFoundError(f"{path}: no such file or folder; give a .gr file")
    names = [path.stem for path in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"{twice[0]}: two curves of this name would be written to one folder; rename one")
    return found


def run_series(
    files: Sequence[Path],
    out: Path,
    *,
    search: Callable[[PairDistribution], Recovery],
    request: Mapping[str, Any],
    tell: Callable[[str], None] = print,
) -> list[Outcome]:
    """Search for the structures of each curve; those that an earlier run of the same request has done are left.

    A curve that cannot be read or fitted has its error in the summary, and the others go on.

    Args:
        files: Curves.
        out: Folder of the series; each curve has a folder in it, there whole or not at all.
        search: From a curve to its candidates.
        request: What was asked for, which with the file's content decides whether a result still holds.
        tell: Takes a line for each curve.

    Returns:
        What became of each, in order; `summary.csv` and `summary.html` in `out` say the same.

    Raises:
        ValueError: If `out` cannot be written.
    """
    make_folder(out)
    for left_by_a_kill in out.glob(".summary-*"):
        left_by_a_kill.unlink()
    outcomes: list[Outcome] = []
    for number, path in enumerate(files, 1):
        outcome = _one(path, out / path.stem, search, request)
        outcomes.append(outcome)
        tell(f"{number:3d}/{len(files)}  {path.name}: {_line(outcome)}")
        _write_summary(out, outcomes)
    return outcomes


def _one(
    path: Path, folder: Path, search: Callable[[PairDistribution], Recovery], request: Mapping[str, Any]
) -> Outcome:
    asked = {**request, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    done = _read_record(folder / "recovery.json")
    if done and done.get("request") == asked:
        return Outcome(folder, done, True)
    try:
        gr = read_gr(path)
        with result_folder(folder, RECOVERY_FILES) as temporary:
            result = search(gr)
            write_recovery(temporary, result, request=asked)
    except (ValueError, OSError) as error:
        return Outcome(folder, {"curve": path.name, "error": " ".join(str(error).split())}, False)
    return Outcome(folder, record(result, asked), False)


def _read_record(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _line(outcome: Outcome) -> str:
    found = outcome.record
    if "error" in found:
        return f"error: {found['error']}"
    best = found["best"]
    words = f"{best['label']}, {best['atoms']} atoms, Rw {best['rw']:.3f}"
    words += "" if found["in_scope"] else ", outside what I know"
    return words + (" (done before)" if outcome.was_done else "")


def _write_summary(out: Path, outcomes: Sequence[Outcome]) -> None:
    rows = [_summary_row(each) for each in outcomes]
    with atomic_write(out / "summary.csv") as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, SUMMARY, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    with atomic_write(out / "summary.html") as temporary:
        temporary.write_text(_summary_page(rows), encoding="utf-8")


def _summary_row(outcome: Outcome) -> dict[str, str]:
    found = outcome.record
    row = dict.fromkeys(SUMMARY, "") | {"curve": str(found["curve"]), "folder": outcome.folder.name}
    if "error" in found:
        return row | {"folder": "", "error": found["error"]}
    best = found["best"]
    row |= {key: str(best[key]) for key in ("type", "atoms", "weight", "rw", "bond_length_angstrom")}
    row |= {"best": best["label"], "rw_moved": "" if best["rw_moved"] is None else str(best["rw_moved"])}
    likeliest = {f"likeliest_{key}": max(found[name], key=found[name].get) for key, name in _DISTRIBUTIONS.items()}
    return row | likeliest | {"in_scope": "yes" if found["in_scope"] else "no"}


_DISTRIBUTIONS = {"atoms": "atom_count", "type": "structure_type"}
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:28px auto;max-width:1180px;padding:0 20px;color:#1c2430}"
    "table{border-collapse:collapse;width:100%;font-size:14px}th,td{text-align:left;padding:5px 10px;"
    "border-bottom:1px solid #d9dee5}th{color:#5b6675}.no{color:#a5301f}"
)
_SHOWN = ("in_scope", "best", "atoms", "bond_length_angstrom", "rw", "rw_moved", "weight", "error")


def _summary_page(rows: Sequence[Mapping[str, str]]) -> str:
    """A line for each curve, with a link to its report."""
    lines = []
    for row in rows:
        name = html.escape(row["curve"])
        report = html.escape(f"{row['folder']}/report.html")
        cells = [f'<a href="{report}">{name}</a>' if row["folder"] else name]
        cells += [html.escape(row[key]) for key in _SHOWN]
        lines.append(f'<tr class="{row["in_scope"]}">' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    headings = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in ("curve", *_SHOWN))
    head = f'<meta charset="utf-8"><title>Series</title><style>{_STYLE}</style>'
    body = f"<h1>Series of {len(rows)} curves</h1><table><tr>{headings}</tr>{''.join(lines)}</table>"
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>\n'
