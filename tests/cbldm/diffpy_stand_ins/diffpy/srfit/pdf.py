"""Generator and parser."""

from types import SimpleNamespace

import numpy as np
from ase import Atoms
from cbldm import pair_distribution, read_gr

from .fitbase import Parameter


class PDFParser:
    def parseFile(self, path: str) -> None:
        self.curve = read_gr(path)


class Phase:
    def __init__(self, stru: Atoms) -> None:
        self.lattice = SimpleNamespace(**{edge: Parameter(edge, 1.0) for edge in "abc"})
        self.atoms = [SimpleNamespace(Biso=Parameter("Biso", 0.0)) for _ in stru]

    def getLattice(self) -> SimpleNamespace:
        return self.lattice

    def getScatterers(self) -> list[SimpleNamespace]:
        return self.atoms


class DebyePDFGenerator:
    def __init__(self, name: str) -> None:
        self.name = name
        for each in ("scale", "delta1", "delta2", "qbroad", "qdamp"):
            setattr(self, each, Parameter(each, 1.0 if each == "scale" else 0.0))

    def setScatteringType(self, stype: str) -> None:
        self.radiation = {"X": "xray", "N": "neutron"}[stype]

    def setStructure(self, stru: Atoms, name: str, periodic: bool) -> None:
        assert not periodic
        self.stru = stru
        setattr(self, name, Phase(stru))

    def setQmin(self, qmin: float) -> None:
        self.qmin = qmin

    def setQmax(self, qmax: float) -> None:
        self.qmax = qmax

    def __call__(self, r: np.ndarray) -> np.ndarray:
        stretch = np.array([getattr(self.phase.lattice, edge).value for edge in "abc"])
        biso = {atom.Biso.value for atom in self.phase.atoms}
        return pair_distribution(
            self.stru.positions * stretch,
            self.stru.get_chemical_symbols(),
            r=r,
            qmin=self.qmin,
            qmax=self.qmax,
            qdamp=self.qdamp.value,
            qbroad=self.qbroad.value,
            delta2=self.delta2.value,
            biso=biso.pop(),
            radiation=self.radiation,
        ).numpy()
