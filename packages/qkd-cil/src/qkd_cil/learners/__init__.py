"""The methods, one file each, over the protocol in `learner`."""

from dataclasses import replace
from pathlib import Path

from papertrio_shared.checkpoint import CheckpointError, load_weights
from papertrio_shared.run import dict_to_config

from qkd_cil.learners.alignment import AlignmentConfig
from qkd_cil.learners.aper import APER, APERConfig
from qkd_cil.learners.coda_prompt import CODAPrompt, CODAPromptConfig
from qkd_cil.learners.dual_prompt import DualPrompt, DualPromptConfig
from qkd_cil.learners.ease import EASE, EASEConfig
from qkd_cil.learners.finetune import Finetune, FinetuneConfig
from qkd_cil.learners.fitting import Batch, Schedule, Step
from qkd_cil.learners.icarl import ICaRL, ICaRLConfig
from qkd_cil.learners.joint import Joint, JointConfig
from qkd_cil.learners.l2p import L2P, L2PConfig
from qkd_cil.learners.learner import FORMAT, Learner, LearnerConfig, Outputs
from qkd_cil.learners.lwf import LwF, LwFConfig
from qkd_cil.learners.mos import MOS, MOSConfig
from qkd_cil.learners.mote import MoTE, MoTEConfig
from qkd_cil.learners.qkd import PROFILES, QKD, QKDConfig
from qkd_cil.learners.ranpac import RanPAC, RanPACConfig
from qkd_cil.learners.simple_cil import SimpleCIL, SimpleCILConfig
from qkd_cil.learners.slca import SLCA, SLCAConfig
from qkd_cil.learners.tuna import TUNA, TUNAConfig
from qkd_cil.models.backbone import BackboneConfig

AnyLearnerConfig = (
    SimpleCILConfig
    | FinetuneConfig
    | JointConfig
    | LwFConfig
    | ICaRLConfig
    | SLCAConfig
    | L2PConfig
    | DualPromptConfig
    | CODAPromptConfig
    | APERConfig
    | RanPACConfig
    | EASEConfig
    | MoTEConfig
    | MOSConfig
    | TUNAConfig
    | QKDConfig
)


def load(path: str | Path, *, weights: str | Path | None = None, device: str = "auto") -> Learner:
    """A learner from the file that `Learner.save` wrote.

    Args:
        path: The file.
        weights: Where the frozen network's weights lie now, if they have moved.
        device: Where the learner shall run.

    Returns:
        The learner, as it was after its last task.

    Raises:
        FileNotFoundError: If the file, or the weights it names, are missing.
        ValueError: If it is no such file, or of another version, or the weights are not those it was made with.

    >>> import tempfile
    >>> from qkd_cil.data.datasets import scenario
    >>> backbone = BackboneConfig("vit_tiny_patch16_224", weights="random", img_size=32, depth=1)
    >>> learner = SimpleCIL(backbone=backbone)
    >>> task = scenario("digits", increment=2).train_tasks[0]
    >>> learner.fit_task(task)
    >>> file = Path(tempfile.mkdtemp()) / "learner.safetensors"
    >>> learner.save(file)
    >>> bool((load(file).predict(task.train.images) == learner.predict(task.train.images)).all())
    True
    """
    state, saved = load_weights(path)
    if saved.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: is no learner of format {FORMAT} (found {saved.get('format')!r}); load it with the version that "
            "wrote it"
        )
    try:
        config: LearnerConfig = dict_to_config(saved["learner"], AnyLearnerConfig)  # type: ignore[arg-type]
        backbone = dict_to_config(saved["backbone"], BackboneConfig)
        schedule = dict_to_config(saved["schedule"], Schedule)
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{path}: its config cannot be read: {error}") from error
    if weights is not None:
        backbone = replace(backbone, weights=str(weights))
    learner = config.build(backbone, schedule, seed=saved["seed"], device=device)
    if (method := saved.get("method", type(learner).__name__)) != type(learner).__name__:
        raise CheckpointError(
            f"{path}: was written by {method}, but its config builds a {type(learner).__name__}; build the learner "
            "yourself and give it load_weights(path)[0] by load_learned_state"
        )
    try:
        learner.load_learned_state(state)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return learner
