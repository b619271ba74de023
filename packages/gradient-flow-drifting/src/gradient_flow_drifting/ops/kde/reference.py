"""The specification of the op in plain PyTorch."""

import torch
from jaxtyping import Float
from torch import Tensor


def weighted_mean_reference(
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    log_weights: Float[Tensor, " m"] | None,
    bandwidths: tuple[float, ...],
    leave_one_out: bool,
) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b n"]]:
    r"""Kernel-weighted mean of y seen from x, and the logarithm of the sum of the kernel's terms.

    With $a_{ij} = \log u_j - \|x_i - y_j\|^2 / 2h^2$ the results are $m_i = \sum_j \mathrm{softmax}_j(a_{ij})\, y_j$
    and $\log \sum_j e^{a_{ij}}$, the term $j = i$ left out where asked. The squared distance is taken apart into
    $\|x\|^2 + \|y\|^2 - 2 x \cdot y$ about the mean of y; twice differentiable, memory proportional to n·m.

    Args:
        x: Where the mean is wanted.
        y: Sample.
        log_weights: log u; None stands for zeros.
        bandwidths: h, in the units of the points.
        leave_one_out: Whether the term j = i is left out.

    Returns:
        The mean, and the log of the sum, each with a leading axis of bandwidths.
    """
    centre = y.detach().mean(dim=0)
    x, y = x - centre, y - centre
    squared_distance = (x * x).sum(1)[:, None] + (y * y).sum(1) - 2 * x @ y.T
    scale = x.new_tensor([-0.5 / h**2 for h in bandwidths])
    logits = scale[:, None, None] * squared_distance
    if log_weights is not None:
        logits = logits + log_weights
    if leave_one_out:
        own = torch.eye(len(x), len(y), dtype=torch.bool, device=x.device)
        logits = logits.masked_fill(own, -torch.inf)
    return torch.softmax(logits, dim=-1) @ y + centre, torch.logsumexp(logits, dim=-1)
