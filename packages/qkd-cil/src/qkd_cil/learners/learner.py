"""The protocol of a class-incremental learner.

A method is one file: a frozen config class whose `build` makes the learner, and a `Learner` that fills in the hooks.
Whoever uses it sees `fit_task`, `predict`, `save` and `load`; `fit_task` calls, in this order,

1. `begin_task(task)`: grow what must grow;
2. `training_step(batch)` for every batch of every epoch, as long as `parameters_to_train()` names any, each followed by
   a step of the optimizer and `after_step()`;
3. `end_task(task)`: prototypes, alignment, merging.

Judging goes through `classify(encode(images))`. What was learned lies in parameters and buffers alone, so that
`state_dict` is all there is to keep; a buffer may change its shape from task to task.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from papertrio_shared.checkpoint import save_weights
from papertrio_shared.run import config_to_dict
from papertrio_shared.seed import generator
from torch import Tensor, nn

from qkd_cil.data.images import LabelledImages, as_images
from qkd_cil.data.scenario import Task
from qkd_cil.data.transforms import normalise, resize
from qkd_cil.learners.fitting import Batch, Schedule, Step, Training, fit
from qkd_cil.models.backbone import Backbone, BackboneConfig

if TYPE_CHECKING:
    from lightning_fabric import Fabric

FORMAT = 1


class Outputs(NamedTuple):
    """What a learner makes of a batch of images.

    Attributes:
        logits: For each class seen, in the order the classes came.
        routing: Weight of each task, rows summing to one; None where a method does not route.
    """

    logits: Float[Tensor, "batch class"]
    routing: Float[Tensor, "batch task"] | None = None


class LearnerConfig(Protocol):
    """A method's numbers, and how they become a learner."""

    def build(self, backbone: BackboneConfig, schedule: Schedule, *, seed: int, device: str) -> "Learner":
        """The learner, before its first task."""
        ...


