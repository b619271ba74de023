r"""The op on a GPU: one program prepares the state of one row of data, and one walks it back.

The chain of controlled nots only renames amplitudes, so no program ever moves one. After $l$ chains the amplitude of
basis state $y$ stands where it stood before all of them, at $x$ with $y = P^l x$, $P$ being the exclusive or of all
higher bits. A rotation of the qubit at bit $p$ then turns the pairs $(x, x \oplus G^l e_p)$ with $G = P^{-1}$ the Gray
code; the highest bit of $G^l e_p$ is $p$, so the pairs are counted by the $x$ whose bit $p$ is clear, and which of the
two has $y_p = 0$ is read from $P^l x$. The first rotation of all is written as a product state.

The backward pass needs no stored layer: every gate is orthogonal. From state $\psi$ and cotangent $\lambda$ behind a
rotation by $a$, pair by pair, $\partial / \partial a = \frac12 \sum (\lambda_1 \psi_0 - \lambda_0 \psi_1)$; then both
are turned back. States are in the precision of the angles, sums of a gradient in float32 or better.
"""
# mypy: disallow_untyped_defs=False, disallow_incomplete_defs=False

from typing import Any

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from triton.runtime import JITFunction

PAIRS = 1024
"""Pairs of amplitudes that a program turns at once."""


@triton.jit
def _chains(x, times):
    """P to a power, on 16 bits."""
    for _ in range(times):
        x = x ^ (x >> 1)
        x = x ^ (x >> 2)
        x = x ^ (x >> 4)
        x = x ^ (x >> 8)
    return x


@triton.jit
def _gray(x, times):
    """The inverse of P, to a power."""
    for _ in range(times):
        x = x ^ (x >> 1)
    return x


@triton.jit
def _pair(number, bit, row):
    """The two places of a pair, that with the qubit in |0> first."""
    low = number & ((1 << bit) - 1)
    first = ((number - low) << 1) | low
    second = first ^ _gray(1 << bit, row)
    swapped = (_chains(first, row) >> bit) & 1
    return tl.where(swapped == 1, second, first), tl.where(swapped == 1, first, second)


@triton.jit
def _turn(at, zero, one, inside, cos, sin):
    """Rotate pairs of amplitudes in place; every load has happened before the first store."""
    a = tl.load(at + zero, mask=inside, other=0.0)
    b = tl.load(at + one, mask=inside, other=0.0)
    tl.store(at + zero, cos * a - sin * b, mask=inside)
    tl.store(at + one, sin * a + cos * b, mask=inside)


