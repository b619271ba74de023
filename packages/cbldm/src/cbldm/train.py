"""Training of a profile, stage after stage, with checkpoints that resume to the same bits."""

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from papertrio_shared.checkpoint import CheckpointError, load_state, load_weights, save_state, save_weights
from papertrio_shared.devices import fabric_of, is_writer
from papertrio_shared.metrics import RunningMean
from papertrio_shared.progress import progress
from papertrio_shared.run import CONFIG, Run, config_to_dict, dict_to_config, read_config
from papertrio_shared.seed import generator, seed_everything
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from .config import TrainConfig
from .devices import part_of
from .examples import ExampleSource
from .output import make_folder
from .profiles import Examples, Profile
from .sample import WEIGHTS

CHECKPOINT = "checkpoint.pt"


class DivergedError(FloatingPointError):
    """A run whose loss says that going on is useless; the message is one line."""


class Trainer:
    """A run: its networks, their average, and its next step.

    Nothing is drawn from a stream that runs on: each step has its own, named by its number, so that a checkpoint holds
    weights, moments and that number.

    Args:
        config: What to train.

    Raises:
        ValueError: If the config asks for a device that is not there, or no geometry is left to train on.

    Attributes:
        steps_done: How many steps were taken.
        profile: The networks.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        # A stage trains a part of the networks: the rest has no share in its loss.
        self.fabric = fabric_of(
            config.device,
            config.devices,
            strategy="ddp_find_unused_parameters_true",
            precision=config.precision,
        )
        seed_everything(config.seed)
        self.profile: Profile = config.profile.build()
        self._wrapped = self.fabric.setup_module(_Loss(self.profile))
        self._average = AveragedModel(self.profile, multi_avg_fn=_mean_of(config.average_decay))
        with self.fabric.rank_zero_first(local=True):  # which makes the training set
            self.source = ExampleSource(
                config.data,
                self.profile,
                batch=config.batch,
                validation=config.validation,
                seed=config.seed,
                device=self.fabric.device,
            )
        self.steps_done = 0
        self._stage = ""
        self._optimizer: Any = None
        self._means: dict[str, RunningMean] = {}
        self._unseen: dict[str, list[Examples]] | None = None

    @property
    def averaged(self) -> Profile:
        """The average of the weights, which is what a run gives."""
        return self._average.module  # type: ignore[return-value]

    def step(self) -> float:
        """Take one step.

        Returns:
            The loss of the present stage.
        """
        stage, k, length = self.config.place(self.steps_done)
        if stage != self._stage:
            if k == 0 and self.steps_done:
                self.profile.load_state_dict(self.averaged.state_dict())
                self._average.n_averaged.zero_()  # of what a stage begins with nothing is left in its average
            self._enter(stage)
            self._means = {}
        for group in self._optimizer.param_groups:
            group["lr"] = self.config.learning_rate * _pace(k, length, self.config.warmup)
        rank = self.fabric.global_rank
        examples = part_of(self.source(self.steps_done), rank, self.fabric.world_size)
        name = f"step {self.steps_done}"
        stream = generator(self.config.seed, f"{name} of process {rank}" if rank else name)
        figures = self._wrapped(stage, examples, stream, k / length)
        self._optimizer.zero_grad()
        self.fabric.backward(figures["loss"])
        self.fabric.clip_gradients(self._wrapped, self._optimizer, max_norm=self.config.clip, error_if_nonfinite=False)
        means = {name: float(self.fabric.all_reduce(each.detach())) for name, each in figures.items()}  # type: ignore[arg-type]
        loss = means["loss"]
        if math.isfinite(loss):
            self._optimizer.step()
            self._average.update_parameters(self.profile)
        self.steps_done += 1
        for name, value in means.items():
            self._means.setdefault(name, RunningMean()).update(value)
        return loss

    def figures(self) -> dict[str, float]:
        """Means over the steps since the last call, and figures of the averaged networks on curves no step has seen."""
        found = {name: mean.value for name, mean in self._means.items()}
        self._means = {}
        stage, _, _ = self.config.place(self.steps_done - 1)
        if self._unseen is None:
            self._unseen = {"unseen": self.source.unseen(), "held_out": self.source.unseen_geometries()}
        for name, batches in self._unseen.items():
            for key, value in self._figures_on(stage, batches).items():
                found[f"{name}/{key}"] = value
        return found

    @torch.no_grad()
    def _figures_on(self, stage: str, batches: list[Examples]) -> dict[str, float]:
        means: dict[str, RunningMean] = {}
        for k, examples in enumerate(batches):
            stream = generator(self.config.seed, f"validation {k}")
            for key, value in self.averaged.loss(stage, examples, stream).items():
                means.setdefault(key, RunningMean()).update(float(value), weight=len(examples.present))
        return {key: mean.value for key, mean in means.items()}

    def is_finite(self) -> bool:
        """Whether all weights are."""
        return all(bool(each.isfinite().all()) for each in self.averaged.parameters())

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on."""
        return {
            "steps_done": self.steps_done,
            "profile": self.profile.state_dict(),
            "average": self._average.state_dict(),
            "optimizer": self._optimizer.state_dict() if self._optimizer is not None else None,
            "means": {name: (mean.total, mean.weight) for name, mean in self._means.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.steps_done = state["steps_done"]
        self.profile.load_state_dict(state["profile"])
        self._average.load_state_dict(state["average"])
        if self.steps_done:
            self._enter(self.config.place(self.steps_done - 1)[0])
            self._optimizer.load_state_dict(state["optimizer"])
        self._means = {}
        for name, (total, weight) in state["means"].items():
            self._means[name] = RunningMean()
            self._means[name].total, self._means[name].weight = total, weight

    def _enter(self, stage: str) -> None:
        """Train what the stage trains, with an optimizer of its own, and freeze the rest."""
        self._stage = stage
        self.profile.eval().requires_grad_(False)
        for part in self.profile.trained(stage):
            part.train().requires_grad_(True)
        self.profile.training = True
        self.averaged.eval().requires_grad_(False)
        weights = [each for each in self.profile.parameters() if each.requires_grad]
        adam = torch.optim.AdamW(
            weights, lr=self.config.learning_rate, weight_decay=self.config.weight_decay, betas=(0.9, 0.99)
        )
        self._optimizer = self.fabric.setup_optimizers(adam)


class _Loss(nn.Module):
    """A profile's loss as the forward method, which is where Fabric sets the precision."""

    def __init__(self, profile: Profile) -> None:
        super().__init__()
        self.profile = profile

    def forward(self, stage: str, examples: Examples, stream: torch.Generator, progress: float) -> dict[str, Tensor]:
        return self.profile.loss(stage, examples, stream, progress=progress)


def _mean_of(decay: float) -> Any:
    """Exponential moving average, d = min(decay, (1 + t)/(10 + t)) so that the first values are forgotten quickly."""

    def update(averages: list[Tensor], values: list[Tensor], count: Tensor | int) -> None:
        now = min(decay, (1 + int(count)) / (10 + int(count)))
        torch._foreach_lerp_(averages, values, 1 - now)

    return update


def _pace(k: int, length: int, warmup: int) -> float:
    rise = min(1.0, (k + 1) / (warmup + 1))
    return rise * 0.5 * (1 + math.cos(math.pi * k / length))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """So many threads, and no denormal numbers, which Adam's moments of a dead unit would become."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(False)


def train(config: TrainConfig, folder: Path) -> Path:
    """Start a run in a new folder and take it to its last step.

    Args:
        config: What to train.
        folder: Where to put the run: config, environment, metrics, checkpoint and weights.

    Returns:
        The folder.

    Raises:
        ValueError: If the folder holds a run already or cannot be made, or the config asks for what is not there.
        DivergedError: If the loss blows up; the last good checkpoint stays.

    >>> import tempfile
    >>> from cbldm.presets import PRESETS
    >>> folder = train(PRESETS["robust-smoke"], Path(tempfile.mkdtemp()) / "a")
    >>> (folder / "weights.safetensors").exists()
    True
    """
    if (folder / CONFIG).exists():
        raise ValueError(f"{folder}: holds a run already: give another folder, or go on with --resume {folder}")
    make_folder(folder)
    with _threads(config.threads):
        trainer = Trainer(config)
        with Run.create(folder, config) if is_writer() else nullcontext() as run:
            _go_on(trainer, run, folder)
    return folder


def resume(folder: Path) -> Path:
    """Go on with a run from its last checkpoint, or from the start where it has none.

    On a CPU the result is the uninterrupted run's, bit for bit. The weights are written anew from the checkpoint.

    Args:
        folder: Where the run lies.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: If the folder holds no run.
        ValueError: If its config or its checkpoint is damaged, or the checkpoint is that of another run.
        DivergedError: If the loss blows up.

    >>> resume(Path("runs/none"))
    Traceback (most recent call last):
    FileNotFoundError: runs/none: holds no run (config.json is missing): check the path
    """
    config = run_config(folder)
    with _threads(config.threads):
        trainer = Trainer(config)
        if (folder / CHECKPOINT).exists():
            state = load_state(folder / CHECKPOINT)
            try:
                trainer.load_state_dict(state)
            except (KeyError, IndexError, RuntimeError, TypeError, AttributeError, ValueError) as error:
                raise CheckpointError(
                    f"{folder / CHECKPOINT}: is not of this run: put its own checkpoint back"
                ) from error
            if is_writer():
                _save_weights(trainer, folder)
        with Run.resume(folder, step=trainer.steps_done) if is_writer() else nullcontext() as run:
            _go_on(trainer, run, folder)
    return folder


def write_half(folder: Path, path: Path) -> None:
    """Write the weights of a run in half precision.

    Args:
        folder: Of the run.
        path: The file; one that is there is replaced.

    Raises:
        FileNotFoundError: If the run has no weights yet.
    """
    tensors, config = load_weights(folder / WEIGHTS)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_weights(path, {name: each.half() for name, each in tensors.items()}, config)


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


def _go_on(trainer: Trainer, run: Run | None, folder: Path) -> None:
    """To the last step; without a run, as one of several processes that only take part in the steps."""
    config, left = trainer.config, range(trainer.steps_done, trainer.config.total_steps)
    shown: Any = progress(left, "train", config.total_steps, trainer.steps_done) if run else nullcontext(left)
    try:
        with shown as steps:
            for _ in steps:
                loss = trainer.step()
                if not math.isfinite(loss) or loss > config.limit:
                    raise DivergedError(f"the loss blew up ({loss:.6g}, the limit is {config.limit:.6g})")
                done = trainer.steps_done
                last = done == config.total_steps
                if run and (last or done % config.log_every == 0):
                    row = trainer.figures()
                    run.log(done, **row)
                    told = [name for name in ("loss", "unseen/loss", "unseen/count_right") if name in row]
                    steps.set_postfix({name: f"{row[name]:.3g}" for name in told})
                if last or done % config.checkpoint_every == 0:
                    if not trainer.is_finite():
                        raise DivergedError("the weights blew up (not finite)")
                    if run:
                        _save_weights(trainer, folder)  # first: if killed in between, the checkpoint is the older
                        save_state(folder / CHECKPOINT, trainer.state_dict())
    except DivergedError as error:
        raise DivergedError(f"{folder}: {error} at step {trainer.steps_done}: {_last_good(folder)}") from None


def _save_weights(trainer: Trainer, folder: Path) -> None:
    save_weights(folder / WEIGHTS, trainer.averaged.state_dict(), {"profile": config_to_dict(trainer.config.profile)})


def _last_good(folder: Path) -> str:
    if not (folder / CHECKPOINT).exists():
        return "there is no checkpoint yet; lower the learning rate"
    step = load_state(folder / CHECKPOINT)["steps_done"]
    return f"the last good checkpoint is that of step {step}; lower the learning rate"
