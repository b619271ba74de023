"""Results as files: a table, structures, curves, a picture, a page."""

import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from ase.data.colors import jmol_colors
from ase.io import write
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from .calibrate import Calibration
from .data.gr import PairDistribution, write_gr
from .data.structure_files import write_structure
from .diffpy_script import diffpy_script
from .fit import StructureFit
from .page import fit_page, recovery_page
from .rank import Candidate, Recovery
from .refine import Parameters, RefinedStructure
from .target import Target

RECOVERY_FILES = (
    "candidates.csv",
    "rank_*.xyz",
    "rank_*.cif",
    "rank_*.stru",
    "rank_*.gr",
    "fit.png",
    "report.html",
    "recovery.json",
)
FIT_FILES = (
    "refined.xyz",
    "refined.cif",
    "refined.stru",
    "refined.gr",
    "start.xyz",
    "measured.gr",
    "fit_diffpy.py",
    "fit.png",
    "report.html",
)
CALIBRATION_FILES = ("calibration.json", "fit.png")
"""Names of what the commands write."""

UNITS = {"biso": "_angstrom2", "delta2": "_angstrom2", "qdamp": "_per_angstrom"}

COLUMNS = (
    "rank",
    "type",
    "parameters",
    "source",
    "atoms",
    "bond_length_angstrom",
    "rw",
    "rw_delta2_zero",
    "rw_moved",
    "moved_angstrom",
    "score",
    "weight",
    "family",
    "free_parameters",
    *(f"{name}{error}{UNITS.get(name, '')}" for name in Parameters._fields for error in ("", "_error")),
)


def write_recovery(folder: Path, result: Recovery, *, request: Mapping[str, Any] | None = None) -> None:
    """Write all of a search: table, structures, fits, picture, page, record.

    Args:
        folder: Where to write.
        result: The candidates.
        request: What was asked for, kept in the record.
    """
    target = result.target
    write_candidates(folder / "candidates.csv", result)
    for number, each in enumerate(result, 1):
        p = each.fit.parameters
        stem = folder / f"rank_{number:02d}"
        comment = f"{each.label} rw={each.rw:.4f} bond={each.bond_length:.4f}"
        write_structure(stem, each.atoms, biso=p.biso, delta2=p.delta2, comment=comment)
        _write_fitted(stem.with_suffix(".gr"), target, each)
        if each.relaxed:
            moved = f"{each.label} atoms moved rw={each.relaxed.rw:.4f} moved={each.relaxed.moved:.4f}"
            stem = folder / f"rank_{number:02d}_moved"
            write_structure(stem, each.relaxed.atoms, biso=each.relaxed.biso, delta2=p.delta2, comment=moved)
    plot_fit(folder / "fit.png", target, result[0], title=target.name)
    (folder / "report.html").write_text(recovery_page(result), encoding="utf-8")
    (folder / "recovery.json").write_text(json.dumps(record(result, request or {}), indent=1), encoding="utf-8")


def record(result: Recovery, request: Mapping[str, Any]) -> dict[str, Any]:
    """The outcome of a search in figures, for programs.

    Args:
        result: The candidates.
        request: What was asked for.

    Returns:
        What `recovery.json` holds.
    """
    best, sphere = result[0], result.sphere
    return {
        "curve": result.target.name,
        "version": version("cbldm"),
        "request": dict(request),
        "in_scope": result.in_scope,
        "searched": result.searched,
        "best": {
            "label": best.label,
            "type": best.type,
            "source": best.source,
            "atoms": len(best.atoms),
            "bond_length_angstrom": round(best.bond_length, 5),
            "rw": round(best.rw, 5),
            "rw_moved": round(best.relaxed.rw, 5) if best.relaxed else None,
            "weight": round(best.weight, 5),
        },
        "larger_sphere": sphere
        and {
            "lattice": sphere.lattice,
            "diameter_angstrom": round(sphere.diameter, 3),
            "atoms": sphere.atoms,
            "rw": round(sphere.fit.rw, 5),
        },
        "atom_count": {str(count): round(share, 5) for count, share in result.atom_count.items()},
        "structure_type": {kind: round(share, 5) for kind, share in result.structure_type.items()},
    }


