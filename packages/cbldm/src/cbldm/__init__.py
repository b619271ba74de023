"""From a measured pair distribution function to ranked nanoparticle structures."""

from .calibrate import Calibration, calibrate
from .data.clusters import Geometry, library
from .data.gr import PairDistribution, read_gr, write_gr
from .fit import StructureFit, fit
from .metrics import rw
from .posterior import Distribution
from .proposals import Proposal, Search
from .rank import Candidate, Recovery
from .recover import recover
from .relax import Relaxed, relax
from .sample import Samples, load_profile, sample
from .scattering import pair_distribution, r_grid, structure_function
from .simulate import SimulationSettings, simulate
from .target import FitSettings

__all__ = [
    "Calibration",
    "Candidate",
    "Distribution",
    "FitSettings",
    "Geometry",
    "PairDistribution",
    "Proposal",
    "Recovery",
    "Relaxed",
    "Samples",
    "Search",
    "SimulationSettings",
    "StructureFit",
    "calibrate",
    "fit",
    "library",
    "load_profile",
    "pair_distribution",
    "r_grid",
    "read_gr",
    "recover",
    "relax",
    "rw",
    "sample",
    "simulate",
    "structure_function",
    "write_gr",
]
