"""How far samples are from the data, each figure beside its floor: the same figure between two real draws."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from papertrio_shared.progress import progress
from papertrio_shared.seed import generator as seeded
from scipy.spatial import cKDTree
from torch import Tensor

from .data import Distribution, Geometry, Modes

W2_POINTS, SLICED_POINTS, SUPPORT_POINTS = 2_000, 50_000, 20_000


class Figure(NamedTuple):
    """A figure of the samples and the one that independent real points have in their place."""

    value: float
    floor: float

    @property
    def ratio(self) -> float:
        """Value over floor."""
        return self.value / self.floor if self.floor else math.nan


@dataclass(frozen=True)
class Evaluation:
    """The figures of one generator.

    Attributes:
        w2: Wasserstein distance of 2,000 samples to 2,000 held-out points (of all counts: as many as there are), mean
            over `draws`.
        sliced_w2: Sliced Wasserstein distance of 50,000 to 50,000.
        off_support: Share of the samples off the data's support; real points have about 0.01.
        coverage: Share of the modes that hold at least half of their fair share; None where no modes are known.
        high_quality: Share of the samples within 3σ of a mode; None where no modes are known.
        draws: Over how many pairs of draws `w2` and its floor were averaged.
    """

    w2: Figure
    sliced_w2: Figure
    off_support: Figure
    coverage: Figure | None
    high_quality: Figure | None
    draws: int

    def rows(self) -> list[tuple[str, float, float]]:
        """Name, value and floor of each figure that exists."""
        names = {
            "W₂": self.w2,
            "sliced W₂": self.sliced_w2,
            "off-support share": self.off_support,
            "mode coverage": self.coverage,
            "high-quality share": self.high_quality,
        }
        return [(name, *figure) for name, figure in names.items() if figure is not None]

    def to_dict(self) -> dict[str, object]:
        """What JSON can hold: for each figure its value and floor."""
        figures = {"w2": self.w2, "sliced_w2": self.sliced_w2, "off_support": self.off_support}
        figures |= {"coverage": self.coverage, "high_quality": self.high_quality}  # type: ignore[dict-item]
        named = {name: figure._asdict() for name, figure in figures.items() if figure is not None}
        return {**named, "w2_over_floor": self.w2.ratio, "draws": self.draws}


def wasserstein2(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], *, geometry: Geometry = "euclidean") -> float:
    r"""Wasserstein-2 distance of two clouds of equal weights, solved exactly.

    $W_2^2 = \min_\pi \sum_{ij} \pi_{ij}\, d(x_i, y_j)^2$, by the network simplex of POT; on the sphere d is the angle.

    Args:
        x, y: The clouds.
        geometry: Which distance.

    Returns:
        The distance, not its square.

    Raises:
        ValueError: If a cloud is empty, holds a value that is not finite, or they differ in dimension.

    Example:
        >>> x = torch.zeros(3, 2)
        >>> round(wasserstein2(x, x + torch.tensor([3.0, 4.0])), 6)
        5.0
    """
    import ot  # looks for every array library it knows, which takes a second

    x, y = _clouds(x, y)
    cost = _distances(x, y, geometry).square().numpy()
    return math.sqrt(max(float(ot.emd2([], [], cost, numItermax=10_000_000)), 0.0))


def sliced_wasserstein2(
    x: Float[Tensor, "n d"], y: Float[Tensor, "n d"], *, projections: int = 128, seed: int = 0
) -> float:
    r"""Sliced Wasserstein-2 distance of two clouds of equal size.

    $SW_2^2 = \mathrm{mean}_\theta\, W_2^2(\theta^\top x, \theta^\top y)$ over random unit vectors θ
    (Bonneel et al. 2015); each one-dimensional distance is a matter of sorting.

    Args:
        x, y: The clouds.
        projections: Number of directions.
        seed: Of the directions.

    Returns:
        The distance, not its square.

    Raises:
        ValueError: If the clouds differ in shape, are empty or hold a value that is not finite.

    Example:
        >>> x = torch.randn(50, 1)
        >>> round(sliced_wasserstein2(x, x + 2.0), 5)
        2.0
    """
    if x.shape != y.shape:
        raise ValueError(f"x and y have the shapes {tuple(x.shape)} and {tuple(y.shape)}: give clouds of one shape")
    x, y = _clouds(x, y)
    directions = torch.randn(x.shape[1], projections, generator=seeded(seed, "directions"), dtype=x.dtype)
    directions = directions / directions.norm(dim=0)
    difference = np.sort((directions.T @ x.T).numpy()) - np.sort((directions.T @ y.T).numpy())
    return math.sqrt(float(np.mean(np.square(difference, dtype=np.float64))))


def mode_shares(
    samples: Float[Tensor, "n d"], modes: Modes, *, geometry: Geometry = "euclidean"
) -> Float[Tensor, " modes"]:
    """Share of the samples that lie within 3σ of each mode.

    Args:
        samples: The samples, standardised.
        modes: Centres and radius.
        geometry: Which distance.

    Returns:
        One share for each mode; what is missing to one lies within no mode.

    Example:
        >>> mode_shares(torch.tensor([[0.0], [0.1], [5.0], [9.0]]), Modes(torch.tensor([[0.0], [5.0]]), 0.5))
        tensor([0.5000, 0.2500])
    """
    distance, nearest = _distances(samples, modes.centres, geometry).min(1)
    inside = nearest[distance <= modes.radius]
    return torch.bincount(inside, minlength=len(modes.centres)) / len(samples)


def mode_coverage(samples: Float[Tensor, "n d"], modes: Modes, *, geometry: Geometry = "euclidean") -> float:
    """Share of the modes that hold at least half of their fair share of the samples within 3σ.

    Args:
        samples: The samples, standardised.
        modes: Centres and radius.
        geometry: Which distance.

    Returns:
        From 0 to 1.

    Example:
        >>> mode_coverage(torch.zeros(4, 1), Modes(torch.tensor([[0.0], [5.0]]), 0.5))
        0.5
    """
    shares = mode_shares(samples, modes, geometry=geometry)
    return float((shares >= 0.5 / len(shares)).float().mean())


class Support:
    """Where the data is: within the distance that 99 % of real points keep to the nearest of 20,000 others.

    Args:
        reference: Real points.
        probe: Further real points, independent of them.

    Example:
        >>> support = Support(torch.linspace(0, 1, 100)[:, None], torch.linspace(0, 1, 333)[:, None])
        >>> support.share_off(torch.tensor([[0.52], [2.0]]))
        0.5
    """

    def __init__(self, reference: Float[Tensor, "n d"], probe: Float[Tensor, "m d"]) -> None:
        self._tree = cKDTree(reference.numpy())
        self.threshold = float(np.quantile(self._nearest(probe), 0.99))

    def _nearest(self, points: Tensor) -> np.ndarray:
        return self._tree.query(points.numpy())[0]

    def share_off(self, samples: Float[Tensor, "n d"]) -> float:
        """Share of the samples farther from the reference than the threshold; ideally 0.01."""
        return float((self._nearest(samples) > self.threshold).mean())


def evaluate(
    draw: Callable[[int, int], Float[Tensor, "n d"]],
    distribution: Distribution,
    *,
    draws: int = 25,
    seed: int = 0,
    limit: int | None = None,
) -> Evaluation:
    """Measure samples against held-out points.

    Args:
        draw: Called with a count and a seed, gives that many standardised samples.
        distribution: The data.
        draws: Pairs of draws over which W₂ and its floor are averaged; one alone has a deviation of 8 to 30 %.
        seed: Of all draws.
        limit: The largest count to ask of `draw`, where it has no more; None for no limit.

    Returns:
        The figures.

    Raises:
        ValueError: If `draws` is below one, or the samples are not finite.

    Example:
        >>> from gradient_flow_drifting.data import Toy
        >>> toy = Toy("8gaussians")
        >>> real = lambda count, seed: toy.sample(count, seeded(seed, "example"))
        >>> evaluate(real, toy, draws=1, limit=500).coverage
        Figure(value=1.0, floor=1.0)
    """
    if draws < 1:
        raise ValueError(f"draws = {draws}: average over at least one pair")
    (reference, floor), geometry, modes = distribution.held_out(), distribution.geometry, distribution.modes
    real_stream = seeded(seed, "evaluation")
    there_are = [each for each in (limit, reference.size, floor.size) if each is not None]

    def real(count: int, source: Distribution = reference) -> Tensor:
        return source.sample(count, real_stream)

    w2_points, sliced_points, support_points = (
        min([count, *there_are]) for count in (W2_POINTS, SLICED_POINTS, SUPPORT_POINTS)
    )
    values, floors = [], []
    for i in progress(range(draws), "measure"):
        values.append(wasserstein2(draw(w2_points, seed + 1 + i), real(w2_points), geometry=geometry))
        floors.append(wasserstein2(real(w2_points, floor), real(w2_points), geometry=geometry))
    samples, others = draw(sliced_points, seed), real(sliced_points, floor)
    sliced = Figure(sliced_wasserstein2(samples, real(sliced_points)), sliced_wasserstein2(others, real(sliced_points)))
    support = Support(real(support_points), real(support_points, floor))
    coverage = quality = None
    if modes is not None:
        of = [mode_shares(cloud, modes, geometry=geometry) for cloud in (samples, others)]
        coverage = Figure(*(mode_coverage(cloud, modes, geometry=geometry) for cloud in (samples, others)))
        quality = Figure(*(float(shares.sum()) for shares in of))
    off = Figure(support.share_off(samples), support.share_off(others))
    return Evaluation(Figure(float(np.mean(values)), float(np.mean(floors))), sliced, off, coverage, quality, draws)


def evaluate_cloud(
    points: Float[Tensor, "n d"], distribution: Distribution, *, draws: int = 5, seed: int = 0
) -> Evaluation:
    """Measure a cloud that cannot be drawn anew, particles say; each figure takes what points there are.

    Args:
        points: The cloud, standardised.
        distribution: The data.
        draws: Pairs of draws behind W₂ and its floor; those of the cloud are subsets of it.
        seed: Of all draws.

    Returns:
        The figures.

    Raises:
        ValueError: If `draws` is below one, or the cloud is empty or not finite.

    Example:
        >>> from gradient_flow_drifting.data import Toy
        >>> toy = Toy("moons")
        >>> real = toy.sample(300, torch.Generator().manual_seed(0))
        >>> 0.5 < evaluate_cloud(real, toy).w2.ratio < 2
        True
    """

    def draw(count: int, seed: int) -> Tensor:
        return points[torch.randperm(len(points), generator=seeded(seed, "subset"))[:count]]

    return evaluate(draw, distribution, draws=draws, seed=seed, limit=len(points))


def _clouds(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    for name, cloud in (("x", x), ("y", y)):
        if len(cloud) == 0 or not bool(cloud.isfinite().all()):
            raise ValueError(f"{name}: the cloud is empty or holds a value that is not finite")
    if x.shape[1:] != y.shape[1:]:
        raise ValueError(f"y: {x.shape[1]} coordinates are needed as in x, found {y.shape[1]}")
    return x.detach(), y.detach()


def _distances(x: Tensor, y: Tensor, geometry: Geometry) -> Tensor:
    """In float64: a squared distance is a difference of large numbers."""
    chord = torch.cdist(x.double(), y.double(), compute_mode="donot_use_mm_for_euclid_dist")
    return 2 * torch.asin((chord / 2).clamp(max=1)) if geometry == "sphere" else chord
