"""A few steps of a run on some processes; each writes what field it saw and what weights it ended with.

Run as `python two_processes.py FOLDER PROCESSES drifting|features [STOP]`; Lightning Fabric starts the other processes.
"""

import sys
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from gradient_flow_drifting import fields
from gradient_flow_drifting.config import TrainConfig
from gradient_flow_drifting.data import Digits
from gradient_flow_drifting.encoders import LearntEncoder
from gradient_flow_drifting.models import GeneratorConfig, ResidualConfig
from gradient_flow_drifting.stretches import Drifting, FeatureDrifting, ParticleFlow, Regression, feature_drifting
from papertrio_shared.checkpoint import save_state
from papertrio_shared.devices import is_writer

train_module = import_module("gradient_flow_drifting.train")  # the package's name `train` is the function

PLAIN = TrainConfig(
    generator=GeneratorConfig(width=16, depth=2),
    flow=ParticleFlow(particles=64, pool=32, steps=2),
    regression=Regression(steps=3, batch=16),
    objective=Drifting(steps=6, batch=16, positives=24),
    checkpoint_every=8,
    log_every=3,
    frames=3,
)
FEATURES = replace(
    PLAIN,
    data=Digits(),
    generator=ResidualConfig(width=16, depth=1, condition="class_and_guidance"),
    flow=ParticleFlow(steps=0),
    regression=Regression(steps=0),
    objective=FeatureDrifting(
        steps=10, samples=4, positives=6, memory=8, refresh=4, encoder=LearntEncoder(width=4, steps=3, batch=8)
    ),
    shown=20,
    watched=32,
)
CONFIGS = {"drifting": PLAIN, "features": FEATURES}


def run(folder: Path, processes: int, name: str, stop: int | None = None) -> dict[str, Any]:
    """Train, or go on where the folder holds a run.

    Args:
        folder: Of the run.
        processes: How many.
        name: Of the config.
        stop: Before which step to break off; None for never.

    Returns:
        The fields of the first step, and the weights that this process ended with.
    """
    seen: list[torch.Tensor] = []
    trainers: list[Any] = []
    velocity, drift, step = fields.KernelField.velocity, feature_drifting.feature_drift, train_module.Trainer.step

    def spied_velocity(*positional: Any, **options: Any) -> torch.Tensor:
        seen.append(velocity(*positional, **options))
        return seen[-1]

    def spied_drift(*positional: Any, **options: Any) -> Any:
        found = drift(*positional, **options)
        seen.append(found.velocity)
        return found

    def spied_step(self: Any) -> float:
        trainers[:] = [self]
        if self.steps_done == stop:
            raise KeyboardInterrupt
        return step(self)

    with (
        patch.object(fields.KernelField, "velocity", spied_velocity),
        patch.object(feature_drifting, "feature_drift", spied_drift),
        patch.object(train_module.Trainer, "step", spied_step),
        suppress(KeyboardInterrupt),
    ):
        if (folder / "config.json").exists():
            train_module.resume(folder)
        else:
            train_module.train(replace(CONFIGS[name], devices=processes), folder)
    first = seen[: 1 if name == "drifting" else 7]
    return {"field": first, "weights": trainers[0].state.generator.state_dict()}


def main() -> None:
    """Write what `run` found, one file for each process."""
    folder, processes, name, *stop = sys.argv[1:]
    found = run(Path(folder) / "run", int(processes), name, int(stop[0]) if stop else None)
    rank = torch.distributed.get_rank()
    assert is_writer() == (rank == 0)
    save_state(Path(folder) / f"rank{rank}.pt", found)


if __name__ == "__main__":
    main()
