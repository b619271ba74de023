"""The Triton kernels, through the interpreter in a process of their own, and on a GPU."""

import os
import sys
from pathlib import Path

import pytest
import torch
from gradient_flow_drifting import kde_score
from triton_process import compile_kernels, interpret_cases, needs_triton, run_cases

CASES = Path(__file__).with_name("kde_triton_cases.py")


@needs_triton
@pytest.mark.interpreter
def test_kernels_through_the_interpreter() -> None:
    interpret_cases(CASES)


COMPILE = """
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from gradient_flow_drifting.ops.kde import _triton

SHARED_MEMORY = 99 * 1024  # of a program, on the smallest of the present GPUs
for d, bands in ((2, 4), (16, 1)):
    for kernel in (_triton._forward.fn, _triton._backward_x, _triton._backward_y):
        for own in (False, True):
            constants = {"d": d, "D": 16, "B": bands, "ROWS": 32, "KEYS": 32, "IS_DIRECT": d == 2}
            constants |= {"HAS_WEIGHTS": own, "LEAVE_ONE_OUT": own}
            signature = {
                each: "constexpr" if each in constants else "*fp32" if each.endswith("_at") else "i32"
                for each in kernel.arg_names
            }
            places = {(kernel.arg_names.index(each),): value for each, value in constants.items()}
            source = ASTSource(fn=kernel, signature=signature, constexprs=places)
            assert compile(source, target=GPUTarget("cuda", 90, 32)).metadata.shared <= SHARED_MEMORY
            print(kernel.__name__)
"""


@needs_triton
@pytest.mark.interpreter
@pytest.mark.skipif(sys.platform != "linux", reason="Triton compiles for CUDA on Linux")
def test_kernels_compile_without_a_gpu(tmp_path: Path) -> None:
    """What the interpreter lets pass, such as a variable of two types, the compiler does not."""
    assert len(compile_kernels(COMPILE, tmp_path)) == 12


@needs_triton
@pytest.mark.gpu
def test_kernels_on_a_gpu() -> None:
    run_cases(CASES, TRITON_INTERPRET="0")


@needs_triton
@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter takes CPU tensors")
def test_cpu_tensors_are_refused() -> None:
    x = torch.zeros(3, 2)
    with pytest.raises(ValueError, match='backend: "triton" needs CUDA tensors, found cpu'):
        kde_score(x, x, bandwidth=1.0, backend="triton")
