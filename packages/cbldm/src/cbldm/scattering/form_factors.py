"""Scattering amplitudes of the elements: X-ray form factors and neutron scattering lengths."""

import difflib
import re
from collections.abc import Sequence
from functools import cache
from typing import Literal

import periodictable
import torch
from jaxtyping import Float
from periodictable import cromermann
from torch import Tensor

Radiation = Literal["xray", "neutron"]

MAX_Q = 24 * torch.pi
"""End of the form factors' fit, sin θ/λ = 6 Å⁻¹, as Q in Å⁻¹."""

_ION = re.compile(r"([A-Za-z]+)(\d*)([+-]?)")


def form_factor(symbol: str, q: Float[Tensor, " nq"]) -> Float[Tensor, " nq"]:
    r"""X-ray form factor of an atom or ion.

    $f(Q) = c + \sum_{i=1}^5 a_i \exp(-b_i (Q/4\pi)^2)$ with the coefficients of Waasmaier and Kirfel (Acta Cryst.
    A51, 416, 1995) as periodictable has them. Anomalous terms are left out.

    Args:
        symbol: Element or ion, as in `"Au"`, `"O2-"`, `"Na+"`.
        q: Momentum transfers, Å⁻¹, at most 75.

    Returns:
        f, in electrons.

    Raises:
        ValueError: If the table has no such element or ion, or if a q lies beyond the fit.

    >>> form_factor("Au", torch.tensor([0.0, 25.0], dtype=torch.float64)).round(decimals=2)
    tensor([78.9700, 14.8200], dtype=torch.float64)
    """
    if q.numel() and float(q.max()) > MAX_Q:
        raise ValueError(f"Q = {float(q.max()):.4g} Å⁻¹ is beyond the form factors' fit; keep it below {MAX_Q:.4g} Å⁻¹")
    table = cromermann.getCMformula(_table_symbol(symbol))
    a, b = (torch.as_tensor(v, dtype=q.dtype, device=q.device) for v in (table.a, table.b))
    return table.c + torch.exp(-((q / (4 * torch.pi)) ** 2)[:, None] * b) @ a


def scattering_length(symbol: str) -> float:
    """Bound coherent neutron scattering length of an element, after periodictable.

    Args:
        symbol: Element or ion; the charge does not matter.

    Returns:
        b_c, fm (its real part).

    Raises:
        ValueError: If the element is unknown or its scattering length is.

    >>> scattering_length("Ni")
    10.3
    """
    element = _element(symbol)
    b_c = getattr(periodictable, element).neutron.b_c
    if b_c is None:
        raise ValueError(f"no neutron scattering length of {element} is known; use radiation='xray'")
    return float(b_c)


def amplitudes(species: Sequence[str], q: Float[Tensor, " nq"], radiation: Radiation) -> Float[Tensor, "species nq"]:
    """Scattering amplitude of each species at each Q.

    Args:
        species: Elements or ions.
        q: Momentum transfers, Å⁻¹.
        radiation: `"xray"` for form factors, `"neutron"` for scattering lengths.

    Returns:
        One row for each species, electrons or fm.

    Raises:
        ValueError: As `form_factor` and `scattering_length`, or if the radiation is neither.

    >>> amplitudes(["Au", "Cu"], torch.zeros(1, dtype=torch.float64), "xray").shape
    torch.Size([2, 1])
    """
    match radiation:
        case "xray":
            return torch.stack([form_factor(symbol, q) for symbol in species])
        case "neutron":
            return torch.stack([torch.full_like(q, scattering_length(symbol)) for symbol in species])
    raise ValueError(f"unknown radiation {radiation!r}; it is 'xray' or 'neutron'")


@cache
def _element(symbol: str) -> str:
    found = _ION.fullmatch(symbol)
    known = [str(element) for element in periodictable.elements if element.number > 0]  # without the neutron
    element = found[1] if found else symbol
    if element in known:
        return element
    near = [k for k in known if k.lower() == element.lower()] or difflib.get_close_matches(
        element.title(), known, 1, 0.4
    )
    raise ValueError(f"unknown element {symbol!r}" + (f"; did you mean {near[0]!r}?" if near else "; give its symbol"))


@cache
def _table_symbol(symbol: str) -> str:
    element = _element(symbol)
    found = _ION.fullmatch(symbol)
    assert found is not None
    number, sign = found[2], found[3]
    if not sign or number == "0":
        if number not in ("", "0"):
            raise ValueError(f"{symbol!r} has a charge without a sign; write {symbol}+ or {symbol}-")
        key = element
    else:
        key = f"{element}{number or 1}{sign}"
    cromermann.getCMformula("H")  # fills the table
    table = cromermann._cmformulas
    if key not in table:
        ions = ", ".join(k for k in table if re.fullmatch(rf"{element}(\d[+-])?", k)) or "nothing"
        raise ValueError(f"no X-ray form factor of {symbol!r}; of {element} the table has {ions}")
    return key
