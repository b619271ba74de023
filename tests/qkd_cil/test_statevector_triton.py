"""The Triton kernels, through the interpreter in a process of their own, and on a GPU."""

import os
import sys
from pathlib import Path

import pytest
import torch
from qkd_cil.ops.statevector import statevector
from triton_process import compile_kernels, interpret_cases, needs_triton, run_cases

CASES = Path(__file__).with_name("statevector_triton_cases.py")


@needs_triton
@pytest.mark.interpreter
def test_kernels_through_the_interpreter() -> None:
    interpret_cases(CASES)


COMPILE = """
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from qkd_cil.ops.statevector import _triton

for real in ("fp32", "fp64"):
    for kernel in (_triton._prepare, _triton._walk_back):
        for qubits in (1, 16):
            launch = _triton._launch(qubits, 2**qubits)
            constants = {"BLOCK": launch.pop("BLOCK")} | ({"rows": 1, "qubits": 1} if qubits == 1 else {})
            signature = {
                each: "constexpr" if each in constants else f"*{real}" if each.endswith("_at") else "i32"
                for each in kernel.arg_names
            }
            places = {(kernel.arg_names.index(each),): value for each, value in constants.items()}
            source = ASTSource(fn=kernel, signature=signature, constexprs=places)
            print(len(compile(source, target=GPUTarget("cuda", 90, 32), options=launch).asm["ptx"]))
"""


@needs_triton
@pytest.mark.interpreter
@pytest.mark.skipif(sys.platform != "linux", reason="Triton compiles for CUDA on Linux")
def test_kernels_compile_without_a_gpu(tmp_path: Path) -> None:
    """What the interpreter lets pass, such as a variable of two types, the compiler does not."""
    assert len(compile_kernels(COMPILE, tmp_path)) == 8


@needs_triton
@pytest.mark.gpu
def test_kernels_on_a_gpu() -> None:
    run_cases(CASES, TRITON_INTERPRET="0")


@needs_triton
@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter takes CPU tensors")
def test_cpu_tensors_are_refused() -> None:
    with pytest.raises(ValueError, match='backend: "triton" needs CUDA tensors, found cpu; take "auto" or "reference"'):
        statevector(torch.zeros(1, 2), torch.zeros(1, 2), backend="triton")
