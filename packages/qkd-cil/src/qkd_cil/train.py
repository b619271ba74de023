"""A run: the tasks of a scenario one after another, with a checkpoint after each and within each."""

import fcntl
import json
import os
import resource
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from papertrio_shared.checkpoint import CheckpointError, atomic_write, load_state, save_state
from papertrio_shared.devices import is_writer
from papertrio_shared.run import Run, dict_to_config, read_config
from papertrio_shared.seed import restore_rng_state, rng_state, seed_everything

from qkd_cil.config import RunConfig
from qkd_cil.data.scenario import ImageDataset, Scenario, Task
from qkd_cil.devices import launch
from qkd_cil.evaluate import Evaluation, KeptFeatures, Summary, accuracy_matrix, evaluate, probe, summarise
from qkd_cil.learners.fitting import Step
from qkd_cil.learners.learner import Learner
from qkd_cil.report import write_report
from qkd_cil.tables import RESULT

if TYPE_CHECKING:
    from lightning_fabric import Fabric

CHECKPOINT, WITHIN = "checkpoint.pt", "within.pt"
LEARNER, PREDICTIONS = "learner.safetensors", "predictions.npz"
FORMAT = 1


@dataclass
class History:
    """What a run has measured so far.

    Attributes:
        step: Number of the last row in `metrics.jsonl`.
        evaluations: One after each task.
        fit_seconds: Time of learning each task.
        evaluation_seconds: Time of each evaluation.
        parameters: Numbers learned so far, the pretrained ones left out, after each task.
        memory: Most memory in use at once until after each task, bytes; of the GPU where there is one.
        baselines: What the untouched network's features are worth for each task from the second on.
        probes: What the learner's features are worth for each of them before it is learned.
        probe_seconds: Time of both.
        cpu_seconds: Of all threads, from the first task on; where other work shares the cores it says more than time.
    """

    step: int = 0
    evaluations: list[Evaluation] = field(default_factory=list)
    fit_seconds: list[float] = field(default_factory=list)
    evaluation_seconds: list[float] = field(default_factory=list)
    parameters: list[int] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    baselines: list[float] = field(default_factory=list)
    probes: list[float] = field(default_factory=list)
    probe_seconds: float = 0.0
    cpu_seconds: float = 0.0


def run(
    config: RunConfig, folder: Path, *, dataset: ImageDataset | None = None, fabric: "Fabric | None" = None
) -> Summary:
    """Go through all tasks and write everything into a new folder.

    Args:
        config: Data, tasks, network, method, schedule.
        folder: Where `result.json`, `metrics.jsonl`, `predictions.npz`, `learner.safetensors` and `report.html` go.
        dataset: The images, if they are in memory already.
        fabric: Of several processes that have been launched already.

    Returns:
        Accuracies and forgetting.

    Raises:
        FileNotFoundError: If data or weights are missing.
        ValueError: If a part does not fit another, or the folder holds a run already.
    """
    fabric = fabric or launch(config.device, config.devices)
    scenario = Scenario(dataset or config.data.load(), config.tasks)
    seed_everything(config.seed)
    learner = config.build_learner(_device(fabric))
    learner.check(sum(scenario.task_sizes))
    if not is_writer():
        return _on(None, scenario, learner, History(), fabric)
    with _alone(folder), Run.create(folder, replace(config, backbone=learner.backbone_config)) as record:
        return _on(_Writer(record, config), scenario, learner, History(), fabric)


def resume(folder: Path, *, fabric: "Fabric | None" = None) -> Summary:
    """Finish a run from its last checkpoint, to the bits an uninterrupted one gives on a CPU.

    Args:
        folder: Where the run lies.
        fabric: Of several processes that have been launched already.

    Returns:
        Accuracies and forgetting.

    Raises:
        FileNotFoundError: If the folder holds no run, or data or weights are missing.
        ValueError: If the checkpoint is of another config or version, the weights have changed, or another process is
            at this run.
    """
    config = read_run_config(folder)
    fabric = fabric or launch(config.device, config.devices)
    if (summary := _finished(folder / RESULT)) is not None:
        return summary
    scenario = Scenario(config.data.load(), config.tasks)
    seed_everything(config.seed)
    learner = config.build_learner(_device(fabric))
    history = _restore(folder / CHECKPOINT, config, learner) if (folder / CHECKPOINT).exists() else History()
    start = _start_within(folder / WITHIN, config, history)
    if fabric is not None:
        fabric.barrier()  # nobody writes before all have read
    if not is_writer():
        return _on(None, scenario, learner, history, fabric, start)
    with _alone(folder), Run.resume(folder, step=history.step) as record:
        return _on(_Writer(record, config), scenario, learner, history, fabric, start)


def read_run_config(folder: Path) -> RunConfig:
    """The config of a run.

    Args:
        folder: Where the run lies.

    Raises:
        FileNotFoundError: If the folder holds no run.
        ValueError: If its config is of another version.
    """
    try:
        return dict_to_config(read_config(folder), RunConfig)
    except ValueError as error:
        raise ValueError(f"{folder}: its config cannot be read ({error}); start the run anew") from error


