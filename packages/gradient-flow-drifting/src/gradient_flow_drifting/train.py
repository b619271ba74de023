"""Training of a one-step generator: particles flow, the network learns their way, then its own samples drift."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from papertrio_shared.checkpoint import CheckpointError, load_state, save_state
from papertrio_shared.progress import progress
from papertrio_shared.run import Run, dict_to_config, read_config
from papertrio_shared.seed import generator as seeded
from papertrio_shared.seed import restore_rng_state, rng_state, seed_everything
from torch import Tensor

from .config import TrainConfig, divergence_of
from .diagnostics import DivergedError, blown_up, field_diagnostics, kernel_of, space_of
from .drift import drift, drifting_loss
from .models import Ema, Generator, save_generator
from .sample import GENERATOR
from .threads import limited_threads

CHECKPOINT = "checkpoint.pt"
SHOWN = 1000  # points of the animation
WATCHED = 1024  # points behind the diagnostics


class Trainer:
    """The state of a run and its next step.

    Args:
        config: What to train.

    Raises:
        ValueError: If the config asks for a device that is not there, or the data cannot be used.

    Attributes:
        steps_done: How many steps were taken.
        frame_steps: Before which steps a picture of the animation is taken.
        frames: Positions of the same latents over time, one tensor for each picture of the animation.
    """

    def __init__(self, config: TrainConfig) -> None:
        from lightning_fabric import Fabric  # takes seconds to import, which who only samples need not spend

        self.config, self.data = config, config.data
        cuda = torch.cuda.is_available()
        if config.device == "cuda" and not cuda:
            raise ValueError("device = cuda: torch finds no CUDA device: use cpu, or auto")
        device = config.device if config.device != "auto" else "cuda" if cuda else "cpu"
        self.fabric = Fabric(accelerator=device, devices=1, precision=config.precision)
        seed_everything(config.seed)
        self.streams = {name: seeded(config.seed, name) for name in ("data", "latents", "order", "diagnostics")}
        self.space = space_of(self.data.geometry)
        self.generator = Generator(
            config.generator,
            dimension=self.data.dimension,
            geometry=self.data.geometry,
            location=self.data.location,
            scale=self.data.scale,
        ).to(self.fabric.device)
        self.ema = Ema(self.generator, config.ema_decay)
        optimizer = torch.optim.Adam(self.generator.parameters(), betas=(0.9, 0.99), fused=True)
        self.model, self.optimizer = self.fabric.setup(self.generator, optimizer)
        count = max(config.flow.particles if config.flow.steps else 0, SHOWN)
        self.latents = self._latents(count)
        self.particles = self.latents.clone()
        self.steps_done = 0
        self.frames: list[Tensor] = []
        self.frame_steps = frame_steps(config)

    def step(self) -> float:
        """Take one step.

        Returns:
            The loss: mean squared step of the particles, mean squared error of the regression, or drifting loss.
        """
        flow, regression = self.config.flow, self.config.regression
        if self.steps_done in self.frame_steps:
            self.frames.append(self.shown())
        k = self.steps_done
        if k < flow.steps:
            loss = self._flow(k)
        elif k < flow.steps + regression.steps:
            loss = self._regress(k - flow.steps)
        else:
            loss = self._drift(k - flow.steps - regression.steps)
        self.steps_done += 1
        if self.steps_done == self.config.total_steps:
            self.frames.append(self.shown())
        return loss

    @torch.no_grad()
    def shown(self) -> Tensor:
        """Where the latents of the animation stand now: as particles, then as the averaged network takes them."""
        if self.steps_done < self.config.flow.steps:
            return self.particles[:SHOWN].cpu().clone()
        return self.ema.model(self.latents[:SHOWN]).cpu()

    @torch.no_grad()
    def diagnostics(self) -> dict[str, float]:
        """Figures of the field at the present particles or samples."""
        stream = self.streams["diagnostics"]
        if self.config.flow.steps and self.steps_done <= self.config.flow.steps:
            points = self.particles[:WATCHED]
        else:
            points = self.ema.model(self.generator.latents(WATCHED, stream).to(self.fabric.device))
        real = self.data.sample(WATCHED, stream).to(self.fabric.device)
        return field_diagnostics(
            _finite("samples", points), real, self.data, bandwidths=self.config.drifting.bandwidths
        )

    def is_finite(self) -> bool:
        """Whether all that a checkpoint would hold is finite."""
        return all(bool(each.isfinite().all()) for each in [*self.generator.parameters(), self.particles])

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on."""
        return {
            "steps_done": self.steps_done,
            "generator": self.generator.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "particles": self.particles,
            "frames": self.frames,
            "random": rng_state(**self.streams),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.steps_done = state["steps_done"]
        self.generator.load_state_dict(state["generator"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.particles = state["particles"].to(self.fabric.device)
        self.frames = [frame.cpu() for frame in state["frames"]]
        restore_rng_state(state["random"], **self.streams)

    @torch.no_grad()
    def _flow(self, k: int) -> float:
        """One step of all particles, pool by pool, each left out of its own pool's estimate."""
        flow = self.config.flow
        done = k / flow.steps
        fall = min(done / 0.8, 1.0)
        bandwidth = flow.bandwidth_start * (flow.bandwidth_end / flow.bandwidth_start) ** fall
        step_size = flow.step_size * min(1.0, (1 - done) / 0.2)
        kernel, divergence = kernel_of(self.data.geometry, (bandwidth,)), divergence_of(flow.divergence)
        order = torch.randperm(flow.particles, generator=self.streams["order"]).to(self.fabric.device)
        total = 0.0
        for chosen in order.tensor_split(math.ceil(flow.particles / flow.pool)):
            pool = _finite("particles", self.particles[chosen])
            velocity = drift(
                pool,
                positives=self._real(flow.pool),
                negatives=pool,
                divergence=divergence,
                kernel=kernel,
                manifold=self.space,
                self_terms="leave_one_out",
                max_step=flow.max_step,
            ).velocity
            self.particles[chosen] = self.space.expmap(pool, step_size * velocity)
            total += float(velocity.square().sum())
        return total / flow.particles

    def _regress(self, k: int) -> float:
        """One step towards the particles that the latents became."""
        regression = self.config.regression
        chosen = torch.randint(len(self.particles), (regression.batch,), generator=self.streams["order"])
        chosen = chosen.to(self.fabric.device)
        latents, targets = self.latents[chosen], self.particles[chosen]

        def loss() -> Tensor:
            points = self.model(latents).float()
            if self.data.geometry == "euclidean":
                return (points - targets).square().sum(1).mean()
            return self.space.dist(points, targets).square().mean()

        return self._descend(loss, k, regression)

    def _drift(self, k: int) -> float:
        """One step towards where the samples drift: the loss is ‖x − sg(exp_x(ηv))‖², geodesic on the sphere."""
        drifting = self.config.drifting
        cross_fit = drifting.negatives == "cross_fit"

        def loss() -> Tensor:
            samples = _finite("samples", self.model(self._latents(drifting.batch)).float())
            negatives = None
            if cross_fit:
                with torch.no_grad():
                    negatives = self.model(self._latents(drifting.positives)).float()
            return drifting_loss(
                samples,
                self._real(drifting.positives),
                negatives=negatives,
                divergence=divergence_of(drifting.divergence),
                kernel=kernel_of(self.data.geometry, drifting.bandwidths),
                manifold=self.space,
                step_size=drifting.step_size,
                self_terms="keep" if cross_fit else "leave_one_out",
                log_weight_limit=drifting.log_weight_limit,
                max_step=drifting.max_step,
            )

        return self._descend(loss, k, drifting)

    def _descend(self, loss: Callable[[], Tensor], k: int, stretch: Any) -> float:
        if k == 0:
            self.optimizer.state.clear()
        rise, fall = min(1.0, (k + 1) / 100), 0.51 + 0.49 * math.cos(math.pi * k / stretch.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = stretch.learning_rate * rise * fall
        self.optimizer.zero_grad(set_to_none=True)
        value = loss()
        self.fabric.backward(value)
        self.optimizer.step()
        self.ema.update(self.generator)
        return value.item()

    def _latents(self, count: int) -> Tensor:
        return self.generator.latents(count, self.streams["latents"]).to(self.fabric.device)

    def _real(self, count: int) -> Tensor:
        return self.data.sample(count, self.streams["data"]).to(self.fabric.device)


def frame_steps(config: TrainConfig) -> set[int]:
    """Before which steps a picture of the animation is taken: an equal number in each stretch, dense at its start.

    Args:
        config: The run.

    Returns:
        Steps, counted from zero.

    Example:
        >>> sorted(frame_steps(TrainConfig(frames=6)))[:3]
        [0, 11, 150]
    """
    stretches = [s for s in (config.flow.steps, config.regression.steps, config.drifting.steps) if s]
    each, steps, start = max(config.frames // len(stretches), 1), set[int](), 0
    for length in stretches:
        steps |= {start + round(length ** (i / each)) - 1 for i in range(each)}
        start += length
    return steps


def train(config: TrainConfig, folder: Path) -> Path:
    """Start a run in a new folder and take it to its last step.

    Args:
        config: What to train.
        folder: Where to put the run: config, environment, metrics, checkpoint and the generator's weights.

    Returns:
        The folder.

    Raises:
        ValueError: If the folder holds a run already, or the data cannot be used.
        DivergedError: If a diagnostic blows up; the last good checkpoint stays.

    Example:
        >>> import tempfile
        >>> from gradient_flow_drifting.config import Drifting, ParticleFlow, Regression
        >>> short = TrainConfig(flow=ParticleFlow(steps=0), regression=Regression(steps=0), drifting=Drifting(steps=3))
        >>> folder = train(short, Path(tempfile.mkdtemp()) / "a")
        >>> (folder / "generator.safetensors").exists()
        True
    """
    config.data.sample(1, seeded(0, "probe"))  # a file that cannot be used is told before the folder is made
    trainer = Trainer(config)
    with limited_threads(config.threads), Run.create(folder, config) as run:
        _go_on(trainer, run)
    return folder


def resume(folder: Path) -> Path:
    """Go on with a run from its last checkpoint, or from the start where it has none.

    On a CPU the result is the uninterrupted run's, bit for bit. The generator's file is made anew from the checkpoint.

    Args:
        folder: Where the run lies.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: If the folder holds no run.
        ValueError: If its config or its checkpoint is damaged, or the checkpoint is that of another run.
        DivergedError: If a diagnostic blows up.

    Example:
        >>> resume(Path("runs/none"))
        Traceback (most recent call last):
        FileNotFoundError: runs/none: holds no run (config.json is missing): check the path
    """
    trainer = Trainer(run_config(folder))
    if (folder / CHECKPOINT).exists():
        state = load_state(folder / CHECKPOINT)
        try:
            trainer.load_state_dict(state)
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise CheckpointError(f"{folder / CHECKPOINT}: is not of this run: put its own checkpoint back") from error
        save_generator(folder / GENERATOR, trainer.ema.model)
    with limited_threads(trainer.config.threads), Run.resume(folder, step=trainer.steps_done) as run:
        _go_on(trainer, run)
    return folder


def run_config(folder: Path) -> TrainConfig:
    """The config a run was started with.

    Args:
        folder: Where the run lies.

    Returns:
        The config.

    Raises:
        FileNotFoundError: If the folder holds no run.
        ValueError: If the config is damaged or of another version.
    """
    return dict_to_config(read_config(folder), TrainConfig)


def _go_on(trainer: Trainer, run: Run) -> None:
    config = trainer.config
    try:
        with progress(
            range(trainer.steps_done, config.total_steps), "train", config.total_steps, trainer.steps_done
        ) as bar:
            for _ in bar:
                loss = trainer.step()
                _guard({"loss": loss}, config)
                done, last = trainer.steps_done, trainer.steps_done == config.total_steps
                if last or done % config.log_every == 0 or done in trainer.frame_steps:
                    row = {"loss": loss, **trainer.diagnostics()}
                    _guard(row, config)
                    run.log(done, **row)
                    bar.set_postfix(
                        {name: f"{row[name]:.3g}" for name in ("loss", "energy", "high_quality") if name in row}
                    )
                if last or done % config.checkpoint_every == 0:
                    _save(trainer, run.folder)
    except DivergedError as error:
        raise DivergedError(f"{run.folder}: {error} at step {trainer.steps_done}: {_last_good(run.folder)}") from None


def _guard(figures: dict[str, float], config: TrainConfig) -> None:
    what = blown_up(figures, config.limit)
    if what is not None:
        raise DivergedError(what)


def _finite(name: str, points: Tensor) -> Tensor:
    if not bool(points.isfinite().all()):
        raise DivergedError(f"{name} blew up (not finite)")
    return points


def _save(trainer: Trainer, folder: Path) -> None:
    """The generator first: if the process is killed in between, the checkpoint is the older of the two."""
    if not trainer.is_finite():
        raise DivergedError("the weights or particles blew up (not finite)")
    save_generator(folder / GENERATOR, trainer.ema.model)
    save_state(folder / CHECKPOINT, trainer.state_dict())


def _last_good(folder: Path) -> str:
    if not (folder / CHECKPOINT).exists():
        return "there is no checkpoint yet; lower the learning rate or the step size"
    step = load_state(folder / CHECKPOINT)["steps_done"]
    return f"the last good checkpoint is that of step {step}; lower the learning rate or the step size"
