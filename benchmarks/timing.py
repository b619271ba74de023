"""Timings that hold on a shared, noisy machine: the competitors in turn, medians, quantiles, the machine's facts."""

import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch


class Timing(NamedTuple):
    """Seconds of one call: median, 10 % and 90 % quantile."""

    median: float
    low: float
    high: float


def compare(functions: Mapping[str, Callable[[], object]], *, repeats: int = 7, warmup: int = 1) -> dict[str, Timing]:
    """Time functions in turn (A B A B …), so that a drift of the machine's speed meets all of them.

    Args:
        functions: What to time, by name; each does the same work in its own way.
        repeats: Counted rounds.
        warmup: Rounds before that.

    Returns:
        Seconds of a call of each.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for round_ in range(warmup + repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if round_ >= warmup:
                seconds[name].append(time.perf_counter() - start)
    return {name: Timing(*map(float, np.quantile(each, [0.5, 0.1, 0.9]))) for name, each in seconds.items()}


def machine() -> dict[str, object]:
    """Facts that a timing depends on: processor, cores, threads, load, versions, device."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    processor = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return {
        "processor": processor or platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }
