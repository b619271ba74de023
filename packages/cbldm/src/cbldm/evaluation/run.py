"""The run of an evaluation: each method on each curve, a line of JSON for each answer; what is answered is kept."""

import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from papertrio_shared.checkpoint import atomic_write
from papertrio_shared.progress import progress
from papertrio_shared.run import CONFIG, Run, config_to_dict, dict_to_config, read_config

from ..data.clusters import MAX_ATOMS, LibraryName, library
from ..data.splits import Split, split_library
from ..output import make_folder
from ..pairs import pairs_of
from ..proposals import FromLibrary
from ..recover import Positions
from ..sample import SHIPPED_WEIGHTS, load_profile, weights_file
from ..threads import one_torch_thread
from .cases import SPLITS, Case, EvaluatedSplit, cases_of, measured_cases
from .judge import Record, judge
from .methods import METHODS, Method, Question, build_method, row_names
from .workers import deal, serve

ANSWERS, SEARCHABLE, WEIGHTS = "answers.jsonl", "searchable.npy", "weights.json"
OWN_NOISE = ("instrument", "experimental")


@dataclass(frozen=True)
class EvaluateConfig:
    """What is evaluated.

    Attributes:
        split: How clusters are held out of what is searched and trained with; `experimental` takes measured curves.
        methods: What answers: `retrieval`, `model`, `both`; and the model's draws by `diffusion` without its shortcut,
            or by its `prior` alone.
        weights: Of models: files, or folders of runs; with several, each method that asks a model has a row for each.
            By default the weights that come with the package.
        library: What retrieval searches, less what is kin to a tested cluster.
        clusters: How many test clusters at most, taken evenly over types and sizes.
        bonds: At how many bond lengths each.
        candidates: How many structures each method returns.
        positions: Move the atoms of the ten best as a last stage with figures of its own, or hold them.
        noise: Standard deviation of the curves' noise as a fraction of the largest |G|; measured curves and the split
            `instrument` have their own.
        seed: Seed of the split, of the curves and of what methods draw.
        max_atoms: Largest cluster, tested or searched.
        curves: Folder of the measured curves, for the split `experimental`.
    """

    split: EvaluatedSplit = "geometry"
    methods: tuple[str, ...] = ("retrieval",)
    weights: tuple[Path, ...] = ()
    library: LibraryName = "deepstruc"
    clusters: int = 100
    bonds: int = 1
    candidates: int = 20
    positions: Positions = "held"
    noise: float = 0.0
    seed: int = 0
    max_atoms: int = MAX_ATOMS
    curves: Path | None = None


EVALUATE_CONFIG = EvaluateConfig()


def evaluate(config: EvaluateConfig, folder: Path, *, jobs: int = 1) -> list[Record]:
    """Let each method answer each curve, or go on with what was begun.

    Args:
        config: What is evaluated. A folder that was begun takes further methods, clusters and bonds; the rest must be
            as it was.
        folder: Of the run.
        jobs: Processes, each of one thread.

    Returns:
        The answers, method by method, the curves in their order.

    Raises:
        ValueError: If a choice is unknown or a number out of range, the folder holds another run, or an answer failed;
            the others are kept then, and are not asked for again.
        FileNotFoundError: If a file is missing.
    """
    _check(config, jobs)
    cases = task_cases(config)
    _claim(config, folder)
    answered = read_answers(folder)
    rows = rows_of(config)
    wanted = [(row, case.name) for case in cases for row in rows]
    waiting = [task for task in wanted if task not in answered]
    failed = []
    _end_torn_line(folder / ANSWERS)
    with (folder / ANSWERS).open("a", encoding="utf-8") as file:
        done = _worked(config, folder, waiting, jobs)
        for record in progress(done, "answers", total=len(wanted), initial=len(wanted) - len(waiting)):
            if "error" in record:
                failed.append(record)
                continue
            file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())
            answered[record["method"], record["case"]] = record
    if failed:
        first = failed[0]
        raise ValueError(
            f"{len(failed)} of {len(waiting)} answers failed, the first by {first['method']} on {first['case']}: "
            f"{first['error']}; the others are kept in {folder}"
        )
    return [answered[row, case.name] for row in rows for case in cases]


