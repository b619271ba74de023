"""The script of the same fit: run against stand-ins for DiffPy-CMI that compute G by our own Debye sum.

The stand-ins have the names and the behaviour of diffpy.srfit 3.2 that the script uses. Where diffpy.srfit and
diffpy.structure are installed, the script also runs with them, and only the Debye calculator is a stand-in, with
diffpy.srreal's numbers: it needs a C++ library that no package index has for every platform.
"""

import ast
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from cbldm import SimulationSettings, fit, read_gr, simulate
from cbldm.data.clusters import build_geometry
from cbldm.diffpy_script import diffpy_script
from cbldm.fit import StructureFit
from cbldm.report import write_fit

STAND_INS = Path(__file__).parent / "diffpy_stand_ins"


def fitted(*, delta2: float, radiation: str = "xray", **settings: float) -> StructureFit:
    x = 2.75 * build_geometry("Dec", (2, 2, 0)).positions
    atoms = Atoms(f"Pt{len(x)}", positions=x)
    atoms.symbols[::4] = "Ni"
    larger = atoms.copy()
    larger.positions *= 1.0173
    options = SimulationSettings(
        qmin=0.9, qmax=22.0, qdamp=0.03, delta2=delta2, noise=0.01, radiation=radiation, scale=0.7, **settings
    )
    return fit(atoms, simulate(larger, options), label='my "cluster".xyz', radiation=radiation)


def run(folder: Path, *before: Path, **environment: str) -> dict[str, float]:
    """Run the script and read what it prints."""
    command = [sys.executable, *before, folder / "fit_diffpy.py"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {words[0]: float(words[1]) for line in done.stdout.splitlines() if len(words := line.split()) > 1}


@pytest.mark.parametrize(("delta2", "radiation"), [(2.5, "xray"), (0.0, "neutron")])
def test_the_script_makes_the_same_fit(delta2: float, radiation: str, tmp_path: Path) -> None:
    found = fitted(delta2=delta2, radiation=radiation)
    write_fit(tmp_path, found)
    script = (tmp_path / "fit_diffpy.py").read_text(encoding="utf-8")
    begun = script.replace(repr(float(found.fit.parameters.dilation)), "1.01")  # from elsewhere than its end
    assert begun != script
    (tmp_path / "fit_diffpy.py").write_text(begun, encoding="utf-8")
    printed = run(tmp_path, PYTHONPATH=str(STAND_INS))
    assert set(printed) == {*found.fit.free, "Rw"}
    for name in found.fit.free:
        assert printed[name] == pytest.approx(getattr(found.fit.parameters, name), abs=2e-4), name
    assert printed["Rw"] == pytest.approx(found.rw, abs=2e-4)
    assert np.loadtxt(tmp_path / "diffpy_fit.txt").shape == (len(found.target.r), 3)


def test_the_script_makes_the_same_fit_in_diffpy_srfit(tmp_path: Path) -> None:
    for name in ("diffpy.srfit", "diffpy.structure"):
        pytest.importorskip(name, reason=f"{name} is not installed: make peers")
    found = fitted(delta2=2.5)
    write_fit(tmp_path, found)
    printed = run(tmp_path, Path(__file__).with_name("srreal_stand_in.py"))
    assert set(printed) == {*found.fit.free, "Rw"}
    for name in found.fit.free:
        error = getattr(found.fit.errors, name)
        assert printed[name] == pytest.approx(getattr(found.fit.parameters, name), abs=0.2 * error), name
    assert printed["Rw"] == pytest.approx(found.rw, abs=2e-3)


def test_weights_and_qdamp_are_those_of_the_fit(tmp_path: Path) -> None:
    found = fitted(delta2=2.5)
    dg = 1 + 0.2 * found.target.r
    target = replace(found.target, weight=1 / dg)
    curve = replace(found, target=target, fit=replace(found.fit, free=(*found.fit.free, "qdamp")))
    write_fit(tmp_path, curve)
    assert read_gr(tmp_path / "measured.gr").dg == pytest.approx(dg)
    assert "qdamp" in run(tmp_path, PYTHONPATH=str(STAND_INS))


def test_a_name_cannot_break_out() -> None:
    script = diffpy_script(replace(fitted(delta2=0.0), label='"""\nimport os  # $x\\'))
    assert ast.get_docstring(ast.parse(script)).startswith("The fit of ____import os  # _x_ to simulated")
