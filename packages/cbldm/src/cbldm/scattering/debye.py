"""Pair distribution and structure functions of isolated clusters."""

import math
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..ops.debye_sum import DebyeBackend
from .form_factors import MAX_Q, Radiation
from .instrument import (
    Compat,
    DiffpyGrid,
    ExactGrid,
    diffpy_transform,
    exact_qstep,
    exact_transform,
    r_grid,
    resolution,
    sine_matrix,
)
from .quadrature import band_limited_weights
from .scatterers import Elements, Scatterers

Backend = DebyeBackend | Literal["srreal"]

WIDEST = 1e4
"""The grid of Q grows with the longest distance and the greatest r; beyond this nothing is meant, Å."""


def structure_function(
    positions: Float[Tensor, "*batch atoms 3"] | Float[np.ndarray, "*batch atoms 3"],
    elements: Elements,
    *,
    qstep: float,
    nq: int,
    biso: float | Tensor | None = None,
    uiso: float | Tensor | None = None,
    qbroad: float | Tensor = 0.0,
    delta1: float | Tensor = 0.0,
    delta2: float | Tensor = 0.0,
    radiation: Radiation = "xray",
    mask: Bool[Tensor, "*batch atoms"] | None = None,
    dtype: torch.dtype | None = None,
    backend: DebyeBackend = "auto",
) -> Float[Tensor, "*batch nq"]:
    r"""Reduced structure function of isolated clusters, F(Q) = Q(S(Q) − 1), by the Debye sum.

    $F(Q) = \frac{1}{N \langle f \rangle^2} \sum_{i \ne j} f_i f_j e^{-\sigma_{ij}^2 Q^2/2} \sin(Q d_{ij}) / d_{ij}$
    (Farrow and Billinge 2009, Eq. 7), on the uniform grid $Q_k = k q_\mathrm{step}$.

    For many G of the same clusters, take F once and transform it with `sine_matrix`, which is linear: the F of one
    element with displacement U and no other width is `structure_function(..., uiso=0) * exp(-U * q**2)`, so that one
    evaluation serves every U, scale, qdamp and grid of r.

    Args:
        positions, elements, biso, uiso, qbroad, delta1, delta2, radiation, mask, dtype, backend: As
            in `pair_distribution`.
        qstep: Step of the grid, Å⁻¹.
        nq: Number of its points, from Q = 0.

    Returns:
        F(Q), Å⁻¹.

    Raises:
        ValueError: As `pair_distribution`, or if the grid is empty.

    >>> dimer = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 2.0]], dtype=torch.float64)
    >>> structure_function(dimer, "Au", qstep=0.5, nq=3, uiso=0.0)  # sin(2Q) / 2
    tensor([0.0000, 0.4207, 0.4546], dtype=torch.float64)
    """
    if not 0 < qstep < math.inf or nq < 1:
        raise ValueError(f"qstep = {qstep} and nq = {nq} make no grid; both must be positive")
    positions = _as_tensor(positions)
    scatterers = Scatterers.of(
        positions,
        elements,
        mask=mask,
        biso=biso,
        uiso=uiso,
        delta1=delta1,
        delta2=delta2,
        qbroad=qbroad,
        radiation=radiation,
        dtype=dtype,
    )
    return scatterers.structure_function(qstep, nq, backend).reshape(*positions.shape[:-2], nq)


