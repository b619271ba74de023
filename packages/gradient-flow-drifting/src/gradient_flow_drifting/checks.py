"""Checks that configs, names and clouds share."""

import math
from collections.abc import Iterable
from difflib import SequenceMatcher
from numbers import Integral, Real
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from .manifolds import Manifold
from .ops.kde.checks import check_cloud


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
        value, whole = getattr(config, name), _wants_whole(config, name)
        if not _is_number(value, whole=whole) or value <= 0:
            raise ValueError(f"{prefix}.{name} = {value}: give a positive number{', a whole one' * whole}".lstrip("."))


def require_not_negative(config: Any, prefix: str, *names: str) -> None:
    """Refuse a config with a number below zero or not finite.

    Args:
        config: The config.
        prefix: Its name within the run, for the message.
        names: Attributes that hold one number each.

    Raises:
        ValueError: If one is negative or not finite.
    """
    for name in names:
        value, whole = getattr(config, name), _wants_whole(config, name)
        if not _is_number(value, whole=whole) or value < 0:
            raise ValueError(f"{prefix}.{name} = {value}: give zero or more{', a whole number' * whole}")


def require_choices(config: Any, prefix: str) -> None:
    """Refuse a config with a word that its annotation, a `Literal`, does not have: unknown, it would act as another.

    Args:
        config: The config.
        prefix: Where it stands in the run's config; empty at the top.

    Raises:
        ValueError: If there is no such choice.
    """
    for name, kind in get_type_hints(type(config)).items():
        if get_origin(kind) is Literal and getattr(config, name) not in get_args(kind):
            wanted = ", ".join(map(repr, get_args(kind)))
            raise ValueError(f"{prefix}.{name} = {getattr(config, name)!r}: give one of {wanted}".lstrip("."))


def _wants_whole(config: Any, name: str) -> bool:
    """Whether the annotation says int."""
    return get_type_hints(type(config))[name] is int


def _is_number(value: Any, *, whole: bool) -> bool:
    return isinstance(value, Integral if whole else Real) and math.isfinite(value)


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


def require_whole(name: str, value: Any, *, least: int = 1) -> None:
    """Refuse what is no whole number, or too small a one.

    Args:
        name: The caller's word for it.
        value: What was handed over.
        least: The smallest that will do.

    Raises:
        ValueError: If it will not.
    """
    if not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name}: a whole number, at least {least}, is needed, found {value!r}")


def require_number(name: str, value: Any, *, above: float | None = None) -> None:
    """Refuse what is no finite number, or too small a one.

    Args:
        name: The caller's word for it.
        value: What was handed over.
        above: What it must exceed; None where any number will do.

    Raises:
        ValueError: If it will not.
    """
    if not isinstance(value, Real) or not math.isfinite(value):
        raise ValueError(f"{name}: a finite number is needed, found {value!r}")
    if above is not None and value <= above:
        raise ValueError(f"{name}: must be above {above:g}, found {value}")


def check_on_manifold(name: str, cloud: Tensor, manifold: Manifold) -> None:
    """Refuse points that do not lie in their space.

    Args:
        name: The caller's word for the cloud.
        cloud: The points.
        manifold: Their space.

    Raises:
        ValueError: If one lies off it.
    """
    if not manifold.check_point_on_manifold(cloud):
        raise ValueError(f"{name}: points off the {type(manifold).__name__.lower()}; project them with projx first")


def check_clouds(x: Tensor, positives: Tensor, negatives: Tensor, manifold: Manifold, self_terms: str) -> None:
    """Refuse clouds that a field cannot use.

    Args:
        x: Samples of the model.
        positives, negatives: The clouds that act on them.
        manifold: Their space.
        self_terms: What is to become of the samples' own terms.

    Raises:
        ValueError: If a cloud is empty, not finite, of another dimension than x or off its space, `self_terms` is
            unknown, or `"leave_one_out"` has fewer than two negatives or others than x.
    """
    for name, cloud in (("x", x), ("positives", positives), ("negatives", negatives)):
        check_cloud(name, cloud, like=None if name == "x" else x)
        check_on_manifold(name, cloud, manifold)
    if self_terms not in ("keep", "leave_one_out"):
        raise ValueError(f'self_terms: "keep" or "leave_one_out" is needed, found "{self_terms}"')
    if self_terms == "keep":
        return
    if len(negatives) < 2:
        raise ValueError(f"negatives: leaving one out needs at least two, found {len(negatives)}")
    if len(negatives) < len(x) or not torch.equal(negatives[: len(x)], x):
        raise ValueError('negatives: self_terms="leave_one_out" needs x as the first rows of negatives, found others')
