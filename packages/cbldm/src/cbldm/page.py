"""A page in one file that needs no network: the fit, the structure to turn, the candidates, what the numbers mean."""

import html
import json
from collections.abc import Sequence
from importlib.resources import files
from string import Template

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.data.colors import jmol_colors

from . import findings
from .fit import StructureFit
from .posterior import Distribution
from .rank import Candidate, Recovery
from .refine import RefinedStructure
from .target import Target

PLOT_STEP = 0.02
"""Spacing of the points a page shows, Å; G with qmax 30 turns over in five of these."""
_BARS = 8
"""Outcomes of a distribution that are drawn."""
_DIGITS = {"scale": 3, "dilation": 4, "biso": 3, "delta2": 2, "qdamp": 4}
_HEADINGS = {
    "scale": "scale",
    "dilation": "dilation",
    "biso": "Biso<small>Å²</small>",
    "delta2": "δ₂<small>Å²</small>",
    "qdamp": "qdamp<small>Å⁻¹</small>",
}
_ERRORS_NOTE = (
    "Behind ± stands the standard error, which takes the curve as (rmax − rmin)(qmax − qmin)/π independent "
    "measurements and the misfit as noise; where the structure itself is wrong, the error is larger. δ₂ is free only "
    "where it pays for itself."
)
_CLICK_NOTE = (
    "Click a line to see its fit and structure. Weight: share of the posterior among all that were refined. Family: "
    "candidates of one number have nearly the same G. Rw, moved: after the atoms were moved under a restraint."
)


def recovery_page(result: Recovery) -> str:
    """The page of a search.

    Args:
        result: The candidates.

    Returns:
        A whole HTML document that loads nothing.
    """
    return _page(
        result.target,
        result.candidates,
        settings=f"{findings.settings(result.target)}; {result.searched} structures as {result.element}",
        verdict=findings.verdict(result),
        caveats=findings.caveats(result),
        posterior=_bars("Number of atoms", result.atom_count) + _bars("Structure type", result.structure_type),
    )


def fit_page(found: StructureFit) -> str:
    """The page of a fit of one structure.

    Args:
        found: The fit.

    Returns:
        A whole HTML document that loads nothing.
    """
    return _page(
        found.target,
        [found],
        settings=findings.settings(found.target),
        verdict=findings.fit_verdict(found),
        caveats=findings.fit_caveats(found),
        posterior="",
    )


def notebook_frame(page: str) -> str:
    """A page in a frame, as a notebook shows it without its styles and scripts meeting the notebook's.

    Args:
        page: A whole HTML document.

    Returns:
        An element that holds it.

    >>> notebook_frame("<p>1 < 2")[:41]
    '<iframe srcdoc="&lt;p&gt;1 &lt; 2" style='
    """
    style = "width:100%;height:1000px;border:0"
    return f'<iframe srcdoc="{html.escape(page)}" style="{style}" title="structures"></iframe>'


def _page(
    target: Target,
    structures: Sequence[RefinedStructure],
    *,
    settings: str,
    verdict: str,
    caveats: Sequence[str],
    posterior: str,
) -> str:
    step = float(np.median(np.diff(target.r)))
    shown = slice(None, None, max(1, round(PLOT_STEP / step)))
    data = {
        "r": np.round(target.r[shown], 4).tolist(),
        "measured": _rounded(target.g[shown]),
        "entries": [_entry(each, shown) for each in structures],
    }
    columns = [name for name in _DIGITS if name != "qdamp" or any("qdamp" in each.fit.free for each in structures)]
    candidates = isinstance(structures[0], Candidate)
    errors = any(error > 0 for each in structures for error in each.fit.errors)
    headings = ["#", "structure", "atoms", "bond<small>Å</small>", "Rw", "Rw, δ₂ = 0"]
    headings += ["Rw, moved", "weight", "family"] * candidates + [_HEADINGS[name] for name in columns]
    return Template((files("cbldm") / "report_template.html").read_text(encoding="utf-8")).substitute(
        title=html.escape(target.name),
        settings=html.escape(settings),
        verdict=html.escape(verdict),
        posterior=f'<section class="card shares">{posterior}</section>' if posterior else "",
        table_title="Candidates" if candidates else "Refined structure",
        columns="".join(f"<th>{name}</th>" for name in headings),
        rows="".join(_row(number, each, columns) for number, each in enumerate(structures, 1)),
        table_note=" ".join([_CLICK_NOTE] * candidates + [_ERRORS_NOTE] * errors),
        caveats="".join(f"<li>{html.escape(line)}</li>" for line in caveats),
        # An angle bracket may not close the script element that holds the data.
        data=json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
    )


def _rounded(g: np.ndarray) -> list[float]:
    """Five significant digits of the largest, whatever unit the curve came in."""
    digits = 5 - int(np.floor(np.log10(max(float(np.abs(g).max()), 1e-300)))) - 1
    return np.round(g, digits).tolist()


def _row(number: int, each: RefinedStructure, columns: Sequence[str]) -> str:
    cells = [str(number), html.escape(each.label), str(len(each.atoms)), f"{each.bond_length:.3f}", f"{each.rw:.3f}"]
    cells.append(f"{each.rw_delta2_zero:.3f}")
    if isinstance(each, Candidate):
        moved = f"{each.relaxed.rw:.3f}" if each.relaxed else "–"
        cells += [moved, f"{each.weight:.3f}", str(each.family)]
    for name in columns:
        value, error = (f"{getattr(p, name):.{_DIGITS[name]}f}" for p in (each.fit.parameters, each.fit.errors))
        cells.append(f'{value} <span class="error">± {error}</span>' if name in each.fit.free else value)
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _entry(each: RefinedStructure, shown: slice) -> dict[str, object]:
    symbols = each.atoms.get_chemical_symbols()
    kinds = list(dict.fromkeys(symbols))
    states = [_state(each.atoms, each.fit.g[shown], each.rw)]
    if isinstance(each, Candidate) and each.relaxed:
        states.append(_state(each.relaxed.atoms, each.relaxed.g[shown], each.relaxed.rw))
    return {
        "label": each.label,
        "bond": round(each.bond_length, 3),
        "states": states,
        "kinds": [kinds.index(symbol) for symbol in symbols],
        "colors": [np.round(jmol_colors[atomic_numbers[kind]], 3).tolist() for kind in kinds],
    }


def _state(atoms: Atoms, calculated: np.ndarray, rw: float) -> dict[str, object]:
    return {"rw": f"{rw:.3f}", "calculated": _rounded(calculated), "positions": np.round(atoms.positions, 3).tolist()}


def _bars(title: str, distribution: Distribution[int] | Distribution[str]) -> str:
    """A bar for each of the likeliest outcomes."""
    shares = [(str(outcome), share) for outcome, share in list(distribution.items())[:_BARS] if share >= 0.005]
    rest = 1 - sum(share for _, share in shares)
    if rest >= 0.005:
        shares.append(("others", rest))
    lines = "".join(
        f'<li><b>{html.escape(outcome)}</b><span><i style="width:{100 * share:.1f}%"></i></span>'
        f"{100 * share:.0f} %</li>"
        for outcome, share in shares
    )
    return f"<div><h2>{title}</h2><ol>{lines}</ol></div>"
