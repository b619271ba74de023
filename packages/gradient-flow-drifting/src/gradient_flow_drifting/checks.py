"""Checks that configs and names share."""

import math
from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import Any


def require_positive(config: Any, prefix: str, *names: str) -> None:
    """Refuse a config with a number that is not positive and finite.

    Args:
        config: The config.
        prefix: Its name within the run, for the message; empty for the run itself.
        names: Attributes that hold one number each.

    Raises:
        ValueError: If one is not positive and finite.
    """
    for name in names:
        value = getattr(config, name)
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{prefix}.{name} = {value}: give a positive number".lstrip("."))


def require_not_negative(config: Any, prefix: str, *names: str) -> None:
    """Refuse a config with a number below zero.

    Args:
        config: The config.
        prefix: Its name within the run, for the message.
        names: Attributes that hold one number each.

    Raises:
        ValueError: If one is negative.
    """
    for name in names:
        if getattr(config, name) < 0:
            raise ValueError(f"{prefix}.{name} = {getattr(config, name)}: give zero or more")


def nearest_name(name: str, known: Iterable[str]) -> str:
    """The known name that is most like a misspelled one.

    Args:
        name: What was given.
        known: What there is.

    Returns:
        One of the known.

    Example:
        >>> nearest_name("gausian", ("laplace", "gaussian"))
        'gaussian'
    """

    def likeness(other: str) -> tuple[float, int]:
        return SequenceMatcher(None, name, other).ratio(), sum(map(str.__eq__, name, other))

    return max(known, key=likeness)
