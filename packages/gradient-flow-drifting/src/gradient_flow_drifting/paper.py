"""The experiments of the paper in two dimensions and on the sphere: divergences and kernels side by side.

Cao, Wei and Liu (2026) show particles and velocity fields; here each part is a picture, and what the mixed divergence
does against lost and blurred modes is counted over several seeds.
"""

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from papertrio_shared.checkpoint import atomic_write
from papertrio_shared.progress import progress
from papertrio_shared.run import environment
from papertrio_shared.seed import generator as seeded
from torch import Tensor

from .data import SphereMixture, Toy
from .divergences import DIVERGENCES
from .drift import drift
from .kernels import Kernel, VonMisesFisher, resolve_kernel
from .metrics import mode_coverage, mode_shares
from .models import latents
from .page import html_table, image, markdown_table, write_page
from .particles import flow_particles
from .pictures import grid_of, picture_of_evolution, picture_of_field, save_picture

BANDWIDTHS = (0.1, 0.3, 0.8)
KERNELS = ("gaussian", "laplace", "inverse_multiquadric", "sharp_laplace")
MODES = ("kl_qp", "kl_pq", "chi2_qp", "mixed")
MOMENTS = 6


@dataclass(frozen=True)
class Scale:
    """How much is computed.

    Attributes:
        particles: Of each flow.
        points: Of the data.
        steps: Of each flow.
        seeds: Of the counts.
    """

    particles: int = 1000
    points: int = 2000
    steps: int = 400
    seeds: int = 5

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            least = MOMENTS - 1 if name == "steps" else 1 if name == "seeds" else 10
            if value < least:
                raise ValueError(f"{name} = {value}: give at least {least}")


SMOKE = Scale(particles=120, points=200, steps=10, seeds=1)
Figures = dict[str, Any]


def reproduce(folder: Path, scale: Scale) -> Path:
    """Make every part that is not there yet, and the page that holds all of them.

    Args:
        folder: Where to write `<part>.png` and `<part>.json`, `modes.md` and `paper.html`.
        scale: How much to compute.

    Returns:
        The page.

    Raises:
        ValueError: If a part in the folder was made at another scale.
    """
    parts: dict[str, Callable[[Path, Scale], Figures]] = {
        "divergences-field": _field_of_divergences,
        "divergences-particles": _particles_of_divergences,
        "kernels-field": _field_of_kernels,
        "kernels-particles": _particles_of_kernels,
        "modes": _modes,
        "sphere-field": _field_on_sphere,
        "sphere-particles": _particles_on_sphere,
    }
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for name, make in progress(list(parts.items()), "parts"):
        file = folder / f"{name}.json"
        if not file.exists():
            figures = make(folder / f"{name}.png", scale)
            _write(file, json.dumps({"scale": asdict(scale), "figures": figures}, indent=2) + "\n")
        found[name] = _read(file, scale)
    head, rows = table_of_modes(found["modes"])
    _write(folder / "modes.md", markdown_table(head, rows) + "\n")
    body = "".join(
        f"<h2>{title}</h2>\n<p>{text}</p>\n"
        + (html_table(head, rows) if name == "modes" else "")
        + image(folder / f"{name}.png", caption)
        for name, (title, text, caption) in _TEXTS.items()
    )
    details = {"scale": json.dumps(asdict(scale), indent=2), "environment": json.dumps(environment(), indent=2)}
    return write_page(folder / "paper.html", "Gradient Flow Drifting in two dimensions", body, **details)


def table_of_modes(counts: Figures) -> tuple[list[str], list[list[str]]]:
    """What became of the modes: mean ± standard deviation over the seeds.

    Args:
        counts: By divergence and start, the covered modes, the share between modes and the largest share.

    Returns:
        Titles, and cells.
    """

    def cell(values: Sequence[float], form: str) -> str:
        spread = f" ± {form.format(statistics.stdev(values))}" if len(values) > 1 else ""
        return form.format(statistics.fmean(values)) + spread

    rows = [
        [name, start, cell(of["covered"], "{:.1f}"), cell(of["between"], "{:.3f}"), cell(of["largest"], "{:.2f}")]
        for name, starts in counts.items()
        for start, of in starts.items()
    ]
    return ["divergence", "start", "covered modes of 8", "share between modes", "largest mode, fair shares"], rows


