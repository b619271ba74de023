r"""Refinement of atom positions against a measured curve, a batch of structures at once.

For each structure the displacements $\delta_i$ of its atoms and its Biso minimise

$$ n \ln(R_w^2 + \epsilon^2) + \frac{1}{s^2} \sum_i |\delta_i|^2 $$

with n independent points, the scale at its best in closed form, and a gradient through the Debye sum. The first term
is minus twice the logarithm of the likelihood of a curve with errors of unknown size (as in
`metrics.penalised_score`), the second that of a normal distribution of width s for every coordinate: a
displacement is taken only where the curve pays for it. The floor ε keeps a perfect fit from paying without end.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float
from papertrio_shared.seed import generator
from torch import Tensor

from .metrics import rw
from .refine import BISO_RANGE, RefinedStructure
from .scattering import structure_function
from .scattering.form_factors import Radiation
from .scattering.instrument import exact_qstep, resolution, sine_matrix
from .scattering.quadrature import band_limited_weights
from .target import Target

RESTRAINT = 0.1
"""Width of the restraint on every coordinate, Å: what surfaces and strain move atoms by."""
RW_FLOOR = 0.02
"""Rw below which nothing more is gained: the best measurements leave as much."""
_SETTLED = 0.01
"""Fall of what is minimised below which, three steps in a row, a structure has come to rest."""
_NUDGE = 0.1
"""Width of the random first displacements, in units of the restraint: a symmetric structure has a symmetric gradient,
and would keep its symmetry for ever."""


@dataclass(frozen=True, eq=False)
class Relaxed:
    """A structure whose atoms have moved.

    Attributes:
        atoms: The structure, Å.
        rw: Residual, unweighted.
        moved: Root mean square displacement of the atoms, Å.
        scale: Scale of the fit.
        biso: Displacement parameter, Å².
        g: Calculated G on the target's points, Å⁻².
    """

    atoms: Atoms
    rw: float
    moved: float
    scale: float
    biso: float
    g: Float[np.ndarray, " points"]


def relax(
    structures: Sequence[RefinedStructure],
    target: Target,
    *,
    restraint: float = RESTRAINT,
    evaluations: int = 120,
    seed: int = 0,
    radiation: Radiation = "xray",
) -> list[Relaxed]:
    """Move the atoms of refined structures to where the curve has them, as far as the restraint lets them.

    What else was refined stays, but for scale and Biso. The structures share their evaluations; each comes out as it
    would alone.

    Args:
        structures: Where to begin.
        target: Measured points.
        restraint: Width of the restraint, Å.
        evaluations: Most evaluations of all curves and their gradients.
        seed: Seed of the first, small displacements.
        radiation: What was scattered.

    Returns:
        The structures in the same order.

    Raises:
        ValueError: If the restraint is not positive.

    >>> from cbldm import fit, simulate
    >>> atoms = Atoms("Pt4", positions=[[0, 0, 0], [2.8, 0, 0], [0, 2.8, 0], [0, 0, 2.8]])
    >>> stretched = Atoms("Pt4", positions=[[0, 0, 0], [2.9, 0, 0], [0, 2.8, 0], [0, 0, 2.8]])
    >>> found = fit(atoms, simulate(stretched))
    >>> relax([found], found.target)[0].rw < 0.5 * found.rw
    True
    """
    if not 0 < restraint < math.inf:
        raise ValueError(f"restraint {restraint:g} Å: give a positive width, such as {RESTRAINT:g}")
    if not structures:
        return []
    curves = _Curves(structures, target, restraint, radiation)
    start = curves.start.clone()
    for k, each in enumerate(structures):  # the same draws whatever stands beside it
        count = 3 * len(each.atoms)
        start[k, :count] = _NUDGE * torch.randn(count, generator=generator(seed, "relax"), dtype=torch.float64)
    x = _minimise(curves.loss_and_gradient, start, evaluations)
    return curves.results(x)


class _Curves:
    """What is minimised, for all structures: a row holds the displacements over the restraint, then ln Biso."""

    def __init__(
        self, structures: Sequence[RefinedStructure], target: Target, restraint: float, radiation: Radiation
    ) -> None:
        self.structures, self.target, self.restraint, self.radiation = structures, target, restraint, radiation
        most = max(len(each.atoms) for each in structures)
        self.mask = torch.tensor([[k < len(each.atoms) for k in range(most)] for each in structures])
        self.origin = torch.zeros(len(structures), most, 3, dtype=torch.float64)
        for row, each in zip(self.origin, structures, strict=True):
            row[: len(each.atoms)] = torch.from_numpy(each.atoms.positions)
        self.elements = [[*(s := each.atoms.get_chemical_symbols()), *s[:1] * (most - len(s))] for each in structures]
        p = [each.fit.parameters for each in structures]
        self.delta2 = torch.tensor([each.delta2 for each in p], dtype=torch.float64)
        r = torch.from_numpy(target.r)
        diameter = 2 * float(self.origin.norm(dim=-1).max()) + 1
        self.qstep = exact_qstep(float(r[-1]), diameter, umax=0.1)
        self.nq = len(band_limited_weights(target.qmin, target.qmax, self.qstep))
        self.transform = sine_matrix(r, qmin=target.qmin, qmax=target.qmax, qstep=self.qstep)
        self.damping = resolution(r, torch.tensor([each.qdamp for each in p], dtype=torch.float64))
        self.weight = torch.ones_like(r) if target.weight is None else torch.from_numpy(target.weight)
        self.observed = torch.from_numpy(target.g)
        biso = torch.tensor([each.biso for each in p], dtype=torch.float64)
        self.start = torch.cat([torch.zeros(len(structures), 3 * most, dtype=torch.float64), biso.log()[:, None]], 1)

    def _positions(self, x: Float[Tensor, "structures unknowns"]) -> Float[Tensor, "structures atoms 3"]:
        moves = x[:, :-1].reshape(self.origin.shape) * self.mask[..., None]
        return self.origin + self.restraint * moves

    def _g(self, x: Float[Tensor, "structures unknowns"]) -> Float[Tensor, "structures points"]:
        """G at scale 1."""
        low, high = BISO_RANGE
        f = structure_function(
            self._positions(x),
            self.elements,
            qstep=self.qstep,
            nq=self.nq,
            biso=x[:, -1].exp().clamp(low, high),
            qbroad=self.target.qbroad,
            delta2=self.delta2,
            radiation=self.radiation,
            mask=self.mask,
        )
        return (f @ self.transform) * self.damping

    def _fit(self, g: Float[Tensor, "structures points"]) -> tuple[Tensor, Tensor]:
        """The best scales, and the squares of the weighted Rw that they leave."""
        a, b = self.weight * self.observed, self.weight * g
        scale = ((b @ a) / (b * b).sum(1).clamp(min=1e-300)).clamp(min=0)
        return scale, (a - scale[:, None] * b).square().sum(1) / (a @ a)

    def loss_and_gradient(self, x: Tensor) -> tuple[Float[Tensor, " structures"], Tensor]:
        x = x.detach().requires_grad_(True)
        misfit = self._fit(self._g(x))[1]
        restrained = (x[:, :-1].square().reshape(self.origin.shape) * self.mask[..., None]).sum((1, 2))
        loss = self.target.independent_points * torch.log(misfit + RW_FLOOR**2) + restrained
        loss.sum().backward()
        assert x.grad is not None
        return loss.detach(), x.grad

    def results(self, x: Tensor) -> list[Relaxed]:
        low, high = BISO_RANGE
        with torch.no_grad():
            g, positions = self._g(x), self._positions(x)
            scales, _ = self._fit(g)
        found = []
        for k, each in enumerate(self.structures):
            atoms = each.atoms.copy()
            atoms.positions = positions[k, : len(atoms)].numpy()
            moved = float(np.sqrt(np.square(atoms.positions - each.atoms.positions).sum(1).mean()))
            curve = (scales[k] * g[k]).numpy()
            biso = float(x[k, -1].exp().clamp(low, high))
            found.append(Relaxed(atoms, rw(self.target.g, curve), moved, float(scales[k]), biso, curve))
        return found


def _minimise(
    loss_and_gradient: Callable[[Tensor], tuple[Tensor, Tensor]],
    x: Float[Tensor, "rows unknowns"],
    evaluations: int,
    *,
    memory: int = 10,
) -> Float[Tensor, "rows unknowns"]:
    """L-BFGS (Nocedal, Math. Comp. 35, 773, 1980) of each row on its own, all rows evaluated together.

    A row whose step does not lower its loss enough halves it and tries again while the others go on; what it adds to
    the memory is zero, which the recursion does not see.
    """
    loss, gradient = loss_and_gradient(x)
    pairs: list[tuple[Tensor, Tensor, Tensor]] = []
    shrink = 1 / gradient.norm(dim=1).clamp(min=1.0)  # the first step is at most one restraint long in all
    step = torch.ones_like(loss)
    still = torch.zeros_like(loss)
    for _ in range(evaluations):
        direction = _direction(gradient, pairs, shrink)
        slope = (gradient * direction).sum(1)
        trial = x + step[:, None] * direction
        new_loss, new_gradient = loss_and_gradient(trial)
        good = (new_loss <= loss + 1e-4 * step * slope) & (still < 3)
        still = torch.where(good & (loss - new_loss > _SETTLED), 0.0, still + (good | (step < 1e-3)))
        s, y = (torch.where(good[:, None], b - a, 0) for a, b in ((x, trial), (gradient, new_gradient)))
        product = (s * y).sum(1)
        curved = product > 1e-10 * (y * y).sum(1)
        inverse = torch.where(curved, 1 / product.where(curved, torch.ones(())), 0)
        pairs = [*pairs, (s * curved[:, None], y * curved[:, None], inverse)][-memory:]
        shrink = torch.where(curved, product / (y * y).sum(1).clamp(min=1e-300), shrink)
        x, gradient = (torch.where(good[:, None], b, a) for a, b in ((x, trial), (gradient, new_gradient)))
        loss = torch.where(good, new_loss, loss)
        step = torch.where(good, 1.0, step / 2)
        if bool((still >= 3).all()):
            break
    return x


def _direction(
    gradient: Float[Tensor, "rows unknowns"], pairs: list[tuple[Tensor, Tensor, Tensor]], shrink: Float[Tensor, " rows"]
) -> Float[Tensor, "rows unknowns"]:
    """Minus the inverse Hessian of the pairs in memory, times the gradient."""
    left, along = gradient, []
    for s, y, inverse in reversed(pairs):
        along.append(inverse * (s * left).sum(1))
        left = left - along[-1][:, None] * y
    left = shrink[:, None] * left
    for (s, y, inverse), a in zip(pairs, reversed(along), strict=True):
        left = left + (a - inverse * (y * left).sum(1))[:, None] * s
    return -left
