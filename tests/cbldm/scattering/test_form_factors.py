"""Form factors and scattering lengths."""

import re

import periodictable
import pytest
import torch
from cbldm.scattering.form_factors import MAX_Q, amplitudes, form_factor, scattering_length
from periodictable import cromermann

ZERO = torch.zeros(1, dtype=torch.float64)
cromermann.getCMformula("H")  # fills the table
TABLE = sorted(symbol for symbol in cromermann._cmformulas if re.fullmatch(r"[A-Z][a-z]?(\d[+-])?", symbol))


@pytest.mark.parametrize("symbol", TABLE)
def test_forward_scattering_counts_the_electrons(symbol: str) -> None:
    element, charge = re.fullmatch(r"([A-Z][a-z]?)(\d[+-])?", symbol).groups()  # type: ignore[union-attr]
    electrons = getattr(periodictable, element).number - int((charge or "0+")[::-1])
    assert float(form_factor(symbol, ZERO)) == pytest.approx(electrons, abs=0.12)


def test_it_falls_with_q_and_ends_small() -> None:
    q = torch.linspace(0, 75, 500, dtype=torch.float64)
    f = form_factor("Pt", q)
    assert (f.diff() < 0).all()
    assert 0 < float(f[-1]) < 5


def test_ions_are_found_as_they_are_written() -> None:
    assert torch.equal(form_factor("Na+", ZERO), form_factor("Na1+", ZERO))
    assert torch.equal(form_factor("Cl-", ZERO), form_factor("Cl1-", ZERO))
    assert torch.equal(form_factor("Au0+", ZERO), form_factor("Au", ZERO))
    assert float(form_factor("O2-", ZERO)) == pytest.approx(10, abs=0.1)


def test_neutrons_see_a_constant() -> None:
    b = amplitudes(["Ni", "Ti"], torch.linspace(0, 30, 4, dtype=torch.float64), "neutron")
    assert b.shape == (2, 4)
    assert (b[0] == 10.3).all()
    assert (b[1] < 0).all()
    assert scattering_length("Au") == 7.9  # after periodictable


@pytest.mark.parametrize(
    ("symbol", "message"),
    [
        ("au", r"unknown element 'au'; did you mean 'Au'\?"),
        ("Plt", r"unknown element 'Plt'; did you mean 'Pt'\?"),
        ("Q", "unknown element 'Q'; give its symbol"),
        ("", "unknown element ''; give its symbol"),
        ("Au7+", r"no X-ray form factor of 'Au7\+'; of Au the table has Au, Au1\+, Au3\+"),
        ("Fe3", r"'Fe3' has a charge without a sign; write Fe3\+ or Fe3-"),
    ],
)
def test_a_wrong_symbol_is_told(symbol: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        form_factor(symbol, ZERO)


def test_other_limits_are_told() -> None:
    with pytest.raises(ValueError, match="beyond the form factors' fit; keep it below"):
        form_factor("Au", torch.tensor([MAX_Q + 1]))
    with pytest.raises(ValueError, match="unknown radiation 'electron'; it is 'xray' or 'neutron'"):
        amplitudes(["Au"], ZERO, "electron")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no neutron scattering length of Rn is known"):
        scattering_length("Rn")