def write_fit(folder: Path, found: StructureFit) -> None:
    """Write all of a fit of one structure: structure, fit, picture, page, and the DiffPy-CMI script of the same fit.

    Args:
        folder: Where to write.
        found: The fit.
    """
    p, target = found.fit.parameters, found.target
    comment = f"{found.label} rw={found.rw:.4f}"
    write_structure(folder / "refined", found.atoms, biso=p.biso, delta2=p.delta2, comment=comment)
    _write_fitted(folder / "refined.gr", target, found)
    write(folder / "start.xyz", found.start, format="xyz", comment=" ".join(found.label.split()))
    limits = {name: getattr(target, name) for name in ("qmin", "qmax", "qdamp", "qbroad")}
    dg = None if target.weight is None else 1 / target.weight
    write_gr(folder / "measured.gr", PairDistribution(target.r, target.g, dg, **limits, radiation=found.radiation))
    (folder / "fit_diffpy.py").write_text(diffpy_script(found), encoding="utf-8")
    plot_fit(folder / "fit.png", target, found, title=target.name)
    (folder / "report.html").write_text(fit_page(found), encoding="utf-8")


def write_calibration(folder: Path, found: Calibration) -> None:
    """Write what a standard has shown of an instrument: figures and a picture.

    Args:
        folder: Where to write.
        found: The instrument.
    """
    figures = {name: {"value": value, "error": found.errors[name]} for name, value in found.values.items()}
    content = {"curve": found.target.name, "standard": found.standard, "rw": found.rw, "refined": figures}
    (folder / "calibration.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    figure = Figure(figsize=(9.6, 4.4), layout="constrained")
    _draw_fit(figure.subplots(), found.target, found.g)
    figure.suptitle(f"{found.target.name} as {found.standard}, Rw = {found.rw:.3f}", fontsize=11)
    figure.savefig(folder / "fit.png", dpi=120)


def _write_fitted(path: Path, target: Target, structure: RefinedStructure) -> None:
    symbols = structure.atoms.get_chemical_symbols()
    refined = {name: f"{value:.6g}" for name, value in structure.fit.parameters._asdict().items() if name != "qdamp"}
    curve = PairDistribution(
        target.r,
        structure.fit.g,
        qmin=target.qmin,
        qmax=target.qmax,
        qdamp=structure.fit.parameters.qdamp,
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
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for number, each in enumerate(candidates, 1):
            writer.writerow(_figures(number, each))


def _figures(number: int, each: Candidate) -> dict[str, object]:
    fit, relaxed = each.fit, each.relaxed
    refined = {}
    for name in Parameters._fields:
        for suffix, values in (("", fit.parameters), ("_error", fit.errors)):
            refined[f"{name}{suffix}{UNITS.get(name, '')}"] = f"{getattr(values, name):.6g}"
    return {
        "rank": number,
        "type": each.type,
        "parameters": each.parameters,
        "source": each.source,
        "atoms": len(each.atoms),
        "bond_length_angstrom": f"{each.bond_length:.5f}",
        "rw": f"{fit.rw:.5f}",
        "rw_delta2_zero": f"{each.rw_delta2_zero:.5f}",
        "rw_moved": f"{relaxed.rw:.5f}" if relaxed else "",
        "moved_angstrom": f"{relaxed.moved:.4f}" if relaxed else "",
        "score": f"{fit.score:.3f}",
        "weight": f"{each.weight:.6f}",
        "family": each.family,
        "free_parameters": len(fit.free),
        **refined,
    }


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
    _draw_fit(curve, target, structure.fit.g)
    _draw_structure(view, structure)
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=120)


def _draw_fit(axes: Axes, target: Target, calculated: Float[np.ndarray, " points"]) -> None:
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
