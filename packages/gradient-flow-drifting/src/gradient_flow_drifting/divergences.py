r"""Divergences of the model q from the data p, each with the velocity of its Wasserstein gradient flow.

An f-divergence $D = \int q\, f(r)$ with $r = p/q$ has the first variation $f(r) - r f'(r)$, and its flow moves
particles by $v = -\nabla (f - r f') = w(r)\, \nabla \log r$ with $w = r^2 f''(r)$. So a row is a name and log w as a
function of log r.
"""

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from .ops.kde import KdeScore


class Divergence(Protocol):
    """What a divergence offers to `drift`."""

    def parts(self) -> "tuple[tuple[float, FDivergence | MeanDiscrepancy], ...]":
        """Elementary divergences with their weights."""


@dataclass(frozen=True)
class FDivergence:
    r"""The f-divergence $\int q\, f(p/q)$.

    Args:
        name: What it is called by.
        log_weight: $\log w = \log r^2 f''(r)$ as a function of log r.
    """

    name: str
    log_weight: Callable[[Tensor], Tensor]

    def parts(self) -> "tuple[tuple[float, FDivergence], ...]":
        """Itself."""
        return ((1.0, self),)

    def velocity(
        self, p: KdeScore, q: KdeScore, log_weight_limit: float | None = None
    ) -> Float[Tensor, "*bandwidths n d"]:
        r"""$w(r) (\nabla\log p - \nabla\log q)$.

        Args:
            p: Estimate from the data.
            q: Estimate from the model.
            log_weight_limit: log w is clamped to ± this; None leaves it.

        Returns:
            Velocity, in inverse units of the points.
        """
        log_weight = self.log_weight(p.log_density - q.log_density)
        if log_weight_limit is not None:
            log_weight = log_weight.clamp(-log_weight_limit, log_weight_limit)
        return log_weight.exp()[..., None] * (p.score - q.score)


@dataclass(frozen=True)
class MeanDiscrepancy:
    r"""Half the squared maximum mean discrepancy $\frac12 \iint k\, (p-q)(p-q)$, not normalised by densities."""

    name: str = "mmd2"

    def parts(self) -> "tuple[tuple[float, MeanDiscrepancy], ...]":
        """Itself."""
        return ((1.0, self),)

    def velocity(
        self,
        p: KdeScore,
        q: KdeScore,
        log_weight_limit: float | None = None,  # noqa: ARG002
    ) -> Float[Tensor, "*bandwidths n d"]:
        r"""$\nabla p_h - \nabla q_h$; there is no weight to limit.

        Args:
            p: Estimate from the data.
            q: Estimate from the model.
            log_weight_limit: Has no effect.

        Returns:
            Velocity, in units of a density over those of the points.
        """
        return p.log_density.exp()[..., None] * p.score - q.log_density.exp()[..., None] * q.score


@dataclass(frozen=True)
class Mixed:
    """A weighted sum of divergences; `mixed` makes one by their names."""

    weights: tuple[tuple[str, float], ...]

    def parts(self) -> "tuple[tuple[float, FDivergence | MeanDiscrepancy], ...]":
        """The elementary divergences with their weights."""
        return tuple((weight, _NAMED[name]) for name, weight in self.weights)


_NAMED: dict[str, FDivergence | MeanDiscrepancy] = {
    "kl_qp": FDivergence("kl_qp", torch.zeros_like),
    "kl_pq": FDivergence("kl_pq", lambda log_r: log_r),
    "chi2_qp": FDivergence("chi2_qp", lambda log_r: math.log(2) - log_r),
    "mmd2": MeanDiscrepancy(),
}
_MIXED = MappingProxyType({"kl_pq": 1.0, "chi2_qp": 0.5})
DIVERGENCES = (*_NAMED, "mixed")


def mixed(weights: Mapping[str, float] = _MIXED) -> Mixed:
    r"""A weighted sum of divergences.

    The default, KL(p‖q) + ½ χ²(q‖p), has the velocity $(r + 1/r)(\nabla\log p - \nabla\log q)$: the first term acts
    against missed modes, the second against mass between them (Cao, Wei and Liu 2026).

    Args:
        weights: Weight > 0 of each, by name.

    Returns:
        The divergence.

    Raises:
        ValueError: If a name is unknown, a weight is not positive and finite, or there is none.

    Example:
        >>> mixed({"kl_qp": 1.0, "mmd2": 0.1}).weights
        (('kl_qp', 1.0), ('mmd2', 0.1))
    """
    if not weights:
        raise ValueError("weights: at least one divergence is needed, found none")
    for name, weight in weights.items():
        if name not in _NAMED:
            raise _unknown(name, _NAMED)
        if not (math.isfinite(weight) and weight > 0):
            raise ValueError(f"weights: the weight of {name} must be positive and finite, found {weight}")
    return Mixed(tuple(weights.items()))


def resolve_divergence(divergence: str | Divergence) -> Divergence:
    """The divergence of a name; an object is returned as it is.

    Args:
        divergence: One of `DIVERGENCES`, or an object.

    Returns:
        The divergence.

    Raises:
        ValueError: If the name is unknown, for which the nearest is suggested, or it is neither name nor divergence.

    Example:
        >>> resolve_divergence("kl_qp").name
        'kl_qp'
    """
    if not isinstance(divergence, str):
        if not hasattr(divergence, "parts"):
            raise ValueError(f"divergence: a name or what `mixed` makes is needed, found {divergence!r}")
        return divergence
    if divergence == "mixed":
        return mixed()
    if divergence not in _NAMED:
        raise _unknown(divergence, DIVERGENCES)
    return _NAMED[divergence]


def _unknown(name: str, known: "tuple[str, ...] | Mapping[str, object]") -> ValueError:
    def likeness(other: str) -> tuple[float, int]:
        return difflib.SequenceMatcher(None, name, other).ratio(), sum(map(str.__eq__, name, other))

    nearest = max(known, key=likeness)
    return ValueError(f'divergence: "{name}" is unknown; did you mean "{nearest}"? There are {", ".join(known)}')