def _scene(scale: Scale) -> tuple[Tensor, Tensor]:
    """Eight Gaussians, and a model that is one wide Gaussian off their centre."""
    stream = seeded(0, "scene")
    y = Toy("8gaussians").sample(scale.points, stream)
    return y, torch.tensor([0.4, 0.0]) + 0.8 * torch.randn(scale.particles, 2, generator=stream)


def _field_of_divergences(path: Path, scale: Scale) -> Figures:
    kernel = resolve_kernel("gaussian", 0.3)
    return _fields(path, scale, {name: (kernel, name) for name in DIVERGENCES})


def _field_of_kernels(path: Path, scale: Scale) -> Figures:
    return _fields(path, scale, {name: (resolve_kernel(name, 0.3), "kl_qp") for name in KERNELS})


def _fields(path: Path, scale: Scale, kinds: dict[str, tuple[Kernel, str]]) -> Figures:
    y, model = _scene(scale)
    grid, panels, longest = grid_of(y, geometry="euclidean", side=21), [], {}
    for name, (kernel, divergence) in kinds.items():
        result = drift(grid, positives=y, negatives=model, kernel=kernel, divergence=divergence, max_step=None)
        panels.append((name, grid, result.velocity, result.log_ratio.reshape(-1)))
        longest[name] = float(result.speed.max())
    save_picture(picture_of_field(panels, y, model=model, columns=4), path)
    return {"longest_velocity": longest}


def _particles_of_divergences(path: Path, scale: Scale) -> Figures:
    kernel = resolve_kernel("gaussian", BANDWIDTHS)
    return _ways(path, scale, {name: (kernel, name) for name in DIVERGENCES})


def _particles_of_kernels(path: Path, scale: Scale) -> Figures:
    return _ways(path, scale, {name: (resolve_kernel(name, BANDWIDTHS), "kl_qp") for name in KERNELS})


def _ways(path: Path, scale: Scale, kinds: dict[str, tuple[Kernel, str]]) -> Figures:
    data, stream = Toy("8gaussians"), seeded(0, "particles")
    y = data.sample(scale.points, stream)
    start = torch.randn(scale.particles, 2, generator=stream) * 0.5
    ways = {name: _flow(start, y, scale, kernel, divergence) for name, (kernel, divergence) in kinds.items()}
    save_picture(picture_of_evolution(ways, _moments(scale), y), path)
    return {name: _count(way[-1], data) for name, way in ways.items()}


def _modes(path: Path, scale: Scale) -> Figures:
    """Flows from one mode alone and from a wide cloud: do they reach all modes, do they leave the gaps between?"""
    data, counts, shown = Toy("8gaussians"), dict[str, Figures](), dict[str, list[Tensor]]()
    kernel = resolve_kernel("gaussian", BANDWIDTHS)
    for name in progress(MODES, "modes"):
        for start in ("one mode", "wide"):
            found: list[dict[str, float]] = []
            for seed in range(scale.seeds):
                stream = seeded(seed, "modes")
                y = data.sample(scale.points, stream)
                noise = torch.randn(scale.particles, 2, generator=stream)
                x = data.modes.centres[0] + 0.1 * noise if start == "one mode" and data.modes else 1.2 * noise
                way = _flow(x, y, scale, kernel, name)
                found.append(_count(way[-1], data))
                if seed == 0:
                    shown[f"{name}, {start}"] = way
            counts.setdefault(name, {})[start] = {key: [each[key] for each in found] for key in found[0]}
    save_picture(picture_of_evolution(shown, _moments(scale), y), path)
    return counts


def _field_on_sphere(path: Path, scale: Scale) -> Figures:
    data, stream = SphereMixture(), seeded(0, "sphere")
    y = data.sample(scale.points, stream)
    model = data.sample(3 * scale.particles, stream)
    model = model[model[:, 2] > -0.2][: scale.particles]  # the mode at the south pole is missed
    grid = grid_of(y, geometry="sphere", side=19)
    panels = []
    for name in ("kl_qp", "mixed"):
        result = drift(
            grid, positives=y, negatives=model, kernel=VonMisesFisher(0.3**-2), divergence=name, max_step=None
        )
        panels.append((name, grid, result.velocity, result.log_ratio.reshape(-1)))
    save_picture(picture_of_field(panels, y, model=model, geometry="sphere"), path)
    return {"longest_velocity": {title: float(velocity.norm(dim=1).max()) for title, _, velocity, _ in panels}}


