r"""Guidance: real points of any class among the negatives push a class's samples away from what all classes share.

Where a share γ of the negatives is real and of any class, the samples drift to the q with
$(1-\gamma)\,q(\cdot|c) + \gamma\,p(\cdot) = p(\cdot|c)$, that is
$q(\cdot|c) = \alpha\,p(\cdot|c) - (\alpha-1)\,p(\cdot)$
with the strength $\alpha = 1/(1-\gamma)$ (Deng et al. 2026, Eq. 15 and 16). The network is told α, so a sample of any
strength is one evaluation.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .checks import require_not_negative


def unconditional_weight(
    guidance: Float[Tensor, "*batch"], *, negatives: int, unconditional: int
) -> Float[Tensor, "*batch"]:
    r"""How much each unconditional real point counts among the negatives for a strength of guidance.

    A sample sees the $N - 1$ others of its class, each of weight 1, and U real points of weight w: their share is
    $\gamma = Uw / (N - 1 + Uw)$, so $\alpha = 1/(1-\gamma)$ gives $w = (\alpha - 1)(N - 1)/U$ (Deng et al. 2026,
    appendix A.7).

    Args:
        guidance: α ≥ 1; at 1 the weight is zero.
        negatives: N, the samples of a class, the one that moves among them.
        unconditional: U.

    Returns:
        w for each α.

    Example:
        >>> unconditional_weight(torch.tensor([1.0, 2.0]), negatives=17, unconditional=8)
        tensor([0., 2.])
    """
    return (guidance - 1) * (negatives - 1) / unconditional


@dataclass(frozen=True)
class Guidance:
    r"""Which strengths are trained: $p(\alpha) \propto \alpha^{-k}$ between 1 and the largest, and exactly 1 at times.

    Attributes:
        largest: The largest α.
        power: k.
        plain: Share of the draws that are 1, which is no guidance.
        unconditional: Real points of any class in a step.

    Example:
        >>> Guidance(largest=3.0).draw(4, torch.Generator().manual_seed(0)).shape
        torch.Size([4])
    """

    largest: float = 3.0
    power: float = 3.0
    plain: float = 0.3
    unconditional: int = 32

    def __post_init__(self) -> None:
        require_not_negative(self, "guidance", "largest", "power", "plain", "unconditional")
        if not self.largest > 1:
            raise ValueError(f"guidance.largest = {self.largest}: give a number above 1, which is no guidance")
        if self.plain > 1:
            raise ValueError(f"guidance.plain = {self.plain}: give a share from 0 to 1")
        if self.unconditional < 1:
            raise ValueError(f"guidance.unconditional = {self.unconditional}: give at least 1")

    def draw(self, count: int, generator: torch.Generator) -> Float[Tensor, " count"]:
        """Strengths at random, by inverting the distribution function.

        Args:
            count: How many.
            generator: Where the randomness comes from, on the CPU.

        Returns:
            Values of α.
        """
        uniform, coin = torch.rand(2, count, generator=generator)
        if self.power == 1:
            strengths = self.largest**uniform
        else:
            rest = 1 - self.power
            share = uniform.double() * math.expm1(rest * math.log(self.largest))  # all digits where the power nears 1
            strengths = (torch.log1p(share) / rest).exp().float()
        return torch.where(coin < self.plain, torch.ones(()), strengths)
