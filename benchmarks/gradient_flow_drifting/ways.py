"""The ways a score can be worked that ours is held against, in float32 and for one bandwidth."""

from collections.abc import Callable, Mapping
from functools import cache

import torch
from gradient_flow_drifting.ops.kde.reference import score_reference
from torch import Tensor

Way = Callable[[Tensor, Tensor, float], object]


def by_cdist(x: Tensor, y: Tensor, h: float) -> Tensor:
    """The mean shift from a matrix of distances, without the log density."""
    return torch.softmax(-torch.cdist(x, y).square() / (2 * h * h), dim=-1) @ y


def by_product(x: Tensor, y: Tensor, h: float) -> Tensor:
    """The mean shift from a matrix product, without the log density."""
    return torch.softmax((x @ y.mT - 0.5 * y.square().sum(-1)[..., None, :]) / (h * h), dim=-1) @ y


def by_baddbmm(x: Tensor, y: Tensor, h: float) -> Tensor:
    """The mean shift of many problems, without the log density."""
    bias = (-0.5 / h**2) * y.square().sum(-1)[:, None]
    return torch.bmm(torch.softmax(torch.baddbmm(bias, x, y.mT, alpha=h**-2), dim=-1), y)


def by_keops(x: Tensor, y: Tensor, h: float) -> tuple[Tensor, Tensor]:
    """Mean and log of the sum by KeOps, two reductions; an ImportError where it is not installed."""
    from pykeops.torch import LazyTensor

    exponent = -((LazyTensor(x[:, None] / h) - LazyTensor(y[None] / h)) ** 2).sum(-1) / 2
    return exponent.sumsoftmaxweight(LazyTensor(y[None]), dim=1), exponent.logsumexp(dim=1)


def by_compile(x: Tensor, y: Tensor, h: float) -> object:
    """The reference, compiled once for all shapes: bandwidth 1 on clouds in its units."""
    return _compiled()(x / h, y / h)


@cache
def _compiled() -> Callable[[Tensor, Tensor], object]:
    return torch.compile(lambda x, y: score_reference(x, y, None, (1.0,), False), dynamic=True)


WAYS: dict[str, Way] = {
    "cdist and softmax": by_cdist,
    "product and softmax": by_product,
    "torch.compile of the reference": by_compile,
    "KeOps": by_keops,
}


def those_that_run(ways: Mapping[str, Callable[[], object]]) -> tuple[dict[str, Callable[[], object]], dict[str, str]]:
    """Ways that can be timed here, each having run once; of the others, why not.

    Args:
        ways: What to run, by name.

    Returns:
        The ways that ran, and a word for each that did not: `absent` (not installed), `no memory`, or the error's name.
    """
    ran, refused = {}, {}
    for name, way in ways.items():
        try:
            way()
            ran[name] = way
        except ImportError:
            refused[name] = "absent"
        except torch.OutOfMemoryError:
            refused[name] = "no memory"
        except RuntimeError as error:
            refused[name] = type(error).__name__
    return ran, refused
