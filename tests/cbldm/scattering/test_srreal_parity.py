"""Curves by diffpy.srreal, reproduced."""

import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.cluster import Decahedron, Icosahedron
from ase.cluster.cubic import BodyCenteredCubic, FaceCenteredCubic, SimpleCubic
from ase.lattice.hexagonal import HexagonalClosedPacked
from cbldm import pair_distribution, read_gr
from cbldm.scattering.instrument import FEW, DiffpyGrid
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
@pytest.mark.parametrize("backend", ["moments", "nufft"])
def test_a_fast_way_agrees_with_diffpy(backend: str, name: str, setting: str, dtype: torch.dtype) -> None:
    _hold(name, setting, dtype, backend)


@DTYPES
@pytest.mark.parametrize("setting", "ABC")
def test_a_batch_of_all_clusters_agrees_with_diffpy(setting: str, dtype: torch.dtype) -> None:
    """Many curves are transformed by a matrix that is kept, a few by fast Fourier transforms."""
    names = [name for name in CLUSTERS if len(cluster(name)[0]) < 150]
    assert len(names) > FEW
    most = max(len(cluster(name)[0]) for name in names)
    positions = torch.zeros(len(names), most, 3, dtype=torch.float64)
    mask = torch.zeros(len(names), most, dtype=torch.bool)
    for k, name in enumerate(names):
        mask[k, : len(cluster(name)[0])] = True
        positions[k, mask[k]] = cluster(name)[0]
    elements = [cluster(name)[1] for name in names]
    g = pair_distribution(positions, elements, **instrument(setting), mask=mask, compat="diffpy", dtype=dtype)  # type: ignore[arg-type]
    for k, name in enumerate(names):
        assert relative_error(g[k], curve(name, setting, "g")) < TOLERANCE[dtype], name


def _srreal_missing() -> str:
    try:
        from diffpy.srreal.pdfcalculator import DebyePDFCalculator  # noqa: F401
    except ImportError as error:
        return f"diffpy.srreal, and conda-forge's libdiffpy that it needs, are not installed ({error})"
    return ""


MISSING = _srreal_missing()


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
@pytest.mark.parametrize(
    ("elements", "changes"),
    [
        ("Au", {}),
        (["Pt", "Ni"], {"radiation": "neutron"}),
        (["Na+", "Cl-"], {"delta1": 0.2, "delta2": 1.5, "qbroad": 0.02}),
        (["Cu", "Au"], {"uiso": torch.linspace(0.003, 0.009, 20), "scale": 1.3, "qdamp": 0.05, "delta2": 9.0}),
    ],
)
def test_srreal_itself_agrees(elements: str | list[str], changes: dict[str, Any]) -> None:
    positions = cluster("rand_Au_20")[0]
    symbols = elements if isinstance(elements, str) else [elements[k % len(elements)] for k in range(20)]
    limits = {"rmin": 1.0, "rmax": 20.0, "rstep": 0.02, "qmin": 0.8, "qmax": 24.0, "compat": "diffpy"}
    settings = {**limits, "uiso": 0.005, **changes}
    theirs = pair_distribution(positions, symbols, **settings, backend="srreal")
    assert relative_error(pair_distribution(positions, symbols, **settings), theirs) < 1e-9


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
@pytest.mark.parametrize("name", ["edge_CuAu_2", "bin_PtNi_147"])
def test_srreal_gives_the_curves_it_gave(name: str) -> None:
    g = pair_distribution(*cluster(name), **instrument("A"), compat="diffpy", backend="srreal")  # type: ignore[arg-type]
    assert relative_error(g, curve(name, "A", "g")) < 1e-9


class _Calculator:
    """Stands for srreal's, to see what it is told."""

    def setScatteringFactorTableByType(self, kind: str) -> None:
        self.kind = kind

    def __call__(self, structure: list[Any]) -> tuple[np.ndarray, np.ndarray]:
        told = [atom.uij_cartn[0, 0] for atom in structure] + [self.delta2, self.qmax]  # type: ignore[attr-defined]
        return np.arange(5.0), np.array([*told, "XN".index(self.kind)], dtype=float)


def test_srreal_is_told_every_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    from cbldm.scattering import _srreal

    atoms = SimpleNamespace(AtomicStructureAdapter=list, Atom=SimpleNamespace)
    monkeypatch.setattr(_srreal, "_srreal", lambda: (atoms, SimpleNamespace(DebyePDFCalculator=_Calculator)))
    pair = torch.zeros(2, 3, 3, dtype=torch.float64)
    pair[:, 1, 0], pair[0, 2, 1] = 2.5, 2.5
    mask = torch.tensor([[True, True, True], [True, True, False]])
    g = pair_distribution(
        pair[:1], ["Au", "Cu", "Au"], uiso=torch.tensor([[0.003, 0.004, 0.005]], dtype=torch.float64),
        delta2=torch.tensor([1.5]), scale=2.0, radiation="neutron", rmin=0, rmax=6, rstep=1, qmin=1, qmax=20,
        compat="diffpy", backend="srreal",
    )  # fmt: skip
    assert torch.allclose(g, 2 * torch.tensor([[0.003, 0.004, 0.005, 1.5, 20.0, 1.0]], dtype=torch.float64))
    limits = {"rmin": 0, "rmax": 5, "rstep": 1, "qmin": 1, "qmax": 20, "compat": "diffpy", "backend": "srreal"}
    alone = pair_distribution(pair[1:], "Au", mask=mask[1:], uiso=0.006, delta2=0.5, **limits)  # type: ignore[arg-type]
    assert torch.allclose(alone, torch.tensor([[0.006, 0.006, 0.5, 20.0, 0.0]], dtype=torch.float64))


@pytest.mark.skipif(not MISSING, reason="diffpy.srreal is installed")
def test_where_srreal_is_missing_the_remedy_is_told() -> None:
    message = r"backend 'srreal' needs the extra cbldm\[srreal\], that is diffpy.srreal, and conda-forge's libdiffpy \("
    with pytest.raises(ImportError, match=message) as error:
        pair_distribution(*cluster("oct_Au_6"), **instrument("C"), compat="diffpy", backend="srreal")  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


@DTYPES
@pytest.mark.parametrize("setting", "ABC")
@pytest.mark.parametrize("name", REFERENCE)
def test_the_reference_agrees_with_diffpy(name: str, setting: str, dtype: torch.dtype) -> None:
    _hold(name, setting, dtype, "reference")


@pytest.mark.parametrize("backend", ["reference", "nufft", "moments"])
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
@pytest.mark.parametrize("backend", ["reference", "nufft", "moments"])
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