def pair_distribution(
    positions: Float[Tensor, "*batch atoms 3"] | Float[np.ndarray, "*batch atoms 3"],
    elements: Elements,
    *,
    qmin: float,
    qmax: float,
    rmin: float | None = None,
    rmax: float | None = None,
    rstep: float | None = None,
    r: Float[Tensor, " bins"] | Float[np.ndarray, " bins"] | None = None,
    biso: float | Tensor | None = None,
    uiso: float | Tensor | None = None,
    scale: float | Tensor = 1.0,
    qdamp: float | Tensor = 0.0,
    qbroad: float | Tensor = 0.0,
    delta1: float | Tensor = 0.0,
    delta2: float | Tensor = 0.0,
    radiation: Radiation = "xray",
    mask: Bool[Tensor, "*batch atoms"] | None = None,
    dtype: torch.dtype | None = None,
    compat: Compat = "exact",
    backend: Backend = "auto",
) -> Float[Tensor, "*batch bins"]:
    r"""Reduced pair distribution function of isolated clusters by the Debye sum.

    $G(r) = \frac{2}{\pi} \int_{q_\min}^{q_\max} F(Q) \sin(Qr) \, dQ$ (Farrow and Billinge 2009, Eq. 8), times the scale
    and $e^{-(r q_\mathrm{damp})^2/2}$, with the F(Q) of `structure_function`. Differentiable with respect to the
    positions and every parameter that may be a tensor; twice with the back end `"reference"`.

    Args:
        positions: Cartesian coordinates, Å.
        elements: Symbol of every atom (ions as `"O2-"`), one for all, or a sequence for each cluster of the batch.
        qmin, qmax: Limits of the integral, Å⁻¹.
        rmin, rmax, rstep: Grid on which G is wanted, Å: the multiples of rstep; rmax is left out (see `r_grid`).
        r: Any points instead of such a grid, Å (`compat="exact"` only).
        biso, uiso: Isotropic displacement, Å², B = 8π²U; one of the two. A number, one for each cluster or one for
            each atom; one for all atoms of a cluster is faster.
        scale: Factor of G, one or one for each cluster, as are the following four.
        qdamp, qbroad: The instrument's damping and broadening, Å⁻¹.
        delta1, delta2: Sharpening of near peaks by correlated motion, Å and Å².
        radiation: `"xray"` or `"neutron"`.
        mask: False where a cluster of the batch has no atom.
        dtype: Of the result and of all arithmetic but distances and phases, which always is float64; by default that
            of the positions. (Coordinates rounded to float32 alone cost up to 2e-6 of the largest G.)
        compat: `"exact"` evaluates the integral to 1e-10 of the largest G; `"diffpy"` reproduces diffpy.srreal's
            `DebyePDFCalculator` with its grid, its cut of far pairs and its interpolation, by which G differs by up to
            several percent. (Its `debyeprecision`, which drops terms of light atoms below 1e-6, is not reproduced.)
        backend: As in `cbldm.ops.debye_sum.debye_sum`; or, with `compat="diffpy"`, `"srreal"` for diffpy.srreal's own
            calculator, which the extra `cbldm[srreal]` installs and which has no gradient.

    Returns:
        G(r), Å⁻².

    Raises:
        ValueError: If a limit, a grid or a width makes no sense, an element is unknown, a coordinate is not finite,
            two atoms stand at one place, or the back end does not serve what is asked for.
        ImportError: If the back end is `"srreal"` or `"nufft"` and its library is not installed.

    >>> dimer = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 2.8]], dtype=torch.float64)
    >>> g = pair_distribution(dimer, "Au", rmin=0, rmax=6, rstep=0.1, qmin=0.5, qmax=25, biso=0.3)
    >>> g.shape, int(g.argmax())
    (torch.Size([60]), 28)
    """
    positions = _as_tensor(positions)
    _check_limits(qmin, qmax, radiation)
    bins = _bins(rmin, rmax, rstep, r, compat).to(positions.device)
    if float(bins.max()) > WIDEST:
        raise ValueError(f"G is wanted at r = {float(bins.max()):.6g} Å; give at most {WIDEST:g} Å")
    scatterers = Scatterers.of(
        positions,
        elements,
        mask=mask,
        biso=biso,
        uiso=uiso,
        delta1=delta1,
        delta2=delta2,
        qbroad=qbroad,
        radiation=radiation,
        dtype=dtype,
    )
    batch = positions.shape[:-2]
    if backend == "srreal":
        if compat != "diffpy":
            raise ValueError("backend 'srreal' computes as diffpy.srreal does; give compat='diffpy' with it")
        from ._srreal import srreal_pair_distribution

        limits = {"rmin": rmin, "rmax": rmax, "rstep": rstep, "qmin": qmin, "qmax": qmax}
        g = srreal_pair_distribution(scatterers, {name: float(value or 0.0) for name, value in limits.items()})
    elif compat == "diffpy":
        assert rmin is not None
        assert rmax is not None
        assert rstep is not None
        g = _diffpy(scatterers, bins, rmin, rmax, rstep, qmin, qmax, backend)
    else:
        g = _exact(scatterers, bins, rstep, qmin, qmax, backend)
    return _instrument(g.reshape(*batch, -1), bins, scale, qdamp)


def _exact(
    scatterers: Scatterers, r: Tensor, rstep: float | None, qmin: float, qmax: float, backend: DebyeBackend
) -> Float[Tensor, "clusters bins"]:
    diameter = scatterers.diameter
    if diameter > WIDEST:
        raise ValueError(
            f"a cluster is {diameter:.6g} Å wide; its atoms are further apart than {WIDEST:g} Å, bring them together"
        )
    qstep = exact_qstep(float(r.max()), diameter, umax=float(scatterers.umax.max()))
    grid = None if rstep is None else ExactGrid.of(r, rstep, qmax, qstep)
    qstep = qstep if grid is None else grid.qstep
    nq = len(band_limited_weights(qmin, qmax, qstep))
    f = scatterers.structure_function(qstep, nq, backend)
    if grid is not None:
        return exact_transform(f, grid, qmin=qmin, qmax=qmax)
    return f @ _kept_sine_matrix(r.cpu().numpy().tobytes(), qmin, qmax, qstep).to(f)


