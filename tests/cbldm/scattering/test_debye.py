"""G(r) and F(Q): closed forms, quadrature, laws, gradients and bad input."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from cbldm import pair_distribution, r_grid, structure_function
from cbldm.scattering import exact_qstep, sine_matrix
from cbldm.scattering.form_factors import amplitudes
from close import assert_close_by_name, relative_error
from hypothesis import given
from hypothesis import strategies as st
from srreal import cluster, instrument
from torch import Tensor

BACKENDS = pytest.mark.parametrize("backend", ["reference", "nufft", "moments"])
COMPATS = pytest.mark.parametrize("compat", ["exact", "diffpy"])
PLAIN = {"rmin": 0.0, "rmax": 12.0, "rstep": 0.05, "qmin": 0.7, "qmax": 20.0, "biso": 0.3}
DIMER = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 2.8]], dtype=torch.float64)


def g_of(positions: Tensor, elements: Any = "Au", **changes: Any) -> Tensor:
    return pair_distribution(positions, elements, **{**PLAIN, **changes})


@BACKENDS
@pytest.mark.parametrize(("qmin", "qmax"), [(0.0, 20.0), (0.7, 25.0), (1.03, 21.998245281)])
def test_a_dimer_at_rest_is_two_sinc_functions(qmin: float, qmax: float, backend: str) -> None:
    d, r = 2.8, r_grid(0, 30, 0.01)

    def term(x: Tensor) -> Tensor:  # the integral of cos(Qx) from qmin to qmax
        return (qmax * torch.sinc(qmax * x / math.pi)) - (qmin * torch.sinc(qmin * x / math.pi))

    expected = (term(r - d) - term(r + d)) / (math.pi * d)
    found = pair_distribution(DIMER, "Au", rmin=0, rmax=30, rstep=0.01, qmin=qmin, qmax=qmax, uiso=0.0, backend=backend)  # type: ignore[arg-type]
    assert relative_error(found, expected) < 1e-10


@BACKENDS
def test_a_dimer_in_motion_is_a_gaussian_of_unit_area_over_d(backend: str) -> None:
    d, u, delta2 = 2.8, 0.01, 3.0
    variance = 2 * u * (1 - delta2 / d**2)
    r = r_grid(0, 8, 0.02)
    expected = torch.exp(-((r - d) ** 2) / (2 * variance)) / (d * math.sqrt(2 * math.pi * variance))
    found = pair_distribution(
        DIMER,
        "Pt",
        rmin=0,
        rmax=8,
        rstep=0.02,
        qmin=0,
        qmax=65,
        uiso=u,
        delta2=delta2,
        backend=backend,  # type: ignore[arg-type]
    )
    assert relative_error(found, expected) < 1e-9


def by_gauss_legendre(
    positions: Tensor, elements: list[str], r: Tensor, qmin: float, qmax: float, biso: float
) -> Tensor:
    nodes, weights = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(1200))
    q = (qmax - qmin) / 2 * nodes + (qmax + qmin) / 2
    kinds = sorted(set(elements))
    f = amplitudes(kinds, q, "xray")[[kinds.index(e) for e in elements]]
    d = (positions[:, None] - positions).norm(dim=-1) + torch.eye(len(positions), dtype=torch.float64)
    v = torch.zeros_like(q)
    for i in range(len(positions)):
        j = torch.arange(len(positions)) != i
        v += (f[i] * f[j] * torch.sin(d[i, j, None] * q) / d[i, j, None]).sum(0)
    fq = v * torch.exp(-biso / (8 * math.pi**2) * q**2) / (len(positions) * f.mean(0) ** 2)
    return (qmax - qmin) / math.pi * (weights * fq) @ torch.sin(q[:, None] * r)


@pytest.mark.parametrize("name", ["edge_CuAu_2", "bin_PtNi_147", "rand_Ti_140"])
@pytest.mark.parametrize(
    ("qmin", "qmax", "rmax", "rstep"), [(0.7, 25, 30, 0.01), (0, 20, 20, 0.1), (1.0, 21.99, 12, 0.37)]
)
def test_the_integral_is_exact(name: str, qmin: float, qmax: float, rmax: float, rstep: float) -> None:
    positions, elements = cluster(name)
    r = r_grid(0, rmax, rstep)
    expected = by_gauss_legendre(positions, elements, r[::20], qmin, qmax, 0.3)
    limits = {"qmin": qmin, "qmax": qmax, "biso": 0.3}
    on_grid = pair_distribution(positions, elements, rmin=0, rmax=rmax, rstep=rstep, **limits)
    anywhere = pair_distribution(positions, elements, r=r, **limits)
    assert float((on_grid[::20] - expected).abs().max() / on_grid.abs().max()) < 1e-10
    assert float((anywhere[::20] - expected).abs().max() / on_grid.abs().max()) < 1e-10


def test_diffpy_differs_from_the_exact_integral_by_its_interpolation() -> None:
    """The figures of a comparison of 54 clusters: 0.09 % at the median in setting A, 4.1 % in B, 1.1 % in C."""
    positions, elements = cluster("fcc_Pt_249")
    for setting, low, high in (("A", 0.0004, 0.0014), ("B", 0.02, 0.065), ("C", 0.005, 0.015)):
        args = instrument(setting)
        exact, diffpy = (pair_distribution(positions, elements, **args, compat=c) for c in ("exact", "diffpy"))  # type: ignore[arg-type]
        assert low < relative_error(diffpy, exact) < high


@BACKENDS
@COMPATS
@given(seed=st.integers(0, 10**6), atoms=st.integers(2, 8))
def test_rigid_motion_and_order_change_nothing(backend: str, compat: str, seed: int, atoms: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = cluster("fcc_Au_13")[0][torch.randperm(13, generator=generator)[:atoms]]
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))[0]
    order = torch.randperm(atoms, generator=generator)
    elements = np.array(["Au", "Cu"])[torch.randint(2, (atoms,), generator=generator).numpy()]
    both = {"backend": backend, "compat": compat}
    moved = g_of((x @ turn + 7)[order], list(elements[order.numpy()]), **both)
    assert relative_error(moved, g_of(x, list(elements), **both)) < 1e-9


@BACKENDS
@COMPATS
def test_a_padded_batch_equals_its_clusters(backend: str, compat: str) -> None:
    names = ["bin_PtNi_147", "fcc_Au_13", "edge_Au_1", "ico_Pt_13"]
    clusters = [(x[:30], e[:30]) for x, e in map(cluster, names)]
    positions = torch.full((4, 30, 3), math.nan, dtype=torch.float64)
    mask = torch.zeros(4, 30, dtype=torch.bool)
    for k, (x, _) in enumerate(clusters):
        positions[k, : len(x)], mask[k, : len(x)] = x, True
    per_cluster = {
        "biso": torch.tensor([0.3, 0.4, 0.5, 0.6]), "scale": torch.tensor([1.0, 2.0, 3.0, 4.0]),
        "qdamp": torch.tensor([0.0, 0.01, 0.02, 0.03]), "delta2": torch.tensor([0.0, 1.0, 2.0, 3.0]),
    }  # fmt: skip
    together = g_of(positions, [e for _, e in clusters], mask=mask, **per_cluster, backend=backend, compat=compat)
    for k, (x, e) in enumerate(clusters):
        own = {name: float(value[k]) for name, value in per_cluster.items()}
        alone = g_of(x, e, **own, backend=backend, compat=compat)
        assert relative_error(together[k], alone) < 1e-9


@BACKENDS
def test_the_element_cannot_be_seen_in_one_of_one_element(backend: str) -> None:
    x = cluster("fcc_Au_13")[0]
    assert relative_error(g_of(x, "Ti", backend=backend), g_of(x, "Au", backend=backend)) < 1e-10
    assert relative_error(g_of(x, "Ti", radiation="neutron", backend=backend), g_of(x, backend=backend)) < 1e-10


def test_neutrons_weigh_elements_by_their_scattering_lengths() -> None:
    pair = ["Ni", "Ti"]  # b = 10.3 and −3.438 fm (periodictable): F = 2 b b' / (2 ((b + b')/2)²) sin(Qd)/d
    f = structure_function(DIMER, pair, qstep=0.1, nq=100, uiso=0.0, radiation="neutron")
    b = amplitudes(pair, torch.zeros(1, dtype=torch.float64), "neutron")
    expected = 4 * b.prod() / b.sum() ** 2 * torch.sin(2.8 * 0.1 * torch.arange(100).double()) / 2.8
    assert relative_error(f, expected) < 1e-10
    assert f[1] < 0


def test_one_structure_function_serves_every_displacement() -> None:
    x, _ = cluster("rand_Au_20")
    r = r_grid(1.0, 15.0, 0.03)
    qstep = exact_qstep(15.0, 30.0)
    transform = sine_matrix(r, qmin=0.9, qmax=22.0, qstep=qstep)
    still = structure_function(x, "Au", qstep=qstep, nq=len(transform), uiso=0.0)
    u = 0.007
    moving = still * torch.exp(-u * (qstep * torch.arange(len(transform)).double()) ** 2)
    expected = pair_distribution(x, "Au", r=r, qmin=0.9, qmax=22.0, uiso=u)
    assert relative_error(moving @ transform, expected) < 1e-10


@COMPATS
def test_every_parameter_has_the_gradient_of_the_reference(compat: str) -> None:
    x = torch.stack([cluster("fcc_Au_13")[0], cluster("ico_Pt_13")[0]])
    start = {
        "biso": [0.3, 0.5], "scale": [1.0, 2.0], "qdamp": [0.03, 0.04], "delta1": [0.1, 0.2],
        "delta2": [2.0, 1.0], "qbroad": [0.01, 0.02],
    }  # fmt: skip
    found: dict[str, dict[str, Tensor]] = {}
    for backend in ("reference", "nufft", "moments"):
        leaves = {name: torch.tensor(value, dtype=torch.float64, requires_grad=True) for name, value in start.items()}
        leaves |= {"positions": x.clone().requires_grad_(), "dilation": torch.tensor(1.01).double().requires_grad_()}
        arguments = {name: leaves[name] for name in start}
        g = g_of(leaves["positions"] * leaves["dilation"], **arguments, backend=backend, compat=compat)
        (g * torch.randn(g.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).sum().backward()
        found[backend] = {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}
    assert len(found["reference"]) == len(start) + 2
    for backend in ("nufft", "moments"):
        assert_close_by_name(found[backend], found["reference"], rtol=1e-8)


@BACKENDS
def test_gradients_are_those_of_finite_differences(backend: str) -> None:
    x = cluster("oct_Au_6")[0].clone().requires_grad_()
    parameters = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.4, 1.1, 0.03, 2.0)]

    def g(x: Tensor, biso: Tensor, scale: Tensor, qdamp: Tensor, delta2: Tensor) -> Tensor:
        grid = {"rmin": 1.0, "rmax": 8.0, "rstep": 0.9}
        return g_of(x, biso=biso, scale=scale, qdamp=qdamp, delta2=delta2, **grid, backend=backend)

    assert torch.autograd.gradcheck(g, (x, *parameters), eps=1e-5, atol=1e-4, rtol=1e-4)


@COMPATS
def test_the_dtype_of_the_positions_is_that_of_the_result(compat: str) -> None:
    x = cluster("fcc_Au_13")[0]
    assert g_of(x.float(), compat=compat).dtype == torch.float32
    assert g_of(x.float(), compat=compat, dtype=torch.float64).dtype == torch.float64
    assert torch.equal(g_of(x.numpy(), compat=compat), g_of(x, compat=compat))


def test_one_for_each_atom_equals_one_for_all() -> None:
    x = cluster("bin_FeCo_91")[0][:20]
    assert relative_error(g_of(x, biso=torch.full((20,), 0.3)), g_of(x)) < 1e-7  # 0.3 in float32
    assert relative_error(g_of(x, biso=None, uiso=0.3 / (8 * math.pi**2)), g_of(x)) < 1e-12


THREE = torch.tensor([[0.0, 0, 0], [2.5, 0, 0], [0, 2.5, 0]], dtype=torch.float64)
NAN = THREE.clone().index_put((torch.tensor([1]), torch.tensor([2])), torch.tensor(math.nan).double())
TWICE = THREE[[0, 1, 0]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"qmin": 20.0}, "the range from qmin = 20.0 to qmax = 20.0 Å⁻¹ is empty or negative"),
        ({"qmin": -0.1}, "the range from qmin = -0.1 to qmax = 20.0 Å⁻¹ is empty or negative"),
        ({"qmax": math.nan}, "the range from qmin = 0.7 to qmax = nan Å⁻¹ is empty"),
        ({"qmax": 80.0}, "qmax = 80.0 Å⁻¹ is beyond the form factors' fit; give at most 72 Å⁻¹"),
        ({"rstep": 0.0}, "rstep = 0.0 must be positive"),
        ({"rstep": -0.01}, "rstep = -0.01 must be positive"),
        ({"rstep": 1e-9}, "1.2e[+]10 steps of rstep = 1e-09 Å up to rmax = 12.0 Å are too many; take a coarser rstep"),
        ({"rmax": 2e4, "rstep": 1.0}, "G is wanted at r = 19999 Å; give at most 10000 Å"),
        ({"rmax": 0.0}, "the range from rmin = 0.0 to rmax = 0.0 Å is empty or negative; 0 <= rmin < rmax is wanted"),
        ({"rmin": -1.0}, "the range from rmin = -1.0 to rmax = 12.0 Å is empty or negative"),
        ({"rmax": None}, "no grid of r: give rmin, rmax and rstep, or r"),
        ({"r": [1.0]}, "r stands in the place of rmin, rmax and rstep"),
        ({"biso": None}, "give the displacement as either biso or uiso"),
        ({"uiso": 0.1}, "give the displacement as either biso or uiso"),
        ({"biso": -0.1}, "biso = -0.1 Å²; a displacement is finite and not negative"),
        ({"biso": None, "uiso": math.nan}, "uiso = nan Å²; a displacement is finite and not negative"),
        ({"biso": torch.ones(2)}, r"biso has the shape \(2,\); one, \(\) or \(3,\) is wanted"),
        ({"scale": torch.ones(3)}, r"scale has the shape \(3,\); \(\) or that of the batch \(\) is wanted"),
        ({"qdamp": math.inf}, "qdamp is not finite"),
        ({"delta2": torch.ones(5)}, r"delta2 has the shape \(5,\); one or one for each cluster \(\) is wanted"),
        ({"delta2": math.nan}, "delta2 is not finite"),
        ({"positions": 1e5 * THREE}, "a cluster is .* Å wide; its atoms are further apart than 10000 Å, bring them"),
        ({"elements": "Plt"}, r"unknown element 'Plt'; did you mean 'Pt'\?"),
        ({"elements": ["Pt", "Pt"]}, "2 elements are given for 3 atoms; one for each, or one for all, is wanted"),
        ({"elements": [["Pt"] * 3] * 2}, "elements are given for 2 clusters, positions for 1"),
        ({"positions": NAN}, r"atom 1 has a coordinate that is not finite: \[2.5, 0.0, nan\]"),
        ({"positions": NAN[None]}, "atom 1 has a coordinate that is not finite"),
        ({"positions": TWICE}, "atoms 0 and 2 stand at one place; remove one of them"),
        ({"positions": torch.stack([THREE, TWICE])}, "atoms 0 and 2 of cluster 1 stand at one place"),
        ({"positions": THREE[:0]}, "cluster 0 has no atom"),
        ({"positions": THREE[None][:0]}, "no cluster; give at least one"),
        ({"positions": THREE[:, :2]}, r"positions have the shape \(3, 2\); \(..., atoms, 3\) is wanted"),
        ({"positions": THREE.long()}, "positions are torch.int64; coordinates in Å of a floating type are wanted"),
        ({"mask": torch.ones(2, dtype=torch.bool)}, r"the mask has the shape \(2,\); that of the atoms is \(3,\)"),
        ({"compat": "pdffit"}, "unknown compat 'pdffit'; it is 'exact' or 'diffpy'"),
        ({"backend": "nuft"}, "backend is 'nuft': give 'auto', 'reference', 'moments', 'nufft' or 'triton'"),
        ({"backend": "srreal"}, "backend 'srreal' computes as diffpy.srreal does; give compat='diffpy' with it"),
        (
            {"backend": "srreal", "compat": "diffpy", "biso": torch.tensor(0.3, requires_grad=True)},
            "backend 'srreal' has no gradient by u; detach it or take another backend",
        ),
        ({"radiation": "electron"}, "unknown radiation 'electron'; it is 'xray' or 'neutron'"),
    ],
)  # fmt: skip
def test_bad_input_is_told_in_a_line(changes: dict[str, Any], message: str) -> None:
    arguments = {"positions": THREE, "elements": "Au", **changes}
    with pytest.raises(ValueError, match=message) as error:
        g_of(arguments.pop("positions"), **arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("r", [[], [1.0, math.nan], [-1.0, 2.0], [[1.0]]])
def test_bad_points_are_told(r: list[float]) -> None:
    with pytest.raises(ValueError, match="r must be a list of finite numbers, none of them negative"):
        pair_distribution(THREE, "Au", r=torch.tensor(r), qmin=0.7, qmax=20, biso=0.3)


def test_an_empty_grid_of_q_is_told() -> None:
    with pytest.raises(ValueError, match=r"qstep = 0\.0 and nq = 5 make no grid"):
        structure_function(THREE, "Au", qstep=0.0, nq=5, uiso=0)


def test_near_atoms_are_not_taken_for_one() -> None:
    line = torch.zeros(3, 3, dtype=torch.float64)
    line[:, 0] = torch.tensor([0.0, 2e-4, 5.0])
    assert torch.isfinite(g_of(line)).all()
    across = torch.tensor([[0.0, 0, 0], [3.141, 5.257, 0]], dtype=torch.float64)  # one projection, two places
    assert torch.isfinite(g_of(across)).all()


def test_atoms_a_hair_apart_are_one_place() -> None:
    pair = torch.tensor([[0.0, 0.0, 0.0], [2.5, 0.0, 0.0], [2.5, 9e-5, 0.0]], dtype=torch.float64)
    settings = {"rmin": 0.0, "rmax": 5.0, "rstep": 0.1, "qmin": 0.5, "qmax": 20.0, "biso": 0.3}
    with pytest.raises(ValueError, match="atoms 1 and 2 stand at one place"):
        pair_distribution(pair, "Au", **settings)
    pair[2, 1] = 2e-4
    assert torch.isfinite(pair_distribution(pair, "Au", **settings)).all()
