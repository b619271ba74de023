"""G(r) by diffpy.srreal's own Debye calculator, where it is installed."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .scatterers import Scatterers


def srreal_pair_distribution(scatterers: Scatterers, grid: Mapping[str, float]) -> Float[Tensor, "clusters bins"]:
    """G(r) of each cluster by `DebyePDFCalculator`, without scale and resolution.

    Args:
        scatterers: The clusters.
        grid: rmin, rmax, rstep (Å), qmin, qmax (Å⁻¹).

    Returns:
        G(r), Å⁻², on the calculator's own grid of r.

    Raises:
        ImportError: If diffpy.srreal is not installed, or its library libdiffpy is not.
        ValueError: If a gradient is wanted: the calculator has none.
    """
    leaves = ("positions", "u", "delta1", "delta2", "qbroad")
    wanted = [name for name in leaves if getattr(scatterers, name).requires_grad]
    if wanted:
        raise ValueError(f"backend 'srreal' has no gradient by {', '.join(wanted)}; detach it or take another backend")
    atoms, pdfcalculator = _srreal()
    curves = []
    for cluster, species in enumerate(scatterers.species.tolist()):
        structure = atoms.AtomicStructureAdapter()
        u = scatterers.u[cluster].expand(len(species)).tolist()
        for place, kind, msd in zip(scatterers.positions[cluster].double().tolist(), species, u, strict=True):
            if kind >= 0:
                structure.append(_atom(atoms.Atom(), scatterers.symbols[kind], place, msd))
        # One calculator a structure: it would keep the grid of the last.
        calculator = pdfcalculator.DebyePDFCalculator()
        calculator.evaluatortype = "BASIC"
        calculator.setScatteringFactorTableByType({"xray": "X", "neutron": "N"}[scatterers.radiation])
        for name in ("delta1", "delta2", "qbroad"):
            setattr(calculator, name, float(getattr(scatterers, name)[cluster]))
        for name, value in grid.items():
            setattr(calculator, name, float(value))
        _, g = calculator(structure)
        curves.append(torch.from_numpy(np.array(g, dtype=float)))
    return torch.stack(curves).to(scatterers.positions.device, scatterers.dtype)


def _atom(atom: Any, symbol: str, place: list[float], msd: float) -> Any:
    atom.atomtype, atom.occupancy, atom.anisotropy = symbol, 1.0, False
    atom.xyz_cartn, atom.uij_cartn = np.array(place), msd * np.identity(3)
    return atom


def _srreal() -> tuple[Any, Any]:
    try:
        from diffpy.srreal import pdfcalculator, structureadapter
    except ImportError as error:
        raise ImportError(
            "backend 'srreal' needs the extra cbldm[srreal], that is diffpy.srreal, and conda-forge's libdiffpy "
            f"({str(error).splitlines()[0]})"
        ) from error
    return structureadapter, pdfcalculator
