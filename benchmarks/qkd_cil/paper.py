"""The runs behind the tables of qkd-cil: `python -m benchmarks.qkd_cil.paper results/qkd-cil --set digits-b0-inc2`.

Every run is `<folder>/<set>_<method>/<seed>/`, made by the command line of the package; what is done is skipped, what
was cut off goes on. `--tune` makes short runs instead, from which each method's one number is chosen: the first tasks
of an order of classes that no table has, judged on training images that no run learns from.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from papertrio_shared.checkpoint import atomic_write

CHOSEN = Path(__file__).parents[1] / "results" / "qkd-cil" / "tuning.json"
TRIAL_SEED = 1992
RATE = "--schedule.learning-rate"
RATES = ("0.05", "0.15", "0.4", "1")
LOWER, HIGHER = ("0.015", *RATES), (*RATES, "2.5")
ADAM = ("--schedule.optimizer", "adam", "--schedule.decay", "constant", "--schedule.weight-decay", "0")


@dataclass(frozen=True)
class Method:
    """How a method is run.

    Attributes:
        words: Its learner and the learner's settings.
        schedule: Settings of the schedule.
        tried: Its candidate learning rates: four, a fifth where the best of four ends the range, none where there is
            nothing to choose.
        like: Another method, whose learning rate it takes.
    """

    words: tuple[str, ...]
    schedule: tuple[str, ...] = ()
    tried: tuple[str, ...] = RATES
    like: str = ""


def _prompts(learner: str) -> Method:
    return Method((f"learner:{learner}",), schedule=ADAM, tried=("0.001", "0.003", "0.01", "0.03"))


METHODS = {
    "simple-cil": Method(("learner:simple-cil",), tried=()),
    "finetune": Method(("learner:finetune",)),
    "joint": Method(("learner:joint",), tried=(), like="finetune"),
    "lwf": Method(("learner:lwf",), tried=LOWER),
    "icarl": Method(("learner:icarl",), tried=LOWER),
    "slca": Method(("learner:slca",), tried=("0.003", "0.01", "0.03", "0.1")),
    "l2p": _prompts("l2p"),
    "dual-prompt": _prompts("dual-prompt"),
    "coda-prompt": _prompts("coda-prompt"),
    "aper": Method(("learner:aper",), tried=HIGHER),
    "ranpac": Method(("learner:ranpac", "--learner.projection", "2000"), tried=HIGHER),
    "ease": Method(("learner:ease",), tried=HIGHER),
    "mote": Method(("learner:mote",), tried=HIGHER),
    "mos": Method(("learner:mos",), tried=LOWER),
    "tuna": Method(("learner:tuna",), tried=LOWER),
    "qkd-paper": Method(("learner:qkd-paper",)),
    "qkd": Method(("learner:qkd",), tried=HIGHER),
}
DEMONSTRATION = ("simple-cil", "finetune", "qkd-paper", "qkd")
FIRST_TASKS = ("--tasks.first-tasks", "3")
HELD_OUT = {
    "cifar100-small": ("--tasks.validation",),
    "omniglot-small": ("--tasks.validation", "--tasks.train-per-class", "10", "--tasks.test-per-class", "4"),
}
SMOKE = ("--schedule.epochs", "1", "--tasks.train-per-class", "8", "--tasks.test-per-class", "4")

Chosen = dict[str, dict[str, dict[str, float]]]


@dataclass(frozen=True)
class Work:
    """One run.

    Attributes:
        folder: Of all its seeds.
        seed: Its seed.
        preset: What it starts from.
        options: What is changed of that.
        learner: The method's own words.
    """

    folder: Path
    seed: int
    preset: str
    options: tuple[str, ...]
    learner: tuple[str, ...]

    @property
    def result(self) -> Path:
        """The file that a finished run has."""
        return self.folder / str(self.seed) / "result.json"

    def do(self, threads: int) -> None:
        """Start it, or go on with it.

        Raises:
            RuntimeError: If the command fails; with its last line.
        """
        if self.result.is_file():
            return
        words = [self.preset, "--seeds", str(self.seed), "--out", str(self.folder), *self.options, *self.learner]
        if (self.result.parent / "config.json").is_file():
            words = ["--resume", str(self.result.parent)]
        command = [sys.executable, "-m", "qkd_cil", "run", *words]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"]
            raise RuntimeError(f"{self.folder.name}, seed {self.seed}: {said[-1].removeprefix('error: ')}")
        summary = self.summary()
        figures = " / ".join(f"{100 * summary[name]:.2f}" for name in ("average_accuracy", "last_accuracy"))
        print(f"{self.folder.name}, seed {self.seed}: {figures}", flush=True)

    def summary(self) -> dict[str, float]:
        """What the finished run comes to."""
        summary: dict[str, float] = json.loads(self.result.read_text(encoding="utf-8"))["summary"]
        return summary


def options_of(preset: str, method: str, chosen: Chosen, *, number: str = "") -> tuple[str, ...]:
    """Words of a run before its learner's name.

    Args:
        preset: Of the data set.
        method: One of `METHODS`.
        chosen: Accuracy of each candidate that was tried, by preset and method; a preset without runs at its own rate.
        number: A candidate, instead of the best.
    """
    how = METHODS[method]
    rate = number or best(chosen.get(preset, {}).get(how.like or method, {}))
    return (*how.schedule, *((RATE, rate) if rate else ()))


def best(tried: dict[str, float]) -> str:
    """The candidate of the highest accuracy; none if none was tried.

    >>> best({"0.1": 0.7, "0.2": 0.8})
    '0.2'
    """
    return max(tried, key=lambda number: tried[number], default="")


def read_chosen() -> Chosen:
    """What earlier trials found."""
    chosen: Chosen = json.loads(CHOSEN.read_text(encoding="utf-8")) if CHOSEN.is_file() else {}
    return chosen


def do_all(works: Iterable[Work], jobs: int) -> None:
    """Do some runs at a time, each on its share of the cores.

    Raises:
        RuntimeError: If one fails, after the others.
    """
    threads = int(os.environ.get("OMP_NUM_THREADS") or max(1, (os.cpu_count() or 1) // jobs))
    with ThreadPoolExecutor(jobs) as pool:
        failed = [
            error for future in [pool.submit(work.do, threads) for work in works] if (error := future.exception())
        ]
    if failed:
        raise RuntimeError("; ".join(map(str, failed)))


def tune(folder: Path, sets: dict[str, tuple[str, ...]], methods: Sequence[str], jobs: int) -> None:
    """Try each method's candidates, and keep what they came to; then all tasks by QKD, to choose gates by."""
    works = {}
    for preset, options in sets.items():
        for method in methods:
            for number in METHODS[method].tried:
                words = (*options, *HELD_OUT[preset], *FIRST_TASKS, *options_of(preset, method, {}, number=number))
                name = folder / f"{preset}_{method}_{number}"
                works[preset, method, number] = Work(name, TRIAL_SEED, preset, words, METHODS[method].words)
    do_all(works.values(), jobs)
    chosen = read_chosen()
    for (preset, method, number), work in works.items():
        chosen.setdefault(preset, {}).setdefault(method, {})[number] = work.summary()["average_accuracy"]
    with atomic_write(CHOSEN) as temporary:
        temporary.write_text(json.dumps(chosen, indent=1) + "\n", encoding="utf-8")
    if "qkd" in methods:
        whole = []
        for preset, options in sets.items():
            words = (*options, *HELD_OUT[preset], *options_of(preset, "qkd", chosen))
            whole.append(Work(folder / f"{preset}_qkd", TRIAL_SEED, preset, words, METHODS["qkd"].words))
        do_all(whole, jobs)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and make the runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="gets a folder for each set and method")
    parser.add_argument("--set", action="append", required=True, metavar="PRESET[=DATA]", help="data set; repeatable")
    parser.add_argument("--weights", help="of the ViT-Tiny that the small presets take")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), metavar="METHOD", help=", ".join(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1993, 1994, 1995])
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--tune", action="store_true", help="try the candidates, and keep what they came to")
    parser.add_argument("--smoke", action="store_true", help="few images, one epoch")
    asked = parser.parse_args(argv)
    sets = {}
    for each in asked.set:
        preset, _, data = each.partition("=")
        tiny = ("--weights", asked.weights) if asked.weights and preset.endswith("-small") else ()
        sets[preset] = (*(("--data", data) if data else ()), *tiny, *(SMOKE if asked.smoke else ()))
    try:
        if asked.tune:
            tune(asked.folder, sets, asked.methods or list(METHODS), asked.jobs)
            return 0
        works = []
        for seed in asked.seeds:
            for preset, options in sets.items():
                for method in asked.methods or (DEMONSTRATION if preset.startswith("digits") else METHODS):
                    words = (*options, *options_of(preset, method, read_chosen()))
                    works.append(Work(asked.folder / f"{preset}_{method}", seed, preset, words, METHODS[method].words))
        do_all(works, asked.jobs)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
