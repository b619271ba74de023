"""LAMDA-PILOT's settings, read as a run of this package."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qkd_cil.config import RunConfig
from qkd_cil.data.datasets import Cifar100Config
from qkd_cil.data.folders import FolderConfig
from qkd_cil.data.scenario import ScenarioConfig
from qkd_cil.data.transforms import Augmentation
from qkd_cil.learners import (
    AlignmentConfig,
    APERConfig,
    CODAPromptConfig,
    DualPromptConfig,
    EASEConfig,
    FinetuneConfig,
    ICaRLConfig,
    L2PConfig,
    LearnerConfig,
    MOSConfig,
    MoTEConfig,
    RanPACConfig,
    Schedule,
    SimpleCILConfig,
    SLCAConfig,
    TUNAConfig,
)
from qkd_cil.models.adapter import AdapterConfig
from qkd_cil.models.backbone import BackboneConfig

Settings = Mapping[str, Any]
FOLDERS = {
    "imagenetr": "imagenet-r",
    "imageneta": "imagenet-a",
    "cub": "cub200",
    "vtab": "vtab",
    "objectnet": "objectnet",
    "omnibenchmark": "omnibenchmark",
}
_BOOKKEEPING = """
ca_storage_efficient_method_choices device embedding_key fixed_memory freeze get_original_backbone global_pool head_type
init_lr_decay init_milestones initializer lrate_decay memory_per_class memory_size milestones model_postfix prefix
print_forget prompt_key prompt_key_init reinit_optimizer
"""
_READ = """
backbone_type batch_size dataset epochs ffn_num increment init_cls init_epoch init_epochs init_lr later_epochs later_lr
lrate model_name optimizer scheduler seed shuffle tuned_epoch weight_decay
"""
KNOWN_KEYS = {*_BOOKKEEPING.split(), *_READ.split()}
# What leaves a method as it is here; another value has no counterpart.
NEUTRAL = {
    "adapter_num": -1,
    "beta": 0,
    "drop": 0,
    "drop_path": 0,
    "min_lr": 0,
    "moni_adam": False,
    "predefined_key": "",
    "pretrained": True,
    "prompt_pool": True,
    "pull_constraint": True,
    "recalc_sim": True,
    "same_key_value": False,
    "shared_prompt_key": False,
    "use_RP": True,
    "use_diagonal": False,
    "use_e_prompt": True,
    "use_g_prompt": True,
    "use_init_ptm": False,
    "use_old_data": False,
    "use_prefix_tune_for_e_prompt": True,
    "use_prefix_tune_for_g_prompt": True,
    "use_reweight": True,
}


def _alignment(settings: Settings, usual: AlignmentConfig) -> AlignmentConfig:
    found = {
        "epochs": int(settings.get("crct_epochs", settings.get("ca_epochs", usual.epochs))),
        "learning_rate": float(settings.get("ca_lr", usual.learning_rate)),
    }
    if "ca_storage_efficient_method" in settings:
        spread = "diagonal" if settings["ca_storage_efficient_method"] == "variance" else "full"
        return replace(usual, **found, covariance=spread)  # type: ignore[arg-type]
    return replace(usual, **found)  # type: ignore[arg-type]


def _vpt(settings: Settings) -> str:
    return f"vpt-{str(settings.get('vpt_type', 'Deep')).lower()}"


def _ranpac(settings: Settings) -> RanPACConfig:
    kind = str(settings["backbone_type"]).rsplit("_", 1)[-1]
    tuning = {"adapter": "adapter", "ssf": "ssf", "vpt": _vpt(settings)}.get(kind, "none")
    tokens = int(settings.get("prompt_token_num", 5))
    return RanPACConfig(projection=int(settings.get("M", 10000)), tuning=tuning, tokens=tokens)  # type: ignore[arg-type]


def _coda(settings: Settings) -> CODAPromptConfig:
    components, length, weight = settings.get("prompt_param", (100, 8, 0.0))
    tasks = max(1, int(settings.get("nb_tasks", 10)))
    return CODAPromptConfig(
        components=max(1, int(components) // tasks), length=int(length), orthogonality=float(weight)
    )


# For each of their names: what builds our config, and the settings it reads.
METHODS: dict[str, tuple[Callable[[Settings], LearnerConfig], str]] = {
    "simplecil": (lambda _: SimpleCILConfig(), ""),
    "finetune": (lambda _: FinetuneConfig(trains="full", loss_over="new", similarity="linear"), ""),
    "icarl": (lambda s: ICaRLConfig(trains="full", memory=int(s.get("memory_size", 2000))), "memory_size"),
    "l2p": (
        lambda s: L2PConfig(
            pool=int(s.get("size", 10)),
            length=int(s.get("length", 5)),
            chosen=int(s.get("top_k", 5)),
            selection="batch" if s.get("batchwise_prompt") else "image",
            pull=float(s.get("pull_constraint_coeff", 0.1)),
        ),
        "size length top_k batchwise_prompt pull_constraint_coeff shared_prompt_pool use_prompt_mask",
    ),
    "dualprompt": (
        lambda s: DualPromptConfig(
            general_layers=tuple(s.get("g_prompt_layer_idx", (0, 1))),
            general_length=int(s.get("g_prompt_length", 5)),
            expert_layers=tuple(s.get("e_prompt_layer_idx", (2, 3, 4))),
            expert_length=int(s.get("length", 5)),
            selection="batch" if s.get("batchwise_prompt") else "image",
            pull=float(s.get("pull_constraint_coeff", 0.1)),
        ),
        "size length top_k batchwise_prompt pull_constraint_coeff g_prompt_layer_idx g_prompt_length "
        "e_prompt_layer_idx shared_prompt_pool use_prompt_mask",
    ),
    "coda_prompt": (_coda, "prompt_param nb_tasks"),
    "slca": (
        lambda s: SLCAConfig(
            logit_norm=float(s.get("ca_with_logit_norm", 0.1)), alignment=_alignment(s, SLCAConfig().alignment)
        ),
        "ca_epochs ca_with_logit_norm",
    ),
    "aper_adapter": (lambda _: APERConfig(tuning="adapter"), "vpt_type prompt_token_num"),
    "aper_ssf": (lambda _: APERConfig(tuning="ssf"), "vpt_type prompt_token_num"),
    "aper_vpt": (
        lambda s: APERConfig(tuning=_vpt(s), tokens=int(s.get("prompt_token_num", 5))),  # type: ignore[arg-type]
        "vpt_type prompt_token_num",
    ),
    "ranpac": (_ranpac, "M vpt_type prompt_token_num"),
    "ease": (lambda s: EASEConfig(alpha=float(s.get("alpha", 0.1))), "alpha vpt_type prompt_token_num"),
    "mote": (lambda _: MoTEConfig(), "vpt_type prompt_token_num alpha"),
    "mos": (
        lambda s: MOSConfig(
            momentum=float(s.get("adapter_momentum", 0.1)),
            contrast=float(s.get("reg", 0.1)),
            ensemble=bool(s.get("ensemble", True)),
            alignment=_alignment(s, MOSConfig().alignment),
        ),
        "adapter_momentum reg ensemble crct_epochs ca_lr ca_storage_efficient_method n_centroids",
    ),
    "tuna": (
        lambda s: TUNAConfig(
            scale=float(s.get("scale", 20.0)),
            margin=float(s.get("m", 0.0)),
            orthogonality=float(s.get("reg", 0.001)) if s.get("use_orth", True) else 0.0,
            mean_decay="wrong-sign" if s.get("decay") else "none",
            alignment=_alignment(s, TUNAConfig().alignment),
        ),
        "scale m reg use_orth decay crct_epochs ca_lr ca_storage_efficient_method r",
    ),
}
PROMPTS = ("l2p", "dualprompt", "coda_prompt")


@dataclass(frozen=True)
class Imported:
    """A file of LAMDA-PILOT's settings as ours.

    Args:
        configs: One for each seed.
        notes: What differs or has no counterpart, a line for each.
    """

    configs: tuple[RunConfig, ...]
    notes: tuple[str, ...]


def read_pilot(path: Path) -> Imported:
    """Read a JSON file of LAMDA-PILOT's settings (`exps/*.json`).

    Args:
        path: The file.

    Returns:
        A run for each of its seeds.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such file, or names a method, data or network that is not here.
    """
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: no such file; give one of LAMDA-PILOT's exps/*.json") from error
    except ValueError as error:
        raise ValueError(f"{path}: not a JSON file ({error}); give one of LAMDA-PILOT's exps/*.json") from error
    try:
        return from_pilot(settings)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def from_pilot(settings: Settings) -> Imported:
    """LAMDA-PILOT's settings as runs of this package.

    Networks get their inputs and adapters as the public code has them: no normalisation, dropout of 0.1, placed before
    the block's second norm.

    Args:
        settings: What stands in the JSON file.

    Returns:
        A run for each of its seeds.

    Raises:
        ValueError: If a setting is missing or of another form, or a method, data or a network is not here.

    >>> settings = {"dataset": "cifar224", "model_name": "simplecil", "backbone_type": "pretrained_vit_b16_224_in21k"}
    >>> found = from_pilot({**settings, "init_cls": 10, "increment": 10, "seed": [1993]})
    >>> found.configs[0].learner, found.configs[0].backbone.name
    (SimpleCILConfig(), 'vit_base_patch16_224.augreg_in21k')
    """
    missing = [
        key for key in ("dataset", "model_name", "backbone_type", "init_cls", "increment") if key not in settings
    ]
    if missing:
        raise ValueError(f"settings have no {missing[0]!r}; LAMDA-PILOT's files name it")
    method = str(settings["model_name"]).lower()
    if method not in METHODS:
        raise ValueError(f"model_name {method!r} is not here; there are {', '.join(METHODS)}")
    build, reads = METHODS[method]
    notes: list[str] = []
    try:
        config = RunConfig(
            data=_data(settings),
            tasks=_tasks(settings),
            backbone=_backbone(settings, method),
            learner=build(settings),  # type: ignore[arg-type]
            schedule=_schedule(settings, method, notes),
        )
        seeds = settings.get("seed", [1993])
        seeds = [int(seed) for seed in (seeds if isinstance(seeds, list) else [seeds])]
    except (TypeError, KeyError) as error:
        raise ValueError(f"a setting is of another form than LAMDA-PILOT's ({error})") from error
    except ValueError as error:
        if str(error).startswith(("invalid literal", "could not convert")):  # of int() and float()
            raise ValueError(f"a setting is of another form than LAMDA-PILOT's ({error})") from error
        raise
    left = sorted(set(settings) - KNOWN_KEYS - set(reads.split()))
    changed = [key for key in left if key not in NEUTRAL or NEUTRAL[key] != settings[key]]
    notes += [f"{key} = {settings[key]!r} has no counterpart" for key in changed]
    shuffled = settings.get("shuffle", True)
    configs = [
        replace(config, seed=seed, tasks=replace(config.tasks, class_order_seed=seed if shuffled else None))
        for seed in seeds
    ]
    return Imported(tuple(configs), tuple(notes))


def _data(settings: Settings) -> Cifar100Config | FolderConfig:
    name = str(settings["dataset"]).lower()
    if name in ("cifar224", "cifar100"):
        return Cifar100Config()
    if name not in FOLDERS:
        raise ValueError(f"dataset {name!r} is not here; there are cifar224, {', '.join(FOLDERS)}")
    return FolderConfig(Path("data") / FOLDERS[name], name=FOLDERS[name])


def _tasks(settings: Settings) -> ScenarioConfig:
    first, later = int(settings["init_cls"]), int(settings["increment"])
    return ScenarioConfig(base_classes=0 if first == later else first, increment=later)


def _backbone(settings: Settings, method: str) -> BackboneConfig:
    """The weights that timm 0.6.12, which LAMDA-PILOT asks for, has under its names."""
    kind = str(settings["backbone_type"]).lower()
    found = re.match(r"(?:pretrained_)?vit_(tiny|small|base|b|large)_?(?:patch)?(16|32)_224(_in21k)?", kind)
    if found is None:
        raise ValueError(f"backbone_type {kind!r} is no vision transformer that is here")
    size = {"b": "base"}.get(found[1], found[1])
    tag = "augreg_in21k" if found[3] else "augreg_in21k_ft_in1k"
    width = settings.get("r" if method == "tuna" else "ffn_num", 64)
    adapter = AdapterConfig(bottleneck=int(width), dropout=0.1, reads="residual")
    return BackboneConfig(f"vit_{size}_patch{found[2]}_224.{tag}", inputs="raw", adapter=adapter)


def _schedule(settings: Settings, method: str, notes: list[str]) -> Schedule:
    epochs = next(
        (settings[key] for key in ("tuned_epoch", "init_epochs", "init_epoch", "epochs") if key in settings), 0
    )
    rate = next((settings[key] for key in ("init_lr", "lrate") if key in settings), 0.01)
    for first, later in (("init_epochs", "later_epochs"), ("init_epoch", "epochs"), ("init_lr", "later_lr")):
        if first in settings and later in settings and settings[first] != settings[later]:
            notes.append(f"{later} = {settings[later]!r}: every task gets {first} = {settings[first]!r}")
    optimizer = str(settings.get("optimizer", "adam" if method in PROMPTS else "sgd")).lower()
    if optimizer not in ("sgd", "adam"):
        notes.append(f"optimizer = {optimizer!r}: taken as adam")
        optimizer = "adam"
    decay = {"cosine": "cosine-by-epoch", "constant": "constant"}.get(str(settings.get("scheduler", "cosine")).lower())
    if decay is None:
        notes.append(f"scheduler = {settings['scheduler']!r}: taken as cosine")
    notes.append("training images: square cuts of 5 to 100 % of the area; LAMDA-PILOT's are oblong as well")
    return Schedule(
        epochs=int(epochs),
        batch_size=int(settings.get("batch_size", 48)),
        optimizer=optimizer,  # type: ignore[arg-type]
        learning_rate=float(rate),
        decay=decay or "cosine-by-epoch",  # type: ignore[arg-type]
        weight_decay=float(settings.get("weight_decay", 5e-4)),
        augmentation=Augmentation(crop=(0.05, 1.0), flip=0.5),
    )
