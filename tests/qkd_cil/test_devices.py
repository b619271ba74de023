"""Several processes share every batch and end where one does; bfloat16 stays near float32."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cil_small import QUICK, TINY, small_scenario
from papertrio_shared.checkpoint import load_state, load_weights
from papertrio_shared.devices import is_writer
from qkd_cil import QKD, Finetune, load
from qkd_cil.__main__ import main
from qkd_cil.devices import launch, part_of

WORDS = ["--tasks.train-per-class", "7", "--tasks.test-per-class", "10", "--tasks.increment", "5"]


def in_two_processes(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "qkd_cil", "run", "digits-b0-inc2", "--out", str(folder), "--devices", "2"]
    command += [*WORDS, *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    """Batches of 32 and then one of 3 are shared; sums are rounded in another order, that is all."""
    words = ["--schedule.epochs", "2", "learner:qkd", "--learner.routing-steps", "20"]
    one, two = tmp_path / "one", tmp_path / "two"
    assert main(["run", "digits-b0-inc2", "--out", str(one), *WORDS, *words]) == 0
    out = in_two_processes(two, *words)
    assert out.count("| two | QKD") == 1  # one process prints
    results = [json.loads((folder / "1993" / "result.json").read_text()) for folder in (one, two)]
    assert results[0]["summary"] == pytest.approx(results[1]["summary"], abs=0.011)  # one image of a hundred
    weights = [load_weights(folder / "1993" / "learner.safetensors")[0] for folder in (one, two)]
    assert weights[0].keys() == weights[1].keys()
    for name, tensor in weights[0].items():
        if "adapters" in name:
            torch.testing.assert_close(tensor, weights[1][name], rtol=1e-3, atol=1e-5)
    rows = [(folder / "1993" / "metrics.jsonl").read_text().splitlines() for folder in (one, two)]
    assert len(rows[0]) == len(rows[1])
    losses = [[json.loads(row).get("loss/cross_entropy", 0.0) for row in each] for each in rows]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.slow
def test_two_processes_go_on_from_within_a_task(tmp_path: Path) -> None:
    words = ["--schedule.epochs", "3", "--checkpoint-seconds", "0", "learner:finetune", "--learner.loss-over", "seen"]
    in_two_processes(tmp_path / "whole", *words)
    cut = tmp_path / "cut" / "1993"
    in_two_processes(tmp_path / "cut", *words)
    state = load_state(cut / "checkpoint.pt")
    assert len(state["history"]["evaluations"]) == 2
    (cut / "result.json").unlink()
    (cut / "checkpoint.pt").unlink()
    program = (
        "import os, sys; from papertrio_shared.run import Run; from qkd_cil.__main__ import main; log = Run.log\n"
        "def dying(record, step, **values):\n"
        "    if step == 5: os._exit(3)\n"
        "    log(record, step, **values)\n"
        "Run.log = dying; main(sys.argv[1:])"
    )
    resume = ["run", "--resume", str(tmp_path / "cut")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    script = tmp_path / "dying.py"
    script.write_text(program)
    subprocess.run(
        [sys.executable, str(script), *resume], env=environment, capture_output=True, timeout=200, check=False
    )
    assert (cut / "within.pt").is_file()
    subprocess.run([sys.executable, "-m", "qkd_cil", *resume], env=environment, timeout=280, check=True)
    for name in ("learner.safetensors", "predictions.npz"):
        assert (cut / name).read_bytes() == (tmp_path / "whole" / "1993" / name).read_bytes(), name


@pytest.mark.slow
def test_adapters_that_change_while_they_judge_are_the_same_in_all_processes(tmp_path: Path) -> None:
    """Only the first process judges; what `merging forward` changes there reaches the others with the next task."""
    words = ["--schedule.epochs", "2", "--tasks.increment", "2", "learner:mos", "--learner.merging", "forward"]
    words += ["--learner.alignment.epochs", "1"]
    one, two = tmp_path / "one", tmp_path / "two"
    assert main(["run", "digits-b0-inc2", "--out", str(one), *WORDS, *words]) == 0
    in_two_processes(two, *words)
    results = [json.loads((folder / "1993" / "result.json").read_text()) for folder in (one, two)]
    assert results[0]["accuracy"] == pytest.approx(results[1]["accuracy"], abs=0.011)
    weights = [load_weights(folder / "1993" / "learner.safetensors")[0] for folder in (one, two)]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], rtol=1e-3, atol=1e-4)


class Second:
    """Stands for Fabric in the second of three processes."""

    world_size, global_rank = 3, 1


def test_parts_make_up_the_mean() -> None:
    rows = torch.arange(8)
    part, share = part_of(Second(), rows)  # type: ignore[arg-type]
    assert part.tolist() == [3, 4, 5]
    assert share == pytest.approx(3 * 3 / 8)
    part, share = part_of(Second(), rows[:2])  # type: ignore[arg-type]
    assert (part.tolist(), share) == ([0, 1], 1.0)  # too few for all: everyone takes them


def test_devices_that_are_not_there() -> None:
    assert launch("cpu", 1) is None
    assert is_writer()
    with pytest.raises(ValueError, match="devices 0; give 1 or more"):
        launch("cpu", 0)
    with pytest.raises(ValueError, match="is one device, but devices is 2"):
        launch("cuda:0", 2)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="torch finds no CUDA device; use cpu, or auto"):
            launch("cuda", 2)


def test_bfloat16_is_near_float32_and_is_remembered(tmp_path: Path) -> None:
    half = replace(TINY, precision="bf16-mixed")
    task = small_scenario().train_tasks[0]
    exact, mixed = (Finetune(backbone=backbone, schedule=QUICK) for backbone in (TINY, half))
    mixed.load_learned_state(exact.learned_state())
    values = exact.prepare(task.train.images)
    expected, found = exact.backbone(values), mixed.backbone(values)
    assert found.dtype == torch.float32
    assert not torch.equal(found, expected)
    assert (found - expected).abs().max() < 0.03 * expected.abs().max()
    mixed.fit_task(task)
    assert {parameter.dtype for parameter in mixed.parameters()} == {torch.float32}
    mixed.save(tmp_path / "learner.safetensors")
    again = load(tmp_path / "learner.safetensors")
    assert again.backbone_config.precision == "bf16-mixed"
    assert torch.equal(again.outputs(task.train.images).logits, mixed.outputs(task.train.images).logits)


@pytest.mark.filterwarnings("ignore::qkd_cil.models.diagnostics.GateWarning")
def test_qkd_learns_in_bfloat16() -> None:
    learner = QKD(backbone=replace(TINY, precision="bf16-mixed"), schedule=QUICK)
    scenario = small_scenario()
    for task in scenario.train_tasks[:2]:
        learner.fit_task(task)
    labels = np.concatenate([part.labels for part in scenario.test_seen(scenario.train_tasks[1]).parts])
    images = torch.cat([part.images for part in scenario.test_seen(scenario.train_tasks[1]).parts])
    assert (learner.predict(images).numpy() == labels).mean() > 0.5
