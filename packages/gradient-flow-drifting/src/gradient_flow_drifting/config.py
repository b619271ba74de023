"""What a training run is: data, network, and the three stretches of its way."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from .data import ArrayFile, SphereMixture, Toy
from .divergences import Divergence, mixed, resolve_divergence
from .drift import check_limits
from .models import GeneratorConfig

Weights = tuple[tuple[str, float], ...]


def divergence_of(weights: Weights) -> Divergence:
    """The divergence of names with their weights.

    Args:
        weights: Name and weight of each divergence; one name of weight one is that divergence itself.

    Returns:
        The divergence.

    Raises:
        ValueError: If a name is unknown or a weight is not positive.

    Example:
        >>> divergence_of((("kl_pq", 1.0), ("chi2_qp", 0.5))) == mixed()
        True
    """
    if len(weights) == 1 and weights[0][1] == 1:
        return resolve_divergence(weights[0][0])
    return mixed(dict(weights))


@dataclass(frozen=True)
class ParticleFlow:
    """First stretch: particles, started at latents, follow the field to the data; no network is moved.

    The bandwidth falls geometrically from `bandwidth_start` to `bandwidth_end` over the first four fifths of the
    steps: the coarse scale moves mass between modes, the fine one settles it. Over the last fifth the step shrinks.

    Attributes:
        particles: Their number.
        pool: How many of them, chosen anew each time, share one field; as many real points are drawn for it.
        steps: Zero leaves the stretch out.
        step_size: Share of the mean shift taken in a step.
        bandwidth_start, bandwidth_end: In the units of the standardised data; on the sphere in radians.
        divergence: Names of divergences with their weights.
        max_step: Bound of the velocity's length; None for no bound, which only `kl_qp` can do without.
    """

    particles: int = 8192
    pool: int = 2048
    steps: int = 150
    step_size: float = 0.5
    bandwidth_start: float = 1.0
    bandwidth_end: float = 0.05
    divergence: Weights = (("kl_qp", 1.0),)
    max_step: float | Literal["bandwidth"] | None = None

    def __post_init__(self) -> None:
        _require_positive(self, "flow", "particles", "pool", "step_size", "bandwidth_start", "bandwidth_end")
        _require_not_negative(self, "flow", "steps")
        divergence_of(self.divergence)
        check_limits(None, self.max_step)
        if self.pool < 2:
            raise ValueError("flow.pool = 1: leaving a particle out of its own field needs at least 2")
        if self.pool > self.particles:
            raise ValueError(f"flow.pool = {self.pool} exceeds flow.particles = {self.particles}: lower it")


@dataclass(frozen=True)
class Regression:
    """Second stretch: the network learns to take each latent where its particle went.

    Attributes:
        steps: Zero leaves the stretch out.
        batch: Pairs of a step.
        learning_rate: The highest, after a short rise; then it falls as a half cosine.
    """

    steps: int = 1000
    batch: int = 512
    learning_rate: float = 1e-2

    def __post_init__(self) -> None:
        _require_positive(self, "regression", "batch", "learning_rate")
        _require_not_negative(self, "regression", "steps")


@dataclass(frozen=True)
class Drifting:
    """Third stretch: the network's own samples drift.

    Attributes:
        steps: Zero leaves the stretch out.
        batch: Samples that are moved in a step.
        positives: Real points of a step.
        learning_rate: As in `Regression`.
        bandwidths: Scales whose velocities are averaged.
        divergence: Names of divergences with their weights.
        negatives: `"same"`: the batch itself, each sample left out of its own field; `"cross_fit"`: a second,
            independent batch of `positives` samples.
        step_size: η, the share of the velocity taken.
        log_weight_limit: Bound of each divergence's log weight; None for no bound.
        max_step: Bound of the velocity's length (`"bandwidth"`: the largest of them); None for no bound.
    """

    steps: int = 2000
    batch: int = 256
    positives: int = 512
    learning_rate: float = 1e-2
    bandwidths: tuple[float, ...] = (0.1, 0.2, 0.4)
    divergence: Weights = (("kl_qp", 1.0),)
    negatives: Literal["same", "cross_fit"] = "cross_fit"
    step_size: float = 1.0
    log_weight_limit: float | None = 3.0
    max_step: float | Literal["bandwidth"] | None = None

    def __post_init__(self) -> None:
        _require_positive(self, "drifting", "batch", "positives", "learning_rate", "step_size")
        _require_not_negative(self, "drifting", "steps")
        divergence_of(self.divergence)
        check_limits(self.log_weight_limit, self.max_step)
        if not self.bandwidths or not all(math.isfinite(h) and h > 0 for h in self.bandwidths):
            raise ValueError(f"drifting.bandwidths = {self.bandwidths}: give at least one, all positive")
        if self.negatives == "same" and self.batch < 2:
            raise ValueError(f"drifting.batch = {self.batch}: leaving a sample out of its own field needs at least 2")


@dataclass(frozen=True)
class TrainConfig:
    """A run.

    Attributes:
        data: What to learn.
        generator: Shape of the network.
        flow, regression, drifting: The three stretches, in this order.
        ema_decay: Of the average of the weights that becomes the generator.
        seed: Of everything that is drawn.
        checkpoint_every: Steps between two checkpoints.
        log_every: Steps between two rows of diagnostics.
        frames: Pictures of the animation.
        limit: A diagnostic above it, or not finite, ends the run.
        draws: Pairs of draws behind W₂ and its floor.
        device: `"auto"` takes a CUDA device where there is one.
        threads: Of the CPU. A network of this size gains next to nothing from more than one, loses much where other
            programs run, and its bits depend on their number.
        precision: As Lightning Fabric spells it; the field itself is always computed in float32.
    """

    data: Toy | SphereMixture | ArrayFile = field(default_factory=Toy)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    flow: ParticleFlow = field(default_factory=ParticleFlow)
    regression: Regression = field(default_factory=Regression)
    drifting: Drifting = field(default_factory=Drifting)
    ema_decay: float = 0.99
    seed: int = 0
    checkpoint_every: int = 500
    log_every: int = 50
    frames: int = 30
    limit: float = 1e4
    draws: int = 5
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = 1
    precision: Literal["32-true", "bf16-mixed"] = "32-true"

    def __post_init__(self) -> None:
        _require_positive(self, "", "checkpoint_every", "log_every", "frames", "limit", "draws", "threads")
        if self.total_steps < 1:
            raise ValueError("the run has no step: give flow, regression or drifting at least one")
        if self.regression.steps and not self.flow.steps:
            raise ValueError("regression needs the pairs of a particle flow: set flow.steps, or regression.steps to 0")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay = {self.ema_decay}: give a number in [0, 1)")

    @property
    def total_steps(self) -> int:
        """Of the three stretches together."""
        return self.flow.steps + self.regression.steps + self.drifting.steps


def _require_positive(config: Any, prefix: str, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{prefix}.{name} = {value}: give a positive number".lstrip("."))


def _require_not_negative(config: Any, prefix: str, *names: str) -> None:
    for name in names:
        if getattr(config, name) < 0:
            raise ValueError(f"{prefix}.{name} = {getattr(config, name)}: give zero or more")
