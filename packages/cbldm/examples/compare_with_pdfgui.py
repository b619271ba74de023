"""PDFgui's model of a particle, a crystal cut by a sphere, beside clusters: is the particle one that was searched?

    python packages/cbldm/examples/compare_with_pdfgui.py measured.gr Pt

Without a file the curve is simulated. For metals whose crystal is face-centred cubic.
"""

# %% The curve
import math
import sys

import cbldm
import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, reference_states
from cbldm.data.clusters import build_geometry
from cbldm.scattering.crystal import MARGIN, Site, crystal_pair_distribution, shells_of
from scipy.optimize import least_squares

RMIN, RMAX, QDAMP = 2.0, 20.0, 0.04
if len(sys.argv) > 2:
    gr, element = cbldm.read_gr(sys.argv[1]), sys.argv[2]
else:
    particle = Atoms("Pt249", positions=2.78 * build_geometry("FCC", (4, 6, 6)).positions)
    gr = cbldm.simulate(particle, cbldm.SimulationSettings(qmin=1.0, qmax=22.0, qdamp=QDAMP, rstep=0.02))
    element = "Pt"
curve = gr.within(RMIN, RMAX)

# %% PDFgui's model: the crystal's G less its average density, cut at qmax, under the envelope of a sphere (spdiameter).
# It has no qmin. A cluster in a large empty box would lack that density, and with it the negative ground between the
# peaks, which a measured curve has because what lies below qmin was not measured
edge = reference_states[atomic_numbers[element]]["a"]
corners = ((0.0, 0.0, 0.0), (0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0))
shells = shells_of([Site(element, *at) for at in corners], (RMAX + MARGIN) / (0.97 * edge))


def crystal(p: np.ndarray) -> np.ndarray:
    """G for a scale, an edge (Å), a Biso (Å²) and a diameter (Å)."""
    part = np.minimum(curve.r / p[3], 1)
    g = crystal_pair_distribution(shells, curve.r, edge=p[1], biso={element: p[2]}, qmax=curve.qmax, qdamp=QDAMP)
    return p[0] * g * (1 - 1.5 * part + 0.5 * part**3)


limits = ([0.0, 0.97 * edge, 0.05, 8.0], [9.0, 1.03 * edge, 5.0, 300.0])
found = least_squares(
    lambda p: crystal(p) - curve.g, [1.0, edge, 0.5, 20.0], bounds=limits, x_scale=[1, 0.01, 0.3, 10], diff_step=1e-4
)
scale, edge, biso, diameter = found.x
atoms = math.pi / 6 * diameter**3 / (edge**3 / 4)
print(
    f"crystal cut by a sphere: Rw {cbldm.rw(curve.g, crystal(found.x)):.3f}, edge {edge:.4f} Å, Biso {biso:.2f} Å², "
    f"diameter {diameter:.1f} Å, some {atoms:.0f} atoms"
)

# %% Clusters on the same points. Where the sphere has more atoms than were searched (256) and a lower Rw, the particle
# is larger, and the clusters at the limit are no answer. Where clusters fit better, it is for their shape
result = cbldm.recover(
    gr,
    element=element,
    candidates=3,
    model="none",
    shape="held",
    positions="held",
    settings=cbldm.FitSettings(rmin=RMIN, rmax=RMAX, qdamp=QDAMP),
)
best = result[0]
print(f"best cluster: {best.label}, {len(best.atoms)} atoms, Rw {best.rw:.3f}, bond {best.bond_length:.4f} Å")
print(f"the crystal's nearest neighbours: {edge / math.sqrt(2):.4f} Å")

# %% The same cluster as it would look in PDFgui, where nothing is cut at qmin
boxed = cbldm.fit(best.atoms, gr, settings=cbldm.FitSettings(rmin=RMIN, rmax=RMAX, qmin=0.0, qdamp=QDAMP))
print(f"the cluster without qmin, as in an empty box: Rw {boxed.rw:.3f}")
