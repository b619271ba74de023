"""Bond lengths of metals."""

import re

import pytest
from cbldm.data.elements import metallic_bond, single_metal

# The 28 of Kjær et al. 2023.
DEEPSTRUC_METALS = re.findall(
    r"\w+", "Sc Ti V Cr Mn Fe Co Ni Cu Zn Y Zr Nb Tc Ru Rh Pd Ag Cd Hf Ta W Re Os Ir Pt Au Hg"
)


@pytest.mark.parametrize(
    ("element", "bond"), [("Au", 2.884), ("Pt", 2.775), ("Fe", 2.482), ("Co", 2.497), ("Ti", 2.896)]
)
def test_nearest_neighbours_in_the_crystal(element: str, bond: float) -> None:
    assert metallic_bond(element) == pytest.approx(bond, rel=0.01)


@pytest.mark.parametrize("element", DEEPSTRUC_METALS)
def test_every_metal_has_a_bond(element: str) -> None:
    assert 2.2 < metallic_bond(element) < 3.7


def test_errors() -> None:
    with pytest.raises(ValueError, match="unknown element 'Pz': did you mean P"):
        metallic_bond("Pz")
    with pytest.raises(ValueError, match="element O: no metal"):
        metallic_bond("O")


def test_ligands_are_left_aside() -> None:
    assert single_metal(["Au", "S", "C"]) == "Au"
    assert single_metal(["W", "O"]) == "W"
    assert single_metal(["Pt", "Ni"]) is None
    assert single_metal(["Cd", "Se", "Qq"]) == "Cd"
    assert single_metal([]) is None
