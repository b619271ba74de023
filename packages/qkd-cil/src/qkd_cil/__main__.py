"""The command line: `qkd-cil run`, `compare`, `predict`, `demo`."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from papertrio_shared import cli
from papertrio_shared.checkpoint import atomic_write
from papertrio_shared.run import config_to_dict, dict_to_config

from qkd_cil import train
from qkd_cil.config import RunConfig
from qkd_cil.data.datasets import data_config, read_image
from qkd_cil.learners import load
from qkd_cil.presets import DEMO, PRESETS
from qkd_cil.report import REPORT, markdown_table, method_name, read_runs, write_comparison

PLAN = "plan.json"


def run(
    config: cli.presets(PRESETS) = PRESETS["digits-b0-inc2"],  # type: ignore[valid-type]
    seeds: tuple[int, ...] = (),
    out: Path | None = None,
    data: Path | None = None,
    weights: Path | None = None,
    resume: Path | None = None,
) -> None:
    """Learn the tasks of a data set one after another, for one seed or several.

    Args:
        config: What to run.
        seeds: Each gives the order of the classes and everything else that is random in a run of its own.
        out: Folder that gets a folder for each seed; by default runs/<data>-<method>.
        data: An .npz file or a folder with train and test, instead of the preset's data.
        weights: A .safetensors file, instead of the preset's weights.
        resume: Finish the runs of this folder; all other settings are read from there.
    """
    if resume is not None:
        _resume(resume)
        return
    if data is not None:
        config = replace(config, data=data_config(data))
    if weights is not None:
        config = replace(config, backbone=replace(config.backbone, weights=str(weights)))
    seeded = [_seeded(config, seed) for seed in seeds] or [config]
    dataset = config.data.load()
    method = method_name(config_to_dict(config.learner)).lower().replace(" ", "-")
    folder = out or Path("runs") / f"{dataset.name}-{method}"
    if any((folder / str(each.seed) / "config.json").exists() for each in seeded):
        raise ValueError(f"{folder}: holds runs already; give another --out, or go on with --resume {folder}")
    plan = json.loads((folder / PLAN).read_text(encoding="utf-8")) if (folder / PLAN).is_file() else {}
    plan.update({str(each.seed): config_to_dict(each) for each in seeded})
    with atomic_write(folder / PLAN) as temporary:
        temporary.write_text(json.dumps(plan, indent=2) + "\n", encoding="utf-8")
    for each in seeded:
        train.run(each, folder / str(each.seed), dataset=dataset)
    _say(folder, [folder / str(each.seed) for each in seeded])


def compare(runs: Annotated[tuple[Path, ...], tyro.conf.Positional], /, out: Path = Path("comparison")) -> None:
    """Put finished runs side by side: a Markdown table, a picture, a page.

    Args:
        runs: Folders of runs, each with one seed or several.
        out: Folder for comparison.md, comparison.png and comparison.html.
    """
    if not runs:
        raise ValueError("compare needs the folders of finished runs; give at least one")
    found = read_runs(runs)
    paths = write_comparison(out, found)
    print(markdown_table(found))
    print("\n".join(map(str, paths)))


def predict(
    run: Annotated[Path, tyro.conf.Positional], images: Annotated[tuple[Path, ...], tyro.conf.Positional], /
) -> None:
    """Say the class of images with the learner of a finished run.

    Args:
        run: Folder of one seed's run.
        images: Image files.
    """
    folder = run if (run / train.RESULT).is_file() else next(iter(sorted(run.glob(f"*/{train.RESULT}"))), run).parent
    (found,) = read_runs([folder])
    learner = load(folder / train.LEARNER)
    size = learner.backbone.config.img_size
    labels = learner.predict(np.stack([read_image(path, size) for path in images]))
    for path, label in zip(images, labels.tolist(), strict=True):
        print(f"{path}\t{found.results[0]['class_names'][label]}")


def demo(out: Path = Path("results/qkd-cil-demo"), smoke: bool = False) -> None:
    """Three methods on scikit-learn's digits, two new classes at a time.

    Args:
        out: Folder for the runs and their comparison; an earlier demo there is replaced.
        smoke: Fewer images, tasks and epochs: only to see that everything works.
    """
    folders = []
    for name, config in DEMO.items():
        folder = out / name
        if (folder / "config.json").is_file():
            shutil.rmtree(folder)
        folders.append(folder)
        print(f"{name}:", flush=True)
        train.run(_smaller(config) if smoke else config, folder)
    found = read_runs(folders)
    paths = write_comparison(out, found)
    print(f"\n{markdown_table(found)}")
    print("\n".join(map(str, [*paths, *(folder / REPORT for folder in folders)])))


def _seeded(config: RunConfig, seed: int) -> RunConfig:
    return replace(config, seed=seed, tasks=replace(config.tasks, class_order_seed=seed))


def _smaller(config: RunConfig) -> RunConfig:
    return replace(
        config,
        tasks=replace(config.tasks, train_per_class=32, test_per_class=20),
        schedule=replace(config.schedule, epochs=2),
    )


def _resume(folder: Path) -> None:
    if (folder / "config.json").is_file():
        train.resume(folder)
        _say(folder, [folder])
        return
    if not (folder / PLAN).is_file():
        raise FileNotFoundError(f"{folder}: holds no run ({PLAN} or config.json); give the folder that --out named")
    try:
        plan = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        configs = {seed: dict_to_config(each, RunConfig) for seed, each in plan.items()}
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{folder / PLAN}: cannot be read ({error}); resume each seed's folder by itself") from error
    for seed, config in configs.items():
        if (folder / seed / "config.json").is_file():
            train.resume(folder / seed)
        else:
            train.run(config, folder / seed)
    _say(folder, [folder / seed for seed in configs])


def _say(folder: Path, runs: Sequence[Path]) -> None:
    found = read_runs([folder])
    print(f"\n{markdown_table(found)}")
    print("\n".join(str(each / REPORT) for each in runs))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; its exit status."""
    commands: dict[str, Callable[..., None]] = {"run": run, "compare": compare, "predict": predict, "demo": demo}
    return cli.main(
        commands, prog="qkd-cil", description="Class-incremental learning on pretrained vision transformers.", argv=argv
    )


if __name__ == "__main__":
    raise SystemExit(main())