@triton.jit
def _prepare(angles_at, work_at, out_at, rows, qubits, chains, BLOCK: tl.constexpr):
    row_of_data = tl.program_id(0).to(tl.int64)
    size = 1 << qubits
    angles_at += row_of_data * rows * qubits
    work_at += row_of_data * size
    out_at += row_of_data * size
    for start in range(0, size, BLOCK):
        x = start + tl.arange(0, BLOCK)
        amplitude = tl.full((BLOCK,), 1.0, dtype=work_at.dtype.element_ty)
        for qubit in range(qubits):
            half = 0.5 * tl.load(angles_at + qubit)
            set_bit = (x >> (qubits - 1 - qubit)) & 1
            amplitude *= tl.where(set_bit == 1, tl.sin(half), tl.cos(half))
        tl.store(work_at + x, amplitude, mask=x < size)
    tl.debug_barrier()
    for row in range(1, rows):
        for qubit in range(qubits):
            half = 0.5 * tl.load(angles_at + row * qubits + qubit)
            cos, sin = tl.cos(half), tl.sin(half)
            for start in range(0, size // 2, BLOCK):
                number = start + tl.arange(0, BLOCK)
                zero, one = _pair(number, qubits - 1 - qubit, row)
                _turn(work_at, zero, one, number < size // 2, cos, sin)
            tl.debug_barrier()
    for start in range(0, size, BLOCK):
        y = start + tl.arange(0, BLOCK)
        amplitude = tl.load(work_at + _gray(y, chains), mask=y < size, other=0.0)
        tl.store(out_at + y, amplitude, mask=y < size)


@triton.jit
def _walk_back(
    angles_at, out_at, by_out_at, state_at, slope_at, by_angles_at, rows, qubits, chains, BLOCK: tl.constexpr
):
    row_of_data = tl.program_id(0).to(tl.int64)
    size = 1 << qubits
    angles_at += row_of_data * rows * qubits
    by_angles_at += row_of_data * rows * qubits
    out_at += row_of_data * size
    by_out_at += row_of_data * size
    state_at += row_of_data * size
    slope_at += row_of_data * size
    for start in range(0, size, BLOCK):
        x = start + tl.arange(0, BLOCK)
        y = _chains(x, chains)
        tl.store(state_at + x, tl.load(out_at + y, mask=x < size, other=0.0), mask=x < size)
        tl.store(slope_at + x, tl.load(by_out_at + y, mask=x < size, other=0.0), mask=x < size)
    tl.debug_barrier()
    for back in range(rows):
        row = rows - 1 - back
        for qubit in range(qubits):
            half = 0.5 * tl.load(angles_at + row * qubits + qubit)
            cos, sin = tl.cos(half), -tl.sin(half)
            total = tl.zeros((BLOCK,), dtype=state_at.dtype.element_ty)
            for start in range(0, size // 2, BLOCK):
                number = start + tl.arange(0, BLOCK)
                zero, one = _pair(number, qubits - 1 - qubit, row)
                inside = number < size // 2
                a, b = (
                    tl.load(state_at + zero, mask=inside, other=0.0),
                    tl.load(state_at + one, mask=inside, other=0.0),
                )
                by_a, by_b = (
                    tl.load(slope_at + zero, mask=inside, other=0.0),
                    tl.load(slope_at + one, mask=inside, other=0.0),
                )
                total += by_b * a - by_a * b
                _turn(state_at, zero, one, inside, cos, sin)
                _turn(slope_at, zero, one, inside, cos, sin)
            tl.store(by_angles_at + row * qubits + qubit, 0.5 * tl.sum(total))
            tl.debug_barrier()


def _launch(qubits: int, amplitudes: int) -> dict[str, int]:
    """Block and warps: no two threads may hold the same pair, for amplitudes are turned in place."""
    block = min(PAIRS, max(1, amplitudes))
    return {"BLOCK": block, "num_warps": max(1, min(8, min(block, 2 ** max(qubits - 1, 0)) // 64)), "num_stages": 1}


class _Circuit(torch.autograd.Function):
    """Both kernels on contiguous angles [batch, rows, qubits], a chain standing between every two rows."""

    @staticmethod
    def forward(ctx: Any, angles: Tensor, chains: int) -> Tensor:
        batch, rows, qubits = angles.shape
        work, out = (angles.new_empty(batch, 2**qubits) for _ in range(2))
        if batch:
            _prepare[(batch,)](angles, work, out, rows, qubits, chains, **_launch(qubits, 2**qubits))
        ctx.save_for_backward(angles, out)
        ctx.chains = chains
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        angles, out = ctx.saved_tensors
        batch, rows, qubits = angles.shape
        state, slope, by_angles = torch.empty_like(out), torch.empty_like(out), torch.zeros_like(angles)
        if batch:
            _walk_back[(batch,)](
                angles, out, gradient.contiguous(), state, slope, by_angles, rows, qubits, ctx.chains,
                **_launch(qubits, 2**qubits),
            )  # fmt: skip
        return by_angles, None


def statevector_triton(
    data: Float[Tensor, "batch qubits"], theta: Float[Tensor, "layers qubits"], ending: str
) -> Float[Tensor, "batch amplitudes"]:
    """The state of each row of data on a CUDA device, or through Triton's interpreter.

    Raises:
        ValueError: If the tensors are on another device.
    """
    if isinstance(_prepare, JITFunction) and data.device.type != "cuda":
        raise ValueError(f'backend: "triton" needs CUDA tensors, found {data.device}; take "auto" or "reference"')
    dtype = torch.promote_types(data.dtype, theta.dtype)
    kept = dtype if dtype == torch.float64 else torch.float32
    weights = theta.to(kept)
    if ending == "data" or not len(theta):
        weights = torch.cat([weights, weights.new_zeros(1, weights.shape[1])])
    angles = (data.to(kept)[:, None] + weights).contiguous()
    return _Circuit.apply(angles, len(theta)).to(dtype)
