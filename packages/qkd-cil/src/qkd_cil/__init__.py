"""Class-incremental learning on pretrained vision transformers, with quantum-gated knowledge distillation."""

from qkd_cil.data.datasets import scenario
from qkd_cil.data.images import LabelledImages
from qkd_cil.data.scenario import ImageDataset, Scenario, SeenTest, Task
from qkd_cil.learners.fitting import Schedule
from qkd_cil.learners.learner import Learner, Outputs
from qkd_cil.learners.simple_cil import SimpleCIL, SimpleCILConfig
from qkd_cil.models.backbone import BackboneConfig

__all__ = [
    "BackboneConfig",
    "ImageDataset",
    "LabelledImages",
    "Learner",
    "Outputs",
    "Scenario",
    "Schedule",
    "SeenTest",
    "SimpleCIL",
    "SimpleCILConfig",
    "Task",
    "scenario",
]
