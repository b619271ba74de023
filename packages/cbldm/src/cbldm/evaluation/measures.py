"""Figures of a method from its answers, each with a spread, and what one method has over another."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from papertrio_shared.metrics import Interval, bootstrap_interval

from .judge import Record

CLOSE = 0.1
"""Mean absolute error of a coordinate below which a structure is found, Å."""
BEST = 10
"""Candidates among which the best is looked for."""
STAGES = ("rw_proposed", "rw_scaled", "rw_refined", "rw", "rw_moved")
"""Residuals: nothing refined; scale; scale, dilation and Biso; delta2 too where it pays; atoms moved."""

Figures = dict[str, float | None]


class Spread(NamedTuple):
    """Median and quartiles."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float | None]) -> Spread | None:
    """Median and quartiles of what is there.

    Args:
        values: Numbers, None where there is none.

    Returns:
        The spread; None of nothing.

    >>> spread([1.0, 2.0, 3.0, None])
    Spread(median=2.0, low=1.5, high=2.5)
    """
    known = [value for value in values if value is not None]
    return Spread(*map(float, np.percentile(known, [50, 25, 75]))) if known else None


def figures(record: Record) -> Figures:
    """What one answer is worth.

    Args:
        record: From `judge`, with `true_atoms` and `true_bond` where they are known.

    Returns:
        Figures by name, None where the truth is not known or there is no candidate. `success_1` and `success_10`: the
        right number of atoms and a mean absolute error below 0.1 Å, by the first or one of the first ten; the size
        counts as it was refined. `coverage`: share of the true atoms that the best of ten has within half a bond. Of a
        curve that no particle explains, only whether that is told.
    """
    best = record["candidates"][:BEST]
    first = best[0] if best else {}
    inside = record.get("inside", True)
    told: Figures = {
        "scope_right": float(record["in_scope"] == inside),
        "seconds": record["seconds"],
        "cpu_seconds": record["cpu_seconds"],
        "seconds_per_candidate": record["cpu_seconds"] / max(1, len(record["candidates"])),
    }
    if not inside:
        return told
    found: Figures = told | {f"{name}_1": first.get(name) for name in STAGES}
    found |= {f"{name}_10": _least([each.get(name) for each in best]) for name in STAGES}
    found |= {
        "diversity": record["diversity"],
        "sizes": float(len({each["atoms"] for each in best})),
        "types": float(len({each["type"] for each in best})),
        "families": float(len({each["family"] for each in best})),
    }
    if "true_atoms" not in record:
        return found
    n, bond = record["true_atoms"], record["true_bond"]
    right = [each for each in best if each["atoms"] == n]
    found |= {
        "n_exact": float(bool(best) and first["atoms"] == n),
        "n_exact_10": float(bool(right)),
        "n_error": abs(first["atoms"] - n) if best else None,
        "rmsd_1": first.get("rmsd"),
        "mae_1": first.get("mae"),
        "rmsd_10": _least([each["rmsd"] for each in right]),
        "mae_10": _least([each["mae"] for each in right]),
        "success_1": float(close(first, n)),
        "success_10": float(any(close(each, n) for each in best)),
        "success_moved_10": float(any(close(each, n, "_moved") for each in best)) if "mae_moved" in first else None,
        "coverage": max((1 - each["missing"] / n for each in best), default=0.0),
        "missing_1": first.get("missing"),
        "extra_1": first.get("extra"),
        "bond_error_proposed": abs(first["bond_proposed"] / bond - 1) if best else None,
        "bond_error": abs(first["bond"] / bond - 1) if best else None,
        "type_exact": float(bool(best) and first["type"] == record["true_type"]),
        **_calibration(record["atom_count"], n),
    }
    if record.get("head"):
        said = _calibration(record["head"], n)
        found |= {"head_likeliest": said["n_likeliest"], "head_confidence": said["n_confidence"]}
    return found


def close(candidate: Record, atoms: int, suffix: str = "") -> bool:
    """Whether a candidate is the true structure at its true size.

    Args:
        candidate: Of a record.
        atoms: True number of atoms.
        suffix: `"_moved"` for what its moved atoms are.

    Returns:
        True for the right number of atoms and a mean absolute error below 0.1 Å.

    >>> close({"atoms": 55, "mae": 0.02}, 55), close({"atoms": 55, "mae": 0.2}, 55), close({}, 55)
    (True, False, False)
    """
    return candidate.get("atoms") == atoms and candidate.get(f"mae{suffix}", np.inf) < CLOSE