def _particles_on_sphere(path: Path, scale: Scale) -> Figures:
    data, stream = SphereMixture(), seeded(0, "sphere")
    y = data.sample(scale.points, stream)
    start = latents(scale.particles, dimension=3, geometry="sphere", generator=stream)
    kernel = VonMisesFisher(tuple(h**-2 for h in BANDWIDTHS))
    ways = {name: _flow(start, y, scale, kernel, name) for name in ("kl_qp", "kl_pq", "mixed")}
    save_picture(picture_of_evolution(ways, _moments(scale), y, geometry="sphere"), path)
    return {name: _count(way[-1], data) for name, way in ways.items()}


def _flow(start: Tensor, y: Tensor, scale: Scale, kernel: Kernel, divergence: str) -> list[Tensor]:
    """Positions at the moments."""
    way = flow_particles(
        start,
        y,
        steps=scale.steps,
        divergence=divergence,
        kernel=kernel,
        step_size=0.5,
        snapshots=scale.steps + 1,
        self_terms="leave_one_out",
    )
    return [way[step] for step in _moments(scale)]


def _moments(scale: Scale) -> list[int]:
    """The start, and steps whose number grows by one factor: most happens early."""
    return [0, *(round(scale.steps ** (k / (MOMENTS - 1))) for k in range(1, MOMENTS))]


def _count(points: Tensor, data: Toy | SphereMixture) -> dict[str, float]:
    """Covered modes, the share of points within none of them, and the largest mode in fair shares."""
    assert data.modes is not None
    shares = mode_shares(points, data.modes, geometry=data.geometry)
    covered = mode_coverage(points, data.modes, geometry=data.geometry) * len(shares)
    return {
        "covered": round(covered, 6),
        "between": 1 - float(shares.sum()),
        "largest": float(shares.max()) * len(shares),
    }


def _read(file: Path, scale: Scale) -> Figures:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        made_at, figures = found["scale"], found["figures"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file}: is damaged: remove it") from error
    if made_at != asdict(scale):
        raise ValueError(f"{file}: was made at another scale ({made_at}): give another --out")
    return dict(figures)


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


_TEXTS = {
    "divergences-field": (
        "Divergences: velocity fields",
        "The data are eight Gaussians (grey), the model (red) is one wide Gaussian off their centre. One Gaussian "
        "kernel, h = 0.3; arrows by the root of their length, red where the data exceed the model.",
        "Velocity of each divergence's flow, in units of the mean shift",
    ),
    "divergences-particles": (
        "Divergences: particles",
        "The same start for all, the bandwidths 0.1, 0.3 and 0.8 together.",
        "Particles (blue) over the data (grey)",
    ),
    "kernels-field": (
        "Kernels: velocity fields of KL(q‖p)",
        "The same clouds, one length scale of 0.3.",
        "Velocity by kernel, in units of the mean shift",
    ),
    "kernels-particles": (
        "Kernels: particles of KL(q‖p)",
        "The same start for all, the length scales 0.1, 0.3 and 0.8 together.",
        "Particles (blue) over the data (grey)",
    ),
    "modes": (
        "The mixed divergence against lost and blurred modes",
        "Flows that start within one mode show which modes are found, flows that start from a wide cloud what is left "
        "between them. A mode is covered if it has at least half of its fair share within 3σ; mean ± standard "
        "deviation over the seeds.",
        "The flows of seed 0",
    ),
    "sphere-field": (
        "The sphere: velocity fields",
        "Six von Mises–Fisher components; the model (red) misses the one at the south pole. Kernel: von Mises–Fisher, "
        "κ = 1/0.3².",
        "Riemannian velocity on a Mollweide map",
    ),
    "sphere-particles": (
        "The sphere: particles",
        "From the uniform distribution, by the exponential map.",
        "Particles (blue) over the data (grey)",
    ),
}
