"""What a training run is: a profile, the curves it learns from, and how long each stage lasts."""

from dataclasses import dataclass, field
from typing import Literal

from .data.clusters import MAX_ATOMS, MIN_ATOMS
from .data.curves import TYPES
from .profiles import ProfileConfig, Robust
from .training_set import Origin


@dataclass(frozen=True)
class CurveSource(Origin):
    """Which curves are learnt from.

    Attributes:
        distinct: Number of distinct curves, which are made once and kept.
        known: Share of what is drawn that is of DeepStruc's clusters and blocks of hcp, where the library has others:
            they are few, and what is met too often is learnt by heart.
        rmin: Greatest r that a curve may begin at, Å; where it does is drawn evenly at each step.
        cut: Share of the curves that end earlier than they were made to, drawn anew at each step.
    """

    distinct: int = 200_000
    known: float = 0.1
    rmin: float = 1.8
    cut: float = 0.3

    def __post_init__(self) -> None:
        if not MIN_ATOMS <= self.max_atoms <= MAX_ATOMS:
            raise ValueError(f"data.max_atoms = {self.max_atoms}: give {MIN_ATOMS} to {MAX_ATOMS}")
        for name in ("known", "cut"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"data.{name} = {getattr(self, name):g}: give a share, 0 to 1")
        if self.distinct < 1 or self.rmin < 0:
            raise ValueError(
                f"data.distinct = {self.distinct}, rmin = {self.rmin:g}: give one curve at least and no negative r"
            )


@dataclass(frozen=True)
class TrainConfig:
    """A run.

    Attributes:
        profile: What is trained.
        data: What it learns from.
        steps: Of each stage of the profile.
        batch: Curves in a step.
        learning_rate: Of AdamW, reached after `warmup` steps of a stage and falling to zero along a cosine.
        warmup: Steps of the rise.
        weight_decay: Of AdamW.
        clip: Largest norm of a gradient; a greater one is shortened.
        average_decay: Of the average of the weights, which is what a run gives.
        seed: Of everything that is drawn.
        validation: Curves that no step has seen, behind the figures of `log_every`.
        log_every: Steps between two rows of figures.
        checkpoint_every: Steps between two checkpoints.
        limit: A loss above it, or not finite, ends the run.
        device: `"auto"` takes a CUDA device where there is one.
        devices: How many share each batch, a process for each.
        threads: Of the CPU, for each process; the bits of a run depend on their number.
        precision: As Lightning Fabric spells it.
    """

    profile: ProfileConfig = field(default_factory=Robust)
    data: CurveSource = field(default_factory=CurveSource)
    steps: tuple[int, ...] = (40_000, 60_000, 60_000)
    batch: int = 128
    learning_rate: float = 1e-3
    warmup: int = 200
    weight_decay: float = 0.01
    clip: float = 5.0
    average_decay: float = 0.999
    seed: int = 0
    validation: int = 512
    log_every: int = 500
    checkpoint_every: int = 1000
    limit: float = 1e6
    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = 1
    threads: int = 1
    precision: Literal["32-true", "bf16-mixed"] = "32-true"

    def __post_init__(self) -> None:
        for name in ("batch", "learning_rate", "clip", "log_every", "checkpoint_every", "limit", "devices", "threads"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} = {getattr(self, name)}: give a number above 0")
        for name in ("warmup", "weight_decay", "validation"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} = {getattr(self, name)}: give 0 or more")
        if not 0 <= self.average_decay < 1:
            raise ValueError(f"average_decay = {self.average_decay}: give a number in [0, 1)")
        if self.batch % self.devices:
            raise ValueError(f"batch = {self.batch}: give a multiple of the {self.devices} devices that share it")
        stages = self.profile.stages
        if len(self.steps) != len(stages) or min(self.steps) < 0 or not any(self.steps):
            given = " ".join(map(str, self.steps))
            raise ValueError(
                f"steps = {given}: give a number for each stage ({', '.join(stages)}), one of them above 0"
            )
        if self.profile.types != TYPES:
            raise ValueError(f"profile.types = {' '.join(self.profile.types)}: the library has {' '.join(TYPES)}")
        if self.data.max_atoms > self.profile.atoms:
            raise ValueError(
                f"data.max_atoms = {self.data.max_atoms}: the profile has {self.profile.atoms} places; lower it, or "
                "raise profile.atoms"
            )

    @property
    def total_steps(self) -> int:
        """Of the stages together."""
        return sum(self.steps)

    def place(self, step: int) -> tuple[str, int, int]:
        """Stage that a step belongs to, the step's number within it, and the stage's length."""
        for stage, length in zip(self.profile.stages, self.steps, strict=True):
            if step < length:
                return stage, step, length
            step -= length
        raise IndexError("the run has no such step")