def _least(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return min(known) if known else None


def _calibration(chances: Mapping[str, float], atoms: int) -> Figures:
    if not chances:
        return {"n_likeliest": 0.0, "n_confidence": None, "n_held": 0.0, "n_held_size": None, "n_true_chance": 0.0}
    likeliest = max(chances, key=lambda n: chances[n])
    total, held = 0.0, set()
    for name in sorted(chances, key=lambda n: -chances[n]):
        held.add(int(name))
        total += chances[name]
        if total >= 0.9:
            break
    return {
        "n_likeliest": float(int(likeliest) == atoms),
        "n_confidence": chances[likeliest],
        "n_held": float(atoms in held),
        "n_held_size": float(len(held)),
        "n_true_chance": chances.get(str(atoms), 0.0),
    }


SHARES = (
    *("n_exact", "n_exact_10", "type_exact", "success_1", "success_10", "success_moved_10"),
    *("n_likeliest", "n_confidence", "n_held", "n_true_chance", "head_likeliest", "head_confidence"),
    *("scope_right", "coverage", "diversity"),
)
"""Figures whose mean is told; of the others the median and the quartiles."""


def by_method(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Records of each method, in their order.

    Args:
        records: Answers.

    Returns:
        Lists by the method's name.
    """
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record["method"], []).append(record)
    return found


def summary(records: Sequence[Record]) -> dict[str, float | Spread | None]:
    """Figures of one method over its answers.

    Args:
        records: Its answers.

    Returns:
        The mean of each of `SHARES`, the spread of each other figure; None of what was never known.
    """
    rows = [figures(record) for record in records]
    names = dict.fromkeys(name for row in rows for name in row)
    found: dict[str, float | Spread | None] = {}
    for name in names:
        values = [row.get(name) for row in rows]
        known = [value for value in values if value is not None]
        found[name] = (float(np.mean(known)) if known else None) if name in SHARES else spread(values)
    return found


ENOUGH = 10
"""Geometries from which on a bootstrap over them is taken for evidence."""


class Comparison(NamedTuple):
    """What one method has over another in a figure.

    Attributes:
        first: A method.
        second: Another.
        figure: Name of the figure.
        difference: Mean of the first's less the second's over the geometries, with its 95 % interval.
        groups: How many geometries.
    """

    first: str
    second: str
    figure: str
    difference: Interval
    groups: int

    @property
    def counts(self) -> bool:
        """Whether the interval leaves zero out, and is of enough geometries to mean anything."""
        return self.groups >= ENOUGH and not self.difference.low <= 0 <= self.difference.high


COMPARED = ("success_10", "n_exact", "rw_refined_10")


def compare_methods(records: Sequence[Record], *, compared: Sequence[str] = COMPARED) -> list[Comparison]:
    """Every pair of methods, by the paired bootstrap over geometries.

    Curves of one geometry at several bond lengths are no independent evidence, so that their differences are averaged
    and geometries are drawn.

    Args:
        records: Answers of all methods.
        compared: Names of figures.

    Returns:
        For each pair and figure the difference on the curves that both have answered.
    """
    methods = by_method(records)
    found = []
    for first, second in combinations(methods, 2):
        for name in compared:
            differences = _differences(methods[first], methods[second], name)
            if len(differences):
                found.append(Comparison(first, second, name, bootstrap_interval(differences), len(differences)))
    return found


def interval(records: Sequence[Record], name: str, statistic: Callable[..., float] = np.mean) -> Interval | None:
    """A figure of one method with its bootstrap interval over geometries.

    Args:
        records: Answers of the method.
        name: Of the figure.
        statistic: Of the geometries' means.

    Returns:
        The statistic with the limits of its 95 % interval; None where the figure was never known.
    """
    grouped = list(_grouped({record["case"]: (record, figures(record).get(name)) for record in records}).values())
    return bootstrap_interval([float(np.mean(each)) for each in grouped], statistic) if grouped else None


def _differences(first: Sequence[Record], second: Sequence[Record], name: str) -> Float[np.ndarray, " groups"]:
    other = {record["case"]: figures(record).get(name) for record in second}
    pairs: dict[str, tuple[Record, float | None]] = {}
    for record in first:
        one, two = figures(record).get(name), other.get(record["case"])
        pairs[record["case"]] = record, None if one is None or two is None else one - two
    return np.array([np.mean(each) for each in _grouped(pairs).values()])


def _grouped(values: Mapping[str, tuple[Record, float | None]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for record, value in values.values():
        if value is not None:
            found.setdefault(record["group"], []).append(value)
    return found
