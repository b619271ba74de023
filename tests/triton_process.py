"""Triton kernels in processes of their own: whether they are interpreted or compiled is settled at their import."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")


def run_cases(cases: Path, **environment: str) -> None:
    """Run a file of tests.

    Args:
        cases: The file.
        environment: Variables on top of this process's.
    """
    output = _run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(cases), **environment)
    assert " passed" in output


def interpret_cases(cases: Path) -> None:
    """Run a file of tests through Triton's interpreter."""
    run_cases(cases, TRITON_INTERPRET="1", CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS="1")


def compile_kernels(program: str, folder: Path) -> list[str]:
    """Run a program that compiles kernels, with a cache of its own, and return the words it prints.

    Args:
        program: The program.
        folder: For its file and the cache.
    """
    script = folder / "compile_kernels.py"
    script.write_text(program)
    return _run(str(script), TRITON_INTERPRET="0", TRITON_CACHE_DIR=str(folder), OMP_NUM_THREADS="1").split()


def _run(*words: str, **environment: str) -> str:
    command, variables = [sys.executable, *words], {**os.environ, **environment}
    result = subprocess.run(command, capture_output=True, text=True, env=variables, check=False)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
    return result.stdout
