"""A run's files, and that a run that was cut off ends with the bits of one that was not."""

import json
import os
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
from papertrio_shared.run import config_to_dict, read_metrics
from qkd_cil import PROFILES, FinetuneConfig, SimpleCILConfig, evaluate, load, summarise, train
from qkd_cil.config import RunConfig
from qkd_cil.data.datasets import ArraysConfig
from qkd_cil.data.scenario import ScenarioConfig
from qkd_cil.presets import PRESETS

SAME = ("learner.safetensors", "predictions.npz")


class CutError(Exception):
    """What stands for a crash."""


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    """A run of three tasks on arrays in a file."""
    dataset = small_scenario().dataset
    path = tmp_path / "small.npz"
    arrays = {
        f"{part}_{name}": array
        for part, images in (("train", dataset.train), ("test", dataset.test))
        for name, array in (("images", images.images.permute(0, 2, 3, 1).numpy()), ("labels", images.labels.numpy()))
    }
    np.savez(path, **arrays, class_names=np.array(dataset.class_names))
    qkd = replace(PROFILES["robust"], routing_steps=5)
    return RunConfig(ArraysConfig(path), ScenarioConfig(increment=2), TINY, qkd, QUICK)


def test_a_run_leaves_its_files(config: RunConfig, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    summary = train.run(config, folder)
    result = json.loads((folder / "result.json").read_text())
    assert result["summary"]["last_accuracy"] == summary.last_accuracy
    assert len(result["accuracy"]) == 3
    assert [len(row) for row in result["accuracy_matrix"]] == [3, 3, 3]
    assert result["accuracy_matrix"][0][1:] == [None, None]
    assert result["class_names"] == list("abcdef")
    assert len(result["routing"]) == 3
    assert result["seconds"] > 0
    assert result["config"]["data"]["path"] == "small.npz"  # no folder of this machine in what is passed on
    assert str(tmp_path) not in (folder / "result.json").read_text()
    rows = read_metrics(folder)
    assert len([row for row in rows if "accuracy" in row]) == 3
    assert len([row for row in rows if any(name.startswith("loss/") for name in row)]) == 3 * 6
    assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
    with np.load(folder / "predictions.npz") as file:
        assert {"labels", "tasks", "predictions_after_2", "chosen_task_after_2"} <= set(file)
        assert (file["predictions_after_2"] == file["labels"]).mean() == pytest.approx(summary.last_accuracy)
    assert len(result["probes"]) == len(result["probe_baselines"]) == 2
    transfer = np.mean(np.subtract(result["probes"], result["probe_baselines"]))
    assert result["summary"]["forward_transfer"] == pytest.approx(transfer)
    assert len(result["gate_entropy"]) == len(result["peak_memory_bytes_after"]) == len(result["parameters"]) == 3
    assert result["gate_entropy"][0] == 0
    assert 0 < result["gate_entropy"][2] <= 1
    assert sum(count for count, _, _ in result["gate_calibration"]) == 30
    assert 0 <= result["summary"]["last_gate_calibration_error"] <= 1
    pictures = ("accuracy", "matrix", "task_confusion", "routing", "calibration")
    for name in ("report.html", *(f"{each}.png" for each in pictures)):
        assert (folder / name).stat().st_size > 1000


def test_the_saved_learner_gives_the_recorded_predictions(config: RunConfig, tmp_path: Path) -> None:
    train.run(config, tmp_path / "run")
    learner = load(tmp_path / "run" / "learner.safetensors")
    with np.load(tmp_path / "run" / "predictions.npz") as file:
        scenario = small_scenario()
        found = evaluate(learner, scenario.test_seen(scenario.train_tasks[-1]))
        assert np.array_equal(found.predictions.numpy(), file["predictions_after_2"])


@pytest.mark.parametrize("tasks", [0, 1, 2])
@pytest.mark.parametrize("method", ["qkd", "finetune", "simple-cil"])
def test_a_run_cut_off_ends_with_the_same_bits(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, tasks: int
) -> None:
    learners = {"qkd": config.learner, "finetune": FinetuneConfig(), "simple-cil": SimpleCILConfig()}
    config = replace(config, learner=learners[method])
    train.run(config, tmp_path / "whole")
    evaluated = 0

    def cut(*arguments: object, **settings: object) -> object:
        nonlocal evaluated
        evaluated += 1
        if evaluated > tasks:  # the task was learned, but its checkpoint is not written yet
            raise CutError
        return evaluate(*arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(train, "evaluate", cut)
        with pytest.raises(CutError):
            train.run(config, tmp_path / "cut")
    torch.rand(7)  # whatever happens in between
    train.resume(tmp_path / "cut")
    for name in SAME:
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    timed = {"fit_seconds", "evaluation_seconds", "peak_memory_bytes"}
    rows = [
        [{key: value for key, value in row.items() if key not in timed} for row in read_metrics(tmp_path / name)]
        for name in ("whole", "cut")
    ]
    assert rows[0] == rows[1]
    results = [json.loads((tmp_path / name / "result.json").read_text()) for name in ("whole", "cut")]
    for key in ("summary", "accuracy", "accuracy_matrix", "routing", "task_confusion"):
        assert results[0][key] == results[1][key]


KILLED = """
import json, os, signal, sys
from pathlib import Path
from papertrio_shared.run import Run, dict_to_config
from qkd_cil import train
from qkd_cil.config import RunConfig

log = Run.log

def log_and_die(record, step, **values):
    log(record, step, **values)
    if step == 10:  # six steps of the first task and its accuracy, then three steps of the second
        os.kill(os.getpid(), signal.SIGKILL)

Run.log = log_and_die
train.run(dict_to_config(json.loads(sys.argv[1]), RunConfig), Path(sys.argv[2]))
"""


def test_a_killed_process_is_resumed_to_the_same_bits(config: RunConfig, tmp_path: Path) -> None:
    config = replace(config, learner=FinetuneConfig())
    folder = tmp_path / "killed"
    command = [sys.executable, "-c", KILLED, json.dumps(config_to_dict(config)), str(folder)]
    process = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, check=False)
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    assert (folder / "checkpoint.pt").exists()
    assert not (folder / "result.json").exists()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        train.resume(folder)
        train.run(config, tmp_path / "whole")
    finally:
        torch.set_num_threads(threads)
    for name in SAME:
        assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_finished_run_is_not_run_again(config: RunConfig, tmp_path: Path) -> None:
    summary = train.run(replace(config, learner=SimpleCILConfig()), tmp_path / "run")
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    assert train.resume(tmp_path / "run") == summary
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before


def test_a_checkpoint_that_does_not_belong_is_refused(config: RunConfig, tmp_path: Path) -> None:
    config = replace(config, learner=SimpleCILConfig())
    folder = tmp_path / "run"
    train.run(config, folder)
    (folder / "result.json").unlink()
    checkpoint = folder / "checkpoint.pt"
    state, whole = load_state(checkpoint), checkpoint.read_bytes()
    save_state(checkpoint, {**state, "format": 7})
    with pytest.raises(ValueError, match=r"checkpoint.pt: has format 7, this version reads 1"):
        train.resume(folder)
    save_state(checkpoint, {**state, "config": config_to_dict(replace(config, seed=5))})
    with pytest.raises(ValueError, match=r"checkpoint.pt: belongs to another config than config.json"):
        train.resume(folder)
    save_state(checkpoint, {**state, "learner": {}})
    with pytest.raises(ValueError, match=r"checkpoint.pt: the state is of another learner"):
        train.resume(folder)
    for damage in ({"learner": None}, {"history": {}}, {"history": {"evaluations": [], "odd": 1}}, {"rng": {}}):
        save_state(checkpoint, {**state, **damage})
        with pytest.raises(ValueError, match=r"checkpoint.pt: is damaged \(.*\); remove it to start the run anew"):
            train.resume(folder)
    save_state(checkpoint, {"format": 1})
    with pytest.raises(ValueError, match=r"checkpoint.pt: belongs to another config"):
        train.resume(folder)
    checkpoint.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"checkpoint.pt: not a whole checkpoint"):
        train.resume(folder)
    (folder / "config.json").write_text('{"class": "RunConfig", "odd": 1}')
    with pytest.raises(ValueError, match=r"run: its config cannot be read \(config.odd is unknown to RunConfig"):
        train.resume(folder)


