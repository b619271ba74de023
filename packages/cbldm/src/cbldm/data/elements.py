"""Metals and the length of their bonds."""

import math
import re
from collections.abc import Iterable
from difflib import get_close_matches

from ase.data import atomic_numbers, covalent_radii, reference_states

_NONMETALS = frozenset(re.findall(r"\w+", "X H He B C N O F Ne Si P S Cl Ar Ge As Se Br Kr Te I Xe At Rn Ts Og"))


def require_element(symbol: str) -> None:
    """Make sure that there is such an element.

    Args:
        symbol: Its symbol.

    Raises:
        ValueError: If there is none.

    >>> require_element("Pt")
    """
    if atomic_numbers.get(symbol, 0) == 0:
        known = [name for name, number in atomic_numbers.items() if number > 0]  # X stands for none
        near = get_close_matches(symbol.title(), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else "give a symbol such as Pt"
        raise ValueError(f"unknown element {symbol!r}: {hint}")


def metallic_bond(element: str) -> float:
    """Distance of nearest neighbours in the crystal of a metal, where a search of bond lengths starts.

    From the crystal structures of ASE's `reference_states` (Ashcroft and Mermin, *Solid State Physics*, 1976) for
    fcc, bcc and hcp; for the few metals of another structure (Mn, Ga, In, Sn, Hg ...) twice the covalent radius
    (Cordero et al., Dalton Trans. 2008, 2832).

    Args:
        element: Symbol of the metal.

    Returns:
        The distance, Å.

    Raises:
        ValueError: If there is no such element, or it is no metal.

    >>> round(metallic_bond("Pt"), 3), round(metallic_bond("Fe"), 3)
    (2.772, 2.485)
    """
    require_element(element)
    if element in _NONMETALS:
        raise ValueError(f"element {element}: no metal, so no metallic bond to start from; give the particle's metal")
    number = atomic_numbers[element]
    state = reference_states[number] or {}
    match state.get("symmetry"):
        case "fcc":
            return state["a"] / math.sqrt(2)
        case "bcc":
            return state["a"] * math.sqrt(3) / 2
        case "hcp":
            return state["a"] * min(1.0, math.sqrt(1 / 3 + state["c/a"] ** 2 / 4))
    return 2 * float(covalent_radii[number])


def single_metal(elements: Iterable[str]) -> str | None:
    """The metal of a composition, ligands left aside.

    Args:
        elements: Symbols.

    Returns:
        Its symbol, or None where there is no metal or more than one.

    >>> single_metal(["Au", "S", "C"]), single_metal(["Pt", "Ni"])
    ('Au', None)
    """
    metals = {element for element in elements if element in atomic_numbers and element not in _NONMETALS}
    return metals.pop() if len(metals) == 1 else None
