"""The command line."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import tyro
from papertrio_shared import cli
from papertrio_shared.devices import is_writer
from papertrio_shared.seed import generator as seeded

from . import report
from .baselines import BiSoftmax, SinkhornDrift, SlicedWasserstein
from .baselines.ot_cfm import Solver
from .checks import require_whole
from .compare import DEFAULT, FLOW, default_methods, methods_of, presets_of, write_comparison
from .compare import compare as run_comparison
from .config import TrainConfig
from .data import Geometry, Toy, named
from .fields import KernelField
from .geometry import space_of
from .metrics import evaluate_cloud
from .models import latents
from .paper import SMOKE as SMOKE_SCALE
from .paper import Scale, reproduce
from .particles import flow_particles
from .presets import DEMO, PRESETS, SMOKE
from .sample import load, write_array, write_samples
from .train import resume as resume_run
from .train import run_config
from .train import train as start_run


def train(
    config: cli.presets(PRESETS) = PRESETS["8gaussians"],  # type: ignore[valid-type]
    *,
    out: Path | None = None,
    resume: Path | None = None,
) -> None:
    """Train a one-step generator, then measure it and draw its pictures.

    Args:
        config: A data set's name, then overrides.
        out: Folder of the run; runs/NAME where none is given.
        resume: Folder of a run to go on with, by its own config: no other is to be given.
    """
    config = _found_from_anywhere(config)
    if resume is not None and (out is not None or config not in (PRESETS["8gaussians"], run_config(resume))):
        raise ValueError(
            f"--resume {resume} goes on with the run's own config: leave data set, overrides and --out out"
        )
    name = config.data.name if isinstance(config.data, Toy) else type(config.data).__name__.lower()
    _train_and_report(config, out or Path("runs") / name, resume)


def sample(
    run: Annotated[Path, tyro.conf.Positional],
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 10_000,
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("samples.npy"),
    seed: int = 0,
    evaluations: int | None = None,
    solver: Solver | None = None,
    label: int | None = None,
    guidance: float | None = None,
) -> None:
    """Draw samples from a trained generator.

    Args:
        run: Folder of the run, or a file of weights.
        n: How many.
        out: A .npy file.
        seed: The same seed gives the same samples.
        evaluations: Of a flow's network for each sample.
        solver: Of a flow; Heun's where none is given.
        label: Class of all samples; each class as likely where none is given.
        guidance: Strength, from 1, of a generator that was trained with it.
    """
    options = {"evaluations": evaluations, "solver": solver, "label": label, "guidance": guidance}
    write_samples(load(run), n, out, seed=seed, **options)  # type: ignore[arg-type]
    print(f"{n} samples in {out}")


def evaluate(
    run: Annotated[Path, tyro.conf.Positional],
    draws: int = 25,
    seed: int = 0,
    evaluations: int | None = None,
    solver: Solver | None = None,
) -> None:
    """Measure a trained generator beside the floor, the same figures between two real draws.

    Args:
        run: Folder of the run.
        draws: Pairs of draws behind W₂ and its floor.
        seed: Of all draws.
        evaluations: Of a flow's network for each sample.
        solver: Of a flow; Heun's where none is given.
    """
    config = run_config(run)
    generator, judge = load(run), report.judge_of(config, run)
    evaluation = report.evaluate_run(
        generator, config, draws=draws, seed=seed, evaluations=evaluations, solver=solver, judge=judge
    )
    report.write_evaluation(evaluation, run / "evaluation.json")
    print("\n".join([report.table(evaluation), *report.write_verdict(run, seed=seed)]))


def particles(
    data: Annotated[str, tyro.conf.Positional],
    path: Annotated[Path | None, tyro.conf.arg(name="data.path")] = None,
    geometry: Annotated[Geometry | None, tyro.conf.arg(name="data.geometry")] = None,
    out: Path | None = None,
    count: int = 2000,
    points: int = 4000,
    steps: int = 300,
    divergence: str = "kl_qp",
    level: Literal["density", "exact"] = "density",
    step_rule: Literal["fixed", "backtracking"] = "fixed",
    negatives: Literal["same", "cross_fit"] = "same",
    step_size: float = 0.5,
    seed: int = 0,
    field: KernelField | BiSoftmax | SinkhornDrift | SlicedWasserstein | None = None,
) -> None:
    """Let particles flow to a data set, without a network, and draw their way.

    Args:
        data: Name of a data set, or a .npy, .npz or .pt file.
        path: The file or folder of a data set that is read from one.
        geometry: The space that the rows of an array lie in; Euclidean where none is given.
        out: Folder of the results; runs/particles-NAME where none is given.
        count: Number of particles.
        points: Number of real points they flow to.
        steps: Number of steps.
        divergence: kl_qp, kl_pq, chi2_qp, chi2_pq, js, hellinger2, mmd2, mixed, or alpha(a) with a number a.
        level: The velocity of the densities, or the exact one, the gradient of the energy of the smoothed particles.
        step_rule: Steps of one size, or each searched along the energy, which takes the exact level and
            keeps each particle in its own field.
        negatives: All particles, each left out of its own field, or each half of them sees the other.
        step_size: Share of the velocity taken in a step.
        seed: Of particles and points.
        field: What moves them; where none is named, that of the divergence with bandwidths chosen from the data.
    """
    source, folder = named(data, path, geometry=geometry), out or Path("runs") / f"particles-{Path(data).stem}"
    require_whole("points", points)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: is a file: give a folder by --out")
    if field is not None and level == "exact":
        raise ValueError(
            f"level: exact is of a divergence's own field, {type(field).__name__} has one level: leave it out"
        )
    space, stream = space_of(source.geometry), seeded(seed, "particles")
    y = source.sample(points, stream)
    start = latents(count, dimension=source.dimension, geometry=source.geometry, generator=stream)
    way = flow_particles(
        start,
        y,
        steps=steps,
        divergence=divergence,
        manifold=space,
        field=level if field is None else field,
        negatives=negatives,
        step_size=step_size,
        step_rule=step_rule,
        snapshots=min(steps + 1, 40),
        generator=seeded(seed, "flow"),
        self_terms="leave_one_out" if negatives == "same" and step_rule == "fixed" else "keep",
    )
    evaluation = evaluate_cloud(way[-1], source, seed=seed)
    print(report.table(evaluation))
    write_array(source.location + source.scale * way[-1], folder / "particles.npy")
    name = divergence if field is None else type(field).__name__
    moments = {round(i * steps / (len(way) - 1)): points for i, points in enumerate(way)}
    report.write_particles(
        folder, evaluation, moments, y, source, name=name, title=Path(data if path is None else path).stem
    )
    _list(folder)


def compare(
    data: Annotated[str, tyro.conf.Positional],
    path: Annotated[Path | None, tyro.conf.arg(name="data.path")] = None,
    geometry: Annotated[Geometry | None, tyro.conf.arg(name="data.geometry")] = None,
    methods: str | None = None,
    seeds: int = 5,
    seconds: float = 20.0,
    draws: int = 5,
    jobs: int = 1,
    out: Path | None = None,
) -> None:
    """Train methods on an equal budget of CPU seconds and measure them side by side; run again, it goes on.

    Args:
        data: Name of a data set, all, or a .npy, .npz or .pt file.
        path: The file of a data set that is read from one.
        geometry: The space that the rows of an array lie in; Euclidean where none is given.
        methods: Names with commas between them; the data set's preset comes first in any case. Where none is named,
            one of each kind that exists in the space, OT-CFM only where torchcfm is installed.
        seeds: How many, from zero.
        seconds: CPU seconds of training for each run, on one thread.
        draws: Pairs of draws behind W₂ and its floor, for each seed.
        jobs: Runs at a time.
        out: Folder of the results; runs/compare-NAME where none is given.
    """
    folder = out or Path("runs") / f"compare-{Path(data).stem}"
    space = next(iter(presets_of(data, path, geometry).values())).data.geometry
    chosen = default_methods(space) if methods is None else methods_of(methods)
    for name in DEFAULT if methods is None else ():
        if name not in chosen:
            missing = "torchcfm is not installed (extra gradient-flow-drifting[ot-cfm])"
            print(f"{name} is left out: {missing if name == FLOW else f'it does not know the {space}'}")
    with _interrupted("run the same command again, and it goes on"):
        entries = run_comparison(
            data,
            chosen,
            folder,
            seeds=seeds,
            seconds=seconds,
            draws=draws,
            jobs=jobs,
            path=None if path is None else path.resolve(),
            geometry=geometry,
        )
    print(write_comparison(entries, folder, seconds=seconds))
    _list(folder, ".md", ".json")


def paper(out: Path = Path("runs/paper"), seeds: int = 5, smoke: bool = False) -> None:
    """Draw divergences and kernels side by side, in the plane and on the sphere, and count modes.

    Run again, it goes on.

    Args:
        out: Folder of the results.
        seeds: Of the counts.
        smoke: A few steps only, to see that all works.
    """
    page = reproduce(out, SMOKE_SCALE if smoke else Scale(seeds=seeds))
    print((out / "modes.md").read_text(encoding="utf-8"))
    print(page)


def demo(out: Path = Path("runs/demo-gradient-flow-drifting"), smoke: bool = False) -> None:
    """Train a one-step generator on eight Gaussians, in well under a minute.

    Args:
        out: Folder of the results; a demo that was begun there is taken to its end, and measured and drawn again.
        smoke: A few steps only, to see that all works.
    """
    config = SMOKE if smoke else DEMO
    begun = (out / "config.json").exists() and run_config(out) == config
    _train_and_report(config, out, out if begun else None)


def _train_and_report(config: TrainConfig, folder: Path, resume: Path | None = None) -> None:
    start = time.perf_counter()
    with _interrupted(f"go on with: gradient-flow-drifting train --resume {resume or folder}"):
        folder = start_run(config, folder) if resume is None else resume_run(resume)
    if not is_writer():
        return
    trained = time.perf_counter()
    evaluation = report.write_results(folder)
    print("\n".join([report.table(evaluation), *report.write_verdict(folder)]))
    print(f"trained in {trained - start:.0f} s, measured and drawn in {time.perf_counter() - trained:.0f} s")
    _list(folder)


@contextmanager
def _interrupted(advice: str) -> Iterator[None]:
    """Say after Ctrl-C how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"\n{advice}", file=sys.stderr)
        raise


def _found_from_anywhere(config: TrainConfig) -> TrainConfig:
    """The same config with whole paths of its files: a run is resumed and measured from any folder."""
    files = {name: path.resolve() for name, path in vars(config.data).items() if isinstance(path, Path)}
    return replace(config, data=replace(config.data, **files)) if files else config  # type: ignore[arg-type]


def _list(folder: Path, *more: str) -> None:
    for path in sorted(folder.iterdir()):
        if path.suffix in (".npy", ".png", ".gif", ".mp4", ".html", ".safetensors", *more):
            print(path)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Its words; by default those of the process.

    Returns:
        The exit status.
    """
    commands: dict[str, Callable[..., None]] = {
        "train": train,
        "sample": sample,
        "particles": particles,
        "evaluate": evaluate,
        "compare": compare,
        "paper": paper,
        "demo": demo,
    }
    description = "One-step generators and particle flows by gradient-flow drifting."
    return cli.main(commands, prog="gradient-flow-drifting", description=description, argv=argv)


if __name__ == "__main__":
    raise SystemExit(main())
