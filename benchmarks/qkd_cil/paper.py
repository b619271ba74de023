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
RATE, ROUTING_RATE = "--schedule.learning-rate", "--learner.routing-learning-rate"
RATES, HIGHER = ("0.05", "0.15", "0.4", "1"), ("0.05", "0.15", "0.4", "1", "2.5")
ADAM = ("--schedule.optimizer", "adam", "--schedule.decay", "constant", "--schedule.weight-decay", "0")


@dataclass(frozen=True)
class Method:
    """How a method is run.

    Attributes:
        words: Its learner and the learner's settings.
        schedule: Settings of the schedule.
        option: The number that is chosen by trial.
        tried: Its candidates, four, and a fifth where the best of four ends the range; none where there is nothing to
            choose.
        like: Another method, whose learning rate it takes; where it has candidates, these are for another number.
    """

    words: tuple[str, ...]
    schedule: tuple[str, ...] = ()
    option: str = RATE
    tried: tuple[str, ...] = RATES
    like: str = ""


def _prompts(learner: str) -> Method:
    return Method((f"learner:{learner}",), schedule=ADAM, tried=("0.001", "0.003", "0.01", "0.03"))


def _gate(*words: str) -> Method:
    return Method(words, option=ROUTING_RATE, tried=("0.001", "0.003", "0.01", "0.03"), like="qkd")


METHODS = {
    "simple-cil": Method(("learner:simple-cil",), tried=()),
    "finetune": Method(("learner:finetune",)),
    "joint": Method(("learner:joint",), tried=(), like="finetune"),
    "lwf": Method(("learner:lwf",)),
    "icarl": Method(("learner:icarl",)),
    "slca": Method(("learner:slca",), tried=("0.003", "0.01", "0.03", "0.1")),
    "l2p": _prompts("l2p"),
    "dual-prompt": _prompts("dual-prompt"),
    "coda-prompt": _prompts("coda-prompt"),
    "aper": Method(("learner:aper",), tried=HIGHER),
    "ranpac": Method(("learner:ranpac", "--learner.projection", "2000"), tried=HIGHER),
    "ease": Method(("learner:ease",), tried=HIGHER),
    "mote": Method(("learner:mote",), tried=HIGHER),
    "mos": Method(("learner:mos",)),
    "tuna": Method(("learner:tuna",)),
    "qkd-paper": Method(("learner:qkd-paper",)),
    "qkd": Method(("learner:qkd",), tried=HIGHER),
}
GATES = {
    "gate-quantum-4": _gate("learner:qkd", "--learner.gate.qubits", "4"),
    "gate-quantum-6": _gate("learner:qkd", "--learner.gate.qubits", "6"),
    "gate-quantum-8": _gate("learner:qkd", "--learner.gate.qubits", "8"),
    "gate-cosine": _gate("learner:qkd-cosine"),
    "gate-mlp": _gate("learner:qkd-mlp"),
    "gate-attention": _gate("learner:qkd-attention"),
    "gate-uniform": Method(("learner:qkd-uniform",), tried=(), like="qkd"),
    "gate-oracle": Method(("learner:qkd-oracle",), tried=(), like="qkd"),
}
ALL = METHODS | GATES
DEMONSTRATION = ("simple-cil", "finetune", "qkd-paper", "qkd")
TRIALS = {
    "cifar100-small": ("--tasks.first-tasks", "3"),
    "omniglot-small": ("--tasks.first-tasks", "3", "--tasks.train-per-class", "10", "--tasks.test-per-class", "4"),
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


def options_of(preset: str, method: str, chosen: Chosen, *, number: str = "") -> tuple[list[str], list[str]]:
    """Words of a run before and after its learner's name.

    Args:
        preset: Of the data set.
        method: One of `ALL`.
        chosen: Accuracy of each candidate that was tried, by preset and method; a preset without runs at its own rate.
        number: A candidate, instead of the best.
    """
    how, tried = ALL[method], chosen.get(preset, {})
    numbers = {RATE: best(tried.get(how.like, {}))} if how.like else {}
    if how.tried:
        numbers[how.option] = number or best(tried.get(method, {}))
    given = [(option, value) for option, value in numbers.items() if value]
    before = [word for option, value in given if option == RATE for word in (option, value)]
    after = [word for option, value in given if option != RATE for word in (option, value)]
    return [*how.schedule, *before], [*how.words, *after]


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
    """Try each method's candidates, and keep what they came to."""
    for group in (METHODS, GATES):  # the gates take the learning rate of their method
        chosen = read_chosen()
        works = {}
        for preset, options in sets.items():
            for method in (each for each in methods if each in group):
                for number in ALL[method].tried:
                    before, after = options_of(preset, method, chosen, number=number)
                    words = (*options, *TRIALS[preset], "--tasks.validation", *before)
                    name = folder / f"{preset}_{method}_{number}"
                    works[preset, method, number] = Work(name, TRIAL_SEED, preset, words, tuple(after))
        do_all(works.values(), jobs)
        for (preset, method, number), work in works.items():
            chosen.setdefault(preset, {}).setdefault(method, {})[number] = work.summary()["average_accuracy"]
        with atomic_write(CHOSEN) as temporary:
            temporary.write_text(json.dumps(chosen, indent=1) + "\n", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and make the runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="gets a folder for each set and method")
    parser.add_argument("--set", action="append", required=True, metavar="PRESET[=DATA]", help="data set; repeatable")
    parser.add_argument("--weights", help="of the ViT-Tiny that the small presets take")
    parser.add_argument("--methods", nargs="+", choices=list(ALL), metavar="METHOD", help=", ".join(ALL))
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
            tune(asked.folder, sets, asked.methods or list(ALL), asked.jobs)
            return 0
        works = []
        for seed in asked.seeds:
            for preset, options in sets.items():
                for method in asked.methods or (DEMONSTRATION if preset.startswith("digits") else ALL):
                    before, after = options_of(preset, method, read_chosen())
                    name = asked.folder / f"{preset}_{method}"
                    works.append(Work(name, seed, preset, (*options, *before), tuple(after)))
        do_all(works, asked.jobs)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
