"""From a measured pair distribution function to ranked nanoparticle structures."""

from .scattering import pair_distribution, r_grid, structure_function

__all__ = ["pair_distribution", "r_grid", "structure_function"]
