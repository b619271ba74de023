"""Named runs."""

from dataclasses import replace
from pathlib import Path

from qkd_cil.config import RunConfig
from qkd_cil.data.datasets import ArraysConfig, Cifar100Config, DigitsConfig
from qkd_cil.data.folders import FolderConfig
from qkd_cil.data.scenario import ScenarioConfig
from qkd_cil.data.transforms import Augmentation
from qkd_cil.embedded import GLYPH_VIT
from qkd_cil.learners.finetune import FinetuneConfig
from qkd_cil.learners.fitting import Schedule
from qkd_cil.learners.simple_cil import SimpleCILConfig
from qkd_cil.models.backbone import BackboneConfig

VIT_B = RunConfig(
    tasks=ScenarioConfig(increment=10),
    backbone=BackboneConfig(name="vit_base_patch16_224.augreg_in21k"),
    schedule=Schedule(epochs=20, batch_size=32, augmentation=Augmentation(crop=(0.5, 1.0), flip=0.5)),
)


VIT_TINY = BackboneConfig(
    name="vit_tiny_patch16_224",
    weights="vit_tiny_patch16_224.augreg_in21k_ft_in1k.fp16.safetensors",
    img_size=112,
)


def _of_folder(name: str, increment: int, *, class_order_seed: int | None = 1993) -> RunConfig:
    """The paper's run on a data set that is given as a folder."""
    tasks = ScenarioConfig(increment=increment, class_order_seed=class_order_seed)
    return replace(VIT_B, data=FolderConfig(Path("data") / name, name=name), tasks=tasks)


PRESETS = {
    "digits-b0-inc2": RunConfig(
        data=DigitsConfig(),
        tasks=ScenarioConfig(increment=2),
        backbone=GLYPH_VIT,
        schedule=Schedule(epochs=5, batch_size=32),
    ),
    "cifar100-small": RunConfig(
        data=ArraysConfig(Path("cifar100.npz")),
        tasks=ScenarioConfig(increment=10, train_per_class=50, test_per_class=50),
        backbone=VIT_TINY,
        schedule=Schedule(epochs=5, batch_size=48, learning_rate=0.2),
    ),
    "omniglot-small": RunConfig(
        data=ArraysConfig(Path("omniglot.npz")),
        tasks=ScenarioConfig(increment=22),
        backbone=VIT_TINY,
        schedule=Schedule(epochs=5, batch_size=16, learning_rate=0.2),
    ),
    "cifar100-b0-inc10": replace(VIT_B, data=Cifar100Config()),
    "imagenet-r-b0-inc20": _of_folder("imagenet-r", 20),
    "imagenet-a-b0-inc10": _of_folder("imagenet-a", 10),
    "cub200-b0-inc20": _of_folder("cub200", 20),
    "vtab-b0-inc10": _of_folder("vtab", 10, class_order_seed=None),  # its five parts one after another
    "objectnet-b0-inc10": _of_folder("objectnet", 10),
    "omnibenchmark-b0-inc30": _of_folder("omnibenchmark", 30),
}

DEMO = {
    "simple-cil": replace(PRESETS["digits-b0-inc2"], learner=SimpleCILConfig()),
    "finetune-adapter": replace(PRESETS["digits-b0-inc2"], learner=FinetuneConfig()),
    "qkd": PRESETS["digits-b0-inc2"],
}