def rows_of(config: EvaluateConfig) -> dict[str, Path | None]:
    """The rows of the tables, and the weights of each.

    Args:
        config: What is evaluated.

    Returns:
        As `row_names`; where no weights are named those that come with the package.

    Raises:
        ValueError: If two files of weights have one name.

    >>> {name: path and path.name for name, path in rows_of(EvaluateConfig(methods=("retrieval", "model"))).items()}
    {'retrieval': None, 'model': 'robust.safetensors'}
    """
    return row_names(config.methods, config.weights or (SHIPPED_WEIGHTS,))


def task_cases(config: EvaluateConfig) -> list[Case]:
    """The curves of an evaluation.

    Args:
        config: What is evaluated.

    Returns:
        The cases.

    Raises:
        ValueError: If the library is too small for the split.
        FileNotFoundError: If a measured curve is missing.
    """
    if config.split == "experimental":
        assert config.curves is not None
        return measured_cases(config.curves)
    known = library(max_atoms=config.max_atoms)
    asked = {"clusters": config.clusters, "bonds": config.bonds, "seed": config.seed}
    return cases_of(_split(config), known, **asked, noise=config.noise)


def read_answers(folder: Path) -> dict[tuple[str, str], Record]:
    """The answers that a folder holds.

    Args:
        folder: Of the run.

    Returns:
        Records by method and case; a line that was torn by a kill is passed over.
    """
    found: dict[tuple[str, str], Record] = {}
    path = folder / ANSWERS
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            record = json.loads(line)
            found[record["method"], record["case"]] = record
        except (ValueError, KeyError, TypeError):
            continue
    return found


class Worker:
    """Cases and methods of an evaluation, made once in a process.

    Args:
        config: What is evaluated.
        folder: Of the run.
    """

    def __init__(self, config: EvaluateConfig, folder: Path) -> None:
        self.config, self.folder = config, folder
        self.cases = {case.name: case for case in task_cases(config)}
        self.rows = rows_of(config)
        self.methods: dict[str, Method] = {}

    def answer(self, task: tuple[str, str]) -> Record:
        """Let one method answer one curve.

        Args:
            task: The method's name and the case's.

        Returns:
            The record of the answer, or of the error.
        """
        method, name = task
        case = self.cases[name]
        head: Record = {
            "method": method,
            "case": name,
            "group": case.group,
            "told": round(case.told, 6),
            "inside": case.inside,
            **_truth(case),
        }
        try:
            if method not in self.methods:
                positions = self.config.positions
                self.methods[method] = build_method(
                    method,
                    self.library,
                    self.rows[method],
                    positions=positions,
                    max_atoms=self.config.max_atoms,
                )
            curve, question = case.curve(), Question(case.element, case.told)
            start = time.perf_counter(), time.process_time()
            found = self.methods[method].answer(curve, question, count=self.config.candidates, seed=self.config.seed)
            spent = {"seconds": time.perf_counter() - start[0], "cpu_seconds": time.process_time() - start[1]}
            return {**head, **spent, **judge(found, case)}
        except (ValueError, OSError, ImportError) as error:
            return {**head, "error": " ".join(str(error).split())}

    @cached_property
    def library(self) -> FromLibrary:
        """What may be searched, one for all methods."""
        known = library(self.config.library, max_atoms=self.config.max_atoms)
        allowed = searchable(self.config, self.folder)
        return FromLibrary([each for each, may in zip(known, allowed, strict=True) if may])


def searchable(config: EvaluateConfig, folder: Path) -> np.ndarray:
    """Which geometries of the searched library are no kin of what is tested; found once, kept in the folder.

    Args:
        config: What is evaluated.
        folder: Of the run.

    Returns:
        True for each that may be searched.
    """
    path = folder / SEARCHABLE
    if path.is_file():
        return np.load(path, allow_pickle=False)
    searched = library(config.library, max_atoms=config.max_atoms)
    if config.split == "experimental":
        found = np.ones(len(searched), dtype=bool)
    else:
        found = _split(config).searchable(library(max_atoms=config.max_atoms), searched)
    with atomic_write(path) as temporary:
        np.save(temporary, found)
    return found


def _split(config: EvaluateConfig) -> Split:
    return split_library(config.split, library(max_atoms=config.max_atoms), seed=config.seed)  # type: ignore[arg-type]


