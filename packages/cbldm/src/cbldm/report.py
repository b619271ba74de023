"""Results to look at: a page in one file that needs no network, a plot, a table."""

import csv
import html
import json
from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template

import numpy as np
from ase.data import atomic_numbers
from ase.data.colors import jmol_colors
from ase.io import write
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from . import findings
from .data.gr import PairDistribution, write_gr
from .fit import StructureFit
from .rank import Candidate, Recovery
from .refine import RefinedStructure
from .target import Target

RECOVERY_FILES = ("candidates.csv", "rank_*.xyz", "rank_01.gr", "fit.png", "report.html")
FIT_FILES = ("refined.xyz", "refined.gr", "fit.png", "report.html")
"""Names of what the two commands write."""

PLOT_STEP = 0.02
"""Spacing of the points a page shows, Å; G with qmax 30 turns over in five of these."""

COLUMNS = (
    "rank",
    "type",
    "parameters",
    "atoms",
    "bond_length_angstrom",
    "rw",
    "rw_delta2_zero",
    "score",
    "free_parameters",
    "scale",
    "scale_error",
    "dilation",
    "dilation_error",
    "biso_angstrom2",
    "biso_error_angstrom2",
    "delta2_angstrom2",
    "delta2_error_angstrom2",
)


def write_recovery(folder: Path, result: Recovery) -> None:
    """Write all of a search: table, structures, best fit, picture, page.

    Args:
        folder: Where to write.
        result: The candidates.
    """
    target = result.target
    write_candidates(folder / "candidates.csv", result)
    for number, each in enumerate(result, 1):
        comment = f"{each.label} rw={each.rw:.4f} bond={each.bond_length:.4f}"
        write(folder / f"rank_{number:02d}.xyz", each.atoms, format="xyz", comment=comment)
    _write_fitted(folder / "rank_01.gr", target, result[0])
    plot_fit(folder / "fit.png", target, result[0], title=target.name)
    write_page(
        folder / "report.html",
        target,
        result,
        settings=f"{findings.settings(target)}; {result.searched} geometries as {result.element}",
        verdict=findings.verdict(result),
        caveats=findings.caveats(result),
    )


def write_fit(folder: Path, found: StructureFit) -> None:
    """Write all of a fit of one structure: structure, fit, picture, page.

    Args:
        folder: Where to write.
        found: The fit.
    """
    write(folder / "refined.xyz", found.atoms, format="xyz", comment=f"{found.label} rw={found.rw:.4f}")
    _write_fitted(folder / "refined.gr", found.target, found)
    plot_fit(folder / "fit.png", found.target, found, title=found.target.name)
    write_page(
        folder / "report.html",
        found.target,
        [found],
        settings=findings.settings(found.target),
        verdict=findings.fit_verdict(found),
        caveats=findings.fit_caveats(found.target),
    )


def _write_fitted(path: Path, target: Target, structure: RefinedStructure) -> None:
    symbols = structure.atoms.get_chemical_symbols()
    refined = {name: f"{value:.6g}" for name, value in structure.fit.parameters._asdict().items()}
    curve = PairDistribution(
        target.r,
        structure.fit.g,
        qmin=target.qmin,
        qmax=target.qmax,
        qdamp=target.qdamp,
        qbroad=target.qbroad,
        composition=dict(Counter(symbols)),
        metadata={"structure": structure.label, "rw": f"{structure.rw:.5f}", **refined},
    )
    write_gr(path, curve)


