"""An equal budget: how many steps of each stretch fit into a number of seconds of one thread."""

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from papertrio_shared.checkpoint import atomic_write
from papertrio_shared.run import config_to_dict, dict_to_config

from ..config import TrainConfig
from ..stretches import Stretch
from ..threads import limited_threads
from ..train import Trainer

ROUNDS, ROUND_SECONDS, WARM = 6, 0.25, 3
LEAST = 0.1  # share of the seconds that is left for steps, whatever is done once


@dataclass(frozen=True)
class Budget:
    """What a method may do.

    Attributes:
        seconds: Of training, on one thread.
        seconds_per_step: Of each stretch, at its quickest.
        seconds_once: What the first steps take beyond the others: finding the transport, for one.
        asked: The method's config as it stands.
        config: The same with its numbers of steps, all multiplied by one factor, that fill the seconds.
    """

    seconds: float
    seconds_per_step: dict[str, float]
    seconds_once: float
    asked: TrainConfig
    config: TrainConfig


def budget_of(config: TrainConfig, seconds: float, file: Path) -> Budget:
    """The budget of a method: read where it was measured before, else measured by a few steps and written.

    Args:
        config: The method's.
        seconds: CPU seconds of training.
        file: Where the budget is kept.

    Returns:
        The budget.

    Raises:
        ValueError: If the file was made for other seconds or for another config.
    """
    if file.exists():
        return _read(config, seconds, file)
    per_step, once = measured_seconds(config)
    whole = sum(cost * stretch.steps for cost, stretch in zip(per_step.values(), config.stretches, strict=True))
    left = max(seconds - once, LEAST * seconds)
    budget = Budget(seconds, per_step, once, config, with_steps(config, left / whole))
    with atomic_write(file) as temporary:
        temporary.write_text(json.dumps(_to_dict(budget), indent=2) + "\n", encoding="utf-8")
    return budget


def measured_seconds(config: TrainConfig) -> tuple[dict[str, float], float]:
    """CPU seconds of a step of each stretch, the quickest of six rounds of a quarter of a second, and of what is once.

    What else runs on the machine can only lengthen a round, even of one's own CPU seconds.

    Args:
        config: The run.

    Returns:
        Seconds of a step by the stretch's label, in their order; the seconds that first steps take beyond the others.
    """
    found, once = dict[str, float](), 0.0
    with limited_threads(1):
        trainer = Trainer(config)
        for its, stretch in zip(config.stretches, trainer.stretches, strict=True):
            start = time.process_time()
            stretch.step(0)
            first = time.process_time() - start
            for k in range(1, WARM):
                stretch.step(k % its.steps)
            found[its.label] = min(_round(stretch, its.steps) for _ in range(ROUNDS))
            once += max(first - found[its.label], 0.0)
    return found, once


def _round(stretch: Stretch, length: int) -> float:
    start, steps = time.process_time(), 0
    while True:
        stretch.step((WARM + steps) % length)
        steps += 1
        spent = time.process_time() - start
        if spent > ROUND_SECONDS:
            return spent / steps


def with_steps(config: TrainConfig, factor: float) -> TrainConfig:
    """The run with its numbers of steps multiplied, at least one of each stretch that has any.

    Args:
        config: The run.
        factor: What to multiply by.

    Returns:
        The run.

    Example:
        >>> with_steps(TrainConfig(), 0.5).objective.steps == TrainConfig().objective.steps // 2
        True
    """
    parts = {name: getattr(config, name) for name in ("flow", "regression", "objective")}
    return replace(config, **{name: replace(part, steps=_scaled(part.steps, factor)) for name, part in parts.items()})


def _scaled(steps: int, factor: float) -> int:
    return max(1, round(steps * factor)) if steps else 0


def _to_dict(budget: Budget) -> dict[str, Any]:
    configs = {"asked": config_to_dict(budget.asked), "config": config_to_dict(budget.config)}
    measured = {"seconds_per_step": budget.seconds_per_step, "seconds_once": budget.seconds_once}
    return {"seconds": budget.seconds, **measured, **configs}


def _read(config: TrainConfig, seconds: float, file: Path) -> Budget:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        asked, fitted = (dict_to_config(found[name], TrainConfig) for name in ("asked", "config"))
        budget = Budget(found["seconds"], found["seconds_per_step"], found["seconds_once"], asked, fitted)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file}: is damaged or of another version: remove {file.parent}") from error
    if budget.seconds != seconds:
        raise ValueError(f"{file.parent}: was run for {budget.seconds:g} s, not {seconds:g}: give another --out")
    if budget.asked != config:
        raise ValueError(f"{file.parent}: was run with another config, the preset has changed since: remove it")
    return budget
