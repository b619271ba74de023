"""The text of a `.gr` file: its header, its rows, and what it is when it is no pair distribution function."""

import math
import re
from typing import Any

import numpy as np

FEWEST_ROWS = 10
LARGEST_FILE = 2**26
"""Bytes; a curve of a hundred thousand points has ten million."""

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_ENTRY = re.compile(r"[#\s]*([A-Za-z_][\w.-]*)\s*=\s*(.*?)\s*")
_SPLIT = re.compile(r"[\s,;]+")
_FORMULA = re.compile(r"([A-Z][a-z]?)(\d+\.?\d*|\.\d+)?")
_REMEDY = "give G(r), which the reduction program writes as .gr"
_RECIPROCAL = {"f": "F(Q)", "s": "S(Q)", "i": "I(Q)", "q": "Q(S(Q) − 1)"}


def parse(data: bytes, name: str) -> dict[str, Any]:
    """Fields of a `PairDistribution` from the content of a file.

    Args:
        data: The content.
        name: The file's name, for messages.

    Returns:
        Every field but the name.

    Raises:
        ValueError: If this is no pair distribution function; the message is one line.
    """
    lines = _text(data, name).splitlines()
    start = _first_row(lines)
    if start is None:
        raise ValueError(f"{name}: no rows of numbers in it, so no G(r); give a .gr file with the columns r and G")
    header = lines[:start]
    labels = _labels(header)
    entries = {found[1].lower(): found[2] for line in header if (found := _ENTRY.fullmatch(line))}
    _refuse_reciprocal(name, labels, entries)
    _refuse_nanometres(name, header)
    table, line_of = _rows(lines, start, name)
    r, g = table[:, 0], table[:, 1]
    _check_order(r, line_of, name)
    text = "\n".join(header)
    limits = {key: _limit(key, text) for key in ("qmin", "qmax", "qdamp", "qbroad")}
    over_r = bool(labels) and labels[0].startswith("r")
    _refuse_by_values(g, name, over_r=over_r)
    if not over_r:
        _refuse_by_range(r, limits["qmax"], entries.get("rmax", ""), name)
    if None not in (qmin := limits["qmin"], qmax := limits["qmax"]) and not qmin < qmax:  # type: ignore[operator]
        raise ValueError(f"{name}: its header has qmin = {qmin} not below qmax = {qmax}; correct it")
    composition = _composition(entries.get("composition", ""))
    radiation = _radiation(text)
    told = {*limits, "composition"} if composition else set(limits)
    told |= {"rmin", "rmax", "rstep"} | ({"mode"} if radiation else set())
    return {
        **limits,
        "r": r,
        "g": g,
        "dg": _uncertainty(table, labels),
        "composition": composition,
        "radiation": radiation,
        "metadata": {key: value for key, value in entries.items() if key not in told},
    }


def _text(data: bytes, name: str) -> str:
    if not data.strip():
        raise ValueError(f"{name}: the file is empty; export the curve anew")
    if len(data) > LARGEST_FILE:
        raise ValueError(f"{name}: {len(data) >> 20} MiB are no curve; give a .gr file")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16", errors="replace")
    elif b"\0" in data:
        raise ValueError(f"{name}: a binary file, no G(r); give a .gr file, which is text")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
    if sum(not (c.isprintable() or c.isspace()) for c in text[:4096]) > len(text[:4096]) // 20:
        raise ValueError(f"{name}: a binary file, no G(r); give a .gr file, which is text")
    if text.lstrip().startswith("<"):
        raise ValueError(f"{name}: an HTML or XML page, no G(r); download the file itself")
    # Only the ends of lines that editors know: splitlines would also break at form feeds and the like.
    return re.sub(r"[\v\f\x1c-\x1e\x85\u2028\u2029]", " ", text)


def _numbers(line: str) -> list[float] | None:
    """The numbers of a row, or None where anything else stands in it."""
    try:
        row = [float(token) for token in _SPLIT.split(line.strip(" \t,;")) if token]
    except ValueError:
        return None
    return row if len(row) >= 2 else None


def _first_row(lines: list[str]) -> int | None:
    marks = [k for k, line in enumerate(lines) if re.match(r"\s*#+\s*start data", line, re.IGNORECASE)]
    after = marks[0] + 1 if marks else 0
    return next((k for k in range(after, len(lines)) if _numbers(lines[k]) is not None), None)


def _labels(header: list[str]) -> list[str]:
    """Names of the columns: of a line `#L …`, or of the last line of the header where it is no entry."""
    marked = [line.strip()[2:] for line in header if line.strip().startswith("#L ")]
    last = next((line.strip().lstrip("#") for line in reversed(header) if line.strip("# \t")), "")
    line = marked[-1] if marked else last
    if "=" in line or not line.strip():
        return []
    return [token.lower() for token in _SPLIT.split(line.strip()) if token]


def _refuse_reciprocal(name: str, labels: list[str], entries: dict[str, str]) -> None:
    told = "header" if "outputtype" in entries else "name"
    kind = entries.get("outputtype", name.rpartition(".")[2]).strip().lower()
    if kind in ("fq", "sq", "iq"):
        raise ValueError(f"{name}: its {told} says that it holds {kind[0].upper()}(Q), not G(r); {_REMEDY}")
    if len(labels) < 2:
        return
    first = re.match(r"[a-z0-9]*", labels[0])
    if first is not None and first[0] in ("q", "2th", "2theta", "tth", "twotheta"):
        held = _RECIPROCAL.get(labels[1][0], "a function of Q") if first[0] == "q" else "a diffraction pattern over 2θ"
        raise ValueError(
            f"{name}: its columns are {labels[0]} and {labels[1]}, so it holds {held}, not G(r); {_REMEDY}"
        )


