"""Curves by diffpy.srreal, reproduced."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.cluster import Decahedron, Icosahedron
from ase.cluster.cubic import BodyCenteredCubic, FaceCenteredCubic, SimpleCubic
from ase.lattice.hexagonal import HexagonalClosedPacked
from cbldm import pair_distribution, read_gr
from cbldm.scattering.instrument import DiffpyGrid
from cbldm.scattering.scatterers import Scatterers
from close import relative_error
from srreal import CLUSTERS, SETTINGS, cluster, curve, instrument

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-6}
# The plain sum takes a minute for a thousand atoms.
REFERENCE = [pytest.param(name, marks=[pytest.mark.slow] * (len(cluster(name)[0]) > 100)) for name in CLUSTERS]
DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])


def test_all_curves_are_there() -> None:
    assert len(CLUSTERS) == 34
    assert max(len(cluster(name)[0]) for name in CLUSTERS) == 1415


@pytest.mark.parametrize("setting", "ABC")
def test_the_grids_are_those_of_diffpy(setting: str) -> None:
    told, args = SETTINGS[setting]["grid"], instrument(setting)
    sigma = math.sqrt(2 * args["biso"] / (8 * math.pi**2))
    grid = DiffpyGrid.of(rmin=args["rmin"], rmax=args["rmax"], rstep=args["rstep"], qmax=args["qmax"], sigma_max=sigma)
    assert grid == (told["extendedrmin"], told["extendedrmax"], told["qstep"], told["nq"])


def _hold(name: str, setting: str, dtype: torch.dtype, backend: str) -> None:
    positions, elements = cluster(name)
    g = pair_distribution(positions, elements, **instrument(setting), compat="diffpy", dtype=dtype, backend=backend)  # type: ignore[arg-type]
    assert g.dtype == dtype
    assert relative_error(g, curve(name, setting, "g")) < TOLERANCE[dtype]
    grid, u = SETTINGS[setting]["grid"], instrument(setting)["biso"] / (8 * math.pi**2)
    still = {"delta1": 0.0, "delta2": 0.0, "qbroad": 0.0, "mask": None, "biso": None, "uiso": u}
    scatterers = Scatterers.of(positions, elements, **still, radiation="xray", dtype=dtype)  # type: ignore[arg-type]
    window = {"dmin": grid["extendedrmin"], "dmax": grid["extendedrmax"]}
    f = scatterers.structure_function(grid["qstep"], grid["nq"], backend, **window)  # type: ignore[arg-type]
    assert relative_error(f[0], curve(name, setting, "fq")) < TOLERANCE[dtype]


@DTYPES
@pytest.mark.parametrize("setting", "ABC")
@pytest.mark.parametrize("name", CLUSTERS)
def test_the_transform_agrees_with_diffpy(name: str, setting: str, dtype: torch.dtype) -> None:
    _hold(name, setting, dtype, "nufft")


@DTYPES
@pytest.mark.parametrize("setting", "ABC")
@pytest.mark.parametrize("name", REFERENCE)
def test_the_reference_agrees_with_diffpy(name: str, setting: str, dtype: torch.dtype) -> None:
    _hold(name, setting, dtype, "reference")


@pytest.mark.parametrize("backend", ["reference", "nufft"])
def test_a_batch_of_several_displacements_agrees_with_diffpy(backend: str) -> None:
    """Settings A and C differ in Biso, so that each cluster of the batch has its own grid."""
    names = ["fcc_Au_13", "dec_Au_7", "oct_Au_6", "rand_Au_20"]
    positions = torch.zeros(4, 20, 3, dtype=torch.float64)
    mask = torch.zeros(4, 20, dtype=torch.bool)
    for k, name in enumerate(names):
        mask[k, : len(cluster(name)[0])] = True
        positions[k, mask[k]] = cluster(name)[0]
    biso = torch.tensor([0.6, 0.3, 0.6, 0.3], dtype=torch.float64)
    args = {**instrument("C"), "biso": biso}
    g = pair_distribution(positions, "Au", **args, mask=mask, compat="diffpy", backend=backend)  # type: ignore[arg-type]
    for k, name in enumerate(names):
        args["biso"] = float(biso[k])
        alone = pair_distribution(*cluster(name), **args, compat="diffpy", backend="reference")  # type: ignore[arg-type]
        assert relative_error(g[k], alone) < 1e-10
        if args["biso"] == 0.6:
            assert relative_error(g[k], curve(name, "C", "g")) < 1e-9


SURFACES = [(1, 0, 0), (1, 1, 0), (1, 1, 1)]
SIMULATED = {
    # The lattice constants by which the curves were made: bonds of twice the metallic radius, but for BCC, where that
    # became the lattice constant.
    "BCC_h_2_k_9_l_9": lambda p: BodyCenteredCubic("Au", SURFACES, p, latticeconstant=2.6),
    "Decahedron_p_5_q_1_r_0": lambda p: Decahedron("Au", *p, latticeconstant=2.56 * math.sqrt(2)),
    "FCC_h_3_k_6_l_7": lambda p: FaceCenteredCubic("Au", SURFACES, p, latticeconstant=2.42 * math.sqrt(2)),
    "HCP_Size1_4_Size2_4_Size3_4": lambda p: HexagonalClosedPacked("Au", size=p, latticeconstant=(2.52, 2.52 * 1.633)),
    "Icosahedron_shell_3": lambda p: Icosahedron("Au", *p, latticeconstant=2.44 * math.sqrt(2)),
    "SC_h_4_k_4_l_5": lambda p: SimpleCubic("Au", SURFACES, p, latticeconstant=2.44),
}


def _six_digits(atoms: Atoms) -> torch.Tensor:
    """Positions from the corner of the cluster, as a file of six significant digits keeps them."""
    corner = atoms.positions - atoms.positions.min(0)
    return torch.tensor([[float(f"{v:.6g}") for v in row] for row in corner], dtype=torch.float64)


@DTYPES
@pytest.mark.parametrize("backend", ["reference", "nufft"])
@pytest.mark.parametrize("name", SIMULATED)
def test_the_simulated_curves_are_reproduced(name: str, backend: str, dtype: torch.dtype, data_folder: Path) -> None:
    atoms = SIMULATED[name](tuple(int(v) for v in re.findall(r"_(\d+)", name)))
    measured = read_gr(data_folder / "pdf" / "deepstruc_simulated" / f"{name}.gr")
    g = pair_distribution(
        _six_digits(atoms), "Au", rmin=0, rmax=30, rstep=0.01, qmin=0.7, qmax=25, biso=0.3,
        compat="diffpy", dtype=dtype, backend=backend,  # type: ignore[arg-type]
    )  # fmt: skip
    assert relative_error(g, torch.from_numpy(measured.g)) < TOLERANCE[dtype]
    assert np.allclose(measured.r, np.linspace(0, 30, 3000))  # the mislabelled column, read as it is
