"""Second stretch: the network learns the particles' way."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from ..checks import require_not_negative, require_positive
from ..devices import require_share, share
from .stretch import TrainingState


@dataclass(frozen=True)
class Regression:
    """The network learns to take each latent where its particle went.

    Attributes:
        steps: Zero leaves the stretch out.
        batch: Pairs of a step.
        learning_rate: The highest, after a short rise; then it falls as a half cosine.
    """

    label: ClassVar[str] = "regression"
    moves: ClassVar[Literal["particles", "network"]] = "network"

    steps: int = 1000
    batch: int = 512
    learning_rate: float = 1e-2

    def __post_init__(self) -> None:
        require_positive(self, "regression", "batch", "learning_rate")
        require_not_negative(self, "regression", "steps")

    def build(self, state: TrainingState) -> "RegressionStretch":
        """The stretch."""
        return RegressionStretch(self, state)


class RegressionStretch:
    """Each step lowers the squared distance of the network's points to the particles of some latents."""

    def __init__(self, config: Regression, state: TrainingState) -> None:
        self.config, self.state = config, state
        require_share(state.fabric, regression__batch=config.batch)

    def step(self, k: int) -> float:
        """One step towards the particles; the loss is the mean squared distance."""
        config, state = self.config, self.state
        chosen = torch.randint(len(state.particles), (config.batch,), generator=state.streams["order"])
        chosen = share(state.fabric, chosen).to(state.fabric.device)
        latents, targets = state.latents[chosen], state.particles[chosen]

        def loss() -> Tensor:
            points = state.model(latents).float()
            if state.data.geometry == "euclidean":
                return (points - targets).square().sum(1).mean()
            return state.space.dist(points, targets).square().mean()

        return state.descend(loss, k, steps=config.steps, learning_rate=config.learning_rate)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: pairs and network are the training state's."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to go on from."""
