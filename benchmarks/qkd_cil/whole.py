"""Whole commands beside LAMDA-PILOT's, from the start of Python to the report."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.qkd_cil.paper import METHODS, RATE
from benchmarks.registry import Rows, benchmark

# Seconds of LAMDA-PILOT's own code on four cores, CIFAR-100's images (of TUNA: of a public fork of it). Those of
# SimpleCIL and EASE were taken on an idle machine, the others were not.
QUOTED = {"simple-cil": 19, "ease": 111, "ranpac": 108, "mos": 227, "aper": 132, "tuna": 205}
CLASSES, IMAGES = 30, 50  # of three tasks, and of a class, to learn from and to be judged on
WORDS = ("--backbone.weights", "random", "--tasks.first-tasks", "3", RATE, "0.01")


@benchmark(package="qkd-cil", name="whole-runs", device="cpu")
def beside_lamda_pilot() -> Rows:
    """Seconds of whole commands on all cores: ViT-Tiny at 112 pixels, three tasks of 500 images, five epochs."""
    rows: Rows = []
    with tempfile.TemporaryDirectory() as folder:
        arrays = Path(folder) / "noise.npz"
        _write_noise(arrays)
        for name in (*QUOTED, "qkd"):
            out = Path(folder) / name
            command = [sys.executable, "-m", "qkd_cil", "run", "cifar100-small", "--data", str(arrays)]
            words = ["--out", str(out), "--seeds", "1993", *WORDS, *METHODS[name].words]
            before, start = os.times(), time.perf_counter()
            subprocess.run([*command, *words], check=True, stdout=subprocess.DEVNULL)
            seconds, after = time.perf_counter() - start, os.times()
            quoted = QUOTED.get(name)
            rows.append(
                {
                    "learner": name,
                    "seconds": round(seconds, 1),
                    "CPU s": round(after.children_user + after.children_system - sum(before[2:4]), 1),
                    "LAMDA-PILOT, quoted, s": quoted or "–",
                    "ratio": round(quoted / seconds, 2) if quoted else "–",
                }
            )
    return rows


def _write_noise(path: Path) -> None:
    """Images of CIFAR's size; what they show does not matter to the time."""
    numbers = np.random.default_rng(0)
    labels = np.repeat(np.arange(CLASSES), IMAGES)
    parts = {}
    for part in ("train", "test"):
        parts[f"{part}_images"] = numbers.integers(0, 256, (len(labels), 32, 32, 3), dtype=np.uint8)
        parts[f"{part}_labels"] = labels
    np.savez(path, **parts)
