"""From a measured pair distribution function to ranked nanoparticle structures."""

from .data.clusters import Geometry, library
from .data.gr import PairDistribution, read_gr, write_gr
from .fit import StructureFit, fit
from .metrics import rw
from .rank import Candidate, Recovery
from .recover import recover
from .sample import Samples, load_profile, sample
from .scattering import pair_distribution, r_grid, structure_function
from .simulate import SimulationSettings, simulate
from .target import FitSettings

__all__ = [
    "Candidate",
    "FitSettings",
    "Geometry",
    "PairDistribution",
    "Recovery",
    "Samples",
    "SimulationSettings",
    "StructureFit",
    "fit",
    "library",
    "load_profile",
    "pair_distribution",
    "r_grid",
    "read_gr",
    "recover",
    "rw",
    "sample",
    "simulate",
    "structure_function",
    "write_gr",
]
