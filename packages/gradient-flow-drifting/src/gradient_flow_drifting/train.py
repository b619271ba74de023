"""Training of a one-step generator: particles flow, the network learns their way, then its own samples drift."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from papertrio_shared.checkpoint import CheckpointError, load_state, save_state
from papertrio_shared.devices import fabric_of, is_writer
from papertrio_shared.progress import progress
from papertrio_shared.run import CONFIG, Run, dict_to_config, read_config
from papertrio_shared.seed import generator as seeded
from papertrio_shared.seed import seed_everything
from torch import Tensor

from .config import TrainConfig
from .diagnostics import DivergedError, blown_up, field_diagnostics
from .models import save_generator
from .sample import GENERATOR
from .stretches import TrainingState, finite
from .threads import limited_threads

CHECKPOINT = "checkpoint.pt"


class Trainer:
    """A run: its state, its stretches and its next step.

    Args:
        config: What to train.

    Raises:
        ValueError: If the config asks for a device that is not there, or the data cannot be used.

    Attributes:
        state: What the stretches work on.
        steps_done: How many steps were taken.
        frame_steps: Before which steps a picture of the animation is taken.
        frames: Positions of the same latents over time, one tensor for each picture of the animation.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config, self.data = config, config.data
        fabric = fabric_of(
            config.device,
            config.devices,
            num_nodes=config.num_nodes,
            strategy=config.strategy,
            precision=config.precision,
        )
        seed_everything(config.seed)
        shape = {name: getattr(self.data, name) for name in ("dimension", "geometry", "location", "scale")}
        generator = config.network.build(**shape, classes=getattr(self.data, "classes", 0))
        particles = config.flow.particles if config.flow.steps else 0
        self.state = TrainingState(
            generator,
            self.data,
            fabric,
            ema_decay=config.ema_decay,
            particles=particles,
            seed=config.seed,
            shown=config.shown,
        )
        self.stretches = [each.build(self.state) for each in config.stretches]
        self.steps_done = 0
        self.frames: list[Tensor] = []
        self.frame_steps = frame_steps(config)

    def step(self) -> float:
        """Take one step.

        Returns:
            The loss of the present stretch.
        """
        if self.steps_done in self.frame_steps:
            self.frames.append(self.shown())
        number, k = self._place(self.steps_done)
        loss = self.stretches[number].step(k)
        self.steps_done += 1
        if self.steps_done == self.config.total_steps:
            self.frames.append(self.shown())
        return loss

    @torch.no_grad()
    def shown(self) -> Tensor:
        """Where the latents of the animation stand now: as particles, then as the averaged network takes them."""
        if self._moves(self.steps_done) == "particles":
            return self.state.particles[: self.config.shown].cpu().clone()
        latents, classes = self.state.latents[: self.config.shown], self.state.generator.classes
        labels = torch.arange(len(latents), device=latents.device) % classes if classes else None
        return self.state.ema.model(latents, labels).cpu()

    @torch.no_grad()
    def diagnostics(self) -> dict[str, float]:
        """Figures of the field at the present particles or samples."""
        state, stream, count = self.state, self.state.streams["diagnostics"], self.config.watched
        if self._moves(self.steps_done - 1) == "particles":
            points = state.particles[:count]
        else:
            latents, classes = state.generator.latents(count, stream), state.generator.classes
            labels = torch.randint(classes, (count,), generator=stream).to(state.fabric.device) if classes else None
            points = state.ema.model(latents.to(state.fabric.device), labels)
        real = self.data.sample(count, stream).to(state.fabric.device)
        return field_diagnostics(finite("samples", points), real, self.data, bandwidths=self.config.bandwidths)

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on."""
        return {
            "steps_done": self.steps_done,
            "frames": self.frames,
            "stretches": [each.state_dict() for each in self.stretches],
            **self.state.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.steps_done = state["steps_done"]
        self.frames = [frame.cpu() for frame in state["frames"]]
        for stretch, its in zip(self.stretches, state["stretches"], strict=True):
            stretch.load_state_dict(its)
        self.state.load_state_dict(state)

    def _place(self, step: int) -> tuple[int, int]:
        """Number of the stretch that a step belongs to, and the step's number within it."""
        for number, stretch in enumerate(self.config.stretches):
            if step < stretch.steps:
                return number, step
            step -= stretch.steps
        raise IndexError("the run has no such step")

    def _moves(self, step: int) -> str:
        """What a step moves: particles or the network; the last step's answer holds beyond it, the first's before."""
        number, _ = self._place(min(max(step, 0), self.config.total_steps - 1))
        return self.config.stretches[number].moves


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
    stretches = [each.steps for each in config.stretches]
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
        >>> from gradient_flow_drifting import Drifting, ParticleFlow, Regression
        >>> short = TrainConfig(flow=ParticleFlow(steps=0), regression=Regression(steps=0), objective=Drifting(steps=3))
        >>> folder = train(short, Path(tempfile.mkdtemp()) / "a")
        >>> (folder / "generator.safetensors").exists()
        True
    """
    config.data.sample(1, seeded(0, "probe"))  # a file that cannot be used is told before the folder is made
    require_new(folder)
    with limited_threads(config.threads):
        trainer = Trainer(config)
        with Run.create(folder, config) if is_writer() else nullcontext() as run:
            _go_on(trainer, folder, run)
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
    config = run_config(folder)
    with limited_threads(config.threads):
        trainer = Trainer(config)
        if (folder / CHECKPOINT).exists():
            state = load_state(folder / CHECKPOINT)
            try:
                trainer.load_state_dict(state)
            except (KeyError, RuntimeError, TypeError, ValueError) as error:
                raise CheckpointError(
                    f"{folder / CHECKPOINT}: is not of this run: put its own checkpoint back"
                ) from error
            if is_writer():
                save_generator(folder / GENERATOR, trainer.state.ema.model)
        with Run.resume(folder, step=trainer.steps_done) if is_writer() else nullcontext() as run:
            _go_on(trainer, folder, run)
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


def require_new(folder: Path) -> None:
    """Refuse a folder that holds a run, before anything is built.

    Args:
        folder: Where a run is to lie.

    Raises:
        ValueError: If it holds one.
    """
    if (folder / CONFIG).exists():
        raise ValueError(f"{folder}: holds a run already: give another folder, or go on with --resume {folder}")


def _go_on(trainer: Trainer, folder: Path, run: Run | None) -> None:
    """Take the steps that are left; a process without a run takes its part in them and writes nothing."""
    config = trainer.config
    try:
        bar = progress(range(trainer.steps_done, config.total_steps), "train", config.total_steps, trainer.steps_done)
        with bar if run is not None else nullcontext(range(trainer.steps_done, config.total_steps)) as steps:
            for _ in steps:
                loss = trainer.step()
                _guard({"loss": loss}, config)
                done, last = trainer.steps_done, trainer.steps_done == config.total_steps
                if last or done % config.log_every == 0 or done in trainer.frame_steps:
                    row = {"loss": loss, **trainer.diagnostics()}
                    _guard(row, config)
                    if run is not None:
                        run.log(done, **row)
                        bar.set_postfix(
                            {name: f"{row[name]:.3g}" for name in ("loss", "energy", "high_quality") if name in row}
                        )
                if last or done % config.checkpoint_every == 0:
                    _save(trainer, folder)
    except DivergedError as error:
        raise DivergedError(f"{folder}: {error} at step {trainer.steps_done}: {_last_good(folder)}") from None


def _guard(figures: dict[str, float], config: TrainConfig) -> None:
    what = blown_up(figures, config.limit)
    if what is not None:
        raise DivergedError(what)


def _save(trainer: Trainer, folder: Path) -> None:
    """The generator first: if the process is killed in between, the checkpoint is the older of the two."""
    if not trainer.state.is_finite():
        raise DivergedError("the weights or particles blew up (not finite)")
    if not is_writer():
        return
    save_generator(folder / GENERATOR, trainer.state.ema.model)
    save_state(folder / CHECKPOINT, trainer.state_dict())


def _last_good(folder: Path) -> str:
    if not (folder / CHECKPOINT).exists():
        return "there is no checkpoint yet; lower the learning rate or the step size"
    step = load_state(folder / CHECKPOINT)["steps_done"]
    return f"the last good checkpoint is that of step {step}; lower the learning rate or the step size"