def _device(fabric: "Fabric | None") -> str:
    return "" if fabric is None else str(fabric.device)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Within it no other process can run in the folder; the lock ends with the process, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"{folder}: another process is at this run; wait for it or give another folder") from error
        except OSError:
            pass  # some network file systems lock no folders: there it is up to the user
        yield
    finally:
        os.close(descriptor)


def _finished(path: Path) -> Summary | None:
    """What the run came to; None if it has not ended or its result is damaged, so that it is to be written anew."""
    try:
        return Summary(**json.loads(path.read_text(encoding="utf-8"))["summary"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


class _Writer:
    """What the one process that judges and writes keeps: the record, and when a checkpoint is due."""

    def __init__(self, record: Run, config: RunConfig) -> None:
        self.record, self.kept = record, KeptFeatures()
        self.pause, self.last = config.checkpoint_seconds, time.perf_counter()

    def checkpoint_due(self) -> bool:
        """Whether the time between two checkpoints is over; it starts again."""
        due = time.perf_counter() - self.last >= self.pause
        self.last = time.perf_counter() if due else self.last
        return due


def _on(
    writer: _Writer | None,
    scenario: Scenario,
    learner: Learner,
    history: History,
    fabric: "Fabric | None",
    start: Mapping[str, Any] | None = None,
) -> Summary:
    """The tasks that are left; `start` is where the first of them stands."""
    if writer and scenario.dataset.skipped:
        writer.record.info(f"data {scenario.dataset.name}: {scenario.dataset.skipped_line}")
    for task in scenario.train_tasks[len(history.evaluations) :]:
        if writer:
            _learn(writer, scenario, task, learner, history, fabric, start)
        else:
            learner.fit_task(task, start=start["training"] if start else None, fabric=fabric)
        if fabric is not None:
            fabric.barrier()
        start = None
    summary = _finish(writer, scenario, learner, history) if writer else None
    found = summary if fabric is None else fabric.broadcast(summary)
    assert found is not None
    return found


def _learn(
    writer: _Writer,
    scenario: Scenario,
    task: Task,
    learner: Learner,
    history: History,
    fabric: "Fabric | None",
    start: Mapping[str, Any] | None,
) -> None:
    """One task, its evaluation and its checkpoint."""
    record = writer.record
    before, cpu_before = (start["seconds"], start.get("cpu_seconds", 0.0)) if start else (0.0, 0.0)
    cpu_begun = time.process_time() - cpu_before
    _probe(scenario, task, learner, history)
    begun = time.perf_counter()

    def log(step: Step) -> None:
        history.step += 1
        record.log(history.step, task=step.task, **{f"loss/{name}": value for name, value in step.losses.items()})
        if writer.checkpoint_due():
            state = {
                "format": FORMAT,
                "config": record.config,
                "step": history.step,
                "seconds": before + time.perf_counter() - begun,
                "cpu_seconds": time.process_time() - cpu_begun,
                "training": learner.training_state(),
            }
            save_state(record.folder / WITHIN, state)

    with _warnings_logged(record, task):
        learner.fit_task(task, on_step=log, start=start["training"] if start else None, fabric=fabric)
    fitted = time.perf_counter()
    evaluation = evaluate(learner, scenario.test_seen(task), kept=writer.kept)
    history.fit_seconds.append(before + fitted - begun)
    history.evaluation_seconds.append(time.perf_counter() - fitted)
    history.cpu_seconds += time.process_time() - cpu_begun
    history.parameters.append(sum(tensor.numel() for tensor in learner.learned_state().values()))
    history.memory.append(_peak_memory())
    history.evaluations.append(evaluation)
    history.step += 1
    record.log(history.step, task=task.index, **_figures(history), **learner.diagnostics)
    total = len(scenario.train_tasks)
    record.info(f"task {task.index + 1} of {total}: {evaluation}, {history.fit_seconds[-1]:.1f} s")
    _checkpoint(record, learner, history)
    (record.folder / WITHIN).unlink(missing_ok=True)


def _probe(scenario: Scenario, task: Task, learner: Learner, history: History) -> None:
    """What features are worth for tasks to come: the network's for all of them, the learner's for the next."""
    begun = time.perf_counter()
    learner.eval()
    tests = scenario.test_seen(scenario.train_tasks[-1]).parts
    if not task.index:
        coming = scenario.train_tasks[1:]
        untouched = [
            probe(lambda some: learner.backbone(learner.prepare(some)), each.train, tests[each.index])
            for each in coming
        ]
        history.baselines = untouched
    else:
        history.probes.append(probe(learner.encode, task.train, tests[task.index]))
    history.probe_seconds += time.perf_counter() - begun


def _peak_memory() -> int:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@contextmanager
def _warnings_logged(record: Run, task: Task) -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: record.info(f"task {task.index + 1}: warning: {message}")
        yield


def _finish(writer: _Writer, scenario: Scenario, learner: Learner, history: History) -> Summary:
    """The files of a whole run."""
    record = writer.record
    learner.save(record.folder / LEARNER)
    _write_predictions(record.folder / PREDICTIONS, history.evaluations)
    summary = summarise(history.evaluations, history.probes, history.baselines)
    result = _result(record, scenario, history, summary)
    with atomic_write(record.folder / RESULT) as temporary:
        temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    write_report(record.folder, result)
    return summary


def _figures(history: History) -> dict[str, float]:
    evaluation = history.evaluations[-1]
    figures = {
        "accuracy": evaluation.accuracy,
        "accuracy_given_task": evaluation.accuracy_given_task,
        "fit_seconds": history.fit_seconds[-1],
        "evaluation_seconds": history.evaluation_seconds[-1],
        "parameters": history.parameters[-1],
        "peak_memory_bytes": history.memory[-1],
    }
    if evaluation.routing_accuracy is not None:
        figures["routing_accuracy"] = evaluation.routing_accuracy
    if evaluation.gate_calibration_error is not None:
        figures["gate_calibration_error"] = evaluation.gate_calibration_error
    return figures


def _checkpoint(record: Run, learner: Learner, history: History) -> None:
    state = {
        "format": FORMAT,
        "config": record.config,
        "learner": learner.learned_state(),
        "history": {**vars(history), "evaluations": [dict(vars(each)) for each in history.evaluations]},
        "rng": rng_state(),
    }
    save_state(record.folder / CHECKPOINT, state)


def _restore(path: Path, config: RunConfig, learner: Learner) -> History:
    state = _load_own(path, config)
    try:
        learner.load_learned_state(state["learner"])
        restore_rng_state(state["rng"])
        measured = {**state["history"], "evaluations": [Evaluation(**each) for each in state["history"]["evaluations"]]}
        return History(**measured)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: is damaged ({error}); remove it to start the run anew") from error


def _start_within(path: Path, config: RunConfig, history: History) -> Mapping[str, Any] | None:
    """Where the next task stands; None if it has not begun, or what lies there is of a task that has ended."""
    if not path.exists():
        return None
    state = _load_own(path, config)
    try:
        if state["training"]["task"] != len(history.evaluations):
            return None
        history.step = int(state["step"])
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: is damaged ({error}); remove it to start the task anew") from error
    return state


def _load_own(path: Path, config: RunConfig) -> dict[str, Any]:
    """A checkpoint of this version and this config."""
    try:
        state = load_state(path)
    except CheckpointError as error:
        what = "task" if path.name == WITHIN else "run"
        raise CheckpointError(f"{path}: not a whole checkpoint; remove it to start the {what} anew") from error
    if state.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: has format {state.get('format')!r}, this version reads {FORMAT}; resume with the version that "
            "wrote it"
        )
    try:
        same = dict_to_config(state.get("config"), RunConfig) == config
    except ValueError:
        same = False
    if not same:
        raise CheckpointError(f"{path}: belongs to another config than config.json beside it; restore that file")
    return state


def _write_predictions(path: Path, evaluations: list[Evaluation]) -> None:
    arrays = {"labels": evaluations[-1].labels.numpy(), "tasks": evaluations[-1].tasks.numpy()}
    for index, evaluation in enumerate(evaluations):
        arrays[f"predictions_after_{index}"] = evaluation.predictions.numpy()
        if evaluation.chosen is not None:
            arrays[f"chosen_task_after_{index}"] = evaluation.chosen.numpy()
    with atomic_write(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **arrays)


def _result(record: Run, scenario: Scenario, history: History, summary: Summary) -> dict[str, Any]:
    last = history.evaluations[-1]
    return {
        "format": FORMAT,
        "dataset": scenario.dataset.name,
        "class_names": list(scenario.dataset.class_names),
        "skipped_images": scenario.dataset.skipped_line,
        "task_classes": [list(classes) for classes in scenario.task_classes],
        "config": _without_folders(record.config),
        "environment": json.loads((record.folder / "environment.json").read_text(encoding="utf-8")),
        "summary": asdict(summary),
        "accuracy": [each.accuracy for each in history.evaluations],
        "accuracy_matrix": [
            [None if np.isnan(value) else value for value in row] for row in accuracy_matrix(history.evaluations)
        ],
        "routing_accuracy": [each.routing_accuracy for each in history.evaluations],
        "routing": None if last.routing is None else last.routing.tolist(),
        "task_confusion": last.task_confusion.tolist(),
        "fit_seconds": history.fit_seconds,
        "evaluation_seconds": history.evaluation_seconds,
        "parameters": history.parameters,
        "gate_entropy": [each.gate_entropy for each in history.evaluations],
        "gate_calibration": [list(each) for each in last.gate_calibration],
        "probes": history.probes,
        "probe_baselines": history.baselines,
        "probe_seconds": history.probe_seconds,
        "cpu_seconds": history.cpu_seconds,
        "peak_memory_bytes_after": history.memory,
        "seconds": sum(history.fit_seconds) + sum(history.evaluation_seconds) + history.probe_seconds,
        "peak_memory_bytes": max(history.memory),
    }


def _without_folders(config: Any) -> Any:
    """A config for results that are passed on: of files that were given with their folders only the names stay."""
    if not isinstance(config, dict):
        return config
    files = {"path", "root", "weights"}
    return {key: Path(each).name if key in files else _without_folders(each) for key, each in config.items()}
