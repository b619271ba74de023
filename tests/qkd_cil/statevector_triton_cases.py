"""Cases of the Triton kernels, run in a process of their own by test_statevector_triton."""

import pytest
import torch
from close import assert_close_by_name
from qkd_cil.ops.statevector import Ending, statevector
from torch import Tensor

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def leaves(batch: int, layers: int, qubits: int, dtype: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    values = [3 * torch.randn(rows, qubits, dtype=dtype, generator=generator) for rows in (batch, layers)]
    return [each.to(DEVICE).requires_grad_() for each in values]


def outcome(backend: str, data: Tensor, theta: Tensor, ending: Ending) -> dict[str, Tensor]:
    states = statevector(data, theta, ending=ending, backend=backend)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(1)
    cotangent = torch.randn(states.shape, dtype=states.dtype, generator=generator).to(DEVICE)
    grads = torch.autograd.grad((states * cotangent).sum(), [data, theta], allow_unused=True)
    found = {"states": states.detach()}
    return found | {n: g for n, g in zip(("data.grad", "theta.grad"), grads, strict=True) if g is not None}


@pytest.mark.parametrize("ending", ["entangle", "data"])
@pytest.mark.parametrize(
    ("qubits", "layers", "batch"), [(1, 1, 3), (1, 0, 2), (2, 2, 1), (3, 1, 4), (4, 3, 3), (5, 2, 1)]
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_parity_with_the_reference(
    dtype: torch.dtype, tolerance: float, qubits: int, layers: int, batch: int, ending: Ending
) -> None:
    data, theta = leaves(batch, layers, qubits, dtype)
    ours, expected = (outcome(backend, data, theta, ending) for backend in ("triton", "reference"))
    if not layers:  # no weights, no gradient of them
        ours.pop("theta.grad", None)
        expected.pop("theta.grad", None)
    assert_close_by_name(ours, expected, rtol=tolerance)


def test_more_pairs_than_one_block() -> None:
    data, theta = leaves(1, 1, 12, torch.float64)
    ours, expected = (outcome(backend, data, theta, "data") for backend in ("triton", "reference"))
    assert_close_by_name(ours, expected, rtol=1e-12)


def test_empty_and_non_contiguous_batches() -> None:
    data, theta = leaves(6, 2, 3, torch.float64)
    assert statevector(data[:0], theta, backend="triton").shape == (0, 8)
    statevector(data[:0], theta, backend="triton").sum().backward()
    assert theta.grad is not None
    assert not theta.grad.any()
    slanted = data.detach().T.contiguous().T[::2]
    assert not slanted.is_contiguous()
    found = statevector(slanted, theta, backend="triton")
    assert torch.allclose(found, statevector(data, theta, backend="reference")[::2], atol=1e-14)


def test_a_second_derivative_is_refused() -> None:
    data, theta = leaves(1, 1, 2, torch.float64)
    (first,) = torch.autograd.grad(statevector(data, theta, backend="triton").square().sum(), [data], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()
