"""The Triton kernels, through the interpreter in a process of their own, and on a GPU."""

import os
import sys
from pathlib import Path

import pytest
import torch
from cbldm import pair_distribution
from cbldm.ops.debye_sum import debye_sum
from close import relative_error
from srreal import CLUSTERS, cluster, curve, instrument
from triton_process import compile_kernels, interpret_cases, needs_triton, run_cases

CASES = Path(__file__).with_name("debye_sum_triton_cases.py")


@needs_triton
@pytest.mark.interpreter
def test_kernels_through_the_interpreter() -> None:
    interpret_cases(CASES)


COMPILE = """
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from cbldm.ops.debye_sum import _triton

for real, name in ((tl.float32, "fp32"), (tl.float64, "fp64")):
    for kernel, points in ((_triton._forward, 16), (_triton._backward, 8)):
        for fixed in ({}, {"n": 1, "nq": 1, "shares": 1}):
            constants = {"REAL": real, "ROWS": 8, "PARTNERS": 16, "POINTS": points, **fixed}
            constants = {each: value for each, value in constants.items() if each in kernel.arg_names}
            kinds = {"species_at": "*i32", "f_at": f"*{name}"}
            signature = {
                each: "constexpr" if each in constants else kinds.get(each, "*fp64" if each.endswith("_at") else "i32")
                for each in kernel.arg_names
            }
            places = {(kernel.arg_names.index(each),): value for each, value in constants.items()}
            source = ASTSource(fn=kernel, signature=signature, constexprs=places)
            print(len(compile(source, target=GPUTarget("cuda", 90, 32)).asm["ptx"]))
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
@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("setting", "ABC")
def test_a_gpu_agrees_with_diffpy(setting: str, dtype: torch.dtype) -> None:
    for name in CLUSTERS:
        positions, elements = cluster(name)
        g = pair_distribution(positions.cuda(), elements, **instrument(setting), compat="diffpy", dtype=dtype)  # type: ignore[arg-type]
        assert relative_error(g, curve(name, setting, "g")) < {torch.float64: 1e-9, torch.float32: 1e-6}[dtype], name


@needs_triton
@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter takes CPU tensors")
def test_cpu_tensors_are_refused() -> None:
    x, kind = torch.eye(3), torch.zeros(3, dtype=torch.long)
    with pytest.raises(ValueError, match='backend: "triton" needs CUDA tensors, found cpu; take "auto" or "reference"'):
        debye_sum(x, kind, torch.ones(1, 5), torch.tensor(0.01), qstep=0.1, backend="triton")