def _truth(case: Case) -> Record:
    if case.geometry is None or case.truth is None:
        return {}
    bond = pairs_of(case.truth.positions, case.element).bond_length
    return {"true_type": case.geometry.type, "true_atoms": case.geometry.atom_count, "true_bond": round(bond, 6)}


def _check(config: EvaluateConfig, jobs: int) -> None:
    if config.split not in SPLITS:
        raise ValueError(f"split {config.split!r}: no such split; take one of {', '.join(SPLITS)}")
    if not config.methods:
        raise ValueError(f"no method is named; give one or more of {', '.join(METHODS)}")
    for name in config.methods:
        if name not in METHODS:
            raise ValueError(f"method {name!r}: no such method; take some of {', '.join(METHODS)}")
    for path in dict.fromkeys(rows_of(config).values()):
        if path is None:
            continue
        if not weights_file(path).is_file():
            raise FileNotFoundError(f"{path}: no such weights; give a file of them, or the folder of a run")
        load_profile(path)  # which says what is wrong with them before anything is written
    if config.positions not in get_args(Positions):
        raise ValueError(f"positions {config.positions!r}: take one of {', '.join(get_args(Positions))}")
    for name, value in (("candidates", config.candidates), ("clusters", config.clusters), ("jobs", jobs)):
        if value < 1:
            raise ValueError(f"{name} {value}: give a number of 1 or more")
    if not 0 <= config.noise < 1 or (config.noise and config.split in OWN_NOISE):
        raise ValueError(
            f"noise {config.noise}: give a fraction below 1 of the largest |G|, and none with the splits "
            f"{' and '.join(OWN_NOISE)}, whose curves have their own"
        )
    if config.split == "experimental" and config.curves is None:
        raise ValueError("split experimental: give the folder of the measured curves as --curves")


def _claim(config: EvaluateConfig, folder: Path) -> None:
    """Begin a run, or go on with one that differs in nothing but how much is asked."""
    if not (folder / CONFIG).exists():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ValueError(f"{folder}: it holds something else; give a new folder as --out")
        make_folder(folder)
        Run.create(folder, config).close()
        _write_json(folder / WEIGHTS, _digests(config))
        return
    before: EvaluateConfig = dict_to_config(read_config(folder), EvaluateConfig)
    alike = replace(before, methods=config.methods, clusters=config.clusters, bonds=config.bonds)
    if not before.weights:
        alike = replace(alike, weights=config.weights)
    for name, value in vars(config).items():
        if getattr(alike, name) != value:
            raise ValueError(
                f"{folder}: holds a run with {name} {getattr(alike, name)}, not {value}; give another --out"
            )
    kept = folder / WEIGHTS
    known = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    now = _digests(config)
    for path, digest in now.items():
        if known.get(path, digest) != digest:
            raise ValueError(f"{folder}: the weights {path} are no longer those it was begun with; give another --out")
    if before != config:
        _write_json(folder / WEIGHTS, {**known, **now})
        _write_json(folder / CONFIG, config_to_dict(config))


def _digests(config: EvaluateConfig) -> dict[str, str]:
    paths = [path for path in rows_of(config).values() if path is not None]
    return {str(path): hashlib.sha256(weights_file(path).read_bytes()).hexdigest() for path in paths}


def _write_json(path: Path, data: Any) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def _end_torn_line(path: Path) -> None:
    content = path.read_bytes() if path.is_file() else b""
    if content and not content.endswith(b"\n"):
        with path.open("ab") as file:
            file.write(b"\n")


def _worked(config: EvaluateConfig, folder: Path, waiting: Sequence[tuple[str, str]], jobs: int) -> Iterator[Record]:
    """All tasks, in this process where one is to run at a time, else in others."""
    if not waiting:
        return
    searchable(config, folder)
    if jobs > 1:
        yield from deal(_WORK, [str(folder)], waiting, jobs)
        return
    worker = Worker(config, folder)
    for task in waiting:
        with one_torch_thread():
            record = worker.answer(task)
        yield record


_WORK = "import sys; from cbldm.evaluation.run import work; work(sys.argv[1])"


def work(folder: str) -> None:
    """Answer the tasks of a run: the whole of a process.

    Args:
        folder: Of the run.
    """
    worker = Worker(dict_to_config(read_config(folder), EvaluateConfig), Path(folder))
    torch.set_num_threads(1)
    serve(lambda task: worker.answer((task[0], task[1])))
