"""Class-incremental learning on pretrained vision transformers, with quantum-gated knowledge distillation."""

import os

# Threads of OpenMP that spin while they wait make a busy machine many times slower; read when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from qkd_cil.data.datasets import scenario
from qkd_cil.data.images import LabelledImages
from qkd_cil.data.scenario import ImageDataset, Scenario, SeenTest, Task
from qkd_cil.data.transforms import Augmentation
from qkd_cil.embedded import GLYPH_VIT
from qkd_cil.evaluate import Evaluation, KeptFeatures, Summary, accuracy_matrix, evaluate, summarise
from qkd_cil.learners import (
    APER,
    EASE,
    MOS,
    PROFILES,
    QKD,
    TUNA,
    AlignmentConfig,
    APERConfig,
    Batch,
    EASEConfig,
    Finetune,
    FinetuneConfig,
    Joint,
    JointConfig,
    Learner,
    LearnerConfig,
    MOSConfig,
    Outputs,
    QKDConfig,
    RanPAC,
    RanPACConfig,
    Schedule,
    SimpleCIL,
    SimpleCILConfig,
    Step,
    TUNAConfig,
    load,
)
from qkd_cil.models.adapter import AdapterConfig
from qkd_cil.models.backbone import BackboneConfig

__all__ = [
    "APER",
    "EASE",
    "GLYPH_VIT",
    "MOS",
    "PROFILES",
    "QKD",
    "TUNA",
    "APERConfig",
    "AdapterConfig",
    "AlignmentConfig",
    "Augmentation",
    "BackboneConfig",
    "Batch",
    "EASEConfig",
    "Evaluation",
    "Finetune",
    "FinetuneConfig",
    "ImageDataset",
    "Joint",
    "JointConfig",
    "KeptFeatures",
    "LabelledImages",
    "Learner",
    "LearnerConfig",
    "MOSConfig",
    "Outputs",
    "QKDConfig",
    "RanPAC",
    "RanPACConfig",
    "Scenario",
    "Schedule",
    "SeenTest",
    "SimpleCIL",
    "SimpleCILConfig",
    "Step",
    "Summary",
    "TUNAConfig",
    "Task",
    "accuracy_matrix",
    "evaluate",
    "load",
    "scenario",
    "summarise",
]
