"""A run that was cut off within a task ends with the bits of one that was not, for every method."""

import json
import os
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cil_small import QUICK, TINY, small_scenario
from papertrio_shared.checkpoint import load_state, save_state
from papertrio_shared.run import Run, config_to_dict, read_metrics
from qkd_cil import (
    PROFILES,
    AlignmentConfig,
    APERConfig,
    Augmentation,
    CODAPromptConfig,
    DualPromptConfig,
    EASEConfig,
    Finetune,
    FinetuneConfig,
    ICaRLConfig,
    JointConfig,
    L2PConfig,
    LearnerConfig,
    LwFConfig,
    MOSConfig,
    MoTEConfig,
    RanPACConfig,
    SLCAConfig,
    TUNAConfig,
    train,
)
from qkd_cil.config import RunConfig
from qkd_cil.data.datasets import ArraysConfig
from qkd_cil.data.scenario import ScenarioConfig

SHORT = AlignmentConfig(epochs=2, draws=8)
CONFIGS: dict[str, LearnerConfig] = {
    "finetune": FinetuneConfig(),
    "finetune-full": FinetuneConfig(trains="full", loss_over="seen"),
    "joint": JointConfig(),
    "lwf": LwFConfig(),
    "icarl": ICaRLConfig(memory=12),
    "slca": SLCAConfig(alignment=SHORT),
    "l2p": L2PConfig(pool=4, length=2, chosen=2),
    "dual-prompt": DualPromptConfig(general_layers=(0,), expert_layers=(1,)),
    "coda-prompt": CODAPromptConfig(),
    "aper": APERConfig(tuning="ssf"),
    "ranpac": RanPACConfig(projection=50),
    "ease": EASEConfig(),
    "mote": MoTEConfig(),
    "mos": MOSConfig(alignment=SHORT),
    "mos-forward": MOSConfig(alignment=SHORT, merging="forward"),
    "tuna": TUNAConfig(alignment=SHORT),
    "qkd": replace(PROFILES["robust"], routing_steps=5),
    "qkd-paper": PROFILES["paper"],
}
FEW = ("icarl", "coda-prompt", "qkd")
AUGMENTED = replace(QUICK, augmentation=Augmentation(crop=(0.5, 1.0), flip=0.5))
ADAM = replace(QUICK, optimizer="adam", learning_rate=0.01, decay="constant")
pytestmark = pytest.mark.filterwarnings("ignore::qkd_cil.models.diagnostics.GateWarning")


class CutError(Exception):
    """What stands for a crash."""


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    """A run of three tasks, with a checkpoint after every step."""
    dataset = small_scenario().dataset
    path = tmp_path / "small.npz"
    arrays = {
        f"{part}_{name}": array
        for part, images in (("train", dataset.train), ("test", dataset.test))
        for name, array in (("images", images.images.permute(0, 2, 3, 1).numpy()), ("labels", images.labels.numpy()))
    }
    np.savez(path, **arrays)
    return RunConfig(
        ArraysConfig(path), ScenarioConfig(increment=2), TINY, FinetuneConfig(), QUICK, checkpoint_seconds=0
    )


