"""The runs of a comparison: each method on each set with each seed, what is done being read from the folder."""

import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from papertrio_shared.checkpoint import atomic_write
from papertrio_shared.progress import progress

from ..baselines.ot_cfm import matcher
from ..config import TrainConfig
from ..data import Geometry
from ..diagnostics import DivergedError
from ..report import evaluate_run, write_evaluation
from ..sample import load
from ..threads import limited_threads
from ..train import resume, run_config, train
from .budget import budget_of
from .methods import EVALUATIONS, FLOW, METHODS, presets_of

SPENT, DIVERGED = "spent.json", "diverged.txt"


@dataclass(frozen=True)
class Job:
    """One run and how it is measured.

    Attributes:
        folder: Of the run.
        config: What to train.
        evaluations: Of the network for a sample, one measurement for each.
        draws: Pairs of draws behind W₂ and its floor.
    """

    folder: Path
    config: TrainConfig
    evaluations: tuple[int, ...]
    draws: int

    def file(self, evaluations: int) -> Path:
        """Where the figures at a number of evaluations are kept."""
        return self.folder / f"evaluation-{evaluations}.json"

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return (self.folder / DIVERGED).exists() or all(self.file(each).exists() for each in self.evaluations)


@dataclass(frozen=True)
class Entry:
    """The runs of one method on one set, at one number of evaluations.

    Attributes:
        data: The set.
        method: The method.
        evaluations: Of the network for a sample.
        jobs: Its runs, one for each seed.
    """

    data: str
    method: str
    evaluations: int
    jobs: tuple[Job, ...]

    @property
    def label(self) -> str:
        """The method's name, with the evaluations where there may be several."""
        return f"{self.method}, {self.evaluations} eval." if self.method in EVALUATIONS else self.method


def compare(
    data: str,
    methods: tuple[str, ...],
    folder: Path,
    *,
    seeds: int,
    seconds: float,
    draws: int,
    jobs: int,
    path: Path | None = None,
    geometry: Geometry | None = None,
) -> list[Entry]:
    """Train and measure each method on an equal budget, or go on with what was begun.

    Args:
        data: A set, all of them, or a file of points.
        methods: Their names.
        folder: Where the runs lie, as `<set>/<method>/<seed>`.
        seeds: How many, from zero.
        seconds: CPU seconds of training, on one thread.
        draws: Pairs of draws behind W₂ and its floor, for each run.
        jobs: Runs at a time, each on one thread.
        path, geometry: See `presets_of`.

    Returns:
        The entries, set by set, in the order of the methods.

    Raises:
        ValueError: If a number is out of range, a name is unknown, or the folder holds runs of another budget.
        ImportError: If OT-CFM is asked for without torchcfm.
    """
    for name, value in {"seeds": seeds, "seconds": seconds, "draws": draws, "jobs": jobs}.items():
        if not value > 0:
            raise ValueError(f"{name} = {value}: give a positive number")
    presets = presets_of(data, path, geometry)
    if FLOW in methods:
        matcher()
    kinds = [(name, preset, method) for name, preset in presets.items() for method in methods]
    entries = []
    for name, preset, method in progress(kinds, "time steps"):
        plain = replace(METHODS[method](preset), threads=1, device="cpu", log_every=1_000_000, frames=1, seed=0)
        home, evaluations = folder / name / method, EVALUATIONS.get(method, (1,))
        config = budget_of(plain, seconds, home / "budget.json").config
        runs = tuple(Job(home / str(seed), replace(config, seed=seed), evaluations, draws) for seed in range(seeds))
        entries += [Entry(name, method, each, runs) for each in evaluations]
    waiting = [job for seed in range(seeds) for entry in _once(entries) for job in [entry.jobs[seed]] if not job.done]
    for _ in progress(_worked(waiting, jobs), "runs", total=len(waiting)):
        pass
    return entries


def _once(entries: list[Entry]) -> list[Entry]:
    """One entry for each method and set."""
    return list({(each.data, each.method): each for each in entries}.values())


def _worked(waiting: list[Job], jobs: int) -> Iterator[None]:
    """All jobs, in this process where one is to run at a time, else in others."""
    if jobs == 1 or len(waiting) < 2:
        for job in waiting:
            work(job)
            yield
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_quiet) as pool:
        futures = [pool.submit(work, job) for job in waiting]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _quiet() -> None:
    """One thread and no progress bar: several at once would write over each other."""
    torch.set_num_threads(1)
    sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the process ends


def work(job: Job) -> None:
    """Train a run, or go on with it, and measure it; one that diverges leaves a note.

    Args:
        job: The run.

    Raises:
        ValueError: If the folder holds a run of another config.
    """
    begun = (job.folder / "config.json").exists()
    if begun and run_config(job.folder) != job.config:
        raise ValueError(f"{job.folder}: holds a run of another config: remove it")
    start = time.process_time()
    try:
        resume(job.folder) if begun else train(job.config, job.folder)
    except DivergedError as error:
        (job.folder / DIVERGED).write_text(f"{error}\n", encoding="utf-8")
        return
    if not begun:
        _write_json(job.folder / SPENT, {"seconds": time.process_time() - start})
    generator = load(job.folder)
    with limited_threads(1):
        for each in job.evaluations:
            if not job.file(each).exists():
                figures = evaluate_run(generator, job.config, draws=job.draws, seed=job.config.seed, evaluations=each)
                write_evaluation(figures, job.file(each))


def read_entry(entry: Entry) -> dict[str, Any]:
    """The figures of an entry's runs, as JSON can hold them.

    Args:
        entry: The runs.

    Returns:
        The set, the method, its evaluations, the seeds that came to an end, those that diverged, the steps of each
        stretch, and for each figure its value at each seed: W₂ and sliced W₂ over their floor, off-support share, mode
        coverage and high-quality share where there are modes, CPU seconds of training where they were measured.
    """
    ended = [job for job in entry.jobs if job.file(entry.evaluations).exists()]
    found = [json.loads(job.file(entry.evaluations).read_text(encoding="utf-8")) for job in ended]
    figures = {
        "w2_over_floor": [each["w2"]["value"] / each["w2"]["floor"] for each in found],
        "sliced_over_floor": [each["sliced_w2"]["value"] / each["sliced_w2"]["floor"] for each in found],
        "off_support": [each["off_support"]["value"] for each in found],
    }
    for name in ("coverage", "high_quality"):
        if found and name in found[0]:
            figures[name] = [each[name]["value"] for each in found]
    spent = [job.folder / SPENT for job in ended]
    figures["seconds"] = [json.loads(path.read_text(encoding="utf-8"))["seconds"] for path in spent if path.exists()]
    return {
        "set": entry.data,
        "method": entry.method,
        "evaluations": entry.evaluations,
        "label": entry.label,
        "seeds": [job.config.seed for job in ended],
        "diverged": [job.config.seed for job in entry.jobs if (job.folder / DIVERGED).exists()],
        "steps": {stretch.label: stretch.steps for stretch in entry.jobs[0].config.stretches},
        "figures": figures,
    }


def _write_json(path: Path, data: Any) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
