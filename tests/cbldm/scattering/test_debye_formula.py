"""Radiation, ions, displacements of each atom and peak widths, against the formulas evaluated anew in NumPy."""

import math
from typing import Any, NamedTuple

import numpy as np
import periodictable
import pytest
import torch
from cbldm import pair_distribution
from close import assert_close_by_name, relative_error
from periodictable import cromermann

LIMITS = {"rmin": 1.0, "rmax": 16.0, "rstep": 0.05, "qmin": 0.8, "qmax": 22.0}
NO_WIDTHS = {"delta1": 0.0, "delta2": 0.0, "qbroad": 0.0}


class Case(NamedTuple):
    """A cluster and how it is seen."""

    symbols: list[str]
    radiation: str = "xray"
    each_atom: bool = False
    widths: dict[str, float] = NO_WIDTHS


JEONG = {"delta1": 0.2, "delta2": 1.7, "qbroad": 0.015}
CASES = {
    "ions": Case(["Na+", "Cl-"]),
    "ions and an atom": Case(["Ti4+", "O2-", "Au"]),
    "neutrons": Case(["Ni", "Ti"], "neutron"),
    "neutrons do not see the charge": Case(["Na+", "Cl1-"], "neutron"),
    "a U for each atom": Case(["Pt", "Ni"], each_atom=True),
    "delta1": Case(["Au"], widths={**NO_WIDTHS, "delta1": 0.4}),
    "delta2": Case(["Pt"], widths={**NO_WIDTHS, "delta2": 3.0}),
    "qbroad": Case(["Pt"], widths={**NO_WIDTHS, "qbroad": 0.03}),
    "some pairs at rest": Case(["Cu", "Au"], widths={**NO_WIDTHS, "delta2": 9.0}),
    "all at once": Case(["Fe3+", "O2-", "Au"], each_atom=True, widths=JEONG),
    "all at once with neutrons": Case(["Fe3+", "O2-", "Ti"], "neutron", each_atom=True, widths=JEONG),
}
SERVED = [
    (name, b)
    for name in CASES
    for b in ("reference", "nufft", "moments")
    if b != "moments" or not CASES[name].each_atom
]


def atoms(case: Case) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Positions, symbols and U of fourteen atoms, none nearer than 2 Å."""
    generator = np.random.default_rng(7)
    grid = np.stack(np.meshgrid(*[np.arange(3)] * 3), -1).reshape(-1, 3)
    places = 2.7 * (generator.permutation(grid)[:14] + generator.uniform(-0.12, 0.12, (14, 3)))
    u = generator.uniform(0.003, 0.012, 14) if case.each_atom else np.full(14, 0.006)
    return places, [case.symbols[k % len(case.symbols)] for k in range(14)], u


def amplitude(symbol: str, q: np.ndarray, radiation: str) -> np.ndarray:
    """By periodictable's own function; a charge of one is written 1+ or without the 1."""
    element = symbol.rstrip("+-0123456789")
    if radiation == "neutron":
        return np.full_like(q, getattr(periodictable, element).neutron.b_c)
    charge = symbol[len(element) :]
    number = int((charge[:-1] or "1") if charge else "0") * (-1 if charge.endswith("-") else 1)
    return cromermann.fxrayatq(element, q, charge=number or None)


def structure_function(
    places: np.ndarray, symbols: list[str], u: np.ndarray, q: np.ndarray, radiation: str,
    widths: dict[str, float], near: float = 0.0, far: float = math.inf,
) -> np.ndarray:  # fmt: skip
    """Sections A1, A4 to A6 of diffpy.srreal's recipe, pair by pair."""
    f = np.stack([amplitude(symbol, q, radiation) for symbol in symbols])
    v = np.zeros_like(q)
    for i in range(len(places)):
        for j in range(i):
            d = math.dist(places[i], places[j])
            if near <= d <= far:
                factor = 1 - widths["delta1"] / d - widths["delta2"] / d**2 + (widths["qbroad"] * d) ** 2
                variance = (u[i] + u[j]) * max(0.0, factor)
                v += 2 * f[i] * f[j] * np.exp(-variance * q**2 / 2) * np.sin(q * d) / d
    return v / (len(places) * f.mean(0) ** 2)


def diffpy(places: np.ndarray, symbols: list[str], u: np.ndarray, case: Case) -> np.ndarray:
    """Sections A2, A3 and A7 to A9 of the recipe."""
    rmin, rmax, rstep, qmin, qmax = LIMITS.values()

    def factor(r: float) -> float:
        w = case.widths
        return 1 - w["delta1"] / r - w["delta2"] / r**2 + (w["qbroad"] * r) ** 2

    def low_steps(x: float, h: float) -> int:
        k = math.ceil(x / h)
        return k - 1 if abs(x - (k - 1) * h) <= 2**-26 else k

    tail = math.sqrt(-2 * math.log(3.33e-6) * 2 * u.max() * max(1.0, factor(rmin), factor(rmax)))
    extension = min(10.0, 12 * math.pi / qmax + tail)
    near = max(0, low_steps(rmin - extension, rstep)) * rstep
    far = math.ceil((rmax + extension) / rstep) * rstep
    qstep = math.pi / far
    q = qstep * np.arange(math.ceil(qmax / qstep))
    f = structure_function(places, symbols, u, q, case.radiation, case.widths, near, far)
    f[: low_steps(qmin, qstep)] = 0
    points = 2 ** math.ceil(math.log2(max(len(q), math.ceil(math.pi / (rstep * qstep)))))
    dual = math.pi / (points * qstep)
    g = 2 / math.pi * qstep * np.sin(np.outer(dual * np.arange(points), q)) @ f
    r = rstep * np.arange(low_steps(rmin, rstep), math.ceil(rmax / rstep))
    return np.interp(r, dual * np.arange(points), g)


