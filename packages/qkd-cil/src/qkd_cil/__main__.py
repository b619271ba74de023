"""The command line: `qkd-cil run`, `compare`, `predict`, `import-pilot`, `demo`."""

import csv
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import tyro
from papertrio_shared import cli
from papertrio_shared.checkpoint import atomic_write
from papertrio_shared.devices import is_writer
from papertrio_shared.run import config_to_dict, dict_to_config

from qkd_cil import train
from qkd_cil.comparison import write_comparison
from qkd_cil.config import DataChoice, RunConfig
from qkd_cil.data.datasets import Cifar100Config, DigitsConfig, data_config
from qkd_cil.data.folders import FolderConfig, images_in
from qkd_cil.data.scenario import Scenario
from qkd_cil.devices import launch
from qkd_cil.learners import Learner, QKDConfig, load
from qkd_cil.names import method_name
from qkd_cil.pilot import read_pilot
from qkd_cil.predict import predictions
from qkd_cil.presets import DEMO, PRESETS
from qkd_cil.report import REPORT
from qkd_cil.tables import markdown_table, read_runs

PLAN = "plan.json"


def run(
    config: cli.presets(PRESETS) = PRESETS["digits-b0-inc2"],  # type: ignore[valid-type]
    seeds: tuple[int, ...] = (),
    out: Path | None = None,
    data: Path | None = None,
    weights: Path | None = None,
    strict: bool = False,
    cache: Path | None = None,
    resume: Path | None = None,
) -> None:
    """Learn the tasks of a data set one after another, for one seed or several.

    Args:
        config: What to run.
        seeds: Each gives the order of the classes and everything else that is random in a run of its own.
        out: Folder that gets a folder for each seed; by default runs/<data>-<method>.
        data: An .npz file or a folder of images, instead of the preset's data or where they lie.
        weights: A .safetensors file, instead of the preset's weights.
        strict: A file in a folder of images that cannot be read is an error; else it is skipped and counted.
        cache: Folder where the decoded images of a folder are kept for the next run.
        resume: Finish the runs of this folder; all other settings are read from there.
    """
    if resume is not None:
        _resume(resume)
        return
    if data is not None:
        config = replace(config, data=_data_at(config, data))
    if isinstance(config.data, FolderConfig) and (strict or cache is not None):
        kept = config.data.cache if cache is None else cache
        config = replace(config, data=replace(config.data, strict=strict or config.data.strict, cache=kept))
    if weights is not None:
        config = replace(config, backbone=replace(config.backbone, weights=str(weights)))
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds {list(seeds)}: one is given twice; give each once")
    seeded = [_seeded(config, seed) for seed in seeds] or [config]
    fabric = launch(config.device, config.devices)
    dataset = config.data.load()
    method = method_name(config_to_dict(config.learner)).lower().replace(" ", "-")
    folder = out or Path("runs") / f"{dataset.name}-{method}"
    if any((folder / str(each.seed) / "config.json").exists() for each in seeded):
        raise ValueError(f"{folder}: holds runs already; give another --out, or go on with --resume {folder}")
    learner = seeded[0].build_learner()  # what does not fit is told before anything is written
    for each in seeded:
        learner.check(sum(Scenario(dataset, each.tasks).task_sizes))
    plan = _read_plan(folder) if (folder / PLAN).is_file() else {}
    plan.update({str(each.seed): each for each in seeded})
    if fabric is not None:
        fabric.barrier()  # nobody writes before all have looked
    if is_writer():
        _write_plan(folder, plan)
    for each in seeded:
        train.run(each, folder / str(each.seed), dataset=dataset, fabric=fabric)
    if is_writer():
        _say(folder, [folder / str(each.seed) for each in seeded])


def compare(runs: Annotated[tuple[Path, ...], tyro.conf.Positional], /, out: Path = Path("comparison")) -> None:
    """Put finished runs side by side: a Markdown table, a picture, a page.

    Args:
        runs: Folders of runs, each with one seed or several; the differences are those from the first.
        out: Folder for comparison.md, comparison.png and comparison.html.
    """
    if not runs:
        raise ValueError("compare needs the folders of finished runs; give at least one")
    found = read_runs(runs)
    paths = write_comparison(out, found)
    print(markdown_table(found))
    print("\n".join(map(str, paths)))


def predict(
    run: Annotated[Path, tyro.conf.Positional],
    images: Annotated[tuple[Path, ...], tyro.conf.Positional],
    /,
    out: Path | None = None,
    strict: bool = False,
    weights: Path | None = None,
) -> None:
    """Say the class of images with a saved learner.

    Args:
        run: Folder of one seed's run, or of several, the first of which answers; or a learner's .safetensors file.
        images: Image files, and folders that hold some, also below.
        out: A .csv file for the answers, besides saying them.
        strict: A file that cannot be read as an image is an error; else it is skipped and told at the end.
        weights: Where the frozen network's weights lie now, if they have moved.
    """
    if not images:
        raise ValueError("predict needs image files or folders after the folder of the run; give at least one")
    learner, names = _saved(run, weights)
    rows, skipped = [], []
    for path, label in predictions(learner, images_in(images), strict=strict):
        if label is None:
            skipped.append(path)
            continue
        name = names[label] if names else str(label)
        rows.append((str(path), name, int(learner.task_of_class[learner.classes == label]) + 1))
        print(f"{path}\t{name}")
    if out is not None:
        with atomic_write(out) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("path", "class", "task"), *rows])
    if skipped:
        more = ", …" if len(skipped) > 3 else ""
        shown = ", ".join(map(str, skipped[:3]))
        print(f"files skipped since they cannot be read as images: {len(skipped)} ({shown}{more})", file=sys.stderr)


