"""Structures."""

from ase import Atoms
from ase.io import read


def loadStructure(path: str) -> Atoms:
    return read(path)
