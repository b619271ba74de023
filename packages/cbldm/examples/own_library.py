"""One's own structures beside the library, and a series of curves.

python packages/cbldm/examples/own_library.py
"""

# %% Structures of one's own: any files that ASE reads, also .cif and .stru of a cluster in a large box
from pathlib import Path

import cbldm
from ase import Atoms
from ase.cluster import Octahedron
from ase.io import write
from cbldm import findings
from cbldm.data.clusters import build_geometry

mine = Path("my_clusters")
mine.mkdir(exist_ok=True)
full = Octahedron("Pt", 5, cutoff=2)  # a cuboctahedron
centre = full.positions.mean(axis=0)
hollow = Atoms([atom for atom in full if abs(atom.position - centre).max() > 0.1])
nickel = hollow.copy()
nickel.symbols[:10] = "Ni"
for name, atoms in {"full": Atoms(list(full)), "hollow": hollow, "with_nickel": nickel}.items():
    write(mine / f"{name}.xyz", atoms, format="xyz")

# %% Three curves, as three samples would give
icosahedron = Atoms("Pt55", positions=2.79 * build_geometry("Ico", (3,)).positions)
curves = {"hollow": hollow, "with_nickel": nickel, "icosahedron": icosahedron}
folder = Path("curves")
folder.mkdir(exist_ok=True)
instrument = cbldm.SimulationSettings(qmin=0.8, qmax=24.0, qdamp=0.035, noise=0.02, rstep=0.02)
for name, atoms in curves.items():
    cbldm.write_gr(folder / f"{name}.gr", cbldm.simulate(atoms, instrument))

# %% One's own are searched beside the 331 geometries, each with its own elements and at its own size up to a dilation.
# `cbldm recover curves --element Pt --library my_clusters --out series` does this for a folder, with a page for each
# curve and a summary, and goes on where it was when it is cut off
quick = {"model": "none", "shape": "held", "positions": "held", "max_atoms": 80}
for name in curves:
    gr = cbldm.read_gr(folder / f"{name}.gr")
    result = cbldm.recover(gr, element="Pt", candidates=3, library=mine, **quick)
    best = result[0]
    print(f"{name}: {best.label} ({best.source}), {best.atoms.get_chemical_formula()}, Rw {best.rw:.3f}")

# %% The last of them as a table, for one who wants to see what came second
print(findings.table(result))
