"""One's own structure, refined against a measured curve."""

from dataclasses import dataclass

from ase import Atoms

from .baselines.retrieval import scan
from .data.gr import PairDistribution
from .pairs import pairs_of
from .refine import DILATIONS, Delta2, Qdamp, RefinedStructure, refine_structure
from .scattering.form_factors import Radiation
from .target import FIT_SETTINGS, FitSettings, Target, select_target

MAX_ATOMS = 5000
"""Largest structure: its distances are held in memory at once."""


@dataclass(frozen=True, eq=False, repr=False)
class StructureFit(RefinedStructure):
    """A refined structure with the points it was fitted to.

    Attributes:
        target: The points.
        start: The structure as it was given, Å.
        dilations: Range of the dilation.
        radiation: What was scattered.
    """

    target: Target
    start: Atoms
    dilations: tuple[float, float]
    radiation: Radiation

    def _repr_html_(self) -> str:
        """The report, as a notebook shows it."""
        from .page import fit_page, notebook_frame

        return notebook_frame(fit_page(self))


def fit(
    atoms: Atoms,
    gr: PairDistribution,
    *,
    label: str = "structure",
    delta2: Delta2 = "refine",
    qdamp: Qdamp = "held",
    dilations: tuple[float, float] = DILATIONS,
    radiation: Radiation = "xray",
    settings: FitSettings = FIT_SETTINGS,
) -> StructureFit:
    """Refine scale, dilation, Biso and, where it pays, delta2 (qdamp if asked) of a structure.

    Args:
        atoms: The cluster, of one element or several, Å; a cell and its periodicity are not used.
        gr: Measured curve.
        label: What to call the structure.
        delta2: Whether delta2 is refined where it pays, or held at zero.
        qdamp: Whether qdamp is refined where it pays, or held.
        dilations: Range of the dilation.
        radiation: What was scattered; it matters where there are several elements.
        settings: Fit range, weights and instrument.

    Returns:
        The fit, with standard errors.

    Raises:
        ValueError: If the structure has fewer than 2 or more than 5,000 atoms or two at one place or too far apart,
            an element is unknown, the dilations are no range around 1, qmin or qmax is missing, or the curve is too
            short.

    >>> from cbldm import simulate
    >>> atoms = Atoms("Au4", positions=[[0, 0, 0], [2.9, 0, 0], [0, 2.9, 0], [0, 0, 2.9]])
    >>> found = fit(atoms, simulate(atoms))
    >>> round(found.fit.parameters.dilation, 4), round(found.fit.parameters.biso, 3)
    (1.0, 0.5)
    """
    if len(atoms) > MAX_ATOMS:
        raise ValueError(f"{label}: {len(atoms)} atoms; a fit takes up to {MAX_ATOMS}, cut a smaller cluster")
    low, high = dilations
    if not 0.5 <= low < 1 < high <= 2:
        raise ValueError(f"dilations {low:g} to {high:g}: give a range around 1 within 0.5 to 2, such as 0.92 1.08")
    target = select_target(gr, settings)
    try:
        pairs = pairs_of(atoms.positions, atoms.get_chemical_symbols())
    except ValueError as error:
        raise ValueError(f"{label}: {error}") from error
    start, _ = scan(pairs, target, dilations=dilations, radiation=radiation)
    found = refine_structure(
        label, atoms, pairs, target, start, delta2=delta2, qdamp=qdamp, dilations=dilations, radiation=radiation
    )
    return StructureFit(**vars(found), target=target, start=atoms.copy(), dilations=dilations, radiation=radiation)
