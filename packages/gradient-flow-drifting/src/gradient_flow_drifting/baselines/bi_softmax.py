r"""The Drifting Model's own field: attraction and repulsion by an affinity normalised over rows and over columns.

For samples $x_i$, positives and negatives joined as $y_j$, and a temperature τ (Deng et al. 2026, Algorithm 2):
$\ell_{ij} = -\|x_i - y_j\| / \tau$, $A_{ij} = \sqrt{\mathrm{softmax}_j(\ell)\, \mathrm{softmax}_i(\ell)}$, and

$v_i = \bigl(\sum_k A^-_{ik}\bigr) \sum_j A^+_{ij} y_j - \bigl(\sum_j A^+_{ij}\bigr) \sum_k A^-_{ik} y_k$.

The two weights sum to the same number, so the field does not depend on the origin. The authors' code measures
distances in their mean, holds the product under the root to at least $10^{-6}$, brings the field of each temperature to
a root mean square of one (in units of that mean distance over $\sqrt d$; their Appendix A.6) and adds the fields up.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import check_clouds, require_choices
from ..data import Geometry
from ..geometry import space_of
from ..ops.kde import SelfTerms
from ..ops.kde.checks import positive_numbers
from .clouds import require_embedding, to_tangent

LONGEST_ON_SPHERE = math.pi / 2


@dataclass(frozen=True)
class BiSoftmax:
    """The Drifting Model's field (arXiv 2602.04770, Algorithm 2), as its authors' code computes it.

    On the sphere distances are those of the surrounding space and the velocity is its tangent part, no longer than a
    quarter of a great circle; it is still antisymmetric, and zero where model and data coincide.

    Attributes:
        temperatures: τ of each term.
        temperature_unit: `"mean_distance"`: τ and the velocity are in units of the mean distance between the clouds'
            points; `"absolute"`: in those of the points.
        affinity_floor: Least value of the product of the two softmaxes; None for none. With the authors' 1e-6 every
            pair attracts, however far it is apart, and in batches of hundreds the far pairs weigh as much as the near.
        force: `"normalised"`: the field of each temperature is brought to unit root mean square, so that its length
            says nothing about the distance to the data; `"raw"`: it is left.

    Example:
        >>> import torch
        >>> x, y = torch.zeros(1, 2), torch.tensor([[0.3, 0.4]])
        >>> field = BiSoftmax(temperatures=(1.0,), temperature_unit="absolute", force="raw")
        >>> field.velocity(x, positives=y, negatives=x)
        tensor([[0.1454, 0.1939]])
    """

    temperatures: tuple[float, ...] = (0.02, 0.05, 0.2)
    temperature_unit: Literal["mean_distance", "absolute"] = "mean_distance"
    affinity_floor: float | None = 1e-6
    force: Literal["normalised", "raw"] = "normalised"

    def __post_init__(self) -> None:
        object.__setattr__(self, "temperatures", positive_numbers("field.temperatures", self.temperatures))
        require_choices(self, "field")
        floor = self.affinity_floor
        if floor is not None and not 0 < floor < 1:
            raise ValueError(f"field.affinity_floor = {floor}: give a number between 0 and 1, or None")

    def velocity(
        self,
        x: Float[Tensor, "n d"],
        *,
        positives: Float[Tensor, "p d"],
        negatives: Float[Tensor, "q d"],
        geometry: Geometry = "euclidean",
        self_terms: SelfTerms = "keep",
    ) -> Float[Tensor, "n d"]:
        """Velocity of the samples x; see `fields.Field`."""
        require_embedding("BiSoftmax", geometry)
        check_clouds(x, positives, negatives, space_of(geometry), self_terms)
        targets = torch.cat([positives, negatives])
        distance = torch.cdist(x, targets, compute_mode="donot_use_mm_for_euclid_dist")
        unit = distance.mean().clamp_min(1e-3) if self.temperature_unit == "mean_distance" else distance.new_ones(())
        if self_terms == "leave_one_out":
            own = torch.arange(len(x), device=x.device)
            distance[own, len(positives) + own] = torch.inf
        total = torch.zeros_like(x)
        for temperature in self.temperatures:
            logits = -distance / (temperature * unit)
            total += self._force(self._affinity(logits), x, targets, len(positives))
        if self.force == "normalised":
            total = total * (unit / math.sqrt(x.shape[1]))
        return to_tangent(x, total, geometry, longest=LONGEST_ON_SPHERE)

    def _affinity(self, logits: Tensor) -> Tensor:
        """A; the geometric mean is taken in logarithms, where it does not underflow, unless a floor is asked for."""
        row, column = (
            torch.log_softmax(logits, dim=1),
            torch.log_softmax(logits, dim=0).nan_to_num(nan=-math.inf, neginf=-math.inf),
        )
        if self.affinity_floor is None:
            return torch.exp((row + column) / 2)
        return torch.exp(row + column).clamp_min(self.affinity_floor).sqrt()

    def _force(self, affinity: Tensor, x: Tensor, targets: Tensor, positives: int) -> Tensor:
        attraction, repulsion = affinity[:, :positives], affinity[:, positives:]
        weights = torch.cat(
            [attraction * repulsion.sum(1, keepdim=True), -repulsion * attraction.sum(1, keepdim=True)], dim=1
        )
        force = weights @ targets - weights.sum(1, keepdim=True) * x
        if self.force == "raw":
            return force
        return force / force.square().mean().clamp_min(1e-8).sqrt()