def exact(places: np.ndarray, symbols: list[str], u: np.ndarray, case: Case) -> np.ndarray:
    """Farrow and Billinge 2009, Eq. 8, by Gauss-Legendre quadrature."""
    rmin, rmax, rstep, qmin, qmax = LIMITS.values()
    nodes, weights = np.polynomial.legendre.leggauss(400)
    q = qmin + (qmax - qmin) / 2 * (nodes + 1)
    f = structure_function(places, symbols, u, q, case.radiation, case.widths)
    r = rstep * np.arange(round(rmin / rstep), round(rmax / rstep))
    return (qmax - qmin) / math.pi * np.sin(np.outer(r, q)) @ (weights * f)


FORMULAS = {"diffpy": diffpy, "exact": exact}
COMPATS = pytest.mark.parametrize("compat", FORMULAS)


def ours(places: torch.Tensor, symbols: list[str], u: torch.Tensor | float, case: Case, **options: Any) -> torch.Tensor:
    return pair_distribution(
        places, symbols, **{**LIMITS, **case.widths, "uiso": u, "radiation": case.radiation, **options}
    )


@COMPATS
@pytest.mark.parametrize(("name", "backend"), SERVED)
def test_it_is_the_formula(name: str, backend: str, compat: str) -> None:
    case = CASES[name]
    places, symbols, u = atoms(case)
    x, of = torch.from_numpy(places), torch.from_numpy(u) if case.each_atom else float(u[0])
    expected = torch.from_numpy(FORMULAS[compat](places, symbols, u, case))
    double = ours(x, symbols, of, case, compat=compat, backend=backend)
    assert relative_error(double, expected) < 1e-9
    single = ours(x, symbols, of, case, compat=compat, backend=backend, dtype=torch.float32)
    assert single.dtype == torch.float32
    assert relative_error(single, expected) < 1e-6


@COMPATS
@pytest.mark.parametrize("name", ["all at once", "all at once with neutrons"])
def test_a_displacement_may_be_given_as_biso(name: str, compat: str) -> None:
    places, symbols, u = atoms(CASES[name])
    x, u = torch.from_numpy(places), torch.from_numpy(u)
    g = ours(x, symbols, u, CASES[name], compat=compat)
    b = ours(x, symbols, None, CASES[name], compat=compat, biso=8 * math.pi**2 * u)
    assert relative_error(b, g) < 1e-12


SLOPES = {
    "ions": ["reference", "nufft", "moments"],
    "delta2": ["reference", "nufft", "moments"],
    "some pairs at rest": ["reference", "nufft", "moments"],
    "all at once with neutrons": ["reference", "nufft"],
}


@COMPATS
@pytest.mark.parametrize(("name", "backend"), [(name, b) for name, served in SLOPES.items() for b in served])
def test_gradients_are_the_finite_differences_of_the_formula(name: str, backend: str, compat: str) -> None:
    case = CASES[name]
    places, symbols, u = atoms(case)
    r = LIMITS["rstep"] * np.arange(20, 320)
    direction = np.random.default_rng(1).normal(size=(300,))
    start = {
        "positions": places, "dilation": np.array(1.0), "u": u if case.each_atom else u[:1],
        **{key: np.array(value) for key, value in case.widths.items()},
        "scale": np.array(1.3), "qdamp": np.array(0.05),
    }  # fmt: skip

    def formula(values: dict[str, np.ndarray]) -> float:
        widths = {key: float(values[key]) for key in NO_WIDTHS}
        everyone = np.broadcast_to(values["u"], u.shape)
        g = FORMULAS[compat](values["dilation"] * values["positions"], symbols, everyone, case._replace(widths=widths))
        return float(direction @ (values["scale"] * np.exp(-((r * values["qdamp"]) ** 2) / 2) * g))

    def slope(key: str, index: tuple[int, ...], step: float) -> float:
        ends = []
        for sign in (1, -1):
            moved = start[key].copy()
            moved[index] += sign * step
            ends.append(formula({**start, key: moved}))
        return (ends[0] - ends[1]) / (2 * step)

    leaves = {key: torch.from_numpy(value.copy()).requires_grad_() for key, value in start.items()}
    g = ours(
        leaves["dilation"] * leaves["positions"], symbols, leaves["u"] if case.each_atom else leaves["u"][0], case,
        **{key: leaves[key] for key in NO_WIDTHS}, scale=leaves["scale"], qdamp=leaves["qdamp"],
        compat=compat, backend=backend,
    )  # fmt: skip
    (g * torch.from_numpy(direction)).sum().backward()
    steps = {"u": 1e-6, "positions": 1e-5, "dilation": 1e-6, "qbroad": 1e-5}
    for key, leaf in leaves.items():
        assert leaf.grad is not None
        # Of the many atoms the first four are moved, along one axis each.
        some = [()] if leaf.ndim == 0 else [(k, k % 3) if leaf.ndim == 2 else (k,) for k in range(min(4, len(leaf)))]
        expected = torch.tensor([slope(key, index, steps.get(key, 1e-4)) for index in some])
        found = torch.stack([leaf.grad[index] for index in some])
        assert_close_by_name({key: found}, {key: expected}, rtol=1e-5)
