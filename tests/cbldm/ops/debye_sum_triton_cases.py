"""Cases for the Triton kernels; `test_debye_sum_triton.py` runs them through the interpreter or on a GPU."""

import math

import pytest
import torch
from cbldm import pair_distribution
from cbldm.ops.debye_sum import debye_sum
from close import assert_close_by_name
from srreal import cluster, curve, instrument
from torch import Tensor

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPES = pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-11), (torch.float32, 2e-6)])
QSTEP = 0.098


def batch(atoms: list[int], species: int) -> tuple[Tensor, Tensor]:
    """A padded batch of clusters, its atoms on a grid, shaken."""
    grid = torch.cartesian_prod(*[torch.arange(4.0)] * 3).double()
    positions = torch.full((len(atoms), max(atoms, default=0), 3), math.nan, dtype=torch.float64)
    kinds = torch.full(positions.shape[:-1], -1)
    for k, n in enumerate(atoms):
        positions[k, :n] = 2.7 * (grid[torch.randperm(64)[:n]] + 0.3 * torch.rand(n, 3, dtype=torch.float64))
        kinds[k, :n] = torch.arange(n) % species
    return positions, kinds


def outcome(
    inputs: dict[str, Tensor], kinds: Tensor, amplitudes: Tensor, backend: str, device: str, dtype: torch.dtype
) -> dict[str, Tensor]:
    """V and the gradient of a projection of it by every input."""
    leaves = {name: value.to(device).clone().requires_grad_() for name, value in inputs.items()}
    rest = {name: leaves[name] for name in leaves if name not in ("positions", "u")}
    v = debye_sum(
        leaves["positions"], kinds.to(device), amplitudes.to(device), leaves["u"],
        qstep=QSTEP, **rest, dmin=2.0, dmax=9.0, dtype=dtype, backend=backend,  # type: ignore[arg-type]
    )  # fmt: skip
    assert v.dtype == dtype
    direction = torch.randn(v.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    gradients = torch.autograd.grad((v * direction.to(device)).sum(), list(leaves.values()))
    return {"V": v.detach(), **dict(zip(leaves, gradients, strict=True))}


@DTYPES
# odd sizes: one atom, less than a block, more than one of atoms and of Q
@pytest.mark.parametrize(
    ("atoms", "species", "nq", "each_atom", "widths"),
    [
        ([1, 3, 2], 1, 1, False, {}),
        ([17, 1, 9], 2, 37, False, {"delta1": 0.2, "delta2": 2.0, "qbroad": 0.02}),
        ([21], 3, 16, True, {}),
        ([5, 19], 2, 50, True, {"delta1": 0.0, "delta2": 9.0, "qbroad": 0.01}),  # some widths are cut off at zero
    ],
)
def test_outputs_and_gradients(
    atoms: list[int], species: int, nq: int, each_atom: bool, widths: dict[str, float], dtype: torch.dtype, rtol: float
) -> None:
    positions, kinds = batch(atoms, species)
    u = 0.004 + 0.004 * torch.rand(kinds.shape if each_atom else len(atoms), dtype=torch.float64)
    wide = {name: torch.full((len(atoms),), value, dtype=torch.float64) for name, value in widths.items()}
    inputs = {"positions": positions, "u": u, **wide}
    amplitudes = torch.linspace(70, 15, nq) ** torch.linspace(1, 0.6, species)[:, None]
    expected = outcome(inputs, kinds, amplitudes, "reference", "cpu", torch.float64)
    assert_close_by_name(outcome(inputs, kinds, amplitudes, "triton", DEVICE, dtype), expected, rtol=rtol)


def test_strided_and_empty_input() -> None:
    positions, kinds = batch([7, 6], 1)
    positions = positions.nan_to_num().permute(2, 1, 0).contiguous().permute(2, 1, 0)
    amplitudes = torch.ones(1, 40, dtype=torch.float64).to(DEVICE)[:, ::2]
    assert not positions.is_contiguous()
    assert not amplitudes.is_contiguous()
    u = torch.full((2,), 0.005, dtype=torch.float64)
    found = debye_sum(positions.to(DEVICE), kinds.to(DEVICE), amplitudes, u.to(DEVICE), qstep=0.4, backend="triton")
    expected = debye_sum(positions, kinds, amplitudes.cpu(), u, qstep=0.4, backend="reference")
    assert_close_by_name({"V": found}, {"V": expected}, rtol=1e-12)
    none = positions[:0].to(DEVICE).requires_grad_()
    v = debye_sum(none, kinds[:0].to(DEVICE), amplitudes, u[:0].to(DEVICE), qstep=0.4, backend="triton")
    assert v.shape == (0, 20)
    v.sum().backward()
    assert none.grad is not None


def test_far_pairs_keep_their_phase_in_single_precision() -> None:
    """Q d is up to 25,000: float32 alone would be wrong in the third digit."""
    far = torch.tensor([[0.0, 0, 0], [0, 0, 997.123], [411.7, 0, 0]], dtype=torch.float64)
    kind = torch.zeros(3, dtype=torch.long)
    ones, u = torch.ones(1, 64, dtype=torch.float64), torch.tensor(0.0, dtype=torch.float64)
    expected = debye_sum(far, kind, ones, u, qstep=0.39, backend="reference")
    inputs = (each.to(DEVICE) for each in (far, kind, ones, u))
    found = debye_sum(*inputs, qstep=0.39, dtype=torch.float32, backend="triton")
    assert_close_by_name({"V": found}, {"V": expected}, rtol=5e-7)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-9), (torch.float32, 1e-6)])
@pytest.mark.parametrize(("name", "setting"), [("fcc_Au_13", "C"), ("edge_CuAu_2", "A"), ("dec_Au_7", "B")])
def test_curves_of_diffpy(name: str, setting: str, dtype: torch.dtype, rtol: float) -> None:
    positions, elements = cluster(name)
    args = {**instrument(setting), "compat": "diffpy", "dtype": dtype, "backend": "triton"}
    g = pair_distribution(positions.to(DEVICE), elements, **args)  # type: ignore[arg-type]
    assert_close_by_name({"G": g}, {"G": curve(name, setting, "g")}, rtol=rtol)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_auto_goes_by_the_device() -> None:
    positions, kinds = (each.to(DEVICE) for each in batch([9], 1))
    ones, u = torch.ones(1, 30, device=DEVICE), torch.tensor([0.005], device=DEVICE)
    auto, triton = (debye_sum(positions, kinds, ones, u, qstep=0.4, backend=b) for b in ("auto", "triton"))  # type: ignore[arg-type]
    assert torch.equal(auto, triton)
