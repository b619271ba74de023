"""What a run is called: its method, and what it goes through."""

from dataclasses import fields, replace
from typing import Any

from papertrio_shared.run import dict_to_config

from qkd_cil.learners.qkd import PROFILES, QKDConfig
from qkd_cil.models.gate import QuantumGateConfig


def method_name(learner: dict[str, Any]) -> str:
    """What a learner's config is called: its class, and what tells it from others of the class.

    >>> from papertrio_shared.run import config_to_dict
    >>> from qkd_cil.learners import APERConfig, FinetuneConfig
    >>> method_name(config_to_dict(QKDConfig())), method_name(config_to_dict(FinetuneConfig()))
    ('QKD robust', 'Finetune adapter')
    >>> method_name(config_to_dict(QKDConfig(fusion="top1"))), method_name(config_to_dict(APERConfig(tuning="ssf")))
    ('QKD robust top1', 'APER ssf')
    """
    name = str(learner["class"]).removesuffix("Config")
    detail = str(learner.get("trains") or (learner.get("tuning") if name == "APER" else "") or "")
    if name == "QKD":
        detail = _qkd_detail(learner)
    return f"{name} {detail}" if detail else name


def _qkd_detail(learner: dict[str, Any]) -> str:
    """The profile, if only gate and fusion differ from it; then these where they do."""
    try:
        config = dict_to_config(learner, QKDConfig)
    except ValueError:  # of another version
        return ""
    words: list[str] = []
    published = PROFILES["robust"]
    for profile, known in PROFILES.items():
        if replace(config, gate=known.gate, fusion=known.fusion) == known:
            words, published = [profile], known
    if not isinstance(config.gate, QuantumGateConfig):
        words.append(type(config.gate).__name__.removesuffix("GateConfig").lower())
    elif isinstance(published.gate, QuantumGateConfig):
        names = [each.name for each in fields(config.gate)]
        changed = [name for name in names if getattr(config.gate, name) != getattr(published.gate, name)]
        words += [f"{name} {getattr(config.gate, name)}" for name in changed] if words else []
    return " ".join([*words, *([config.fusion] if config.fusion != published.fusion else [])])


def protocol(*results: dict[str, Any]) -> str:
    """Data, tasks, orders of the classes, network and epochs of one run or of several that share them.

    Args:
        results: What stands in their `result.json`.
    """
    result = results[0]
    sizes = [len(classes) for classes in result["task_classes"]]
    tasks = f"{len(sizes)} tasks of {sizes[0]} classes" if len(set(sizes)) == 1 else f"tasks of {sizes} classes"
    config = result["config"]
    orders = sorted({str(each["config"]["tasks"]["class_order_seed"]) for each in results})
    return (
        f"{result['dataset']}, {tasks}, class order seed {', '.join(orders)}, backbone {config['backbone']['name']} at "
        f"{config['backbone']['img_size']} px, {config['schedule']['epochs']} epochs"
    )
