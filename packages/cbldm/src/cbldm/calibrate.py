"""The instrument's damping and broadening from the measured curve of a crystalline standard."""

from dataclasses import dataclass
from itertools import product
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float
from scipy.optimize import least_squares

from .data.gr import PairDistribution
from .metrics import rw
from .scattering.crystal import MARGIN, Site, crystal_pair_distribution, shells_of
from .scattering.form_factors import Radiation
from .target import FitSettings, Target, select_target

Standard = Literal["Ni", "Si", "CeO2", "LaB6"]

_FCC = ((0.0, 0.0, 0.0), (0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0))
_BORON = 0.1996
"""Place of boron in LaB6, in units of the edge."""
STANDARDS: dict[Standard, tuple[float, list[Site]]] = {
    "Ni": (3.5241, [Site("Ni", *at) for at in _FCC]),
    "Si": (5.4311, [Site("Si", *(c + s for c in at)) for at in _FCC for s in (0.0, 0.25)]),
    "CeO2": (
        5.4115,
        [Site("Ce", *at) for at in _FCC] + [Site("O", *at) for at in product((0.25, 0.75), repeat=3)],
    ),
    "LaB6": (
        4.1568,
        [Site("La", 0.0, 0.0, 0.0)]
        + [Site("B", *np.roll((x, 0.5, 0.5), k).tolist()) for k in range(3) for x in (_BORON, 1 - _BORON)],
    ),
}
"""Edge of the cell (Å; NIST's certificates of SRM 640, 674 and 660 for the last three) and atoms of each standard."""

CALIBRATION_SETTINGS = FitSettings(rmin=1.5, rmax=50.0)
SHORTEST = 15.0
"""Fit range below which damping cannot be told from scale, Å."""
NOT_THE_STANDARD = 0.4
"""Rw above which the curve is not that of the standard."""
_EDGE_RANGE = 0.02
_LIMITS = {"scale": (0.0, np.inf), "delta2": (0.0, 5.0), "qdamp": (0.0, 0.2), "qbroad": (0.0, 0.2)}


@dataclass(frozen=True, eq=False)
class Calibration:
    """An instrument, as a standard has shown it.

    Attributes:
        qdamp: Damping, Å⁻¹.
        qbroad: Broadening, Å⁻¹.
        values: Everything that was refined: these, scale, edge (Å), delta2 (Å²) and `biso Ni`, … (Å²).
        errors: Standard errors.
        standard: Which standard.
        rw: Residual of the fit.
        g: Calculated G on the target's points, Å⁻².
        target: The points.
    """

    qdamp: float
    qbroad: float
    values: dict[str, float]
    errors: dict[str, float]
    standard: Standard
    rw: float
    g: Float[np.ndarray, " points"]
    target: Target


def calibrate(
    gr: PairDistribution,
    *,
    standard: Standard = "Ni",
    radiation: Radiation | None = None,
    settings: FitSettings = CALIBRATION_SETTINGS,
) -> Calibration:
    """Refine qdamp and qbroad of an instrument on the curve of a crystalline standard.

    The edge of the cell, a Biso for each element, delta2 and the scale are refined with them.

    Args:
        gr: Measured curve of the standard.
        standard: Which: `"Ni"`, `"Si"`, `"CeO2"` or `"LaB6"`.
        radiation: What was scattered; by default what the file says, or else X-rays.
        settings: Fit range, weights and, where the file does not say, qmin and qmax.

    Returns:
        The instrument, with standard errors.

    Raises:
        ValueError: If the standard is unknown, its crystal does not explain the curve, the curve is too short to tell
            damping from scale, or qmin or qmax is missing.

    >>> r = 0.02 * np.arange(100, 1500)
    >>> edge, sites = STANDARDS["Ni"]
    >>> made = {"edge": edge, "biso": {"Ni": 0.35}, "qdamp": 0.041, "qbroad": 0.01}
    >>> g = crystal_pair_distribution(shells_of(sites, 16), r, qmax=25.0, **made)
    >>> found = calibrate(PairDistribution(r, g, qmin=0.0, qmax=25.0))
    >>> round(found.qdamp, 4), round(found.qbroad, 4)
    (0.041, 0.01)
    """
    if standard not in get_args(Standard):
        raise ValueError(f"standard {standard!r}: no such standard; take one of {', '.join(get_args(Standard))}")
    target = select_target(gr, settings)
    if target.r[-1] - target.r[0] < SHORTEST:
        raise ValueError(
            f"{gr.name}: {target.r[-1] - target.r[0]:.3g} Å of curve do not tell damping from scale; give at least "
            f"{SHORTEST:g} Å with --rmin and --rmax"
        )
    edge, sites = STANDARDS[standard]
    elements = list(dict.fromkeys(site.element for site in sites))
    reach = (float(target.r[-1]) + MARGIN) / (edge * (1 - _EDGE_RANGE))
    shells = shells_of(sites, reach, radiation=radiation or gr.radiation or "xray")
    names = ["scale", "edge", "delta2", "qdamp", "qbroad", *(f"biso {each}" for each in elements)]
    limits = _LIMITS | {"edge": ((1 - _EDGE_RANGE) * edge, (1 + _EDGE_RANGE) * edge)}
    limits |= {f"biso {each}": (0.01, 5.0) for each in elements}

    def curve(values: Float[np.ndarray, " parameters"]) -> Float[np.ndarray, " points"]:
        p = dict(zip(names, values.tolist(), strict=True))
        return p["scale"] * crystal_pair_distribution(
            shells,
            target.r,
            edge=p["edge"],
            biso={each: p[f"biso {each}"] for each in elements},
            qmin=target.qmin,
            qmax=target.qmax,
            qdamp=p["qdamp"],
            qbroad=p["qbroad"],
            delta2=p["delta2"],
        )

    observed = target.weighted(target.g)
    begin = np.array([1.0, edge, 1.5, target.qdamp or 0.02, 0.01, *[0.5] * len(elements)])
    first = target.weighted(curve(begin))
    begin[0] = max(1e-6, float(first @ observed) / float(first @ first))
    low, high = np.array([limits[name] for name in names]).T
    size = float(np.linalg.norm(observed))
    solution = least_squares(
        lambda values: (target.weighted(curve(values)) - observed) / size,
        begin,
        bounds=(low, high),
        x_scale=np.array([begin[0], 0.01, 1.0, 0.02, 0.02, *[0.3] * len(elements)]),
        diff_step=1e-5,
        max_nfev=60,
    )
    g = curve(solution.x)
    residual = rw(target.g, g)
    if residual > NOT_THE_STANDARD:
        raise ValueError(
            f"{gr.name}: the crystal of {standard} leaves Rw = {residual:.2f}, so this is another substance; give its "
            f"--standard ({', '.join(get_args(Standard))})"
        )
    freedom = max(1.0, target.independent_points - len(names))
    covariance = np.linalg.pinv(solution.jac.T @ solution.jac) * 2 * solution.cost / freedom
    values = dict(zip(names, solution.x.tolist(), strict=True))
    errors = dict(zip(names, np.sqrt(np.diag(covariance)).tolist(), strict=True))
    return Calibration(values["qdamp"], values["qbroad"], values, errors, standard, residual, g, target)
