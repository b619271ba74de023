"""From atoms to what a total-scattering experiment sees of them."""

from .debye import pair_distribution, structure_function
from .form_factors import form_factor, scattering_length
from .instrument import exact_qstep, r_grid, resolution, sine_matrix
