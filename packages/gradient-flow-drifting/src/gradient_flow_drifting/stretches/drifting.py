"""Third stretch: the network's own samples drift."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from ..baselines import BiSoftmax, SinkhornDrift, SlicedWasserstein
from ..checks import require_choices, require_not_negative, require_positive
from ..devices import gather, require_share, share
from ..fields import KernelField
from .stretch import TrainingState, finite


@dataclass(frozen=True)
class Drifting:
    """The network's samples follow a field.

    Attributes:
        steps: Zero leaves the stretch out.
        batch: Samples that are moved in a step.
        positives: Real points of a step.
        learning_rate: As in `Regression`.
        field: What moves them.
        negatives: `"same"`: the batch itself, each sample left out of its own field; `"cross_fit"`: a second,
            independent batch of `positives` samples.
        step_size: η, the share of the velocity taken.
    """

    label: ClassVar[str] = "drifting"
    moves: ClassVar[Literal["particles", "network"]] = "network"

    steps: int = 2000
    batch: int = 256
    positives: int = 512
    learning_rate: float = 1e-2
    field: KernelField | BiSoftmax | SinkhornDrift | SlicedWasserstein = field(default_factory=KernelField)
    negatives: Literal["same", "cross_fit"] = "cross_fit"
    step_size: float = 1.0

    def __post_init__(self) -> None:
        require_choices(self, "objective")
        require_positive(self, "objective", "batch", "positives", "learning_rate", "step_size")
        require_not_negative(self, "objective", "steps")
        if self.negatives == "same" and self.batch < 2:
            raise ValueError(f"objective.batch = {self.batch}: leaving a sample out of its own field needs at least 2")

    def build(self, state: TrainingState) -> "DriftingStretch":
        """The stretch."""
        return DriftingStretch(self, state)


class DriftingStretch:
    r"""Each step lowers $\|x - \mathrm{sg}[\exp_x(\eta v)]\|^2$, geodesic on a manifold (Deng et al. 2026)."""

    def __init__(self, config: Drifting, state: TrainingState) -> None:
        self.config, self.state = config, state
        require_share(state.fabric, objective__batch=config.batch, objective__positives=config.positives)

    def step(self, k: int) -> float:
        """One step towards where the samples drift; the loss is η² times the mean square of their speed."""
        config, state = self.config, self.state

        def loss() -> Tensor:
            samples = state.model(share(state.fabric, state.draw_latents(config.batch))).float()
            everyones = finite("samples", gather(state.fabric, samples))
            with torch.no_grad():
                cross_fit, negatives = config.negatives == "cross_fit", everyones
                if cross_fit:
                    more = state.model(share(state.fabric, state.draw_latents(config.positives))).float()
                    negatives = gather(state.fabric, more)
                velocity = config.field.velocity(
                    everyones,
                    positives=state.draw_real(config.positives),
                    negatives=negatives,
                    geometry=state.data.geometry,
                    self_terms="keep" if cross_fit else "leave_one_out",
                )
                target = state.space.expmap(samples, config.step_size * share(state.fabric, velocity))
            return state.space.dist(samples, target).square().mean()

        return state.descend(loss, k, steps=config.steps, learning_rate=config.learning_rate)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the network is the training state's."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to go on from."""
