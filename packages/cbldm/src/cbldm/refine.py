r"""Least-squares refinement of one structure against a measured curve.

With every distance of the structure multiplied by the dilation $s$, $x_p = s d_p$ and $U = B_{iso} / 8\pi^2$,

$$ G(r) = a \, e^{-(r q_{damp})^2/2} \, \frac{2}{\pi} \int_{q_\min}^{q_\max} F(q) \sin(qr) \, dq, \qquad
   F(q) = \sum_p w_p(q) \, e^{-U q^2 \max(0, 1 - \delta_2 / x_p^2 + (q_{broad} x_p)^2)} \, \frac{\sin(q x_p)}{x_p},
   \qquad w_p = \frac{2 f_{i_p} f_{j_p}}{N \langle f \rangle^2} $$

(Farrow and Billinge 2009, Eqs. 7 and 8; peak width of Farrow et al. 2007). In one element w is 2/N: the form factors
cancel. The derivatives by all five parameters are closed forms, so Gauss-Newton steps have their exact Jacobian, and
the parameters standard errors.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float
from scipy.optimize import least_squares
from torch import Tensor

from .metrics import penalised_score, rw
from .pairs import PairGroup, Pairs
from .scattering.form_factors import Radiation
from .target import QDAMP, SineTransform, Target

Delta2 = Literal["refine", "zero"]
Qdamp = Literal["held", "refine"]

DILATIONS = (0.92, 1.08)
BISO_RANGE = (0.01, 10.0)
"""Limits of the displacement parameter, Å²."""
QDAMP_RANGE = (0.0, 0.3)
"""Limits of the damping, Å⁻¹."""
DELTA2_START = 2.0
"""Where the refinement of delta2 begins, Å²."""
_CHUNK = 2**20
"""Terms (distances × nodes) held at once."""


class Parameters(NamedTuple):
    """What is refined: scale, dilation of all distances, Biso (Å²), delta2 (Å²), qdamp (Å⁻¹)."""

    scale: float = 1.0
    dilation: float = 1.0
    biso: float = 0.5
    delta2: float = 0.0
    qdamp: float = QDAMP


@dataclass(frozen=True, eq=False)
class Fit:
    """A refined structure.

    Attributes:
        parameters: Where the refinement ended.
        errors: Standard errors, 0 for what was held. They take the curve as `independent_points` measurements of
            equal error, which the misfit itself estimates.
        free: Names of what was refined, in the order of `Parameters`.
        rw: Residual of the fit, unweighted.
        weighted_rw: The same with the points' weights, which is what was minimised.
        score: Weighted Rw with a penalty for the free parameters (`metrics.penalised_score`); lower is better.
        g: Calculated G on the target's points, Å⁻².
    """

    parameters: Parameters
    errors: Parameters
    free: tuple[str, ...]
    rw: float
    weighted_rw: float
    score: float
    g: Float[np.ndarray, " points"]


@dataclass(frozen=True, eq=False, repr=False)
class RefinedStructure:
    """A structure after its refinement.

    Attributes:
        label: What it is called.
        atoms: The structure at its refined dilation, Å.
        bond_length: Mean distance of nearest neighbours, Å.
        fit: The fit that was kept.
        rw_delta2_zero: Rw with scale, dilation and Biso free alone.
    """

    label: str
    atoms: Atoms
    bond_length: float
    fit: Fit
    rw_delta2_zero: float

    def __repr__(self) -> str:
        """What it is and how well it fits, in a line."""
        return f"<{self.label}: {len(self.atoms)} atoms, bond {self.bond_length:.3f} Å, Rw {self.rw:.3f}>"

    @property
    def rw(self) -> float:
        """Rw of the fit."""
        return self.fit.rw

    @property
    def score(self) -> float:
        """Rw of the fit with its penalty for free parameters; lower is better."""
        return self.fit.score


class Model:
    """G of one structure on a target's points, and its derivatives by the five parameters.

    Args:
        pairs: Distances of the structure.
        target: The points and the settings.
        max_dilation: Largest dilation that will be asked for.
        radiation: What was scattered; it matters where there are several elements.
    """

    def __init__(self, pairs: Pairs, target: Target, *, max_dilation: float, radiation: Radiation = "xray") -> None:
        self.pairs = pairs
        self.qbroad = target.qbroad
        self.qdamp, self.r = target.qdamp, target.r
        self.transform = SineTransform(target, pairs.dmax * max_dilation)
        self.weights = pairs.weights(self.transform.q, radiation)

    def __call__(self, p: Parameters) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, "points 5"]]:
        """G (Å⁻²) and its derivatives by scale, dilation, biso, delta2 and qdamp."""
        columns = self.transform(self._rows(p)).numpy()
        if p.qdamp != self.qdamp:  # the transform has the target's
            columns = columns * np.exp((self.qdamp**2 - p.qdamp**2) * self.r**2 / 2)
        g = p.scale * columns[0]
        return g, np.column_stack([*columns, -(self.r**2) * p.qdamp * g])

    def components(self, p: Parameters) -> tuple[Float[np.ndarray, " components"], Float[np.ndarray, "components 4"]]:
        """The same but for qdamp, by the few numbers that the instrument can tell apart, as the points are weighted.

        The last is zero: there stands what of a measured curve no structure can have.
        """
        columns = np.pad(self._rows(p).numpy() @ self.transform.components()[0], ((0, 0), (0, 1)))
        return p.scale * columns[0], columns.T

    def _rows(self, p: Parameters) -> Float[Tensor, "4 nq"]:
        """F, which is what the scale multiplies, and the derivatives of the scaled F by dilation, biso and delta2."""
        parts = [self._group(g, p) * w for g, w in zip(self.pairs.groups, self.weights, strict=True)]
        f, by_dilation, by_u, by_delta2 = torch.stack(parts).sum(0)
        return torch.stack([f, p.scale * by_dilation, p.scale * by_u / (8 * math.pi**2), p.scale * by_delta2])

    def _group(self, group: PairGroup, p: Parameters) -> Float[Tensor, "4 nq"]:
        q = self.transform.q
        size = max(1, _CHUNK // len(q))
        chunks = zip(group.distances.split(size), group.counts.split(size), strict=True)
        return torch.stack([_sums(d, count, q, p, self.qbroad) for d, count in chunks]).sum(0)


def _sums(
    d: Float[Tensor, " distinct"],
    count: Float[Tensor, " distinct"],
    q: Float[Tensor, " nq"],
    p: Parameters,
    qbroad: float,
) -> Float[Tensor, "4 nq"]:
    """Sum over the distances of the terms of F, and of their derivatives by s, U and δ₂."""
    x = p.dilation * d
    u, q2 = p.biso / (8 * math.pi**2), q**2
    width = (1 - p.delta2 / x**2 + (qbroad * x) ** 2).clamp(min=0)
    amplitude = (count / x)[:, None] * torch.exp(-u * torch.outer(width, q2))
    phase = torch.outer(x, q)
    sine, cosine = amplitude * torch.sin(phase), amplitude * torch.cos(phase)
    moves = width > 0
    by_delta2 = torch.where(moves, 1 / x**2, 0)  # less what the width loses
    by_x = torch.where(moves, 2 * p.delta2 / x**3 + 2 * qbroad**2 * x, 0)
    term, wide, near, spread, widening = torch.stack([torch.ones_like(d), width, by_delta2, d / x, d * by_x]) @ sine
    by_dilation = q * (d @ cosine) - spread - u * q2 * widening
    return torch.stack([term, by_dilation, -q2 * wide, u * q2 * near])


def refine(
    model: Model,
    target: Target,
    start: Parameters,
    *,
    free: Sequence[str] = ("scale", "dilation", "biso"),
    dilations: tuple[float, float] = DILATIONS,
) -> Fit:
    r"""Minimise $\sum_i w_i^2 (G^{obs}_i - G^{calc}_i)^2$ over the free parameters, inside their limits.

    A bounded trust-region Gauss-Newton (`scipy.optimize.least_squares`). `scale` is always free and starts at its
    best value for the others' start.

    Args:
        model: The structure on the target's points.
        target: Measured points.
        start: Where to begin; what is not free stays there, but for qdamp, which is the target's.
        free: What is refined.
        dilations: Limits of the dilation.

    Returns:
        The fit.

    Raises:
        ValueError: If `scale` is not free, there are fewer independent points than parameters, or the structure has no
            G in the range.
    """
    start = start._replace(qdamp=target.qdamp)
    names = tuple(name for name in Parameters._fields if name in free)
    if "scale" not in names:
        raise ValueError(f"free {', '.join(free)}: the scale of a measured curve is never known; add scale")
    freedom = target.independent_points - len(names)
    if freedom <= 0:
        raise ValueError(
            f"fit range {target.r[0]:g} to {target.r[-1]:g} Å holds {target.independent_points:.1f} independent points "
            f"for {len(names)} parameters; widen it"
        )
    columns = [Parameters._fields.index(name) for name in names]
    limits = Parameters(
        scale=(0.0, np.inf),  # type: ignore[arg-type]
        dilation=dilations,  # type: ignore[arg-type]
        biso=BISO_RANGE,  # type: ignore[arg-type]
        delta2=(0.0, 0.95 * (model.pairs.dmin * start.dilation) ** 2),  # type: ignore[arg-type]
        qdamp=QDAMP_RANGE,  # type: ignore[arg-type]
    )
    low, high = np.array([limits[column] for column in columns]).T

    def on_points(p: Parameters) -> tuple[np.ndarray, np.ndarray]:
        g, jacobian = model(p)
        return target.weighted(g), target.weighted(jacobian.T).T

    # While the instrument stays as it is, its few components say of the misfit what the points do. A curve may come in
    # any unit: it is compared in units of its own size, and so is the scale.
    calculated, observed = on_points, target.weighted(target.g)
    size = float(np.linalg.norm(observed))
    if "qdamp" not in names:
        _, seen, total = model.transform.components()
        calculated, observed = model.components, np.append(seen, math.sqrt(max(0.0, total - float(seen @ seen))))
    unit = calculated(start._replace(scale=1.0))[0]
    size_at_one = float(np.linalg.norm(unit))
    if not size_at_one > 1e-100:
        raise ValueError(
            f"G of the structure vanishes from {target.r[0]:g} to {target.r[-1]:g} Å at qdamp {target.qdamp:g} 1/Å; "
            "lower --rmin or --qdamp"
        )
    units = np.array([size / size_at_one if name == "scale" else 1.0 for name in names])

    def at(values: np.ndarray) -> Parameters:
        return start._replace(**dict(zip(names, map(float, units * values), strict=True)))

    last: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}

    def evaluate(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        key = values.tobytes()
        if key not in last:
            last.clear()
            g, jacobian = calculated(at(values))
            last[key] = g, jacobian[:, columns] * units / size
        return last[key]

    scale = max(1e-3, float(unit @ observed) / (size_at_one * size))
    x0 = np.array(start._replace(scale=scale))[columns]
    width = np.where(np.isfinite(high), high, 1.0) - low
    solution = least_squares(
        lambda values: (evaluate(values)[0] - observed) / size,
        np.clip(x0, low + 1e-6 * width, high - 1e-6 * width),
        jac=lambda values: evaluate(values)[1],
        bounds=(low, high),
        x_scale="jac",
        max_nfev=100,
    )
    g, jacobian = model(at(solution.x))[0], evaluate(solution.x)[1]
    residual = rw(target.weighted(target.g), target.weighted(g))
    covariance = np.linalg.pinv(jacobian.T @ jacobian) * residual**2 / freedom
    errors = Parameters(*[0.0] * len(Parameters._fields))._replace(
        **dict(zip(names, (units * np.sqrt(np.diag(covariance).clip(min=0))).tolist(), strict=True))
    )
    score = penalised_score(residual, free_parameters=len(names), independent_points=target.independent_points)
    return Fit(at(solution.x), errors, names, rw(target.g, g), residual, score, g)


def refine_structure(
    label: str,
    atoms: Atoms,
    pairs: Pairs,
    target: Target,
    start: Parameters,
    *,
    delta2: Delta2 = "refine",
    qdamp: Qdamp = "held",
    dilations: tuple[float, float] = DILATIONS,
    radiation: Radiation = "xray",
) -> RefinedStructure:
    """Refine scale, dilation and Biso with delta2 at zero, then delta2 too, then, if asked, qdamp.

    Args:
        label: What to call the structure.
        atoms: The structure at dilation 1, Å.
        pairs: Its distances.
        target: Measured points.
        start: Where to begin.
        delta2: `"refine"` tries the second stage and keeps it if its score is better, `"zero"` leaves it out.
        qdamp: `"refine"` tries the third stage likewise, `"held"` leaves it out.
        dilations: Limits of the dilation.
        radiation: What was scattered.

    Returns:
        The structure with the fit that was kept.

    Raises:
        ValueError: As `refine`, or if `delta2` or `qdamp` is no known choice.
    """
    for name, choice, choices in (("delta2", delta2, get_args(Delta2)), ("qdamp", qdamp, get_args(Qdamp))):
        if choice not in choices:
            raise ValueError(f"{name} {choice!r}: no such choice; take one of {', '.join(choices)}")
    model = Model(pairs, target, max_dilation=dilations[1], radiation=radiation)
    first = refine(model, target, start._replace(delta2=0.0), dilations=dilations)
    kept = first
    if delta2 == "refine":
        begin = first.parameters._replace(delta2=DELTA2_START)
        second = refine(model, target, begin, free=("scale", "dilation", "biso", "delta2"), dilations=dilations)
        kept = min(second, first, key=lambda fit: fit.score)
    if qdamp == "refine":
        third = refine(model, target, kept.parameters, free=(*kept.free, "qdamp"), dilations=dilations)
        kept = min(third, kept, key=lambda fit: fit.score)
    dilated = atoms.copy()
    dilated.positions = kept.parameters.dilation * (dilated.positions - dilated.positions.mean(axis=0))
    return RefinedStructure(label, dilated, kept.parameters.dilation * pairs.bond_length, kept, first.rw)
