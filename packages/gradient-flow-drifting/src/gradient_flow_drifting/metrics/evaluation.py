"""All figures of a generator, each beside its floor: the same figure between two real draws."""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from papertrio_shared.progress import progress
from papertrio_shared.seed import generator as seeded
from torch import Tensor

from ..checks import require_whole
from ..data import Distribution
from .distances import mmd2, sliced_wasserstein2, wasserstein2
from .features import density_coverage, frechet_distance, kernel_distance, precision_recall
from .modes import mode_coverage, mode_shares
from .support import Support

W2_POINTS, SLICED_POINTS, SUPPORT_POINTS, FEATURE_POINTS = 2_000, 50_000, 20_000, 5_000
Encoder = Callable[[Float[Tensor, "n d"]], Float[Tensor, "n features"]]


class Figure(NamedTuple):
    """A figure of the samples and the one that independent real points have in their place."""

    value: float
    floor: float

    @property
    def ratio(self) -> float:
        """Value over floor."""
        return self.value / self.floor if self.floor else math.nan


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The figures of one generator; of all counts of points it is as many as there are.

    Attributes:
        w2: Wasserstein distance of 2,000 samples to 2,000 held-out points, mean over `draws`.
        sliced_w2: Sliced Wasserstein distance of 50,000 to 50,000.
        mmd2: Squared maximum mean discrepancy of 2,000 to 2,000, multi-scale and without bias; None of single points.
        off_support: Share of the samples off the data's support; real points have about 0.01.
        missed: Share of real points off the samples' support; real samples have about 0.01.
        coverage: Share of the modes that hold at least half of their fair share; None where no modes are known.
        high_quality: Share of the samples within 3σ of a mode; None where no modes are known.
        precision, recall, density, neighbour_coverage: Of 5,000 samples by the neighbourhoods of 5,000 held-out
            points in the space of features; None where no features are asked for
            or points are fewer than six.
        frechet, kernel: Fréchet and kernel distance of these features; None likewise.
        draws: Over how many pairs of draws `w2` and its floor were averaged.
    """

    w2: Figure
    sliced_w2: Figure
    mmd2: Figure | None = None
    off_support: Figure
    missed: Figure
    coverage: Figure | None = None
    high_quality: Figure | None = None
    precision: Figure | None = None
    recall: Figure | None = None
    density: Figure | None = None
    neighbour_coverage: Figure | None = None
    frechet: Figure | None = None
    kernel: Figure | None = None
    draws: int

    NAMES: ClassVar[dict[str, str]] = {
        "w2": "W₂",
        "sliced_w2": "sliced W₂",
        "mmd2": "MMD²",
        "off_support": "off-support share",
        "missed": "missed share",
        "coverage": "mode coverage",
        "high_quality": "high-quality share",
        "precision": "precision",
        "recall": "recall",
        "density": "density",
        "neighbour_coverage": "coverage",
        "frechet": "Fréchet distance",
        "kernel": "kernel distance",
    }

    def figures(self) -> dict[str, Figure]:
        """Each figure that exists, by the name of its attribute."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Figure)}

    def rows(self) -> list[tuple[str, float, float]]:
        """Name, value and floor of each figure that exists."""
        return [(self.NAMES[name], *figure) for name, figure in self.figures().items()]

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold: for each figure its value and floor."""
        named = {name: figure._asdict() for name, figure in self.figures().items()}
        return {**named, "w2_over_floor": self.w2.ratio, "draws": self.draws}


def evaluate(
    draw: Callable[[int, int], Float[Tensor, "n d"]],
    distribution: Distribution,
    *,
    draws: int = 25,
    seed: int = 0,
    limit: int | None = None,
    encoder: Encoder | None = None,
) -> Evaluation:
    """Measure samples against held-out points.

    Args:
        draw: Called with a count and a seed, gives that many standardised samples.
        distribution: The data.
        draws: Pairs of draws over which W₂ and its floor are averaged; one alone has a deviation of 8 to 30 %.
        seed: Of all draws.
        limit: The largest count to ask of `draw`, where it has no more; None for no limit.
        encoder: Takes standardised points to features, for the figures of features. Of images without an encoder the
            pixels are the features; of other data these figures are left out without one.

    Returns:
        The figures.

    Raises:
        ValueError: If `draws` is below one, the samples are not finite or there are too few points to measure with.

    Example:
        >>> from gradient_flow_drifting.data import Toy
        >>> toy = Toy("8gaussians")
        >>> real = lambda count, seed: toy.sample(count, seeded(seed, "example"))
        >>> evaluate(real, toy, draws=1, limit=500).coverage
        Figure(value=1.0, floor=1.0)
    """
    require_whole("draws", draws)
    (reference, other), geometry, modes = distribution.held_out(), distribution.geometry, distribution.modes
    stream = seeded(seed, "evaluation")
    there_are = [each for each in (limit, reference.size, other.size) if each is not None]

    def at_most(count: int) -> int:
        return min([count, *there_are])

    def real(count: int, source: Distribution = reference) -> Tensor:
        return source.sample(count, stream)

    count = at_most(W2_POINTS)
    pairs = [
        pair
        for i in range(draws)
        for pair in ((draw(count, seed + 1 + i), real(count)), (real(count, other), real(count)))
    ]
    with ThreadPoolExecutor() as pool:  # POT's solver lets the others run
        w2 = list(progress(pool.map(lambda pair: wasserstein2(*pair, geometry=geometry), pairs), "measure", len(pairs)))
    figures = {"w2": Figure(float(np.mean(w2[::2])), float(np.mean(w2[1::2])))}
    count = at_most(SLICED_POINTS)
    both = draw(count, seed), real(count, other)
    figures["sliced_w2"] = Figure(*(sliced_wasserstein2(each, real(count), geometry=geometry) for each in both))
    count = at_most(W2_POINTS)
    if count > 1:
        figures["mmd2"] = Figure(*(mmd2(each[:count], real(count), geometry=geometry) for each in both))
    count = at_most(SUPPORT_POINTS)
    support = Support(real(count), real(count, other), geometry=geometry)
    figures["off_support"] = Figure(*map(support.share_off, both))
    figures["missed"] = Figure(*(support.share_missed(each[:count]) for each in both))
    if modes is not None:
        figures["coverage"] = Figure(*(mode_coverage(each, modes, geometry=geometry) for each in both))
        figures["high_quality"] = Figure(*(float(mode_shares(each, modes, geometry=geometry).sum()) for each in both))
    count = at_most(FEATURE_POINTS)
    if (encoder is not None or distribution.image_shape is not None) and count > 5:
        clouds = [
            each if encoder is None else encoder(each) for each in (*(each[:count] for each in both), real(count))
        ]
        figures |= feature_figures(*clouds)
    return Evaluation(draws=draws, **figures)


def feature_figures(
    samples: Float[Tensor, "n d"], floor: Float[Tensor, "n d"], real: Float[Tensor, "m d"]
) -> dict[str, Figure]:
    """The figures of features by the names that `Evaluation` has for them.

    Args:
        samples: Features of samples.
        floor: Of as many real points.
        real: Of other real points, which both are measured against.

    Returns:
        Precision, recall, density, coverage, Fréchet and kernel distance.

    Raises:
        ValueError: If there are fewer than six of each, or a feature is not finite.

    Example:
        >>> x, y, z = torch.randn(3, 300, 4, generator=torch.Generator().manual_seed(0))
        >>> feature_figures(x + 9, y, z)["precision"].value
        0.0
    """
    both = samples, floor
    precisions, recalls = zip(*(precision_recall(each, real) for each in both), strict=True)
    densities, coverages = zip(*(density_coverage(each, real) for each in both), strict=True)
    return {
        "precision": Figure(*precisions),
        "recall": Figure(*recalls),
        "density": Figure(*densities),
        "neighbour_coverage": Figure(*coverages),
        "frechet": Figure(*(frechet_distance(each, real) for each in both)),
        "kernel": Figure(*(kernel_distance(each, real) for each in both)),
    }


def evaluate_cloud(
    points: Float[Tensor, "n d"],
    distribution: Distribution,
    *,
    draws: int = 5,
    seed: int = 0,
    encoder: Encoder | None = None,
) -> Evaluation:
    """Measure a cloud that cannot be drawn anew, particles say; each figure takes what points there are.

    Args:
        points: The cloud, standardised.
        distribution: The data.
        draws: Pairs of draws behind W₂ and its floor; those of the cloud are subsets of it.
        seed: Of all draws.
        encoder: As of `evaluate`.

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

    return evaluate(draw, distribution, draws=draws, seed=seed, limit=len(points), encoder=encoder)