def _rows(lines: list[str], start: int, name: str) -> tuple[np.ndarray, list[int]]:
    table: list[list[float]] = []
    line_of: list[int] = []
    for k in range(start, len(lines)):
        line = lines[k]
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        row = _numbers(line)
        if row is None:
            shown = line.strip()[:40]
            raise ValueError(f"{name}, line {k + 1}: {shown!r} is no row of numbers; correct or remove it")
        if re.search(r"\d,\d", line) and re.search(r"\d,\d+[\s;]+[-+]?\d", line):
            raise ValueError(f"{name}, line {k + 1}: numbers with decimal commas; write them with points")
        if not all(math.isfinite(value) for value in row):
            raise ValueError(f"{name}, line {k + 1}: a number is not finite; correct or remove the row")
        if table and len(row) != len(table[0]):
            raise ValueError(
                f"{name}, line {k + 1}: {len(row)} columns after rows of {len(table[0])}; complete or remove it"
            )
        table.append(row)
        line_of.append(k + 1)
    if len(table) < FEWEST_ROWS:
        raise ValueError(
            f"{name}: only {len(table)} rows of numbers, no curve; give a .gr file with the columns r and G"
        )
    return np.array(table), line_of


def _check_order(r: np.ndarray, line_of: list[int], name: str) -> None:
    if r[0] < 0:
        raise ValueError(f"{name}, line {line_of[0]}: r = {r[0]:g} Å is negative; the first column must be r")
    wrong = np.flatnonzero(np.diff(r) <= 0)
    if wrong.size:
        k = int(wrong[0]) + 1
        raise ValueError(
            f"{name}, line {line_of[k]}: r = {r[k]:g} Å after {r[k - 1]:g} Å is not increasing; sort or remove the row"
        )


def _refuse_nanometres(name: str, header: list[str]) -> None:
    label = next((line.strip() for line in reversed(header) if line.strip("# \t")), "")
    if "=" not in label and re.search(r"\b(nm|nanomet(er|re)s?)\b", label, re.IGNORECASE):
        raise ValueError(f"{name}: its columns are in nm; write r in Å (times 10) and G in Å⁻² (divided by 100)")


def _refuse_by_values(g: np.ndarray, name: str, *, over_r: bool) -> None:
    if not g.any():
        raise ValueError(f"{name}: G is zero everywhere; export the curve anew")
    if (g >= 0).all() and over_r:
        raise ValueError(
            f"{name}: no value is negative, so it looks like g(r) or R(r), not the reduced G(r); {_REMEDY}"
        )
    if (g >= 0).all():
        tail = g[-(len(g) // 4) :]
        to_one = abs(tail.mean() - 1) < 0.1 and tail.std() < 0.3
        looks = " and the end tends to 1, so it looks like S(Q)" if to_one else ", so it looks like an intensity I(Q)"
        raise ValueError(f"{name}: no value is negative{looks}, not G(r); {_REMEDY}")


def _refuse_by_range(r: np.ndarray, qmax: float | None, rmax: str, name: str) -> None:
    """A first column that ends where Q does, though r was to end elsewhere or the header does not say where."""
    told = re.fullmatch(_NUMBER, rmax)
    near = 2 * float(np.median(np.diff(r)))
    if qmax is not None and abs(r[-1] - qmax) <= near and (told is None or abs(float(told[0]) - r[-1]) > near):
        raise ValueError(
            f"{name}: its first column ends at qmax = {qmax:g}, so it looks like F(Q) over Q, not G(r); {_REMEDY}, "
            "or write `#L r G` above the rows if this is r"
        )


def _limit(key: str, text: str) -> float | None:
    """A positive setting (or a qmin, qdamp, qbroad of zero) wherever it stands in the header."""
    found = re.search(rf"(?<![\w.]){key}\s*[=:]\s*({_NUMBER})(?![\w.])", text, re.IGNORECASE)
    value = float(found[1]) if found else math.nan
    return value if 0 < value < math.inf or (value == 0 and key != "qmax") else None


def _composition(formula: str) -> dict[str, float]:
    compact = re.sub(r"[\s\"']+", "", formula)
    found = _FORMULA.findall(compact)
    if not found or "".join(s + n for s, n in found) != compact:
        return {}
    composition: dict[str, float] = {}
    for symbol, number in found:
        composition[symbol] = composition.get(symbol, 0.0) + (float(number) if number else 1.0)
    return composition


def _radiation(text: str) -> str | None:
    told = re.search(r"\b(?:mode|stype|radiation)\s*=\s*(x-?ray|neutron|[XN]\b)", text, re.IGNORECASE)
    if told is None:
        return None
    return "neutron" if told[1].lower().startswith("n") else "xray"


def _uncertainty(table: np.ndarray, labels: list[str]) -> np.ndarray | None:
    columns = table.shape[1]
    named = [k for k, label in enumerate(labels[:columns]) if k >= 2 and re.match(r"d_?g|sigma|err|std|unc", label)]
    if named:
        dg = table[:, named[0]]
    elif columns == 4 or (columns == 3 and len(labels) < 3):
        dg = table[:, -1]
    else:
        return None
    return dg if (dg > 0).all() else None