class Learner(nn.Module, ABC):
    """A class-incremental learner over a vision transformer.

    Args:
        config: The method's own numbers.
        backbone: The network, or timm's name of it.
        schedule: How a task is trained.
        seed: Of everything random.
        device: Where it runs; `auto`: on a GPU where there is one.

    Attributes:
        keeps_features: Whether `encode` can make use in later tasks of what it gave for an image.
        trains_backbone: Whether the pretrained weights change, so that they belong to what is saved.
        diagnostics: What the method tells about itself after a task, by name; a run logs it.
    """

    keeps_features: bool = False
    trains_backbone: bool = False
    classes: Int64[Tensor, " class"]
    task_sizes: Int64[Tensor, " task"]

    def __init__(
        self,
        config: LearnerConfig,
        *,
        backbone: BackboneConfig | str,
        schedule: Schedule | None = None,
        seed: int = 1993,
        device: str = "auto",
    ) -> None:
        super().__init__()
        self.config = config
        self.schedule = schedule or Schedule()
        self.seed = seed
        self.device = _device(device)
        self.backbone = Backbone(BackboneConfig(backbone) if isinstance(backbone, str) else backbone)
        self.backbone_config = _with_fingerprint(self.backbone)
        self._pretrained = frozenset(f"backbone.{name}" for name in self.backbone.state_dict())
        self.register_buffer("classes", torch.empty(0, dtype=torch.int64))
        self.register_buffer("task_sizes", torch.empty(0, dtype=torch.int64))
        self.register_load_state_dict_pre_hook(_reshape_buffers)
        self.streams: dict[str, torch.Generator] = {}
        self.loop: Training | None = None
        self.diagnostics: dict[str, float] = {}
        self.to(self.device)

    # ---- what a method fills in

    def check(self, classes: int) -> None:
        """Before a run: refuse what could only fail in the middle of it.

        Args:
            classes: How many there will be in the end.

        Raises:
            ValueError: If the method cannot learn so many, or a part of it cannot be had here.
        """

    def begin_task(self, task: Task) -> None:
        """Before training: the new classes are already in `classes` and `task_sizes`."""

    def training_images(self, task: Task) -> LabelledImages:
        """The images of an epoch: the task's own."""
        return task.train

    def parameters_to_train(self) -> list[nn.Parameter]:
        """What the optimizer changes: every parameter that wants a gradient; with none there are no steps."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The same as the optimizer takes them, where some want a learning rate of their own."""
        return [{"params": self.parameters_to_train()}]

    def training_step(self, batch: Batch) -> Mapping[str, Tensor]:  # noqa: ARG002
        """Terms of the loss by name, weighted: their sum goes down, each of them is logged."""
        raise TypeError(f"{type(self).__name__} has parameters to train, but no training step")

    def after_step(self) -> None:
        """After each step of the optimizer, without gradients."""

    def end_task(self, task: Task) -> None:
        """After training: with the parameters as they stay."""

    @abstractmethod
    def encode(self, images: UInt8[Tensor, "batch 3 height width"], kept: Tensor | None = None) -> Tensor:
        """What `classify` needs to know of the images.

        Args:
            images: Images as they come; `prepare` makes them what the network takes.
            kept: What this method gave for them in an earlier task, if `keeps_features`; no columns: nothing yet, but
                the result will be kept, and must have the same bits whenever it is made; None: it will not be kept,
                and may be made in any way that differs by rounding alone.

        Returns:
            One row for each image.
        """

    @abstractmethod
    def classify(self, features: Tensor) -> Outputs:
        """Logits of the classes seen, and the weights of the tasks where the method routes."""

    def classify_of_task(self, features: Tensor, task: int) -> Outputs:  # noqa: ARG002
        """What `classify` gives where all images are of one task and an evaluation tells which.

        Only what stands for an upper bound, such as the oracle gate, makes use of it.
        """
        return self.classify(features)

    # ---- what everyone uses

    def fit_task(
        self,
        task: Task,
        *,
        on_step: Callable[[Step], None] | None = None,
        start: Mapping[str, Any] | None = None,
        fabric: "Fabric | None" = None,
    ) -> None:
        """Learn the next task.

        Args:
            task: Its classes and images.
            on_step: Called after every training step.
            start: What `training_state` gave within this task, to go on from there to the same bits.
            fabric: Of a run on several devices, each with a learner of its own; they share every batch.

        Raises:
            ValueError: If it is not the next task, one of its classes was learned before, or `start` is of another
                task or learner.
        """
        if task.index != self.task_count:
            raise ValueError(
                f"task {task.index} cannot follow {self.task_count} learned tasks: fit them in their order"
            )
        if known := set(task.classes) & set(self.classes.tolist()):
            raise ValueError(f"task {task.index}: class {min(known)} was learned before; give each class to one task")
        self.classes = torch.cat([self.classes, self.classes.new_tensor(task.classes)])
        self.task_sizes = torch.cat([self.task_sizes, self.task_sizes.new_tensor([len(task.classes)])])
        self.streams.clear()
        self.train()
        self.begin_task(task)
        fit(self, task, on_step, start=start, fabric=fabric)
        self.eval()
        with torch.no_grad():
            self.end_task(task)

    def predict(self, images: np.ndarray | Tensor) -> Int64[Tensor, " n"]:
        """Labels of images, the task being unknown.

        Args:
            images: 8-bit, `[n, height, width, 3]` as NumPy has them or `[n, 3, height, width]` as torch does.

        Returns:
            One of the data set's labels for each.

        Raises:
            ValueError: If there is no learned task, or the images are of another form.
        """
        return self.classes[self.outputs(as_images(images)).logits.argmax(1)].cpu()

    @torch.no_grad()
    def outputs(self, images: UInt8[Tensor, "n 3 height width"]) -> Outputs:
        """Logits and routing for any number of images, batch by batch.

        Raises:
            ValueError: If there is no learned task.
        """
        if not self.task_count:
            raise ValueError("the learner has seen no task yet: call fit_task first")
        self.eval()
        parts = [self.classify(self.encode(part)) for part in images.split(self.schedule.evaluation_batch_size)]
        return concatenate_outputs(parts)

    def save(self, path: str | Path) -> None:
        """Write what was learned, and all it takes to rebuild the learner, into one safetensors file.

        The frozen network is named by its config and fingerprint, not stored.
        """
        config = {
            "format": FORMAT,
            "method": type(self).__name__,
            "learner": config_to_dict(self.config),
            "backbone": config_to_dict(self.backbone_config),
            "schedule": config_to_dict(self.schedule),
            "seed": self.seed,
        }
        save_weights(path, self.learned_state(), config)

    def training_state(self) -> dict[str, Any]:
        """What `fit_task` takes as `start`: the state between two training steps.

        Raises:
            ValueError: If no task is being trained: it is for `on_step` to call.
        """
        if self.loop is None:
            raise ValueError("no task is being trained: call training_state from on_step")
        return self.loop.state()

    # ---- what a method uses

    @property
    def task_count(self) -> int:
        """Number of tasks seen, the present one among them."""
        return len(self.task_sizes)

    @property
    def task_of_class(self) -> Int64[Tensor, " class"]:
        """Task of each class, in the order the classes came."""
        return torch.repeat_interleave(torch.arange(self.task_count, device=self.device), self.task_sizes)

    def positions(self, labels: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
        """Place of each label in `classes`, which is the order of the logits."""
        where = torch.full((int(self.classes.max()) + 1,), -1, device=self.device)
        where[self.classes] = torch.arange(len(self.classes), device=self.device)
        return where[labels.to(self.device)]

    def prepare(self, images: UInt8[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 size size"]:
        """Images resized and normalised as the network takes them."""
        values = resize(images.to(self.device), self.backbone.config.img_size)
        return normalise(values, self.backbone.mean, self.backbone.std)

    def generator(self, name: str) -> torch.Generator:
        """Random numbers on the CPU for one purpose, afresh in every task, whatever happened in earlier ones."""
        if name not in self.streams:
            self.streams[name] = generator(self.seed, f"{name} of task {self.task_count - 1}")
        return self.streams[name]

    # ---- state

    def learned_state(self) -> dict[str, Tensor]:
        """The state without the frozen network."""
        stored = self.trains_backbone or self.backbone_config.weights == "random"
        left_out = frozenset() if stored else self._pretrained
        return {name: tensor for name, tensor in self.state_dict().items() if name not in left_out}

    def load_learned_state(self, state: Mapping[str, Tensor]) -> None:
        """Take on what `learned_state` gave.

        Raises:
            ValueError: If a tensor is missing, left over or of another shape.
        """
        try:
            missing, unexpected = self.load_state_dict(dict(state), strict=False)
        except RuntimeError as error:
            raise ValueError(f"the state is of another learner: {_last_line(error)}") from error
        wrong = sorted(set(missing) & set(self.learned_state())) + unexpected
        if wrong:
            raise ValueError(f"the state is of another learner: {wrong[0]} is missing or left over")
        self.eval()


def concatenate_outputs(parts: Sequence[Outputs]) -> Outputs:
    """Outputs of several batches as of one."""
    routing = [part.routing for part in parts if part.routing is not None]
    return Outputs(torch.cat([part.logits for part in parts]), torch.cat(routing) if routing else None)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name!r} cannot be used here; choose auto, cpu or cuda") from error


def _with_fingerprint(backbone: Backbone) -> BackboneConfig:
    """The config with the hash of the weights it led to; random ones have no use for it."""
    random = backbone.config.weights == "random"
    return backbone.config if random else replace(backbone.config, fingerprint=backbone.fingerprint())


def _reshape_buffers(learner: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Before a state dictionary is loaded, give the learner's own buffers the shapes that stand in it."""
    for name, buffer in learner.named_buffers(recurse=False):
        found = state.get(prefix + name)
        if found is not None and found.shape != buffer.shape:
            setattr(learner, name, buffer.new_empty(found.shape))


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1].strip()