def cut_and_resume(config: RunConfig, folder: Path, row: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that dies as it logs a row, and is then resumed."""
    log = Run.log

    def dying(record: Run, step: int, **values: float) -> None:
        if step == row:
            raise CutError
        log(record, step, **values)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "log", dying)
        with pytest.raises(CutError):
            train.run(config, folder)
    torch.rand(7)  # whatever happens in between
    train.resume(folder)


def assert_same_run(ours: Path, whole: Path) -> None:
    for name in ("learner.safetensors", "predictions.npz"):
        assert (ours / name).read_bytes() == (whole / name).read_bytes(), name
    timed = {"fit_seconds", "evaluation_seconds", "peak_memory_bytes"}
    rows = [
        [{key: value for key, value in row.items() if key not in timed} for row in read_metrics(folder)]
        for folder in (ours, whole)
    ]
    assert rows[0] == rows[1]
    assert not (ours / "within.pt").exists()


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=[] if each in FEW else pytest.mark.slow) for each in CONFIGS]
)
def test_cut_within_a_task(name: str, config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = ADAM if name in ("l2p", "coda-prompt") else AUGMENTED if name in ("lwf", "qkd", "joint") else QUICK
    config = replace(config, learner=CONFIGS[name], schedule=schedule)
    train.run(config, tmp_path / "whole")
    rows = len(read_metrics(tmp_path / "whole"))
    row = random.Random(name).randrange(3, rows)
    cut_and_resume(config, tmp_path / "cut", row, monkeypatch)
    assert_same_run(tmp_path / "cut", tmp_path / "whole")


def test_what_was_done_within_a_task_is_not_done_again(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0
    step = Finetune.training_step

    def counted(*arguments: object) -> object:
        nonlocal steps
        steps += 1
        return step(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Finetune, "training_step", counted)
    cut_and_resume(config, tmp_path / "cut", 11, monkeypatch)
    assert steps == 3 * 6 + 1  # the step whose row was being written
    result = json.loads((tmp_path / "cut" / "result.json").read_text())
    assert len(result["fit_seconds"]) == 3


def test_a_state_within_a_task_that_does_not_fit(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, within = tmp_path / "cut", tmp_path / "cut" / "within.pt"
    with monkeypatch.context() as patch:
        patch.setattr(train, "evaluate", lambda *_, **__: (_ for _ in ()).throw(CutError))
        with pytest.raises(CutError):
            train.run(config, folder)
    state, whole = load_state(within), within.read_bytes()
    save_state(within, {**state, "format": 9})
    with pytest.raises(ValueError, match=r"within.pt: has format 9"):
        train.resume(folder)
    save_state(within, {**state, "config": {**state["config"], "seed": 7}})
    with pytest.raises(ValueError, match=r"within.pt: belongs to another config"):
        train.resume(folder)
    save_state(within, {**state, "training": {}})
    with pytest.raises(ValueError, match=r"within.pt: is damaged .* remove it to start the task anew"):
        train.resume(folder)
    within.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(ValueError, match=r"within.pt: not a whole checkpoint; remove it to start the task anew"):
        train.resume(folder)
    within.unlink()
    train.resume(folder)  # the advice helps


def test_a_disk_that_is_full_leaves_a_run_that_can_be_resumed(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every place where a run writes a checkpoint, in turn: the error is told, and a resumed run has the same bits."""
    train.run(config, tmp_path / "whole")
    fsync = os.fsync
    for failing in (1, 9, 26):
        calls = 0

        def full(descriptor: int, failing: int = failing) -> None:
            nonlocal calls
            calls += 1
            if calls >= 2 * failing + 4:  # config.json and environment.json are written by then
                raise OSError(28, "No space left on device")
            fsync(descriptor)

        folder = tmp_path / f"full{failing}"
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(OSError, match="No space left on device"):
                train.run(config, folder)
        assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]
        train.resume(folder)
        assert_same_run(folder, tmp_path / "whole")


KILLED = """
import json, os, signal, sys
from pathlib import Path
from papertrio_shared.run import Run, dict_to_config
from qkd_cil import train
from qkd_cil.config import RunConfig

log, row, late = Run.log, int(sys.argv[3]), sys.argv[4] == "late"

def log_and_die(record, step, **values):
    if step == row and not late:
        os.kill(os.getpid(), signal.SIGKILL)
    log(record, step, **values)
    if step == row:
        os.kill(os.getpid(), signal.SIGKILL)

Run.log = log_and_die
train.run(dict_to_config(json.loads(sys.argv[1]), RunConfig), Path(sys.argv[2]))
"""


def kill(config: RunConfig, folder: Path, row: int, when: str) -> None:
    command = [sys.executable, "-c", KILLED, json.dumps(config_to_dict(config)), str(folder), str(row), when]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()


@pytest.fixture
def one_thread() -> object:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_killed_within_a_task(config: RunConfig, tmp_path: Path) -> None:
    config = replace(config, learner=CONFIGS["qkd"], schedule=AUGMENTED)
    train.run(config, tmp_path / "whole")
    kill(config, tmp_path / "killed", 17, "early")
    train.resume(tmp_path / "killed")
    assert_same_run(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("number", range(20))
def test_killed_at_a_random_step(config: RunConfig, tmp_path: Path, number: int) -> None:
    draw = random.Random(number)
    name = draw.choice(list(CONFIGS))
    pause = draw.choice([0.0, 0.05, 1e9])
    config = replace(config, learner=CONFIGS[name], schedule=AUGMENTED, checkpoint_seconds=pause)
    train.run(config, tmp_path / "whole")
    rows = len(read_metrics(tmp_path / "whole"))
    kill(config, tmp_path / "killed", draw.randrange(1, rows + 1), draw.choice(["early", "late"]))
    train.resume(tmp_path / "killed")
    assert_same_run(tmp_path / "killed", tmp_path / "whole")
