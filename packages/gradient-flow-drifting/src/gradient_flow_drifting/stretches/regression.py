"""Second stretch: the network learns to take latents to particles."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from ..checks import require_not_negative, require_positive
from ..devices import require_share, share
from ..geometry import embed, unembed
from ..models import even_latents
from ..transport import transport_map
from .stretch import TrainingState

Pairing = Literal["transport", "flow"]


@dataclass(frozen=True)
class Regression:
    """The network learns to take latents to particles.

    Which latent goes with which particle is free: only the cloud matters. A perceptron is continuous, so each border
    between latents of different modes costs it samples on the bridge, and each jump costs it steps; optimal transport,
    the gradient of a convex function, has short borders and no crossing ways.

    Attributes:
        steps: Zero leaves the stretch out.
        batch: Pairs of a step.
        learning_rate: The highest, after a short rise; then it falls as a half cosine.
        pairing: `"transport"`: evenly spread latents, each with its image under the entropic optimal transport from
            latents to particles (on a manifold by the chord, then projected); `"flow"`: each latent with the particle
            that started there.
        pairs: Of the transport: their number.
        bandwidth: Of the transport, in the units of the standardised data; see `transport_map`.
    """

    label: ClassVar[str] = "regression"
    moves: ClassVar[Literal["particles", "network"]] = "network"

    steps: int = 3500
    batch: int = 512
    learning_rate: float = 1e-2
    pairing: Pairing = "transport"
    pairs: int = 65_536
    bandwidth: float = 0.03

    def __post_init__(self) -> None:
        require_positive(self, "regression", "batch", "learning_rate", "pairs", "bandwidth")
        require_not_negative(self, "regression", "steps")
        if self.pairing not in get_args(Pairing):
            raise ValueError(f'regression.pairing = "{self.pairing}": give one of {", ".join(get_args(Pairing))}')

    def build(self, state: TrainingState) -> "RegressionStretch":
        """The stretch."""
        return RegressionStretch(self, state)


class RegressionStretch:
    """Each step lowers the squared distance of the network's points to what some latents are paired with."""

    def __init__(self, config: Regression, state: TrainingState) -> None:
        self.config, self.state = config, state
        self._pairs: tuple[Tensor, Tensor] | None = None
        require_share(state.fabric, regression__batch=config.batch)

    def step(self, k: int) -> float:
        """One step towards the particles; the loss is the mean squared distance."""
        config, state = self.config, self.state
        if self._pairs is None:
            self._pairs = self._transport() if config.pairing == "transport" else (state.latents, state.particles)
        all_latents, all_targets = self._pairs
        chosen = torch.randint(len(all_latents), (config.batch,), generator=state.streams["order"])
        chosen = share(state.fabric, chosen).to(state.fabric.device)
        latents, targets = all_latents[chosen], all_targets[chosen]

        def loss() -> Tensor:
            points = state.model(latents).float()
            if state.data.geometry == "euclidean":
                return (points - targets).square().sum(1).mean()
            return state.space.dist(points, targets).square().mean()

        value = state.descend(loss, k, steps=config.steps, learning_rate=config.learning_rate)
        if k + 1 == config.steps:
            self._pairs = None
        return value

    def _transport(self) -> tuple[Tensor, Tensor]:
        state, geometry = self.state, self.state.data.geometry
        source, latents = self._even_latents(len(state.particles)), self._even_latents(self.config.pairs)
        source, target = embed(geometry, source), embed(geometry, state.particles)
        there = transport_map(source, target, bandwidth=self.config.bandwidth)
        return latents, unembed(geometry, there(embed(geometry, latents)))

    def _even_latents(self, count: int) -> Tensor:
        data, stream = self.state.data, self.state.streams["latents"]
        latents = even_latents(count, dimension=data.dimension, geometry=data.geometry, generator=stream)
        return latents.to(self.state.fabric.device)

    def state_dict(self) -> dict[str, Any]:
        """The pairs of the transport, while they are used."""
        if self._pairs is None or self.config.pairing == "flow":
            return {}
        return dict(zip(("latents", "targets"), self._pairs, strict=True))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the pairs of such a state."""
        device = self.state.fabric.device
        self._pairs = (state["latents"].to(device), state["targets"].to(device)) if state else None