def _diffpy(
    scatterers: Scatterers,
    r: Tensor,
    rmin: float,
    rmax: float,
    rstep: float,
    qmin: float,
    qmax: float,
    backend: DebyeBackend,
) -> Float[Tensor, "clusters bins"]:
    factor = torch.ones_like(scatterers.delta1)
    for end in (rmin, rmax):
        if end > 0:
            d1, d2, qb = (w.detach() for w in (scatterers.delta1, scatterers.delta2, scatterers.qbroad))
            factor = torch.maximum(factor, 1 - d1 / end - d2 / end**2 + (qb * end) ** 2)
    sigma = (2 * scatterers.umax * factor).sqrt().tolist()
    grid_of = {
        s: DiffpyGrid.of(rmin=rmin, rmax=rmax, rstep=rstep, qmax=qmax, sigma_max=s) for s in dict.fromkeys(sigma)
    }
    grids = [grid_of[s] for s in sigma]
    parts, places = [], []
    for grid in dict.fromkeys(grids):  # clusters of one displacement share a grid
        index = torch.tensor([k for k, g in enumerate(grids) if g == grid], device=r.device)
        some = scatterers if len(index) == len(grids) else scatterers[index]
        f = some.structure_function(grid.qstep, grid.nq, backend, dmin=grid.r_low, dmax=grid.r_high)
        parts.append(diffpy_transform(f, grid, qmin=qmin, r=r, rstep=rstep))
        places.append(index)
    return parts[0] if len(parts) == 1 else torch.cat(parts)[torch.cat(places).argsort()]


@lru_cache(maxsize=4)
def _kept_sine_matrix(r: bytes, qmin: float, qmax: float, qstep: float) -> Tensor:
    bins = torch.frombuffer(bytearray(r), dtype=torch.float64)
    return sine_matrix(bins, qmin=qmin, qmax=qmax, qstep=qstep)


def _instrument(g: Tensor, r: Tensor, scale: float | Tensor, qdamp: float | Tensor) -> Float[Tensor, "*batch bins"]:
    scale, qdamp = (torch.as_tensor(v, dtype=torch.float64, device=g.device) for v in (scale, qdamp))
    for name, value in (("scale", scale), ("qdamp", qdamp)):
        if value.shape not in ((), g.shape[:-1]):
            raise ValueError(
                f"{name} has the shape {tuple(value.shape)}; () or that of the batch {tuple(g.shape[:-1])} is wanted"
            )
        if not torch.isfinite(value).all():
            raise ValueError(f"{name} is not finite")
    return g * (scale[..., None] * resolution(r, qdamp)).to(g.dtype)


def _as_tensor(values: Tensor | np.ndarray) -> Tensor:
    return values if isinstance(values, Tensor) else torch.tensor(np.asarray(values))


def _check_limits(qmin: float, qmax: float, radiation: Radiation) -> None:
    if not 0 <= qmin < qmax < math.inf:
        raise ValueError(
            f"the range from qmin = {qmin} to qmax = {qmax} Å⁻¹ is empty or negative; 0 <= qmin < qmax is wanted"
        )
    if radiation == "xray" and qmax > 0.95 * MAX_Q:
        raise ValueError(f"qmax = {qmax} Å⁻¹ is beyond the form factors' fit; give at most {0.95 * MAX_Q:.0f} Å⁻¹")


def _bins(
    rmin: float | None, rmax: float | None, rstep: float | None, r: Tensor | np.ndarray | None, compat: Compat
) -> Float[Tensor, " bins"]:
    if compat not in ("exact", "diffpy"):
        raise ValueError(f"unknown compat {compat!r}; it is 'exact' or 'diffpy'")
    if r is None:
        if rmin is None or rmax is None or rstep is None:
            raise ValueError("no grid of r: give rmin, rmax and rstep, or r")
        return r_grid(rmin, rmax, rstep, compat=compat)
    if compat == "diffpy" or not rmin is rmax is rstep is None:
        raise ValueError("r stands in the place of rmin, rmax and rstep, and only with compat='exact'")
    r = _as_tensor(r).detach().double()
    if r.ndim != 1 or not len(r) or not torch.isfinite(r).all() or (r < 0).any():
        raise ValueError("r must be a list of finite numbers, none of them negative")
    return r
