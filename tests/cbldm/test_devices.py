"""Several processes share every batch, stay alike, and learn what one learns."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cbldm.devices import part_of
from cbldm.presets import PRESETS
from cbldm.sample import WEIGHTS
from cbldm.train import CHECKPOINT, Trainer, run_config
from papertrio_shared.checkpoint import load_state
from papertrio_shared.devices import is_writer
from papertrio_shared.run import read_metrics

SMOKE = PRESETS["robust-smoke"]

PROGRAM = """
import sys
from dataclasses import replace
import torch
from cbldm.presets import PRESETS
from cbldm.train import Trainer

trainer = Trainer(replace(PRESETS["robust-smoke"], devices=2, device="cpu"))
for _ in range(12):
    trainer.step()
    if trainer.steps_done in (3, 12):
        weights = torch.cat([each.flatten() for each in trainer.profile.parameters()])
        apart = float((trainer.fabric.all_gather(weights) - weights).abs().max())
        assert apart == 0, apart
        if trainer.steps_done == 3 and trainer.fabric.is_global_zero:
            torch.save(trainer.profile.state_dict(), sys.argv[1])
"""


def in_two_processes(*command: str) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_parts_make_up_the_batch() -> None:
    examples = Trainer(SMOKE).source(0)
    assert part_of(examples, 0, 1) is examples
    parts = [part_of(examples, rank, 2) for rank in range(2)]
    for name in ("positions", "present", "atom_count", "type", "bond"):
        both = torch.stack([getattr(each, name) for each in parts], 1).flatten(0, 1)
        assert torch.equal(both, getattr(examples, name)), name
    assert torch.equal(torch.stack([each.curves.g for each in parts], 1).flatten(0, 1), examples.curves.g)


def test_devices_that_cannot_share_a_batch_are_told() -> None:
    with pytest.raises(ValueError, match=r"batch = 8: give a multiple of the 3 devices that share it"):
        replace(SMOKE, devices=3)
    with pytest.raises(ValueError, match=r"devices = 0: give a number above 0"):
        replace(SMOKE, devices=0)
    if torch.cuda.device_count() == 1:
        with pytest.raises(ValueError, match=r"devices = 2: torch finds 1 CUDA devices"):
            Trainer(replace(SMOKE, devices=2, device="cuda"))
    assert is_writer()


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    """The first stage draws nothing, so that its steps are those of one process; and both stay alike to the end."""
    script = tmp_path / "two.py"
    script.write_text(PROGRAM)
    in_two_processes(str(script), str(tmp_path / "two.pt"))
    trainer = Trainer(replace(SMOKE, device="cpu"))
    for _ in range(3):
        trainer.step()
    one, two = trainer.profile.state_dict(), torch.load(tmp_path / "two.pt", weights_only=True)
    moved = 0
    for name, start in Trainer(replace(SMOKE, device="cpu")).profile.state_dict().items():
        moved += not torch.equal(start, two[name])
        torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-5, msg=name)
    assert moved > 10


@pytest.mark.slow
def test_two_processes_that_were_killed_go_on_to_the_same_bits(tmp_path: Path) -> None:
    """All at once, then the first alone: the other ends with it."""
    train = [sys.executable, "-m", "cbldm", "train"]
    words = ["robust-smoke", "--steps", "16", "12", "12", "--checkpoint-every", "4", "--log-every", "4"]
    words += ["--devices", "2", "--device", "cpu", "--out"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    in_two_processes(*train[1:], *words, str(whole))
    for killed, command in ((os.killpg, [*words, str(cut)]), (os.kill, ["--resume", str(cut)])):
        steps = killed_after_a_checkpoint(killed, [*train, *command], cut / CHECKPOINT)
        assert 0 < steps < 40
    in_two_processes(*train[1:], "--resume", str(cut))
    assert (cut / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()
    assert read_metrics(cut) == read_metrics(whole)


def killed_after_a_checkpoint(kill: Callable[[int, int], None], command: list[str], checkpoint: Path) -> int:
    """Which step the checkpoint is of; no process is left."""
    before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
    with subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL) as process:
        while not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before:
            assert process.poll() is None
            time.sleep(0.005)
        kill(process.pid, signal.SIGKILL)
        process.wait()
    end = time.monotonic() + 60
    while group_runs(process.pid):
        assert time.monotonic() < end
        time.sleep(0.05)
    return int(load_state(checkpoint)["steps_done"])


def group_runs(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_the_command_in_two_processes_writes_one_run_and_resumes(tmp_path: Path) -> None:
    folder = tmp_path / "two"
    words = ["-m", "cbldm", "train", "robust-smoke", "--devices", "2", "--device", "cpu", "--out"]
    said = in_two_processes(*words, str(folder))
    assert said.count("weights: ") == 1
    assert [row["step"] for row in read_metrics(folder)] == [6, 12]
    assert run_config(folder).devices == 2
    written = (folder / "weights.safetensors").read_bytes()
    in_two_processes("-m", "cbldm", "train", "--resume", str(folder))
    assert (folder / "weights.safetensors").read_bytes() == written
