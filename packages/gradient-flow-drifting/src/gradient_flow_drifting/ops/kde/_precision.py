r"""In which coordinates and which precision the matrix products are worked.

The exponent is taken apart as $x \cdot y/h^2 - \|y\|^2/2h^2 + \log u - \|x\|^2/2h^2$, a sum of terms as large as
$R^2/h^2$ with $R^2 = \max\|y\| \max(\|x\|, \|y\|)$, so that a log density is off by at most about
$2 \epsilon R^2/h^2$ (ε = 1.2e-7 in float32) and the weights by that much relatively. Where $R^2/h^2$ passes
`CENTRED_BEYOND` (2.4e-4 in float32), the clouds are moved to the mean of y, which makes R small; where the bound then
passes `ROUNDING_LIMIT`, the bandwidth is worked in float64, at two to three times the time, and the results have the
rounding of their storage alone.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

CENTRED_BEYOND = 1e3
ROUNDING_LIMIT = 2e-3

Score = Callable[[Tensor, Tensor, Tensor | None, tuple[float, ...], bool], tuple[Tensor, Tensor]]


def rounding(x: Tensor, y: Tensor) -> float:
    """Times 1/h², about the largest error of a log density from rounding."""
    farthest_x, farthest_y = (float(torch.linalg.vector_norm(each.detach(), dim=-1).amax()) for each in (x, y))
    return 2 * torch.finfo(x.dtype).eps * farthest_y * max(farthest_x, farthest_y)


def score_within_rounding(
    score: Score,
    x: Float[Tensor, "*batch n d"],
    y: Float[Tensor, "*batch m d"],
    log_weights: Float[Tensor, "*batch m"] | None,
    bandwidths: tuple[float, ...],
    leave_one_out: bool,
) -> tuple[Float[Tensor, "b *batch n d"], Float[Tensor, "b *batch n"]]:
    """The results of a way to work the op, each bandwidth in coordinates and a precision that serve it."""
    if rounding(x, y) <= 2 * torch.finfo(x.dtype).eps * CENTRED_BEYOND * min(bandwidths) ** 2:
        return score(x, y, log_weights, bandwidths, leave_one_out)
    centre = y.detach().mean(dim=-2, keepdim=True)
    near_x, near_y = x - centre, y - centre
    unit = rounding(near_x, near_y)
    narrow = {h for h in bandwidths if unit > ROUNDING_LIMIT * h**2}
    if not narrow:
        return score(near_x, near_y, log_weights, bandwidths, leave_one_out)
    results: dict[float, tuple[Tensor, Tensor]] = {}
    wide = tuple(h for h in bandwidths if h not in narrow)
    if wide:
        results |= zip(wide, zip(*score(near_x, near_y, log_weights, wide, leave_one_out), strict=True), strict=True)
    log_u = None if log_weights is None else log_weights.double()
    double_x, double_y, group = x.double() - centre, y.double() - centre, tuple(narrow)
    found = (each.to(x.dtype) for each in score(double_x, double_y, log_u, group, leave_one_out))
    results |= zip(group, zip(*found, strict=True), strict=True)
    scores, log_sums = zip(*(results[h] for h in bandwidths), strict=True)
    return torch.stack(scores), torch.stack(log_sums)
