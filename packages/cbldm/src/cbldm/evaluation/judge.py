"""One answer held against what is true: a record of its candidates, which JSON can hold."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from jaxtyping import Float
from scipy.spatial.distance import pdist

from ..metrics import rw
from ..pairs import pairs_of
from ..rank import Candidate
from ..refine import Model, Parameters
from ..target import Target
from .alignment import align
from .cases import Case
from .methods import Answer

Record = dict[str, Any]

DIGITS = 6
_LEAST = 1e-4
"""Probability below which an outcome is not kept."""
_STEP = 0.1
"""Of the histograms that candidates are compared by, Å."""


def judge(answer: Answer, case: Case) -> Record:
    """What an answer is worth, candidate by candidate.

    Args:
        answer: What a method says.
        case: The curve and what is true of it.

    Returns:
        Numbers of atoms, residuals at each stage, alignments with the truth, distributions.
    """
    truth, recovery = case.truth, answer.recovery
    if recovery is None:
        nothing: Record = {"in_scope": False, "searched": 0, "atom_count": {}, "structure_type": {}, "candidates": []}
        return {**nothing, "diversity": 0.0, **_head(answer)}
    return {
        "in_scope": bool(recovery.in_scope),
        "searched": recovery.searched,
        "atom_count": _kept(recovery.atom_count),
        "structure_type": _kept(recovery.structure_type),
        "candidates": [_candidate(each, recovery.target, truth, case.biso) for each in recovery],
        "diversity": _rounded(diversity([each.atoms.positions for each in recovery[:10]])),
        **_head(answer),
    }


def _head(answer: Answer) -> Record:
    return {} if answer.head is None else {"head": _kept(answer.head)}


def _kept(chances: Mapping[Any, float]) -> dict[str, float]:
    return {str(outcome): _rounded(p) for outcome, p in chances.items() if p > _LEAST}


def _candidate(each: Candidate, target: Target, truth: Atoms | None, biso: float | None) -> Record:
    proposed, scaled = proposed_rw(each, target, biso)
    found: Record = {
        "label": each.label,
        "type": each.type,
        "source": each.source,
        "atoms": len(each.atoms),
        "weight": each.weight,
        "family": each.family,
        "bond": each.bond_length,
        "bond_proposed": each.bond_length * each.start.dilation / each.fit.parameters.dilation,
        "rw_proposed": proposed,
        "rw_scaled": scaled,
        "rw_refined": each.rw_delta2_zero,
        "rw": each.rw,
        "rw_moved": None if each.relaxed is None else each.relaxed.rw,
    }
    if truth is not None:
        found |= _aligned(each.atoms, truth, "")
        if each.relaxed is not None:
            found |= _aligned(each.relaxed.atoms, truth, "_moved")
    return {key: _rounded(value) if isinstance(value, float) else value for key, value in found.items()}


def _aligned(atoms: Atoms, truth: Atoms, suffix: str) -> Record:
    laid = align(atoms.positions, truth.positions)
    return {
        f"rmsd{suffix}": laid.rmsd,
        f"mae{suffix}": laid.mae,
        f"missing{suffix}": laid.missing,
        f"extra{suffix}": laid.extra,
    }


def proposed_rw(candidate: Candidate, target: Target, biso: float | None) -> tuple[float, float]:
    """Rw of a candidate before its refinement.

    Args:
        candidate: With the dilation it was proposed at.
        target: Measured points.
        biso: Displacement parameter; where it is not known that of the proposal.

    Returns:
        With nothing refined, which takes the scale for one; and with the scale alone.
    """
    atoms = candidate.atoms
    pairs = pairs_of(atoms.positions / candidate.fit.parameters.dilation, atoms.get_chemical_symbols())
    start = candidate.start
    model = Model(pairs, target, max_dilation=start.dilation)
    g, _ = model(
        Parameters(
            scale=1.0,
            dilation=start.dilation,
            biso=start.biso if biso is None else biso,
            delta2=0.0,
            qdamp=target.qdamp,
        )
    )
    scale = max(0.0, float(g @ target.g) / max(float(g @ g), 1e-300))
    return rw(target.g, g), rw(target.g, scale * g)


def diversity(structures: Sequence[Float[np.ndarray, "_ 3"]]) -> float:
    r"""How much structures differ: the mean over their pairs of $\sum|h_1 - h_2| / \sum(h_1 + h_2)$.

    Args:
        structures: Coordinates of each, Å.

    Returns:
        0 where all have the same histogram h of pair distances, 1 where no two share a distance.

    >>> line = np.array([[0.0, 0, 0], [0, 0, 2.75]])
    >>> diversity([line, line, 2 * line])
    0.6666666666666666
    """
    if len(structures) < 2:
        return 0.0
    distances = [pdist(each) for each in structures]
    bins = int(max(each.max() for each in distances) / _STEP) + 2
    counts = np.array([np.bincount((each / _STEP).astype(int), minlength=bins) for each in distances], dtype=float)
    total = counts.sum(axis=1)
    first, second = np.triu_indices(len(counts), 1)
    return float((np.abs(counts[first] - counts[second]).sum(axis=1) / (total[first] + total[second])).mean())


def _rounded(value: float) -> float:
    return round(float(value), DIGITS)
