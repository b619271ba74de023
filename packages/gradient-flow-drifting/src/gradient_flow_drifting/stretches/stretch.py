"""What a stretch of a run offers, and the state that stretches work on."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from jaxtyping import Float
from papertrio_shared.seed import generator as seeded
from papertrio_shared.seed import restore_rng_state, rng_state
from torch import Tensor

from ..data import Distribution
from ..diagnostics import DivergedError
from ..geometry import space_of
from ..models import Ema, OneStep

if TYPE_CHECKING:
    from lightning_fabric import Fabric

SHOWN = 1000  # latents of the animation


class Stretch(Protocol):
    """A part of a run, built from its config and the state it works on."""

    def step(self, k: int) -> float:
        """Take its step k, counted from zero, and return the loss."""

    def state_dict(self) -> dict[str, Any]:
        """All that its next step depends on and the training state has not."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from such a state."""


class TrainingState:
    """The network, its average, its optimizer, the particles and the random numbers of a run.

    Args:
        generator: The network.
        data: What it is to learn.
        fabric: Lightning's, for device and precision.
        ema_decay: Of the average of the weights that becomes the generator.
        particles: How many particles start at latents.
        seed: Of everything that is drawn.
        shown: Latents of the animation.

    Attributes:
        latents: Where the particles started; the first `shown` are those of the animation.
        particles: Where they are.
        streams: Random numbers by purpose.
    """

    def __init__(
        self,
        generator: OneStep,
        data: Distribution,
        fabric: "Fabric",
        *,
        ema_decay: float,
        particles: int,
        seed: int,
        shown: int = SHOWN,
    ) -> None:
        self.data, self.fabric, self.space, self.seed = data, fabric, space_of(data.geometry), seed
        self.streams = {name: seeded(seed, name) for name in ("data", "latents", "order", "diagnostics")}
        self.generator = generator.to(fabric.device)
        self.ema = Ema(self.generator, ema_decay)
        optimizer = torch.optim.AdamW(self.generator.parameters(), betas=(0.9, 0.99), weight_decay=0.0, fused=True)
        self.model, self.optimizer = fabric.setup(self.generator, optimizer)
        self.latents = self.draw_latents(max(particles, shown))
        self.particles = self.latents.clone()

    def draw_latents(self, count: int) -> Float[Tensor, "count d"]:
        """Latents on the run's device."""
        return self.generator.latents(count, self.streams["latents"]).to(self.fabric.device)

    def draw_real(self, count: int) -> Float[Tensor, "count d"]:
        """Real points on the run's device."""
        return self.data.sample(count, self.streams["data"]).to(self.fabric.device)

    def descend(
        self,
        loss: Callable[[], Tensor],
        k: int,
        *,
        steps: int,
        learning_rate: float,
        warmup: int = 100,
        decay: Literal["cosine", "constant"] = "cosine",
        weight_decay: float = 0.0,
        beta2: float = 0.99,
        clip: float | None = None,
    ) -> float:
        """Take step k of a stretch down a loss; the optimizer's memory starts anew with the stretch.

        Args:
            loss: Computes it.
            k: Number of the step within the stretch, from zero.
            steps: Length of the stretch.
            learning_rate: The highest, after a short rise.
            warmup: Steps of the rise.
            decay: Whether it then falls, as a half cosine, or stays.
            weight_decay: Decoupled, of AdamW.
            beta2: Decay of the mean squared gradient.
            clip: The largest norm of the gradient; None for no bound.

        Returns:
            The loss; of several processes the mean.
        """
        if k == 0:
            self.optimizer.state.clear()
        rise = min(1.0, (k + 1) / warmup)
        fall = 0.51 + 0.49 * math.cos(math.pi * k / steps) if decay == "cosine" else 1.0
        for group in self.optimizer.param_groups:
            group |= {"lr": learning_rate * rise * fall, "weight_decay": weight_decay, "betas": (0.9, beta2)}
        self.optimizer.zero_grad(set_to_none=True)
        value = loss()
        self.fabric.backward(value)
        if clip is not None:
            self.fabric.clip_gradients(self.model, self.optimizer, max_norm=clip, error_if_nonfinite=False)
        self.optimizer.step()
        self.ema.update(self.generator)
        if self.fabric.world_size > 1:
            value = self.fabric.all_reduce(value.detach(), reduce_op="mean")  # type: ignore[assignment]
        return value.item()

    def state_dict(self) -> dict[str, Any]:
        """All of it but what the config gives anew."""
        return {
            "generator": self.generator.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "particles": self.particles,
            "random": rng_state(**self.streams),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from such a state."""
        self.generator.load_state_dict(state["generator"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.particles = state["particles"].to(self.fabric.device)
        restore_rng_state(state["random"], **self.streams)

    def is_finite(self) -> bool:
        """Whether all that a checkpoint would hold is finite."""
        return all(bool(each.isfinite().all()) for each in [*self.generator.parameters(), self.particles])


def finite(name: str, points: Tensor) -> Tensor:
    """The points, if all are finite and so are their squares.

    Args:
        name: What they are, for the message.
        points: The points.

    Returns:
        The points.

    Raises:
        DivergedError: If one is not.
    """
    if not bool(points.detach().square().sum().isfinite()):
        raise DivergedError(f"{name} blew up (not finite)")
    return points
