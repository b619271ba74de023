"""The Triton kernels, through the interpreter in a process of their own, and on a GPU."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from qkd_cil.ops.statevector import statevector

CASES = Path(__file__).with_name("statevector_triton_cases.py")
needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")


def run_cases(**environment: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(CASES)]
    result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=False)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
    assert " passed" in result.stdout


@needs_triton
@pytest.mark.interpreter
def test_kernels_through_the_interpreter() -> None:
    run_cases(TRITON_INTERPRET="1", CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS="1")


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
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    script = tmp_path / "compile_kernels.py"
    script.write_text(COMPILE)
    command = [sys.executable, str(script)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    assert len(result.stdout.split()) == 8


@needs_triton
@pytest.mark.gpu
def test_kernels_on_a_gpu() -> None:
    run_cases(TRITON_INTERPRET="0")


@needs_triton
@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter takes CPU tensors")
def test_cpu_tensors_are_refused() -> None:
    with pytest.raises(ValueError, match='backend: "triton" needs CUDA tensors, found cpu; take "auto" or "reference"'):
        statevector(torch.zeros(1, 2), torch.zeros(1, 2), backend="triton")
