"""Pictures of clouds, fields and runs; points of the sphere S² are drawn on a Mollweide map."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from papertrio_shared.checkpoint import atomic_write
from papertrio_shared.progress import progress
from torch import Tensor

from .data import Geometry

REAL, MODEL, ACCENT = "#9aa5b1", "#1f5fa8", "#c8553d"
_HUES = mpl.colormaps["hsv"](np.arange(12) / 12)[:, :3] * [0.8, 0.75, 0.85]
_TINTS = [255 * (1 - share * (1 - _HUES)) for share in (1.0, 0.65, 0.3)]
_GREYS = np.repeat(np.linspace(0, 255, 9)[:, None], 3, axis=1)
_PALETTE = np.concatenate([*_TINTS, _GREYS, [[213, 218, 224]]])


def picture_of_samples(
    samples: Float[Tensor, "n d"], real: Float[Tensor, "m d"], *, geometry: Geometry = "euclidean"
) -> Figure:
    """Samples over real points, and the two apart.

    Args:
        samples, real: Standardised points; of more than two dimensions the first two are shown.
        geometry: Of the space.

    Returns:
        Three panels: both, the data, the samples.
    """
    figure = Figure(figsize=(12.6, 2.9) if geometry == "sphere" else (12.6, 4.5), layout="constrained")
    clouds = {
        "samples over data": [(real, REAL), (samples, MODEL)],
        "data": [(real, REAL)],
        "samples": [(samples, MODEL)],
    }
    for i, (title, layers) in enumerate(clouds.items()):
        axes = _axes(figure, (1, 3, i + 1), geometry, real)
        for points, colour in layers:
            _dots(axes, points, geometry, colour)
        _name_coordinates(axes, real, geometry)
        axes.set_title(title, pad=12 if geometry == "sphere" else 6)
    return figure


def picture_of_clouds(
    clouds: Mapping[str, Float[Tensor, "n d"]],
    real: Float[Tensor, "m d"],
    *,
    geometry: Geometry = "euclidean",
    columns: int = 4,
) -> Figure:
    """Several clouds, each over the real points.

    Args:
        clouds: Standardised points by the title of their panel.
        real: Real points.
        geometry: Of the space.
        columns: Panels side by side.

    Returns:
        One panel for each cloud.
    """
    across = max(min(columns, len(clouds)), 1)
    down = max(-(-len(clouds) // across), 1)
    figure = Figure(figsize=(3.2 * across, (2.2 if geometry == "sphere" else 3.4) * down), layout="constrained")
    for i, (title, points) in enumerate(clouds.items()):
        axes = _axes(figure, (down, across, i + 1), geometry, real)
        for cloud, colour in ((real, REAL), (points, MODEL)):
            _dots(axes, cloud, geometry, colour)
        _name_coordinates(axes, real, geometry)
        axes.set_title(title, pad=12 if geometry == "sphere" else 6, fontsize=10)
    return figure


def picture_of_evolution(
    ways: Mapping[str, Sequence[Float[Tensor, "n d"]]],
    steps: Sequence[int],
    real: Float[Tensor, "m d"],
    *,
    geometry: Geometry = "euclidean",
) -> Figure:
    """Particles at some moments, a row for each way they may go.

    Args:
        ways: Positions at the moments, by the name of the way.
        steps: After how many steps each moment is.
        real: Real points.
        geometry: Of the space.

    Returns:
        A panel for each way and moment.
    """
    height = 1.35 if geometry == "sphere" else 2.1
    figure = Figure(figsize=(2.1 * len(steps), height * len(ways) + 0.3), layout="constrained")
    for row, (name, moments) in enumerate(ways.items()):
        for column, (step, points) in enumerate(zip(steps, moments, strict=True)):
            axes = _axes(figure, (len(ways), len(steps), row * len(steps) + column + 1), geometry, real)
            for cloud, colour in ((real, REAL), (points, MODEL)):
                _dots(axes, cloud, geometry, colour)
            axes.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False)
            if row == 0:
                axes.set_title(f"step {step}", fontsize=9)
            if column == 0:
                axes.set_ylabel(name, fontsize=9)
    return figure


def picture_of_field(
    fields: Sequence[tuple[str, Tensor, Tensor, Tensor]],
    real: Float[Tensor, "m d"],
    *,
    geometry: Geometry = "euclidean",
    model: Float[Tensor, "n d"] | None = None,
    columns: int = 2,
) -> Figure:
    """Velocity at the points of a grid, coloured by the log ratio of the data's density to the model's.

    Args:
        fields: For each panel its title, the grid, the velocity there, the log ratio there.
        real: Real points behind the arrows.
        geometry: Of the space.
        model: Points of the model behind them as well.
        columns: Panels side by side.

    Returns:
        One panel for each field.
    """
    across, down = min(columns, max(len(fields), 1)), max(-(-len(fields) // columns), 1)
    width, height = (6.3, 3.9) if geometry == "sphere" else (5.2, 5.0)
    shrunk = min(1.0, 14 / (width * across))
    figure = Figure(figsize=(shrunk * width * across, shrunk * height * down), layout="constrained")
    strongest = float(np.clip(max((float(each[3].abs().quantile(0.95)) for each in fields), default=1.0), 0.5, 5.0))
    arrows = None
    panels = []
    for i, (title, grid, velocity, log_ratio) in enumerate(fields):
        axes = _axes(figure, (down, across, i + 1), geometry, real)
        panels.append(axes)
        for cloud, colour in ((real, REAL), (model, ACCENT)):
            if cloud is not None:
                axes.scatter(*_plane(cloud, geometry), s=2, color=colour, alpha=0.35, linewidths=0, rasterized=True)
        east, north = _components(grid, velocity, geometry)
        length = np.hypot(east, north)
        shrink = np.where(length > 0, np.sqrt(length / max(length.max(), 1e-12)) / np.maximum(length, 1e-12), 0)
        arrows = axes.quiver(
            *_plane(grid, geometry),
            east * shrink,
            north * shrink,
            log_ratio.numpy(),
            cmap="coolwarm",
            clim=(-strongest, strongest),
            angles="uv",
            pivot="tail",
            scale=28,
            width=0.0035,
        )
        axes.set_title(f"{title}\nlongest arrow {length.max():.2g}", pad=12 if geometry == "sphere" else 6)
    if arrows is not None:
        bar = figure.colorbar(arrows, ax=panels, shrink=0.8)
        bar.set_label("log p/q: red where mass is missing")
    return figure


def picture_of_diagnostics(rows: Sequence[dict[str, Any]], stretches: Sequence[tuple[str, int]]) -> Figure:
    """Energy, log ratio, loss and modes over the steps.

    Args:
        rows: Of `metrics.jsonl`; of particles, which have no loss, of `field_diagnostics`.
        stretches: Name and number of steps of each stretch of the run, in order.

    Returns:
        Three panels, and a fourth where modes are known.
    """
    steps = [_place(row["step"], stretches) for row in rows]

    def of(name: str) -> list[float]:
        return [row[name] for row in rows]

    with_modes = bool(rows) and "coverage" in rows[0]
    figure = Figure(figsize=(12.6, 7.0 if with_modes else 3.6), layout="constrained")
    count = 4 if with_modes else 3
    grid = figure.subplots(2, 2) if with_modes else figure.subplots(1, 3)
    energy, ratio, loss, *rest = np.asarray(grid).ravel()[:count]
    energy.plot(steps, of("energy"), color=MODEL)
    energy.axhline(0, color="black", lw=0.6)
    energy.set_yscale("symlog", linthresh=0.1)
    energy.set_title("energy: estimate of KL(q‖p)")
    ratio.fill_between(steps, of("log_ratio_05"), of("log_ratio_95"), color=MODEL, alpha=0.2, lw=0, label="5 to 95 %")
    ratio.plot(steps, of("log_ratio_50"), color=MODEL, label="median")
    ratio.axhline(0, color="black", lw=0.6)
    ratio.set_yscale("symlog", linthresh=1.0)
    ratio.set_title("log p/q at the model's points")
    ratio.legend(frameon=False)
    with_loss = bool(rows) and "loss" in rows[0]
    if with_loss:
        loss.semilogy(steps, of("loss"), color=ACCENT, label="loss")
    loss.semilogy(steps, of("velocity_squared"), color=MODEL, label="mean squared velocity")
    loss.set_title("loss and field" if with_loss else "field")
    loss.legend(frameon=False)
    for axes in rest:
        axes.plot(steps, of("coverage"), color=ACCENT, label="mode coverage")
        axes.plot(steps, of("high_quality"), color=MODEL, label="high-quality share")
        axes.fill_between(
            steps, of("least_mode"), of("largest_mode"), color=MODEL, alpha=0.15, lw=0, label="least to largest mode"
        )
        axes.set_ylim(-0.05, min(2.5, max(1.1, *of("largest_mode"))))
        axes.set_title("modes, in fair shares")
        axes.legend(frameon=False)
    for axes in (energy, ratio, loss, *rest):
        _mark_stretches(axes, stretches)
    return figure


def animate(
    frames: Sequence[Float[Tensor, "n d"]],
    titles: Sequence[str],
    real: Float[Tensor, "m d"],
    path: Path,
    *,
    geometry: Geometry = "euclidean",
) -> list[Path]:
    """Write a GIF of moving points, and an MP4 beside it where ffmpeg is at hand.

    Points keep the colour of the direction in which they started.

    Args:
        frames: Positions of the same points over time.
        titles: A line above each.
        real: Real points behind them.
        path: The GIF.
        geometry: Of the space.

    Returns:
        The files written.

    Raises:
        ValueError: If there is no frame, or not one title for each.
    """
    from PIL import Image

    if not frames or len(frames) != len(titles):
        raise ValueError(f"frames and titles: {len(frames)} and {len(titles)}: give at least one, and as many titles")
    figure = Figure(figsize=(4.8, 3.0) if geometry == "sphere" else (4.2, 4.4), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = _axes(figure, (1, 1, 1), geometry, real)
    axes.scatter(*_plane(real[:3000], geometry), s=2, color="#d5dae0", linewidths=0)
    _name_coordinates(axes, real, geometry)
    start = _plane(frames[0], geometry)
    sector = ((np.arctan2(start[1], start[0]) / (2 * np.pi) + 0.5) * len(_HUES)).astype(int) % len(_HUES)
    points = axes.scatter(*start, s=5, c=_HUES[sector], linewidths=0)
    axes.set_title(titles[0], fontsize=10)
    figure.draw_without_rendering()  # lays the axes out, which need not be done for each frame
    figure.set_layout_engine("none")
    pictures = []
    for frame, title in progress(list(zip(frames, titles, strict=True)), "animate"):
        points.set_offsets(np.stack(_plane(frame, geometry), 1))
        axes.set_title(title, fontsize=10)
        canvas.draw()
        pictures.append(Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy()))
    palette = Image.new("P", (1, 1))
    palette.putpalette(_PALETTE.astype(np.uint8).ravel().tolist())
    few = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    durations = [120] * (len(few) - 1) + [2000]
    with atomic_write(path) as temporary:
        few[0].save(temporary, save_all=True, append_images=few[1:], duration=durations, loop=0, optimize=True)
    return [path, *_film(pictures, path.with_suffix(".mp4"))]


def _film(pictures: Sequence[Any], path: Path) -> list[Path]:
    """The pictures as an MP4, or nothing where there is no ffmpeg that can make one."""
    program = shutil.which("ffmpeg")
    if program is None:
        return []
    width, height = (2 * (side // 2) for side in pictures[0].size)
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", "8", "-i", "-"]
    data = b"".join(picture.crop((0, 0, width, height)).tobytes() for picture in pictures)
    with TemporaryDirectory(dir=path.parent) as folder:
        film = Path(folder) / path.name
        command = [program, "-v", "error", "-y", *raw, "-pix_fmt", "yuv420p", str(film)]
        made = subprocess.run(command, input=data, capture_output=True, check=False).returncode == 0 and film.exists()
        if made:
            film.replace(path)
    return [path] if made else []


def save_picture(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG.

    Args:
        figure: The figure.
        path: The file.

    Returns:
        The file.
    """
    content = BytesIO()
    figure.savefig(content, format="png", dpi=110)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content.getvalue())
    return path


