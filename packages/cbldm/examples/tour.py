"""From a measured file to structures, and how far to believe them.

    python packages/cbldm/examples/tour.py measured.gr Pt

Without a file the curve is simulated. What it writes lies in `tour/`.
"""

# %% The curve: two columns r and G, with qmin, qmax and what else is known of the instrument in its header
import sys
from pathlib import Path

import cbldm
from ase import Atoms
from cbldm import findings
from cbldm.data.clusters import build_geometry
from cbldm.report import plot_fit, write_fit, write_recovery

if len(sys.argv) > 2:
    gr, element = cbldm.read_gr(sys.argv[1]), sys.argv[2]
else:
    particle = Atoms("Pt85", positions=2.813 * build_geometry("Dec", (4, 2, 0)).positions)
    instrument = cbldm.SimulationSettings(qmin=0.9, qmax=24.0, qdamp=0.035, biso=0.43, noise=0.015, seed=7)
    gr, element = cbldm.simulate(particle, instrument, name="simulated.gr"), "Pt"
print(f"{gr.name}: r to {gr.r[-1]:g} Å, qmin {gr.qmin}, qmax {gr.qmax}, qdamp {gr.qdamp}, {dict(gr.composition)}")

# %% Search. Scale, dilation, Biso and, where it pays, delta2 of every candidate are refined. In a notebook, `result` as
# the last line of a cell is the page with the fit and the structure to turn
result = cbldm.recover(gr, element=element, candidates=20, seed=0)
print(findings.table(result, rows=5))

# %% How far to believe it. First Rw: up to 0.15 the misfit may be noise; beyond, the particle differs from all that was
# searched; above 0.5 nothing explains the curve. The verdict says which, and whether bond or size met its limit
print(findings.verdict(result))

# %% Then how many structures are as good: these share nine tenths of the weight. Of one family are those whose G is
# nearly one curve, so that no fit tells them apart. The weights compare what was searched, and nothing else
for each in result.plausible:
    print(f"  {each.label:24} {len(each.atoms):4} atoms, weight {each.weight:.2f}, family {each.family}")
print(f"atoms {result.atom_count}\ntypes {result.structure_type}")

# %% Then what the instrument adds: another qdamp damps large r more or less, which the number of atoms makes up for.
# Here with the library alone, which takes a few seconds
quick = {"element": element, "candidates": 3, "model": "none", "shape": "held", "positions": "held"}
for factor in (0.7, 1.0, 1.3):
    qdamp = factor * result.target.qdamp
    other = cbldm.recover(gr, settings=cbldm.FitSettings(qdamp=qdamp), **quick)
    print(f"with qdamp {qdamp:.3f}: {other[0].label}, Rw {other[0].rw:.3f}, atoms {other.atom_count}")

# %% A structure of one's own by the same fit, here the best: parameters with standard errors, which take the misfit for
# noise and hold only where the structure is right
found = cbldm.fit(result[0].atoms, gr, label=result[0].label)
print(findings.fit_verdict(found))

# %% The page and the files; and the script with which DiffPy-CMI makes the same fit, `tour/fit/fit_diffpy.py`
out = Path("tour")
(out / "fit").mkdir(parents=True, exist_ok=True)
write_recovery(out, result)
write_fit(out / "fit", found)
plot_fit(out / "best.png", found.target, found, title=gr.name)
print(out / "report.html")
