"""What a finished run leaves: samples, figures, pictures, an animation and one page that holds all of it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from papertrio_shared.checkpoint import atomic_write, load_state
from papertrio_shared.run import config_to_dict, environment, read_config, read_metrics
from papertrio_shared.seed import generator as seeded
from torch import Tensor

from .baselines.ot_cfm import Solver
from .config import WATCHED_BANDWIDTHS, WATCHED_SHARES, TrainConfig
from .data import Source
from .diagnostics import field_diagnostics
from .drift import drift
from .geometry import kernel_of, space_of
from .image_pictures import picture_of_image_points, picture_of_images, picture_of_nearest
from .judge import Judge
from .metrics import Evaluation, evaluate
from .models import OneStep
from .page import IMAGES, html_table, image, write_page
from .pictures import animate, grid_of, picture_of_diagnostics, picture_of_field, picture_of_samples, save_picture
from .sample import drawer, load, write_samples
from .stretches import FeatureDrifting
from .threads import limited_threads
from .train import CHECKPOINT, frame_steps, run_config

SHOWN, WATCHED = 4_000, 1024


def write_results(folder: Path) -> Evaluation:
    """Measure a run's generator and write `samples.npy`, `evaluation.json`, the pictures and `report.html`.

    Args:
        folder: Where the run lies.

    Returns:
        The figures.

    Raises:
        FileNotFoundError: If the folder holds no run, or the run has no weights yet.
        ValueError: If something in it is damaged.
    """
    config, generator = run_config(folder), load(folder)
    with limited_threads(config.threads):
        write_samples(generator, config.samples, folder / "samples.npy", seed=config.seed)
        evaluation = evaluate_run(generator, config, draws=config.draws, judge=judge_of(config, folder))
        write_evaluation(evaluation, folder / "evaluation.json")
        pictures = write_pictures(folder, config, generator)
    write_report(folder, evaluation, pictures)
    return evaluation


def evaluate_run(
    generator: OneStep,
    config: TrainConfig,
    *,
    draws: int,
    seed: int = 0,
    evaluations: int | None = None,
    solver: Solver | None = None,
    judge: Judge | None = None,
) -> Evaluation:
    """Measure a generator against the held-out points of its data, in standardised units.

    Args:
        generator: What to measure.
        config: Of its run.
        draws: Pairs of draws behind W₂ and its floor.
        seed: Of all draws.
        evaluations, solver: See `sample.drawer`.
        judge: Whose features are compared, of labelled images.

    Returns:
        The figures.
    """
    shape = ["geometry", "dimension"]
    if any(getattr(generator, name) != getattr(config.data, name) for name in shape):
        raise ValueError("the generator's dimension or geometry is not that of the run's data: was the run mixed up?")

    samples = drawer(generator, evaluations=evaluations, solver=solver)

    def draw(count: int, seed: int) -> Tensor:
        return (samples(count, seed) - generator.location) / generator.scale

    encoder = None if judge is None else judge.features
    return evaluate(draw, config.data, draws=draws, seed=seed, encoder=encoder)


def judge_of(config: TrainConfig, folder: Path) -> Judge | None:
    """The judge of a run of labelled images, trained at the first call and kept in the run's folder.

    Args:
        config: Of the run.
        folder: Where it lies.

    Returns:
        None where the data is no labelled images.
    """
    if config.data.image_shape is None or not getattr(config.data, "classes", 0):
        return None
    return Judge(config.data, folder)


def write_verdict(folder: Path, *, seed: int = 0) -> list[str]:
    """Judge a run's samples of images, write `verdict.json` and say it in words.

    Args:
        folder: Where the run lies.
        seed: Of the samples.

    Returns:
        Lines; none where the data is no labelled images.
    """
    config = run_config(folder)
    with limited_threads(config.threads):
        judge = judge_of(config, folder)
        if judge is None:
            return []
        generator = load(folder)
        verdict = judge.verdict(generator, seed=seed)
    with atomic_write(folder / "verdict.json") as temporary:
        temporary.write_text(json.dumps(verdict.to_dict(), indent=2) + "\n", encoding="utf-8")
    return verdict.lines()


def write_evaluation(evaluation: Evaluation, path: Path) -> None:
    """Write the figures as JSON.

    Args:
        evaluation: The figures.
        path: The file.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(evaluation.to_dict(), indent=2) + "\n", encoding="utf-8")


def table(evaluation: Evaluation) -> str:
    """The figures as a short table of plain text.

    Args:
        evaluation: The figures.

    Returns:
        Lines, without a break at the end.
    """
    lines = [f"{'':20} {'samples':>9} {'floor':>9} {'ratio':>7}"]
    for name, value, floor in evaluation.rows():
        lines.append(f"{name:20} {_number(value):>9} {_number(floor):>9} {_ratio(value, floor):>7}")
    lines.append(f"floor: the same figure between two real draws; W₂: mean over {evaluation.draws} pairs of draws")
    return "\n".join(lines)