def grid_of(real: Float[Tensor, "m d"], *, geometry: Geometry, side: int = 25) -> Float[Tensor, "g d"]:
    """Points at which a field is shown.

    Args:
        real: Real points that the grid shall frame.
        geometry: Of the space.
        side: Points along the longer side.

    Returns:
        A square lattice of the plane, or nearly even points of the sphere (a Fibonacci lattice).

    Example:
        >>> grid_of(torch.randn(9, 2), geometry="euclidean", side=5).shape
        torch.Size([25, 2])
    """
    if geometry == "sphere":
        count = side * side
        height = 1 - (2 * torch.arange(count) + 1) / count
        turn = torch.arange(count) * (np.pi * (3 - 5**0.5))
        radius = (1 - height**2).sqrt()
        return torch.nn.functional.normalize(torch.stack([radius * turn.cos(), radius * turn.sin(), height], 1), dim=1)
    line = torch.linspace(-1, 1, side)
    return torch.cartesian_prod(line, line) * _half_width(real, geometry)


def _half_width(real: Tensor, geometry: Geometry) -> float:
    if geometry == "torus":
        return np.pi
    return float(real[:, :2].abs().quantile(0.999)) * 1.25


def _axes(figure: Figure, position: tuple[int, int, int], geometry: Geometry, real: Tensor) -> Axes:
    if geometry == "sphere":
        axes = figure.add_subplot(*position, projection="mollweide")
        axes.set_xticklabels([])
        axes.set_yticklabels([])
        axes.grid(alpha=0.3)
        return axes
    axes = figure.add_subplot(*position)
    half = _half_width(real, geometry)
    axes.set(xlim=(-half, half), ylim=(-half, half), aspect="equal")
    axes.tick_params(labelsize=8)
    return axes


