"""The config of a run: data, tasks, network, method, schedule."""

from dataclasses import dataclass, field, replace
from typing import Annotated

import tyro

from qkd_cil.data.datasets import ArraysConfig, Cifar100Config, DigitsConfig
from qkd_cil.data.folders import FolderConfig
from qkd_cil.data.scenario import ScenarioConfig
from qkd_cil.learners.aper import APERConfig
from qkd_cil.learners.coda_prompt import CODAPromptConfig
from qkd_cil.learners.dual_prompt import DualPromptConfig
from qkd_cil.learners.ease import EASEConfig
from qkd_cil.learners.finetune import FinetuneConfig
from qkd_cil.learners.fitting import Schedule
from qkd_cil.learners.icarl import ICaRLConfig
from qkd_cil.learners.joint import JointConfig
from qkd_cil.learners.l2p import L2PConfig
from qkd_cil.learners.learner import Learner
from qkd_cil.learners.lwf import LwFConfig
from qkd_cil.learners.mos import MOSConfig
from qkd_cil.learners.mote import MoTEConfig
from qkd_cil.learners.qkd import PROFILES, QKDConfig
from qkd_cil.learners.ranpac import RanPACConfig
from qkd_cil.learners.simple_cil import SimpleCILConfig
from qkd_cil.learners.slca import SLCAConfig
from qkd_cil.learners.tuna import TUNAConfig
from qkd_cil.models.backbone import BackboneConfig
from qkd_cil.models.classical_gates import (
    AttentionGateConfig,
    CosineGateConfig,
    GateConfig,
    MLPGateConfig,
    OracleGateConfig,
    UniformGateConfig,
)


def _with_gate(gate: GateConfig) -> QKDConfig:
    """The profile `robust` with another gate."""
    return replace(PROFILES["robust"], gate=gate)


DataChoice = (
    Annotated[DigitsConfig, tyro.conf.subcommand("digits", description="scikit-learn's handwritten digits")]
    | Annotated[ArraysConfig, tyro.conf.subcommand("arrays", description="arrays in an .npz file")]
    | Annotated[Cifar100Config, tyro.conf.subcommand("cifar100", description="CIFAR-100, by torchvision")]
    | Annotated[FolderConfig, tyro.conf.subcommand("folder", description="a folder of images")]
)
LearnerChoice = (
    Annotated[SimpleCILConfig, tyro.conf.subcommand("simple-cil", description="nearest class mean of frozen features")]
    | Annotated[FinetuneConfig, tyro.conf.subcommand("finetune", description="one adapter, or all, goes on learning")]
    | Annotated[JointConfig, tyro.conf.subcommand("joint", description="anew on all tasks so far: the upper bound")]
    | Annotated[LwFConfig, tyro.conf.subcommand("lwf", description="finetuning, taught by the network as it was")]
    | Annotated[
        ICaRLConfig, tyro.conf.subcommand("icarl", description="exemplars by herding, nearest mean of exemplars")
    ]
    | Annotated[
        SLCAConfig, tyro.conf.subcommand("slca", description="the whole network, slowly; an aligned classifier")
    ]
    | Annotated[L2PConfig, tyro.conf.subcommand("l2p", description="prompts from a pool, chosen for each image")]
    | Annotated[
        DualPromptConfig,
        tyro.conf.subcommand("dual-prompt", description="general prefixes and those of the nearest task"),
    ]
    | Annotated[
        CODAPromptConfig, tyro.conf.subcommand("coda-prompt", description="prefixes weighed together from components")
    ]
    | Annotated[APERConfig, tyro.conf.subcommand("aper", description="class means of the frozen and a tuned network")]
    | Annotated[RanPACConfig, tyro.conf.subcommand("ranpac", description="ridge regression on random features")]
    | Annotated[EASEConfig, tyro.conf.subcommand("ease", description="a subspace for each task, prototypes in all")]
    | Annotated[MoTEConfig, tyro.conf.subcommand("mote", description="experts that see a class of their own task")]
    | Annotated[MOSConfig, tyro.conf.subcommand("mos", description="merged adapters, retrieval that corrects itself")]
    | Annotated[TUNAConfig, tyro.conf.subcommand("tuna", description="the surest adapter and one merged of all")]
    | Annotated[QKDConfig, tyro.conf.subcommand("qkd", default=PROFILES["robust"], description="QKD, profile robust")]
    | Annotated[
        QKDConfig, tyro.conf.subcommand("qkd-paper", default=PROFILES["paper"], description="QKD, profile paper")
    ]
    | Annotated[
        QKDConfig,
        tyro.conf.subcommand("qkd-cosine", default=_with_gate(CosineGateConfig()), description="QKD, cosine gate"),
    ]
    | Annotated[
        QKDConfig, tyro.conf.subcommand("qkd-mlp", default=_with_gate(MLPGateConfig()), description="QKD, MLP gate")
    ]
    | Annotated[
        QKDConfig,
        tyro.conf.subcommand("qkd-attention", default=_with_gate(AttentionGateConfig()), description="QKD, attention"),
    ]
    | Annotated[
        QKDConfig,
        tyro.conf.subcommand("qkd-uniform", default=_with_gate(UniformGateConfig()), description="QKD, equal weights"),
    ]
    | Annotated[
        QKDConfig,
        tyro.conf.subcommand("qkd-oracle", default=_with_gate(OracleGateConfig()), description="QKD, the true task"),
    ]
)


@dataclass(frozen=True)
class RunConfig:
    """One run: a learner goes through the tasks of a data set.

    Args:
        data: The images.
        tasks: How their classes become tasks.
        backbone: The network.
        learner: The method.
        schedule: How a task is trained.
        seed: Of everything random but the order of the classes.
        device: Where it runs; `auto`: on a GPU where there is one.
        devices: Processes that share every batch, by Lightning Fabric.
        checkpoint_seconds: Time after which a checkpoint is written within a task; one more follows every task.

    Raises:
        ValueError: If a number is out of range.
    """

    data: DataChoice = field(default_factory=DigitsConfig)
    tasks: ScenarioConfig = field(default_factory=ScenarioConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    learner: LearnerChoice = field(default_factory=QKDConfig)
    schedule: Schedule = field(default_factory=Schedule)
    seed: int = 1993
    device: str = "auto"
    devices: int = 1
    checkpoint_seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.devices < 1 or not self.checkpoint_seconds >= 0:
            raise ValueError(
                f"run: devices {self.devices} and checkpoint_seconds {self.checkpoint_seconds}; give 1 or more devices "
                "and a time that is not negative"
            )

    def build_learner(self, device: str = "") -> Learner:
        """The learner, before its first task, on the config's device or the given one."""
        return self.learner.build(self.backbone, self.schedule, seed=self.seed, device=device or self.device)