def write_candidates(path: Path, candidates: Sequence[Candidate]) -> None:
    """Write `candidates.csv`, a line for each candidate.

    Args:
        path: File to write.
        candidates: Ranked structures.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for number, each in enumerate(candidates, 1):
            fit = each.fit
            refined = [
                f"{value:.6g}" for pair in zip(fit.parameters, fit.errors, strict=True) for value in pair
            ]  # scale, its error, dilation, ...
            parameters = " ".join(map(str, each.geometry.parameters))
            figures = [f"{each.bond_length:.5f}", f"{fit.rw:.5f}", f"{each.rw_delta2_zero:.5f}", f"{fit.score:.3f}"]
            row = [number, each.geometry.type, parameters, len(each.atoms), *figures, len(fit.free), *refined]
            writer.writerow(row)


def plot_fit(path: Path, target: Target, structure: RefinedStructure, *, title: str) -> None:
    """Write a picture of a fit, the structure beside it: measured circles, calculated line, their difference below.

    Args:
        path: File to write; its suffix says the format.
        target: Measured points.
        structure: Structure whose fit is shown.
        title: Words above.
    """
    figure = Figure(figsize=(9.6, 4.4), layout="constrained")
    curve, view = figure.subplots(1, 2, width_ratios=[2.4, 1])
    _draw_fit(curve, target, structure)
    _draw_structure(view, structure)
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=120)


def _draw_fit(axes: Axes, target: Target, structure: RefinedStructure) -> None:
    calculated = structure.fit.g
    difference = target.g - calculated
    bottom, top = min(target.g.min(), calculated.min()), max(target.g.max(), calculated.max())
    shift = bottom - 0.06 * (top - bottom) - difference.max()
    every = max(1, round(0.06 / float(np.median(np.diff(target.r)))))
    axes.plot(
        target.r[::every],
        target.g[::every],
        linestyle="",
        marker="o",
        markersize=3.5,
        markerfacecolor="none",
        markeredgewidth=0.8,
        color="#1f5fa8",
        label="measured",
    )
    axes.plot(target.r, calculated, color="#c0392b", linewidth=1.3, label="calculated")
    axes.plot(target.r, difference + shift, color="#3d7f5f", linewidth=1, label="difference, shifted")
    axes.axhline(shift, color="#5b6675", linewidth=0.8, linestyle=":")
    axes.set(xlabel="r (Å)", ylabel="G (Å⁻²)", xlim=(target.r[0], target.r[-1]))
    axes.legend(frameon=False, fontsize=9, loc="upper right")


def _draw_structure(axes: Axes, structure: RefinedStructure) -> None:
    right, up = np.array([0.87, 0.0, 0.49]), np.array([-0.14, 0.958, 0.249])
    seen = structure.atoms.positions @ np.stack([right, up, np.cross(right, up)]).T
    radius = 0.42 * structure.bond_length
    numbers = structure.atoms.get_atomic_numbers()
    depth = (seen[:, 2] - seen[:, 2].min()) / max(float(np.ptp(seen[:, 2])), 1e-9)
    for atom in np.argsort(seen[:, 2]):
        face = jmol_colors[numbers[atom]] * (0.6 + 0.4 * depth[atom])
        axes.add_patch(Circle(seen[atom, :2], radius, facecolor=face, edgecolor="#1c2430", linewidth=0.4))
    extent = 1.08 * (np.abs(seen[:, :2]).max() + radius)
    axes.set(xlim=(-extent, extent), ylim=(-extent, extent), aspect="equal")
    axes.set_title(f"{structure.label}, {len(seen)} atoms\nRw = {structure.rw:.3f}", fontsize=10)
    axes.set_axis_off()


def write_page(
    path: Path,
    target: Target,
    structures: Sequence[RefinedStructure],
    *,
    settings: str,
    verdict: str,
    caveats: Sequence[str],
) -> None:
    """Write a page in one file: fit, turning structure, table, and what the numbers mean.

    Args:
        path: File to write.
        target: Measured points.
        structures: Best first; a click on one's line shows it.
        settings: How.
        verdict: The result in a sentence or two.
        caveats: What the numbers can and cannot say.
    """
    step = float(np.median(np.diff(target.r)))
    shown = slice(None, None, max(1, round(PLOT_STEP / step)))
    data = {
        "r": np.round(target.r[shown], 4).tolist(),
        "measured": np.round(target.g[shown], 5).tolist(),
        "entries": [_entry(each, shown) for each in structures],
    }
    errors = any(error > 0 for each in structures for error in each.fit.errors)
    page = Template((files("cbldm") / "report_template.html").read_text(encoding="utf-8")).substitute(
        title=html.escape(target.name),
        settings=html.escape(settings),
        verdict=html.escape(verdict),
        table_title="Candidates" if len(structures) > 1 else "Refined structure",
        columns="".join(f"<th>{name}</th>" for name in _HEADINGS),
        rows="".join(_row(number, each, structures[0].score) for number, each in enumerate(structures, 1)),
        table_note=" ".join([_ERRORS_NOTE] * errors + [_CLICK_NOTE] * (len(structures) > 1)),
        caveats="".join(f"<li>{html.escape(line)}</li>" for line in caveats),
        # An angle bracket may not close the script element that holds the data.
        data=json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
    )
    path.write_text(page, encoding="utf-8")


_HEADINGS = (
    "#",
    "structure",
    "atoms",
    "bond<small>Å</small>",
    "Rw",
    "Rw, δ₂ = 0",
    "score<small>above best</small>",
    "scale",
    "dilation",
    "Biso<small>Å²</small>",
    "δ₂<small>Å²</small>",
)
_ERRORS_NOTE = (
    "Behind ± stands the standard error, which takes the curve as (rmax − rmin)(qmax − qmin)/π independent "
    "measurements and the misfit as noise; where the structure itself is wrong, the error is larger. δ₂ is free only "
    "where it pays for itself."
)
_CLICK_NOTE = "Click a line to see its fit and structure."


def _row(number: int, each: RefinedStructure, best: float) -> str:
    p, e = each.fit.parameters, each.fit.errors
    refined = (_with_error(value, error, digits) for value, error, digits in zip(p, e, (3, 4, 3, 2), strict=True))
    cells = (
        str(number),
        html.escape(each.label),
        str(len(each.atoms)),
        f"{each.bond_length:.3f}",
        f"{each.rw:.3f}",
        f"{each.rw_delta2_zero:.3f}",
        f"{each.score - best:.1f}",
        *refined,
    )
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _with_error(value: float, error: float, digits: int) -> str:
    shown = f"{value:.{digits}f}"
    return f'{shown} <span class="error">± {error:.{digits}f}</span>' if error > 0 else shown


def _entry(each: RefinedStructure, shown: slice) -> dict[str, object]:
    symbols = each.atoms.get_chemical_symbols()
    kinds = list(dict.fromkeys(symbols))
    return {
        "label": each.label,
        "rw": f"{each.rw:.3f}",
        "bond": round(each.bond_length, 3),
        "calculated": np.round(each.fit.g[shown], 5).tolist(),
        "positions": np.round(each.atoms.positions, 3).tolist(),
        "kinds": [kinds.index(symbol) for symbol in symbols],
        "colors": [np.round(jmol_colors[atomic_numbers[kind]], 3).tolist() for kind in kinds],
    }