def _dots(axes: Axes, points: Tensor, geometry: Geometry, colour: str) -> None:
    """A cloud; the fewer its points, the larger they are drawn."""
    size = min(max(4000 / max(len(points), 1), 1.5), 8.0)
    axes.scatter(*_plane(points, geometry), s=size, color=colour, alpha=0.5, linewidths=0, rasterized=True)


def _name_coordinates(axes: Axes, real: Tensor, geometry: Geometry) -> None:
    """Say which coordinates are shown where there are others."""
    if geometry != "sphere" and real.shape[1] > 2:
        axes.set_xlabel(f"coordinate 1 of {real.shape[1]}", fontsize=8)
        axes.set_ylabel("coordinate 2", fontsize=8)


def _plane(points: Tensor, geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """What to hand to the axes: the first two coordinates, or longitude and latitude."""
    points = points.detach().cpu()
    if geometry == "sphere":
        return torch.atan2(points[:, 1], points[:, 0]).numpy(), torch.asin(points[:, 2].clamp(-1, 1)).numpy()
    second = points[:, 1] if points.shape[1] > 1 else torch.zeros(len(points))
    return points[:, 0].numpy(), second.numpy()


def _components(grid: Tensor, velocity: Tensor, geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Of a velocity: along the axes, or to the east and the north."""
    if geometry != "sphere":
        return velocity[:, 0].numpy(), velocity[:, 1].numpy()
    east = torch.nn.functional.normalize(torch.stack([-grid[:, 1], grid[:, 0], torch.zeros(len(grid))], 1), dim=1)
    north = torch.linalg.cross(grid, east)
    return (velocity * east).sum(1).numpy(), (velocity * north).sum(1).numpy()


def _place(step: int, stretches: Sequence[tuple[str, int]]) -> float:
    """Where a step is drawn: every stretch has the width one, however many steps it has."""
    place = 0
    for _, length in stretches:
        if length and step <= length:
            return place + step / length
        step -= length
        place += length > 0
    return float(place)


def _mark_stretches(axes: Axes, stretches: Sequence[tuple[str, int]]) -> None:
    present = [(name, length) for name, length in stretches if length]
    for i in range(1, len(present), 2):
        axes.axvspan(i, i + 1, color="black", alpha=0.05, lw=0)
    axes.set_xlim(0, len(present))
    axes.set_xticks([i + 0.5 for i in range(len(present))], [f"{name}\n{length} steps" for name, length in present])
    axes.tick_params(axis="x", length=0)
