"""The clusters and curves of diffpy.srreal in `cbldm/srreal/`."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

FOLDER = Path(__file__).parent / "cbldm" / "srreal"
SETTINGS: dict[str, dict[str, Any]] = json.loads((FOLDER / "settings.json").read_text())["settings"]
CLUSTERS = sorted(path.stem for path in (FOLDER / "xyz").glob("*.xyz"))


@cache
def cluster(name: str) -> tuple[Tensor, list[str]]:
    """Positions (Å, float64) and elements of a cluster."""
    rows = [line.split() for line in (FOLDER / "xyz" / f"{name}.xyz").read_text().splitlines()[2:]]
    return torch.tensor([[float(v) for v in row[1:4]] for row in rows], dtype=torch.float64), [row[0] for row in rows]


def instrument(setting: str) -> dict[str, float]:
    """The arguments of `pair_distribution` of a setting."""
    return {key: value for key, value in SETTINGS[setting].items() if key != "grid"}


@cache
def _arrays() -> dict[str, np.ndarray]:
    with np.load(FOLDER / "debye.npz") as arrays:
        return dict(arrays)


def curve(name: str, setting: str, kind: str) -> Tensor:
    """G(r) (`kind` "g") or F(Q) ("fq") of a cluster by diffpy.srreal."""
    return torch.from_numpy(_arrays()[f"{name}/{setting}/{kind}"])
