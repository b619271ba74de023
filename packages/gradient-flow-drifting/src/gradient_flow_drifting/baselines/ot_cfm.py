r"""OT-CFM: flow matching along straight lines between latents and data that a minibatch's optimal transport has paired.

The network learns $u(x_t, t) \approx x_1 - x_0$ at $x_t = (1 - t)\, x_0 + t\, x_1$ with $(x_0, x_1)$ drawn from the
exact plan between a batch of latents and one of data (Tong et al. 2024, Section 3.2); torchcfm does both. On a manifold
the pairs are those of the squared geodesic distance, $x_t = \exp_{x_0}(t \log_{x_0} x_1)$, and the target is the
velocity of that geodesic, $\log_{x_t}(x_1) / (1 - t)$ (Chen and Lipman 2024, Section 3.2). A sample is a latent carried
along the learnt velocity from t = 0 to 1.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from papertrio_shared.run import dict_to_config
from papertrio_shared.seed import generator as seeded
from torch import Tensor, nn

from ..checks import require_not_negative, require_positive
from ..geometry import space_of
from ..models import Generator, GeneratorConfig
from ..stretches.stretch import TrainingState, finite

Solver = Literal["euler", "heun"]
LAST_TIME = 0.999  # the geodesic's velocity is a quotient of two lengths that vanish at t = 1


@dataclass(frozen=True)
class FlowShape(GeneratorConfig):
    """Shape of the perceptron that learns a velocity: that of a generator, with the time as one more input."""

    def build(self, **shape: Any) -> "FlowGenerator":
        """The network; for the arguments see `OneStep`."""
        return FlowGenerator(self, **shape)


class FlowGenerator(Generator):
    """A velocity in space and time that carries latents to samples in several evaluations.

    Called on latents it gives points, by 20 evaluations of Heun's method; called on points and a time, their velocity.

    Args:
        config: Shape of the perceptron.
        shape: See `OneStep`.

    Example:
        >>> flow = FlowGenerator(FlowShape(width=8), dimension=2)
        >>> flow.sample(5, seed=0, evaluations=1, solver="euler").shape
        torch.Size([5, 2])
    """

    def __init__(self, config: GeneratorConfig, **shape: Any) -> None:
        super().__init__(config, **shape)
        first = self.layers[0]
        assert isinstance(first, nn.Linear)
        self.layers[0] = nn.Linear(first.in_features + 1, first.out_features)

    def forward(  # type: ignore[override]
        self, points: Float[Tensor, "n d"], time: Float[Tensor, " n"] | None = None
    ) -> Float[Tensor, "n d"]:
        """The velocity at points and a time of each; without a time, where latents are carried."""
        if time is None:
            return self.carry(points)
        seen = torch.cat([points.cos(), points.sin()], dim=1) if self.geometry == "torus" else points
        velocity = self.layers(torch.cat([seen, time[:, None].to(points)], dim=1)).float()
        return space_of(self.geometry).proju(points, velocity)

    def carry(
        self, latents: Float[Tensor, "n d"], *, evaluations: int = 20, solver: Solver = "heun"
    ) -> Float[Tensor, "n d"]:
        """Carry latents along the velocity from t = 0 to 1 in equal steps, on a manifold by its exponential map.

        Args:
            latents: Where to start.
            evaluations: Of the network; Heun's method takes two for a step.
            solver: `"euler"` or `"heun"`.

        Returns:
            The points at t = 1, standardised.

        Raises:
            ValueError: If `evaluations` is below one, or odd with Heun's method.
        """
        check_evaluations(evaluations, solver)
        space = space_of(self.geometry)
        steps = evaluations if solver == "euler" else evaluations // 2
        x = latents
        for k in range(steps):
            now, then = (x.new_full((len(x),), at / steps) for at in (k, k + 1))
            velocity = self(x, now)
            end = space.expmap(x, velocity / steps)
            if solver == "heun":  # the velocity at the end, brought back to x along the surrounding space
                velocity = (velocity + space.proju(x, self(end, then))) / 2
                end = space.expmap(x, velocity / steps)
            x = end
        return x

    @torch.no_grad()
    def sample(  # type: ignore[override]
        self, count: int, *, seed: int = 0, chunk: int = 65_536, evaluations: int = 20, solver: Solver = "heun"
    ) -> Float[Tensor, "count d"]:
        """Draw samples in the units of the data.

        Args:
            count: How many.
            seed: The same seed gives the same samples.
            chunk: Largest number evaluated at once.
            evaluations: Of the network for each.
            solver: `"euler"` or `"heun"`.

        Returns:
            The samples, on the CPU.

        Raises:
            ValueError: If `count` is below one, or `evaluations` as `carry` says.
        """
        latents = self.latents(count, seeded(seed, "latents")).to(self.location.device)
        points = [self.carry(part, evaluations=evaluations, solver=solver) for part in latents.split(chunk)]
        return (self.location + self.scale * torch.cat(points)).cpu()


def check_evaluations(evaluations: int, solver: Solver) -> None:
    """Refuse a number of evaluations that a solver cannot have.

    Args:
        evaluations: Of the network for a sample.
        solver: `"euler"` or `"heun"`.

    Raises:
        ValueError: If it is below one, or odd with Heun's method; if there is no such solver.
    """
    if solver not in ("euler", "heun"):
        raise ValueError(f'solver: "euler" or "heun" is needed, found "{solver}"')
    if evaluations < 1:
        raise ValueError(f"evaluations = {evaluations}: give at least 1")
    if solver == "heun" and evaluations % 2:
        raise ValueError(f"evaluations = {evaluations}: Heun's method takes two for a step: give an even number")


@dataclass(frozen=True)
class OtCfm:
    """The network learns the velocity of paired latents and data, by torchcfm (extra `ot-cfm`); nothing drifts.

    Attributes:
        steps: Zero leaves the stretch out.
        batch: Latents and real points of a step.
        learning_rate: As in `Regression`.
        sigma: Deviation of the noise around the line; in Euclidean space alone.
    """

    label: ClassVar[str] = "flow matching"
    moves: ClassVar[Literal["particles", "network"]] = "network"

    steps: int = 4000
    batch: int = 256
    learning_rate: float = 1e-2
    sigma: float = 0.0

    def __post_init__(self) -> None:
        require_positive(self, "objective", "batch", "learning_rate")
        require_not_negative(self, "objective", "steps", "sigma")

    def build(self, state: TrainingState) -> "OtCfmStretch":
        """The stretch."""
        return OtCfmStretch(self, state)


class OtCfmStretch:
    """Each step lowers the squared distance of the network's velocity to that of some pairs.

    Args:
        config: Its numbers.
        state: What it works on.

    Raises:
        ImportError: If torchcfm is not installed.
        ValueError: If noise is asked for on a manifold.
    """

    def __init__(self, config: OtCfm, state: TrainingState) -> None:
        if config.sigma and state.data.geometry != "euclidean":
            raise ValueError(f"objective.sigma = {config.sigma}: noise is for Euclidean data: set it to 0")
        self.config, self.state = config, state
        self.matcher = matcher(config.sigma)

    def step(self, k: int) -> float:
        """One step towards the velocity of the pairs; the loss is the mean squared distance."""
        config, state = self.config, self.state
        start, end = state.draw_latents(config.batch), state.draw_real(config.batch)
        if state.data.geometry == "euclidean":
            time, points, velocity = self.matcher.sample_location_and_conditional_flow(start, end)
        else:
            time, points, velocity = self._geodesic(start, end)

        def loss() -> Tensor:
            found = finite("velocities", state.model(points, time).float())
            return (found - velocity).square().sum(1).mean()

        return state.descend(loss, k, steps=config.steps, learning_rate=config.learning_rate)

    def _geodesic(self, start: Tensor, end: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Times, points and velocities on the geodesics between pairs from the exact plan."""
        space, sampler = self.state.space, self.matcher.ot_sampler
        cost = space.dist(start[:, None], end).square().double().cpu().numpy()
        mass = [1 / len(start)] * len(start)
        i, j = sampler.sample_map(sampler.ot_fn(mass, mass, cost), len(start))
        start, end = start[i], end[j]
        time = LAST_TIME * torch.rand(len(start), 1).to(start)
        points = space.expmap(start, time * space.logmap(start, end))
        return time[:, 0], points, space.logmap(points, end) / (1 - time)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the network is the training state's, and torchcfm draws from the global generators."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to go on from."""


def matcher(sigma: float = 0.0) -> Any:
    """torchcfm's matcher by the exact plans of minibatches.

    Args:
        sigma: Deviation of the noise around the line.

    Returns:
        The matcher.

    Raises:
        ImportError: If torchcfm is not installed.
    """
    try:
        from torchcfm.conditional_flow_matching import ExactOptimalTransportConditionalFlowMatcher
    except ModuleNotFoundError as error:
        raise ImportError(
            "objective ot-cfm: torchcfm is not installed: install the extra, gradient-flow-drifting[ot-cfm]"
        ) from error
    return ExactOptimalTransportConditionalFlowMatcher(sigma=sigma)


def flow_from_weights(tensors: dict[str, Tensor], config: dict[str, Any]) -> FlowGenerator:
    """Rebuild a flow from what `save_generator` wrote.

    Args:
        tensors: The weights.
        config: What was written beside them.

    Returns:
        The flow, on the CPU.

    Raises:
        KeyError, RuntimeError, ValueError: If the weights do not match the config.
    """
    shape = dict_to_config(config["generator"], FlowShape)
    flow = FlowGenerator(shape, dimension=config["dimension"], geometry=config["geometry"])
    flow.load_state_dict(tensors)
    return flow.eval()
