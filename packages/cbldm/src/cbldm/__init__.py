"""From a measured pair distribution function to ranked nanoparticle structures."""

from .data.gr import PairDistribution, read_gr, write_gr
from .scattering import pair_distribution, r_grid, structure_function

__all__ = ["PairDistribution", "pair_distribution", "r_grid", "read_gr", "structure_function", "write_gr"]
