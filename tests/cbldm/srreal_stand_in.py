"""Run a script of DiffPy-CMI where its C++ calculator is missing: `python srreal_stand_in.py script.py`.

diffpy.srfit and diffpy.structure are the real ones; the Debye calculator of diffpy.srreal, which no package index has
for every platform, is ours with diffpy.srreal's numbers.
"""

import math
import runpy
import sys
from types import ModuleType

import numpy as np
import torch
from cbldm import pair_distribution
from diffpy.structure import Structure


class DebyePDFCalculator:
    """What diffpy.srfit uses of it."""

    def __init__(self) -> None:
        self.delta1 = self.delta2 = self.qbroad = self.qdamp = self.qmin = 0.0
        self.scale, self.qmax = 1.0, 25.0
        self.rmin, self.rmax, self.rstep = 0.0, 10.0, 0.01

    def setScatteringFactorTableByType(self, stype: str) -> None:  # of diffpy.srfit before 3.4, which assigns
        self.scatteringfactortable = stype

    def getRadiationType(self) -> str:
        return self.scatteringfactortable

    def __call__(self, structure: Structure) -> tuple[np.ndarray, np.ndarray]:
        count = math.ceil((self.rmax - self.rmin) / self.rstep - 1e-9)
        r = self.rmin + self.rstep * np.arange(count)
        g = pair_distribution(
            structure.xyz_cartn,
            [atom.element for atom in structure],
            rmin=round(self.rmin, 9),
            rmax=float(r[-1] + self.rstep / 2),
            rstep=round(self.rstep, 9),
            uiso=torch.tensor([atom.Uisoequiv for atom in structure], dtype=torch.float64),
            radiation={"X": "xray", "N": "neutron"}[self.scatteringfactortable],
            compat="diffpy",
            **{name: getattr(self, name) for name in ("qmin", "qmax", "qdamp", "qbroad", "delta1", "delta2", "scale")},
        ).numpy()
        return r, g[: len(r)]


def install() -> None:
    """Put the stand-in where diffpy.srfit looks for diffpy.srreal."""
    calculator, adapter = ModuleType("diffpy.srreal.pdfcalculator"), ModuleType("diffpy.srreal.structureadapter")
    calculator.DebyePDFCalculator = DebyePDFCalculator  # type: ignore[attr-defined]
    adapter.nosymmetry = adapter.nometa = lambda structure: structure  # type: ignore[attr-defined]
    for module in (ModuleType("diffpy.srreal"), calculator, adapter):
        sys.modules[module.__name__] = module


if __name__ == "__main__":
    install()
    runpy.run_path(sys.argv[1], run_name="__main__")
