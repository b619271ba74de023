"""A small data set and network that several tests use."""

import numpy as np
import torch
from qkd_cil import AdapterConfig, BackboneConfig, ImageDataset, LabelledImages, Scenario, Schedule
from qkd_cil.data.scenario import ScenarioConfig

TINY = BackboneConfig(
    "vit_tiny_patch16_224",
    weights="random",
    img_size=16,
    patch_size=8,
    embed_dim=24,
    depth=2,
    num_heads=2,
    adapter=AdapterConfig(bottleneck=4),
)
QUICK = Schedule(epochs=2, batch_size=8, evaluation_batch_size=16)


def coloured(per_class: int, classes: int, seed: int) -> LabelledImages:
    """Noise around one colour for each class, the classes mixed."""
    random = np.random.default_rng(seed)
    colours = np.random.default_rng(0).integers(40, 215, (classes, 3, 1, 1))
    labels = np.tile(np.arange(classes), per_class)
    images = colours[labels] + random.integers(-30, 30, (len(labels), 3, 8, 8))
    return LabelledImages(torch.from_numpy(images.astype(np.uint8)), torch.from_numpy(labels))


def small_scenario(*, task_sizes: tuple[int, ...] = (2, 2, 2), per_class: int = 10) -> Scenario:
    """Six classes, ten training and five test images each, if nothing else is asked for."""
    classes = sum(task_sizes)
    dataset = ImageDataset(
        "small", coloured(per_class, classes, 1), coloured(5, classes, 2), tuple("abcdefgh"[:classes])
    )
    return Scenario(dataset, ScenarioConfig(task_sizes=task_sizes))