def import_pilot(
    settings: Annotated[Path, tyro.conf.Positional], /, out: Path, data: Path | None = None, weights: Path | None = None
) -> None:
    """Read LAMDA-PILOT's settings and write the runs they stand for, ready to start.

    Args:
        settings: One of its JSON files.
        out: Folder for the runs; `qkd-cil run --resume` on it starts them.
        data: Where the images lie.
        weights: A .safetensors file, instead of the hub's weights.
    """
    found = read_pilot(settings)
    configs = list(found.configs)
    if data is not None:
        configs = [replace(each, data=_data_at(each, data)) for each in configs]
    if weights is not None:
        configs = [replace(each, backbone=replace(each.backbone, weights=str(weights))) for each in configs]
    if (out / PLAN).exists():
        raise ValueError(f"{out}: holds runs already; give another --out, or go on with qkd-cil run --resume {out}")
    _write_plan(out, {str(each.seed): each for each in configs})
    first = configs[0]
    print(f"{settings}: {method_name(config_to_dict(first.learner))}, seeds {', '.join(str(x.seed) for x in configs)}")
    print(json.dumps(config_to_dict(first), indent=2))
    print("\n".join(f"note: {note}" for note in found.notes))
    print(f"start with: qkd-cil run --resume {out}")


def demo(out: Path = Path("results/qkd-cil-demo"), smoke: bool = False) -> None:
    """Three methods on scikit-learn's digits, two new classes at a time.

    Args:
        out: Folder for the runs and their comparison; an earlier demo there is replaced.
        smoke: Fewer images, tasks and epochs: only to see that everything works.
    """
    folders = []
    dataset = DigitsConfig().load()
    for name, config in DEMO.items():
        folder = out / name
        if (folder / "config.json").is_file():
            shutil.rmtree(folder)
        folders.append(folder)
        print(f"{name}:", flush=True)
        train.run(_smaller(config) if smoke else config, folder, dataset=dataset)
    found = read_runs(folders)
    paths = write_comparison(out, found)
    print(f"\n{markdown_table(found)}")
    print("\n".join(map(str, [*paths, *(folder / REPORT for folder in folders)])))


def _data_at(config: RunConfig, data: Path) -> DataChoice:
    """The data at a path; a folder is taken for that of the config's data set."""
    if isinstance(config.data, FolderConfig) and data.is_dir():
        return replace(config.data, root=data)
    if isinstance(config.data, Cifar100Config) and (data / "cifar-100-python").is_dir():
        return replace(config.data, root=data)
    return data_config(data)


def _saved(run: Path, weights: Path | None) -> tuple[Learner, list[str]]:
    """A learner and the names of its classes, none where they are not known."""
    if run.is_file():
        return load(run, weights=weights), []
    (found,) = read_runs([run])
    folder = run if (run / train.RESULT).is_file() else min(run.glob(f"*/{train.RESULT}")).parent
    return load(folder / train.LEARNER, weights=weights), found.results[0]["class_names"]


def _seeded(config: RunConfig, seed: int) -> RunConfig:
    return replace(config, seed=seed, tasks=replace(config.tasks, class_order_seed=seed))


def _smaller(config: RunConfig) -> RunConfig:
    """The config with three tasks, few images, two epochs and, where there is a gate, fewer steps of it."""
    learner = config.learner
    return replace(
        config,
        tasks=replace(config.tasks, task_sizes=(4, 3, 3), train_per_class=32, test_per_class=20),
        learner=replace(learner, routing_steps=100) if isinstance(learner, QKDConfig) else learner,
        schedule=replace(config.schedule, epochs=2),
    )


def _resume(folder: Path) -> None:
    if (folder / "config.json").is_file():
        train.resume(folder)
        _say(folder, [folder])
        return
    if not (folder / PLAN).is_file():
        raise FileNotFoundError(f"{folder}: holds no run ({PLAN} or config.json); give the folder that --out named")
    plan = _read_plan(folder)
    first = next(iter(plan.values()))
    fabric = launch(first.device, first.devices)
    begun = [seed for seed in plan if (folder / seed / "config.json").is_file()]
    if fabric is not None:
        fabric.barrier()  # nobody writes before all have looked
    for seed, config in plan.items():
        if seed in begun:
            train.resume(folder / seed, fabric=fabric)
        else:
            train.run(config, folder / seed, fabric=fabric)
    if is_writer():
        _say(folder, [folder / seed for seed in plan])


def _write_plan(folder: Path, plan: dict[str, RunConfig]) -> None:
    with atomic_write(folder / PLAN) as temporary:
        text = json.dumps({seed: config_to_dict(each) for seed, each in plan.items()}, indent=2)
        temporary.write_text(text + "\n", encoding="utf-8")


def _read_plan(folder: Path) -> dict[str, RunConfig]:
    """The config of each seed of a folder."""
    try:
        plan = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        return {str(config.seed): config for config in (dict_to_config(each, RunConfig) for each in plan.values())}
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{folder / PLAN}: cannot be read ({error}); resume each seed's folder by itself") from error


def _say(folder: Path, runs: Sequence[Path]) -> None:
    found = read_runs([folder])
    print(f"\n{markdown_table(found)}")
    print("\n".join(str(each / REPORT) for each in runs))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; its exit status."""
    commands: dict[str, Callable[..., None]] = {
        "run": run,
        "compare": compare,
        "predict": predict,
        "import-pilot": import_pilot,
        "demo": demo,
    }
    return cli.main(
        commands, prog="qkd-cil", description="Class-incremental learning on pretrained vision transformers.", argv=argv
    )


if __name__ == "__main__":
    raise SystemExit(main())
