"""What a training run is: data, network, and the three stretches of its way."""

import math
from dataclasses import dataclass, field
from typing import Literal

from .baselines.ot_cfm import FlowShape, OtCfm
from .checks import require_choices, require_positive
from .data import Source, Toy
from .fields import KernelField
from .models import AnyGenerator, GeneratorConfig
from .stretches import Drifting, FeatureDrifting, ParticleFlow, Regression

SETTLING = Drifting(steps=600, batch=512, positives=1024, learning_rate=3e-4)  # after the regression: little is left
WATCHED_BANDWIDTHS = (0.1, 0.2, 0.4)
WATCHED_SHARES = (0.15, 0.3, 0.6)  # of the root of the number of coordinates


@dataclass(frozen=True)
class TrainConfig:
    """A run.

    Attributes:
        data: What to learn.
        generator: Shape of the network.
        flow, regression, objective: The three stretches, in this order: particles flow to the data, the network learns
            their way, its own samples follow the objective.
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
        devices: Of each machine; with several, each process makes its share of every batch. On a CPU: processes.
        num_nodes: Machines.
        strategy: As Lightning Fabric spells it, for several devices.
        shown: Latents of the animation.
        watched: Points behind a row of diagnostics.
        samples: How many a finished run writes.
    """

    data: Source = field(default_factory=Toy)
    generator: AnyGenerator = field(default_factory=GeneratorConfig)
    flow: ParticleFlow = field(default_factory=ParticleFlow)
    regression: Regression = field(default_factory=Regression)
    objective: Drifting | FeatureDrifting | OtCfm = SETTLING
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
    devices: int = 1
    num_nodes: int = 1
    strategy: Literal["ddp", "auto"] = "ddp"
    shown: int = 1000
    watched: int = 1024
    samples: int = 10_000

    def __post_init__(self) -> None:
        require_choices(self, "")
        require_choices(self.generator, "generator")  # models stand below the checks
        require_positive(self, "", "checkpoint_every", "log_every", "frames", "limit", "draws", "threads")
        require_positive(self, "", "devices", "num_nodes", "shown", "watched", "samples")
        if self.total_steps < 1:
            raise ValueError("the run has no step: give flow, regression or objective at least one")
        if self.regression.steps and not self.flow.steps:
            raise ValueError("regression needs the pairs of a particle flow: set flow.steps, or regression.steps to 0")
        if isinstance(self.objective, OtCfm) and (self.flow.steps or self.regression.steps):
            raise ValueError(
                "objective ot-cfm trains a velocity from the start: set flow.steps and regression.steps to 0"
            )
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay = {self.ema_decay}: give a number in [0, 1)")
        if not isinstance(self.generator, GeneratorConfig) and self.flow.steps:
            raise ValueError("a flow moves latents of the data's own space: set flow.steps to 0 for this generator")
        if isinstance(self.objective, OtCfm) and not isinstance(self.generator, GeneratorConfig):
            raise ValueError("objective ot-cfm trains a perceptron: take generator:generator-config")
        others = [each.label for each in self.stretches if not isinstance(each, FeatureDrifting)]
        if self.generator.condition != "none" and others:
            raise ValueError(
                f"generator.condition = {self.generator.condition}: {others[0]} knows no classes: set its steps to 0"
                " and take objective:feature-drifting"
            )

    @property
    def stretches(self) -> tuple[ParticleFlow | Regression | Drifting | FeatureDrifting | OtCfm, ...]:
        """Those that have steps, in their order."""
        return tuple(each for each in (self.flow, self.regression, self.objective) if each.steps)

    @property
    def total_steps(self) -> int:
        """Of the stretches together."""
        return sum(each.steps for each in self.stretches)

    @property
    def bandwidths(self) -> tuple[float, ...]:
        """Scales of the diagnostics: those of the field, where it has them; in a space of features, wide ones."""
        if isinstance(self.objective, FeatureDrifting):
            return tuple(share * math.sqrt(self.data.dimension) for share in WATCHED_SHARES)
        field = self.objective.field if isinstance(self.objective, Drifting) else None
        return field.bandwidths if isinstance(field, KernelField) else WATCHED_BANDWIDTHS

    @property
    def network(self) -> AnyGenerator:
        """Shape of the network that the objective trains: a one-step generator, or a velocity of the same widths."""
        return FlowShape(**vars(self.generator)) if isinstance(self.objective, OtCfm) else self.generator
