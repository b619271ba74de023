"""Train presets over several seeds and print a table of their figures, each a mean over the seeds.

    python packages/gradient-flow-drifting/examples/seeds.py 8gaussians 25grid --seeds 5 --jobs 4

What is done already is read from the folder and not done again.
"""

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import torch
from gradient_flow_drifting.data import SphereMixture, Toy
from gradient_flow_drifting.presets import PRESETS
from gradient_flow_drifting.report import evaluate_run, write_evaluation
from gradient_flow_drifting.sample import load
from gradient_flow_drifting.train import resume, run_config, train

SETS = [name for name, config in PRESETS.items() if isinstance(config.data, Toy | SphereMixture)]
CPU_SECONDS = "cpu_seconds"  # of the training; no file where a run was interrupted


def measure(name: str, seed: int, folder: Path, draws: int) -> Path:
    """Train one preset with one seed and write `evaluation.json` beside it."""
    torch.set_num_threads(1)
    file = folder / "evaluation.json"
    if not file.exists():
        if (folder / "config.json").exists():
            resume(folder)
        else:
            start = time.process_time()
            train(replace(PRESETS[name], seed=seed), folder)
            (folder / CPU_SECONDS).write_text(f"{time.process_time() - start:.1f}")
        write_evaluation(evaluate_run(load(folder), run_config(folder), draws=draws), file)
    return file


def row(name: str, files: list[Path]) -> str:
    """One line of the table: means, and the least of the seeds for shares that are to be large."""
    found = [json.loads(file.read_text()) for file in files]
    cells = [name, f"{mean([each['w2_over_floor'] for each in found]):.2f}"]
    sliced = [each["sliced_w2"]["value"] / each["sliced_w2"]["floor"] for each in found]
    cells += [f"{mean(sliced):.1f}", f"{mean([each['off_support']['value'] for each in found]):.3f}"]
    for key in ("coverage", "high_quality"):
        values = [each[key]["value"] for each in found if key in each]
        cells.append(f"{mean(values):.3f} (least {min(values):.3f})" if values else "–")
    times = [float(each.with_name(CPU_SECONDS).read_text()) for each in files if each.with_name(CPU_SECONDS).exists()]
    cells.append(f"{mean(times):.0f}" if times else "–")
    return "| " + " | ".join(cells) + " |"


def mean(values: list[float]) -> float:
    """The mean of a list."""
    return sum(values) / len(values)


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", default=SETS, help="presets; all of them where none is named")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, each on one thread")
    parser.add_argument("--draws", type=int, default=25, help="pairs of draws behind W₂ and its floor")
    parser.add_argument("--out", type=Path, default=Path("results/gradient-flow-drifting"))
    options = parser.parse_args()
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        waiting = {
            name: [
                pool.submit(measure, name, seed, options.out / name / str(seed), options.draws)
                for seed in range(options.seeds)
            ]
            for name in options.sets
        }
        print("| set | W₂/floor | sliced W₂/floor | off-support | mode coverage | high-quality share | CPU seconds |")
        print("|---|---|---|---|---|---|---|")
        for name, futures in waiting.items():
            print(row(name, [each.result() for each in futures]), flush=True)


if __name__ == "__main__":
    main()
