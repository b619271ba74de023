"""What training, judging and the gate cost beside the network's own passes."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import timm
import torch
from qkd_cil import PROFILES, BackboneConfig, Finetune, QKDConfig, Schedule, SimpleCIL
from qkd_cil.data.images import LabelledImages
from qkd_cil.data.scenario import Task
from qkd_cil.learners.fitting import fit
from qkd_cil.models.backbone import Backbone

from benchmarks.registry import Rows, benchmark

VIT_TINY = BackboneConfig("vit_tiny_patch16_224", weights="random", img_size=112)
VIT_B = replace(VIT_TINY, name="vit_base_patch16_224", img_size=224)
BATCH, JUDGED, IMAGES, CLASSES, TEACHERS = 48, 128, 240, 10, 9


@benchmark(package="qkd-cil", name="passes", device="cpu")
def beside_the_passes() -> Rows:
    """CPU seconds on one thread: ours against the network's passes alone."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [_training(), *_judging(), *(_gate(name, config) for name, config in PROFILES.items())]
    finally:
        torch.set_num_threads(threads)


def _training() -> dict[str, object]:
    """An epoch of `finetune` against forward and backward through the same adapters."""
    numbers = torch.Generator().manual_seed(0)
    labels = torch.arange(CLASSES).repeat_interleave(IMAGES // CLASSES)
    pixels = torch.randint(0, 256, (IMAGES, 3, 32, 32), dtype=torch.uint8, generator=numbers)
    task = Task(0, tuple(range(CLASSES)), LabelledImages(pixels, labels))
    learner = Finetune(backbone=VIT_TINY, schedule=Schedule(epochs=1, batch_size=BATCH, learning_rate=0.01))
    learner.fit_task(task)
    learner.train()
    batches = learner.prepare(pixels).split(BATCH)

    def passes() -> None:
        for batch in batches:
            learner.zero_grad()
            learner.backbone.adapted(batch, tasks=[0])[0].square().mean().backward()

    seconds = _in_turns({"ours": lambda: fit(learner, task), "passes": passes}, repeats=7)
    return _row("training, images/s", IMAGES / seconds["ours"], IMAGES / seconds["passes"], target="90 %")


def _judging() -> Rows:
    """The network's forward pass, and a learner's whole way from 8-bit images to logits, against plain timm."""
    learner = SimpleCIL(backbone=VIT_TINY)
    plain = timm.create_model(VIT_TINY.name, num_classes=0, img_size=VIT_TINY.img_size).eval()
    pixels = torch.randint(0, 256, (JUDGED, 3, 32, 32), dtype=torch.uint8)
    learner.fit_task(Task(0, (0,), LabelledImages(pixels, torch.zeros(JUDGED, dtype=torch.int64))))
    values = learner.prepare(pixels)
    with torch.no_grad():
        ways = {
            "network": lambda: learner.backbone(values),
            "learner": lambda: learner.outputs(pixels),
            "timm": lambda: plain(values),
        }
        seconds = _in_turns(ways, repeats=9)
    rate = {name: JUDGED / each for name, each in seconds.items()}
    return [
        _row("forward, images/s", rate["network"], rate["timm"], target="95 %"),
        _row("8-bit images to logits, images/s", rate["learner"], rate["timm"], target=""),
    ]


def _gate(name: str, config: QKDConfig) -> dict[str, object]:
    """The gate of a profile in a training step of ViT-B/16, batch 32: its share of the step."""
    numbers = torch.Generator().manual_seed(0)
    dim, batch = 768, 32
    gate = config.gate.build(dim, generator=numbers)
    for _ in range(TEACHERS):
        gate.add_task(torch.randn(dim, generator=numbers))
    features = torch.randn(batch, dim, generator=numbers)
    learned = config.gate_gradient == "distillation"

    def weigh() -> None:
        alpha = gate.over_teachers(features)
        if learned:
            alpha[:, 0].sum().backward()

    network = Backbone(VIT_B)
    network.add_adapter(numbers)
    images = torch.randn(batch, 3, VIT_B.img_size, VIT_B.img_size, generator=numbers)
    step = _in_turns({"step": lambda: network.adapted(images, tasks=[0]).square().mean().backward()}, repeats=1)
    seconds = _in_turns({"gate": weigh}, repeats=9)["gate"]
    whole = seconds + step["step"]
    return {
        "what": f"gate of {name} in a step of ViT-B/16 with {TEACHERS} teachers, s",
        "ours": round(seconds, 5),
        "held against": round(whole, 1),
        "ratio, %": round(100 * seconds / whole, 3),
        "target": "below 2 %",
    }


def _row(what: str, ours: float, other: float, *, target: str) -> dict[str, object]:
    ratio = round(100 * ours / other, 1)
    return {"what": what, "ours": round(ours, 1), "held against": round(other, 1), "ratio, %": ratio, "target": target}


def _in_turns(ways: Mapping[str, Callable[[], object]], *, repeats: int) -> dict[str, float]:
    """Median CPU seconds of a call of each, in turns; where other work shares the cores they say more than time."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.process_time()
            way()
            seconds[name].append(time.process_time() - start)
    return {name: statistics.median(each) for name, each in seconds.items()}
