"""What a run of each learner spends its time on, and what a run costs beside the network's passes."""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from qkd_cil import (
    PROFILES,
    AlignmentConfig,
    Augmentation,
    BackboneConfig,
    ImageDataset,
    LabelledImages,
    LearnerConfig,
    Schedule,
    train,
)
from qkd_cil import learners as methods
from qkd_cil.config import RunConfig
from qkd_cil.data.scenario import ScenarioConfig
from qkd_cil.learners import fitting, mos, slca, tuna
from qkd_cil.models.backbone import Backbone
from qkd_cil.models.classical_gates import CosineGateConfig
from timm.models.vision_transformer import Block

from benchmarks.registry import Rows, benchmark

TASKS, CLASSES, TRAIN, TEST = 3, 4, 24, 12  # classes of a task, images of a class
# Two epochs of 24 images of a class are a fifth of what the preset cifar100-small trains, and of 96 images of a task a
# thirteenth: so is the work of alignment, which goes by classes, and of routing, which goes by tasks.
SHORT = AlignmentConfig(epochs=6)
ROBUST = replace(PROFILES["robust"], routing_steps=24)
VIT_TINY = BackboneConfig("vit_tiny_patch16_224", weights="random", img_size=112)
SCHEDULE = Schedule(epochs=2, batch_size=48, learning_rate=0.01)
PROMPTED = replace(SCHEDULE, optimizer="adam", learning_rate=0.001, decay="constant", weight_decay=0.0)
LEARNERS: dict[str, LearnerConfig] = {
    "simple-cil": methods.SimpleCILConfig(),
    "finetune": methods.FinetuneConfig(),
    "joint": methods.JointConfig(),
    "lwf": methods.LwFConfig(),
    "icarl": methods.ICaRLConfig(memory=48),
    "slca": methods.SLCAConfig(alignment=AlignmentConfig(epochs=1, draws=154, learning_rate=0.01)),
    "l2p": methods.L2PConfig(),
    "dual-prompt": methods.DualPromptConfig(),
    "coda-prompt": methods.CODAPromptConfig(),
    "aper": methods.APERConfig(),
    "ranpac": methods.RanPACConfig(projection=2000),
    "ease": methods.EASEConfig(),
    "mote": methods.MoTEConfig(),
    "mos": methods.MOSConfig(alignment=SHORT),
    "tuna": methods.TUNAConfig(alignment=SHORT),
    "qkd": ROBUST,
    "qkd augmented": ROBUST,
    "qkd-cosine": replace(ROBUST, gate=CosineGateConfig()),
    "qkd-paper": PROFILES["paper"],
}
PASSES = ("forward", "backward", "passes to judge")
PARTS = (*PASSES, "else to judge", "data", "alignment", "rest", "files")


@benchmark(package="qkd-cil", name="learners", device="cpu")
def where_the_time_goes() -> Rows:
    """CPU seconds of whole runs on one thread: ViT-Tiny at 112 pixels, three tasks of 96 images, two epochs."""
    return [_in_a_process(name) for name in LEARNERS]


def _in_a_process(name: str) -> dict[str, object]:
    """One row, measured in a process of its own, whose peak memory is the run's."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.qkd_cil.learners", name]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


class Stopwatch:
    """CPU seconds by kind; while a function of one kind calls one of another, the time is the inner one's."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._stack, self._last = ["rest"], time.process_time()

    @contextmanager
    def on(self, kind: str) -> Iterator[None]:
        """Within it the time is of a kind; the network's passes while a learner is judged are `passes to judge`."""
        if kind == "forward" and "else to judge" in self._stack:
            kind = "passes to judge"
        if kind == "backward" and "alignment" in self._stack:
            kind = "alignment"
        self._charge()
        self._stack.append(kind)
        try:
            yield
        finally:
            self._charge()
            self._stack.pop()

    def watch(self, owner: Any, name: str, kind: str) -> None:
        """Replace a function by one that is timed."""
        function = getattr(owner, name)

        @wraps(function)
        def timed(*arguments: Any, **settings: Any) -> Any:
            with self.on(kind):
                return function(*arguments, **settings)

        setattr(owner, name, timed)

    def _charge(self) -> None:
        now = time.process_time()
        self.seconds[self._stack[-1]] += now - self._last
        self._last = now


def measured(name: str) -> dict[str, object]:
    """The row of one learner."""
    torch.set_num_threads(1)
    schedule = PROMPTED if name in ("l2p", "dual-prompt", "coda-prompt") else SCHEDULE
    if name.endswith("augmented"):
        schedule = replace(schedule, augmentation=Augmentation(crop=(0.5, 1.0), flip=0.5))
    tasks = ScenarioConfig(increment=CLASSES)
    config = RunConfig(tasks=tasks, backbone=VIT_TINY, learner=LEARNERS[name], schedule=schedule)  # type: ignore[arg-type]
    images, libraries = noise(), _peak()
    watch = watched()
    with tempfile.TemporaryDirectory() as folder:
        train.run(config, Path(folder), dataset=images)
    watch._charge()
    files = watch.seconds.pop("files")
    total = sum(watch.seconds.values())
    outside = total - sum(watch.seconds[part] for part in PASSES)
    shares = {f"{part}, %": round(100 * watch.seconds[part] / total, 1) for part in watch.seconds}
    return {
        "learner": name,
        "CPU s": round(total, 1),
        **shares,
        "outside passes, %": round(100 * outside / total, 1),
        "files, s": round(files, 1),
        "peak, MiB": round(_peak()),
        "of it libraries, MiB": round(libraries),
    }


def watched() -> Stopwatch:
    """A stopwatch on the network's passes, the preparation of batches, judging, alignment and files."""
    watch = Stopwatch()
    for owner, names, kind in (
        (Backbone, ("forward", "adapted", "mixed", "embed", "pool"), "forward"),
        (Block, ("forward",), "forward"),
        (torch.Tensor, ("backward",), "backward"),
        (methods.Learner, ("prepare",), "data"),
        (fitting, ("_inputs",), "data"),
        (train, ("evaluate", "_probe"), "else to judge"),
        (train, ("_finish", "_checkpoint", "save_state"), "files"),
        (train.Run, ("log",), "files"),
        (mos, ("align",), "alignment"),
        (slca, ("align",), "alignment"),
        (tuna, ("align",), "alignment"),
        (methods.QKD, ("_route", "align", "_update_moments"), "alignment"),
    ):
        for name in names:
            watch.watch(owner, name, kind)
    return watch


def noise() -> ImageDataset:
    """Images of CIFAR's size; what they show does not matter to the time."""
    numbers = torch.Generator().manual_seed(0)
    parts = []
    for each in (TRAIN, TEST):
        labels = torch.arange(TASKS * CLASSES).repeat_interleave(each)
        images = torch.randint(0, 256, (len(labels), 3, 32, 32), dtype=torch.uint8, generator=numbers)
        parts.append(LabelledImages(images, labels))
    return ImageDataset("noise", *parts, tuple(map(str, range(TASKS * CLASSES))))


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    print(json.dumps(measured(sys.argv[1])))
