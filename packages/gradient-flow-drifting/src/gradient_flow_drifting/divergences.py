r"""Divergences of the model q from the data p, each with the velocity of its Wasserstein gradient flow.

An f-divergence $D = \int q\, f(r)$ with $r = p/q$ has the first variation $f(r) - r f'(r)$, and its flow moves
particles by $v = -\nabla (f - r f') = w(r)\, \nabla \log r$ with $w = r^2 f''(r)$. So a row is a name, log w as a
function of log r and, for the energy, f itself: of all that differ by a multiple of r − 1, which changes nothing, the
one with $f(1) = f'(1) = 0$, which is nowhere negative.

All but `js` and `mmd2` are of Amari's family $f'' = r^{a-2}$, $w = r^a$: `kl_qp` is alpha(0), `kl_pq` alpha(1),
`chi2_qp` twice alpha(−1), `chi2_pq` twice alpha(2), `hellinger2` half of alpha(½).
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from numbers import Real
from types import MappingProxyType
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from .checks import nearest_name
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
        log_weight: $\log w = \log r^2 f''(r)$ as a function of log r, nowhere falling or nowhere rising.
        integrand: $f(r) / (1 + r)$ as a function of log r, where $f(1) = f'(1) = 0$; None leaves it without an energy.
    """

    name: str
    log_weight: Callable[[Tensor], Tensor]
    integrand: Callable[[Tensor], Tensor] | None = None

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

        Raises:
            ValueError: If a density is beyond the range of the precision.
        """
        highest = float(torch.maximum(p.log_density, q.log_density).max()) if p.log_density.numel() else 0.0
        if highest > math.log(torch.finfo(p.log_density.dtype).max):
            raise ValueError(
                f"divergence: mmd2 is in units of densities, here up to e^{highest:.0f}, which {p.log_density.dtype} "
                "cannot hold; take wider kernels or another divergence"
            )
        return p.log_density.exp()[..., None] * p.score - q.log_density.exp()[..., None] * q.score


@dataclass(frozen=True)
class Mixed:
    """A weighted sum of divergences; `mixed` makes one by their names."""

    weights: tuple[tuple[str, float], ...]

    def parts(self) -> "tuple[tuple[float, FDivergence | MeanDiscrepancy], ...]":
        """The elementary divergences with their weights."""
        return tuple((weight, _elementary(name)) for name, weight in self.weights)


def alpha(a: float) -> FDivergence:
    r"""The divergence of Amari's family with $f'' = r^{a-2}$, whose velocity has the weight $w = r^a$.

    $f(r) = \frac{r^a - 1 - a (r - 1)}{a (a - 1)}$, which tends to $r - 1 - \log r$ at a = 0 and to $r \log r - r + 1$
    at a = 1 (Cichocki and Amari 2010, Section 2.1). The larger a, the more a mode that the model misses weighs; the
    smaller, the more mass where there are no data. By its name it is `"alpha(0.5)"`.

    Args:
        a: 0 is `kl_qp`, 1 is `kl_pq`, −1 half of `chi2_qp`, 2 half of `chi2_pq`.

    Returns:
        The divergence.

    Raises:
        ValueError: If a is not finite.

    Example:
        >>> alpha(0.5) == resolve_divergence("alpha(0.5)")
        True
    """
    if not isinstance(a, Real) or not math.isfinite(a):
        raise ValueError(f"a: a finite number is needed, found {a!r}")
    return _power(f"alpha({float(a)})", float(a))


@cache
def _power(name: str, a: float, scale: float = 1.0) -> FDivergence:
    """The divergence of weight scale · r^a."""

    def integrand(log_r: Tensor) -> Tensor:
        # f of 1 − a is r f(1/r) of a: by it the form below, in which r^a − 1 is divided by a, serves all a
        b, u = (a, log_r) if a <= 0.5 else (1 - a, -log_r)
        return scale * (_power_over_one_and(u, b) - torch.tanh(u / 2)) / (b - 1)

    return FDivergence(name, lambda log_r: math.log(scale) + a * log_r, integrand)


def _power_over_one_and(log_r: Tensor, b: float) -> Tensor:
    """(r^b − 1) / b (1 + r), with log r / (1 + r) for b = 0; neither cancels near r = 1 nor overflows far from it."""
    if b == 0:
        return log_r * torch.exp(-softplus(log_r))
    near = torch.expm1((b * log_r).clamp(-1, 1)) * torch.exp(-softplus(log_r))
    far = torch.exp(b * log_r - softplus(log_r)) - torch.exp(-softplus(log_r))
    return torch.where((b * log_r).abs() < 1, near, far) / b


def _js_integrand(log_r: Tensor) -> Tensor:
    """½ (s log 2s + t log 2t) with s = r / (1 + r), t = 1 / (1 + r)."""
    log_s, log_t = logsigmoid(log_r), logsigmoid(-log_r)
    return 0.5 * (log_s.exp() * (math.log(2) + log_s) + log_t.exp() * (math.log(2) + log_t))


_NAMED: dict[str, FDivergence | MeanDiscrepancy] = {
    "kl_qp": _power("kl_qp", 0.0),
    "kl_pq": _power("kl_pq", 1.0),
    "chi2_qp": _power("chi2_qp", -1.0, 2.0),
    "chi2_pq": _power("chi2_pq", 2.0, 2.0),
    "js": FDivergence("js", lambda log_r: -math.log(2) + logsigmoid(log_r), _js_integrand),
    "hellinger2": _power("hellinger2", 0.5, 0.5),
    "mmd2": MeanDiscrepancy(),
}
_ALPHA = re.compile(r"alpha\(([^()]+)\)")
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
        >>> mixed({"kl_qp": 1.0, "alpha(0.5)": 0.1}).weights
        (('kl_qp', 1.0), ('alpha(0.5)', 0.1))
    """
    if not weights:
        raise ValueError("weights: at least one divergence is needed, found none")
    for name, weight in weights.items():
        _elementary(name)
        if not (isinstance(weight, Real) and math.isfinite(weight) and weight > 0):
            raise ValueError(f"weights: the weight of {name} must be positive and finite, found {weight!r}")
    return Mixed(tuple(weights.items()))


def resolve_divergence(divergence: str | Divergence) -> Divergence:
    """The divergence of a name; an object is returned as it is.

    Args:
        divergence: One of `DIVERGENCES`, `"alpha(a)"` with a number a, or an object.

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
    return mixed() if divergence == "mixed" else _elementary(divergence, DIVERGENCES)


def _elementary(name: str, known: tuple[str, ...] = tuple(_NAMED)) -> FDivergence | MeanDiscrepancy:
    """The divergence of a name that is not a sum; where there is none, the nearest of the known names is suggested."""
    if name in _NAMED:
        return _NAMED[name]
    bracketed = _ALPHA.fullmatch(name)
    if bracketed:
        try:
            return alpha(float(bracketed[1]))
        except ValueError:
            raise ValueError(f'divergence: "{name}" needs a finite number in its brackets, alpha(0.5) say') from None

    nearest = nearest_name(name, (*known, "alpha(0.5)"))
    raise ValueError(
        f'divergence: "{name}" is unknown; did you mean "{nearest}"? There are {", ".join(known)} and alpha(a), '
        "a a number"
    )
