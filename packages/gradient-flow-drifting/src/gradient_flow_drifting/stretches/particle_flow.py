"""First stretch: particles follow the field from the latents to the data."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch

from ..checks import require_not_negative, require_positive
from ..drift import check_limits, drift
from ..fields import Weights, divergence_of
from ..geometry import kernel_of
from .stretch import TrainingState, finite


@dataclass(frozen=True)
class ParticleFlow:
    """Particles, started at latents, follow the field to the data; no network is moved.

    The bandwidth falls geometrically from `bandwidth_start` to `bandwidth_end` over the first four fifths of the
    steps: the coarse scale moves mass between modes, the fine one settles it. Over the last fifth the step shrinks.

    Attributes:
        particles: Their number, or the 1,000 that the animation shows if that is more.
        pool: How many of them, chosen anew each time, share one field; as many real points are drawn for it.
        steps: Zero leaves the stretch out.
        step_size: Share of the mean shift taken in a step.
        bandwidth_start, bandwidth_end: In the units of the standardised data; on the sphere in radians.
        divergence: Names of divergences with their weights.
        max_step: Bound of the velocity's length; None for no bound, which only `kl_qp` can do without.
    """

    label: ClassVar[str] = "flow"
    moves: ClassVar[Literal["particles", "network"]] = "particles"

    particles: int = 8192
    pool: int = 2048
    steps: int = 150
    step_size: float = 0.5
    bandwidth_start: float = 1.0
    bandwidth_end: float = 0.05
    divergence: Weights = (("kl_qp", 1.0),)
    max_step: float | Literal["bandwidth"] | None = None

    def __post_init__(self) -> None:
        require_positive(self, "flow", "particles", "pool", "step_size", "bandwidth_start", "bandwidth_end")
        require_not_negative(self, "flow", "steps")
        divergence_of(self.divergence)
        check_limits(None, self.max_step)
        if self.pool < 2:
            raise ValueError("flow.pool = 1: leaving a particle out of its own field needs at least 2")
        if self.pool > self.particles:
            raise ValueError(f"flow.pool = {self.pool} exceeds flow.particles = {self.particles}: lower it")

    def build(self, state: TrainingState) -> "ParticleFlowStretch":
        """The stretch."""
        return ParticleFlowStretch(self, state)


class ParticleFlowStretch:
    """Each step moves all particles, pool by pool, each left out of its own pool's estimate."""

    def __init__(self, config: ParticleFlow, state: TrainingState) -> None:
        self.config, self.state = config, state

    @torch.no_grad()
    def step(self, k: int) -> float:
        """One step of all particles; the loss is the mean square of their speed."""
        flow, state = self.config, self.state
        done = k / flow.steps
        fall = min(done / 0.8, 1.0)
        bandwidth = flow.bandwidth_start * (flow.bandwidth_end / flow.bandwidth_start) ** fall
        step_size = flow.step_size * min(1.0, (1 - done) / 0.2)
        kernel, divergence = kernel_of(state.data.geometry, (bandwidth,)), divergence_of(flow.divergence)
        order = torch.randperm(len(state.particles), generator=state.streams["order"]).to(state.fabric.device)
        total = 0.0
        for chosen in order.tensor_split(math.ceil(len(order) / flow.pool)):
            pool = finite("particles", state.particles[chosen])
            velocity = drift(
                pool,
                positives=state.draw_real(flow.pool),
                negatives=pool,
                divergence=divergence,
                kernel=kernel,
                manifold=state.space,
                self_terms="leave_one_out",
                max_step=flow.max_step,
            ).velocity
            state.particles[chosen] = state.space.expmap(pool, step_size * velocity)
            total += float(velocity.square().sum())
        return total / len(order)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the particles are the training state's."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to go on from."""