def test_weights_that_changed_are_refused(tmp_path: Path, config: RunConfig) -> None:
    config = replace(config, backbone=PRESETS["digits-b0-inc2"].backbone, learner=SimpleCILConfig())
    folder = tmp_path / "run"
    train.run(config, folder)
    (folder / "result.json").unlink()
    file = folder / "config.json"
    found = json.loads(file.read_text())
    assert len(found["backbone"]["fingerprint"]) == 64
    found["backbone"]["fingerprint"] = "0" * 64
    file.write_text(json.dumps(found))
    with pytest.raises(ValueError, match=r"fingerprint .* is not the expected 000000000000"):
        train.resume(folder)


def test_a_folder_that_holds_a_run_is_left_alone(config: RunConfig, tmp_path: Path) -> None:
    config = replace(config, learner=SimpleCILConfig())
    train.run(config, tmp_path / "run")
    with pytest.raises(ValueError, match="holds a run already"):
        train.run(config, tmp_path / "run")


def test_warnings_of_a_learner_stand_in_the_log(config: RunConfig, tmp_path: Path) -> None:
    paper = replace(config, learner=PROFILES["paper"])
    train.run(paper, tmp_path / "run")
    assert "warning: the gate does not route" in (tmp_path / "run" / "log.txt").read_text()


def test_the_embedded_network_learns_the_digits(tmp_path: Path) -> None:
    config = replace(PRESETS["digits-b0-inc2"], learner=SimpleCILConfig())
    summary = train.run(config, tmp_path / "run")
    assert 0.86 < summary.last_accuracy < 0.92
    assert replace(summary, forward_transfer=None) == summarise(load_evaluations(tmp_path / "run"))


def load_evaluations(folder: Path) -> list:
    """The evaluations in a run's last checkpoint."""
    return [train.Evaluation(**each) for each in load_state(folder / "checkpoint.pt")["history"]["evaluations"]]
