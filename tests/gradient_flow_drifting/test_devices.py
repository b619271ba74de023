"""Several processes: the field is that of one, weights stay the same in all, and what cannot be shared is told."""

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from gradient_flow_drifting.devices import gather, require_share, share
from gradient_flow_drifting.train import CHECKPOINT, Trainer
from papertrio_shared.checkpoint import load_state
from papertrio_shared.devices import is_writer

PROGRAM = Path(__file__).with_name("two_processes.py")
_SPEC = importlib.util.spec_from_file_location("two_processes", PROGRAM)
assert _SPEC is not None
assert _SPEC.loader is not None
program = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(program)
CONFIGS, FEATURES, run = program.CONFIGS, program.FEATURES, program.run


def start(folder: Path, name: str, *stop: str) -> list[dict[str, Any]]:
    """What two processes found."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(PROGRAM), str(folder), "2", name, *stop]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [load_state(folder / f"rank{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("name", CONFIGS)
def test_two_processes_see_the_field_of_one(tmp_path: Path, name: str) -> None:
    one = run(tmp_path / "one", 1, name)
    two = start(tmp_path, name)
    for found in two:
        assert len(found["field"]) == len(one["field"]) > 0
        for ours, theirs in zip(found["field"], one["field"], strict=True):
            assert float((ours - theirs).abs().max() / theirs.abs().max()) < 1e-6
    for key, weights in two[0]["weights"].items():
        assert torch.equal(weights, two[1]["weights"][key]), key
        assert torch.allclose(weights, one["weights"][key], atol=1e-3), key
    assert torch.equal(load_state(tmp_path / "run" / CHECKPOINT)["generator"][key], weights)


@pytest.mark.slow
def test_two_processes_resume_to_the_same_bits(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    whole = start(tmp_path / "whole", "features")
    start(tmp_path / "cut", "features", "9")
    assert load_state(tmp_path / "cut" / "run" / CHECKPOINT)["steps_done"] == 8
    resumed = start(tmp_path / "cut", "features")
    for one, other in zip(whole, resumed, strict=True):
        assert [key for key in one["weights"] if not torch.equal(one["weights"][key], other["weights"][key])] == []


class Third:
    """Stands for Fabric in the third of four processes."""

    world_size, global_rank = 4, 2


def test_a_share_is_one_of_equal_parts() -> None:
    whole = torch.arange(16).reshape(2, 8)
    assert share(Third(), whole, 1).tolist() == [[4, 5], [12, 13]]  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"objective.batch = 10: give a multiple of the 4 devices"):
        require_share(Third(), objective__batch=10)  # type: ignore[arg-type]
    trainer = Trainer(FEATURES)
    assert is_writer()
    assert share(trainer.state.fabric, whole) is whole
    assert torch.equal(gather(trainer.state.fabric, whole), whole)


@pytest.mark.parametrize("device", ["cuda"])
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_devices_that_are_not_there_are_told(device: Any) -> None:
    with pytest.raises(ValueError, match=r"device = cuda: torch finds no CUDA device"):
        Trainer(replace(FEATURES, device=device, devices=2))