def write_pictures(folder: Path, config: TrainConfig, generator: OneStep) -> list[Path]:
    """Draw samples over data, the field at the start and at the end, the diagnostics, and the animation.

    Args:
        folder: Where the run lies; the pictures go there too.
        config: Of the run.
        generator: Its network.

    Returns:
        The files.
    """
    data, geometry = config.data, config.data.geometry
    stream = seeded(config.seed, "pictures")
    real = torch.cat([half.sample(min(SHOWN // 2, half.size or SHOWN), stream) for half in data.held_out()])
    if data.image_shape is not None:
        strengths = (config.objective.guidance.largest,) if isinstance(config.objective, FeatureDrifting) else ()
        figure = picture_of_images(generator, data, seed=config.seed, strengths=strengths)
        paths = [save_picture(figure, folder / "samples.png")]
        paths.append(save_picture(picture_of_nearest(generator, data, seed=config.seed), folder / "nearest.png"))
        return [*paths, *_picture_of_rows(folder, config)]
    latents = generator.latents(min(SHOWN, config.samples), stream)
    labels, _ = generator.told(len(latents), seed=config.seed)
    with torch.no_grad():
        samples = generator(latents, labels)
    paths = [save_picture(picture_of_samples(samples, real, geometry=geometry), folder / "samples.png")]
    if data.dimension == (3 if geometry == "sphere" else 2):
        grid = grid_of(real, geometry=geometry)
        clouds = {"field of the latents": latents, "field of the samples": samples}
        fields = [(title, grid, *_field(grid, real, cloud, config)) for title, cloud in clouds.items()]
        paths.append(save_picture(picture_of_field(fields, real, geometry=geometry), folder / "field.png"))
    paths += _picture_of_rows(folder, config)
    frames, titles = _frames(folder, config)
    if frames:
        paths += animate(frames, titles, real, folder / "training.gif", geometry=geometry)
    return paths


def write_particles(
    folder: Path,
    evaluation: Evaluation,
    moments: Mapping[int, Tensor],
    real: Tensor,
    data: Source,
    *,
    name: str,
    title: str,
) -> Path:
    """Draw particles over the data, their diagnostics and their way, and write `particles.html` that shows all of it.

    Args:
        folder: Where to write.
        evaluation: Figures of the particles at the end.
        moments: Standardised particles by the number of steps they took, from the start to the end.
        real: Standardised points of the data.
        data: The data.
        name: What moved them.
        title: What the data is called.

    Returns:
        The page.
    """
    (start, *_), (*_, end) = moments, moments
    geometry, end_points = data.geometry, moments[end]
    cut = 256 if geometry == "torus" else WATCHED  # whose kernel is slow
    wide = geometry == "euclidean" and data.dimension > 3
    bandwidths = tuple(share * data.dimension**0.5 for share in WATCHED_SHARES) if wide else WATCHED_BANDWIDTHS
    rows = [
        {"step": step, **field_diagnostics(points[:cut], real[:cut], data, bandwidths=bandwidths)}
        for step, points in (moments.items() if min(len(moments[start]), len(real)) > 1 else ())
    ]
    if data.image_shape is None:
        paths = [save_picture(picture_of_samples(end_points, real, geometry=geometry), folder / "particles.png")]
        titles = [f"{name}, step {step}" for step in moments]
        paths += animate(list(moments.values()), titles, real, folder / "particles.gif", geometry=geometry)
    else:
        paths = [save_picture(picture_of_image_points(end_points, data), folder / "particles.png")]
    if rows:
        paths.insert(1, save_picture(picture_of_diagnostics(rows, [(name, end)]), folder / "diagnostics.png"))
    titles_of = {
        "particles.png": "Particles at the end, and "
        + ("the data (grey)" if data.image_shape is None else "images of the data"),
        "particles.gif": "Their way; each keeps the colour of the direction in which it started",
        "diagnostics.png": "Diagnostics along the way: energy and log ratio of KL(q‖p) by the bandwidth "
        f"{bandwidths[1]:.2g}, whatever moves the particles",
    }
    shown = "".join(image(path, titles_of[path.name]) for path in paths if path.suffix in IMAGES)
    body = (
        f"<p>{len(end_points):,} particles moved by {name} in {end} steps.</p>\n{_figures(evaluation, data)}\n{shown}"
    )
    return write_page(
        folder / "particles.html",
        f"Particles: {title}",
        body,
        data=json.dumps(config_to_dict(data), indent=2, ensure_ascii=False),
        environment=json.dumps(environment(), indent=2),
    )


def write_report(folder: Path, evaluation: Evaluation, pictures: Sequence[Path]) -> Path:
    """Write `report.html`: figures, pictures, config and environment in one file that needs no other.

    Args:
        folder: Where the run lies.
        evaluation: Its figures.
        pictures: PNG and GIF files to show; others are left out.

    Returns:
        The file.
    """
    facts = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    shown = "".join(image(path, _TITLES.get(path.stem, path.stem)) for path in pictures if path.suffix in IMAGES)
    body = f"{_figures(evaluation, run_config(folder).data)}\n{shown}"
    return write_page(
        folder / "report.html",
        folder.name,
        body,
        config=json.dumps(read_config(folder), indent=2, ensure_ascii=False),
        environment=json.dumps(facts, indent=2),
    )


def _figures(evaluation: Evaluation, data: Source) -> str:
    """The table and what its lines mean, as HTML."""
    rows = [[name, _number(value), _number(floor), _ratio(value, floor)] for name, value, floor in evaluation.rows()]
    pairs = "one pair" if evaluation.draws == 1 else f"mean over {evaluation.draws} pairs"
    there = evaluation.figures()
    words = [
        "The floor is the same figure between two independent real draws.",
        f"W₂: 2,000 points against 2,000, {pairs} of draws; sliced W₂: 50,000 against 50,000.",
        *(text for name, text in _MEANINGS.items() if name in there),
    ]
    if data.size is not None:
        words.append("Where fewer rows are kept for measuring than these counts, it is all of them.")
    if data.scale != 1:
        words.append(
            f"Figures and pictures are in standardised units, one of which is {data.scale:.4g} of the data's own; "
            "the samples in the file are in the data's own."
        )
    return f"{html_table(['', 'samples', 'floor', 'ratio'], rows)}\n<p>{' '.join(words)}</p>"


def _number(value: float) -> str:
    return f"{value:.1e}" if 0 < abs(value) < 1e-3 else f"{value:.4f}"


def _picture_of_rows(folder: Path, config: TrainConfig) -> list[Path]:
    """The picture of the diagnostics, if there are any."""
    rows = read_metrics(folder)
    if not rows:
        return []
    figure = picture_of_diagnostics(rows, [(each.label, each.steps) for each in config.stretches])
    return [save_picture(figure, folder / "diagnostics.png")]


def _ratio(value: float, floor: float) -> str:
    return f"{value / floor:.2f}" if floor > 0 else ""  # that of an unbiased estimate may be negative


def _field(grid: Tensor, real: Tensor, cloud: Tensor, config: TrainConfig) -> tuple[Tensor, Tensor]:
    """Velocity and log ratio at a grid, at the coarsest of the drifting scales."""
    geometry = config.data.geometry
    kernel = kernel_of(geometry, (max(config.bandwidths),))
    result = drift(grid, positives=real, negatives=cloud, kernel=kernel, manifold=space_of(geometry), max_step=None)
    return result.velocity, result.log_ratio[0]


def _frames(folder: Path, config: TrainConfig) -> tuple[list[Tensor], list[str]]:
    if not (folder / CHECKPOINT).is_file():
        return [], []
    frames = load_state(folder / CHECKPOINT)["frames"]
    steps = [*sorted(frame_steps(config)), config.total_steps][: len(frames)]
    titles = []
    for step in steps:
        *_, last = config.stretches
        start = 0
        for stretch in config.stretches:
            if step < start + stretch.steps or stretch is last:
                what = "particles" if stretch.moves == "particles" else "generator"
                titles.append(f"{what}, {stretch.label} step {step - start}")
                break
            start += stretch.steps
    return frames, titles


_TITLES = {
    "nearest": "Samples above the training images nearest to them",
    "samples": "Samples of the generator (blue) over held-out data (grey)",
    "field": "Velocity of the flow of KL(q‖p), arrows by the root of their length, at the start and at the end",
    "diagnostics": "Diagnostics of the run; the energy and the log ratio are those of the middle bandwidth",
    "training": "The same latents over time: as particles first, then as the network takes them",
}

_MEANINGS = {
    "mmd2": "MMD²: without bias, so about zero either way for real points.",
    "off_support": "Off-support: share of the samples farther from 20,000 real points than 99 % of real points are; "
    "missed: share of the real points as far from the samples.",
    "coverage": "Mode coverage: share of the modes that hold at least half of their fair share within 3σ; "
    "high-quality share: that of the samples within 3σ of a mode.",
    "precision": "Precision, recall, density and coverage by the neighbourhoods of 5,000 points in the space of "
    "features; of these the Fréchet and the kernel distance as well.",
}
