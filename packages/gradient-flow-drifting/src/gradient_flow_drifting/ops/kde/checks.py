"""Arguments: what a caller can hand over wrongly, said in one line that names it, and weights in logarithms."""

import math
from collections.abc import Iterable
from numbers import Real
from typing import Any

import torch
from torch import Tensor


def check_cloud(
    name: str, cloud: Tensor, *, like: Tensor | None = None, may_be_empty: bool = False, batched: bool = False
) -> None:
    """Hold a point cloud to `[points, coordinates]`, finite, in single or double precision, and to another cloud.

    Squares of its coordinates must be finite too, or distances are not.

    Half precision is wrong here by tens of per cent: what is small is the difference of large exponents.

    Args:
        name: The caller's word for it.
        cloud: The points.
        like: The cloud x, whose number of coordinates, precision and leading axes are wanted; any where None.
        may_be_empty: Whether no points at all are allowed.
        batched: Whether there may be leading axes, of several clouds.

    Raises:
        ValueError: If one of these does not hold.
    """
    if not isinstance(cloud, Tensor) or cloud.dtype not in (torch.float32, torch.float64):
        kind = cloud.dtype if isinstance(cloud, Tensor) else type(cloud).__name__
        raise ValueError(f"{name}: a float32 or float64 tensor [points, coordinates] is needed, found {kind}")
    if cloud.ndim < 2 or (cloud.ndim > 2 and not batched) or cloud.shape[-1] == 0:
        raise ValueError(f"{name}: shape [points, coordinates] is needed, found {list(cloud.shape)}")
    if like is not None and cloud.shape[-1] != like.shape[-1]:
        raise ValueError(f"{name}: {like.shape[-1]} coordinates are needed as in x, found {cloud.shape[-1]}")
    if like is not None and cloud.shape[:-2] != like.shape[:-2]:
        wanted, found = list(like.shape[:-2]), list(cloud.shape[:-2])
        raise ValueError(f"{name}: leading axes {wanted} are needed as in x, found {found}")
    if like is not None and cloud.dtype != like.dtype:
        raise ValueError(f"{name}: {like.dtype} is needed as in x, found {cloud.dtype}")
    if cloud.shape[-2] == 0 and not may_be_empty:
        raise ValueError(f"{name}: the cloud is empty, shape {list(cloud.shape)}; give at least one point")
    if not math.isfinite(float(torch.linalg.vector_norm(cloud.detach(), dim=-1).sum())):  # cheaper than a look at each
        bad = int((~torch.isfinite(cloud)).any(dim=-1).sum())
        if bad:
            raise ValueError(f"{name}: {bad} of {cloud.shape[:-1].numel()} points have a NaN or infinite coordinate")
        raise ValueError(
            f"{name}: coordinates up to {float(cloud.detach().abs().max()):.2g}, whose squares {cloud.dtype} cannot "
            "hold; give them in larger units"
        )


def check_weights(
    name: str,
    weights: Tensor | None,
    cloud_name: str,
    count: int,
    *,
    least: int = 1,
    batch: tuple[int, ...] = (),
) -> None:
    """Hold weights to one finite number ≥ 0 for each point, enough of them positive.

    Args:
        name: The caller's word for the weights.
        weights: The weights; None stands for equal ones.
        cloud_name: The caller's word for the points they belong to.
        count: Number of these points.
        least: How many weights must be positive.
        batch: Leading axes of several clouds.

    Raises:
        ValueError: If one of these does not hold.
    """
    if weights is None:
        return
    if not isinstance(weights, Tensor) or tuple(weights.shape) != (*batch, count):
        found = f"shape {list(weights.shape)}" if isinstance(weights, Tensor) else type(weights).__name__
        wanted = " × ".join(map(str, (*batch, count)))
        raise ValueError(
            f"{name}: a tensor of {wanted} weights, one for each of {cloud_name}, is needed, found {found}"
        )
    usable = torch.isfinite(weights) & (weights >= 0)
    if not usable.all():
        raise ValueError(f"{name}: weights must be finite and ≥ 0, found {float(weights[~usable][0])}")
    positive = int((weights > 0).sum(dim=-1).min()) if weights.numel() else least
    if positive < least:
        raise ValueError(f"{name}: at least {least} positive weights are needed, found {positive}")


def log_of_weights(weights: Tensor) -> Tensor:
    """log u, -inf at zero, where the gradient is zero too instead of NaN.

    Args:
        weights: u ≥ 0, checked.

    Returns:
        The logarithms.
    """
    positive = weights > 0
    return torch.where(positive, torch.where(positive, weights, 1.0).log(), -torch.inf)


def positive_numbers(name: str, value: float | Iterable[float]) -> tuple[float, ...]:
    """One number or several as a tuple, each finite and > 0.

    Args:
        name: The caller's word for it.
        value: A number or a sequence of numbers.

    Raises:
        ValueError: If there is none, or one is not positive and finite.
    """
    single = isinstance(value, Real) or getattr(value, "ndim", None) == 0
    if not single and (isinstance(value, str) or not isinstance(value, Iterable)):
        raise ValueError(f"{name}: a number or a sequence of them is needed, found {value!r}")
    given: list[Any] = [value] if single else list(value)  # type: ignore[arg-type]
    for each in given:
        if not isinstance(each, Real) and getattr(each, "ndim", None) != 0:
            raise ValueError(f"{name}: a number or a sequence of them is needed, found {each!r} in it")
    numbers = tuple(map(float, given))
    if not numbers:
        raise ValueError(f"{name}: at least one number is needed, found an empty sequence")
    for each in numbers:
        if not (math.isfinite(each) and each > 0):
            raise ValueError(f"{name}: must be positive and finite, found {each}")
    return numbers
