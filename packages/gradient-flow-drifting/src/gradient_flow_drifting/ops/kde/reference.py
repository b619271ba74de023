"""The specification of the op in plain PyTorch."""

import torch
from jaxtyping import Float
from torch import Tensor


def score_reference(
    x: Float[Tensor, "*batch n d"],
    y: Float[Tensor, "*batch m d"],
    log_weights: Float[Tensor, "*batch m"] | None,
    bandwidths: tuple[float, ...],
    leave_one_out: bool,
) -> tuple[Float[Tensor, "b *batch n d"], Float[Tensor, "b *batch n"]]:
    r"""Score of the estimate of y at x, and the logarithm of the sum of the kernel's terms.

    With $a_{ij} = \log u_j - \|x_i - y_j\|^2 / 2h^2$ the results are
    $s_i = \bigl(\sum_j \mathrm{softmax}_j(a_{ij})\, y_j - x_i\bigr) / h^2$ and $\log \sum_j e^{a_{ij}}$, the term
    $j = i$ left out where asked. The squared distance is taken apart into $\|x\|^2 + \|y\|^2 - 2 x \cdot y$ about the
    mean of y; twice differentiable, memory proportional to n·m.

    Args:
        x: Where the score is wanted.
        y: Sample.
        log_weights: log u; None stands for zeros.
        bandwidths: h, in the units of the points.
        leave_one_out: Whether the term j = i is left out.

    Returns:
        The score, and the log of the sum, each with a leading axis of bandwidths.
    """
    centre = y.detach().mean(dim=-2, keepdim=True)
    x, y = x - centre, y - centre
    squared_distance = (x * x).sum(-1)[..., None] + (y * y).sum(-1)[..., None, :] - 2 * x @ y.mT
    inverse = x.new_tensor([h**-2 for h in bandwidths]).reshape(-1, *[1] * x.ndim)
    logits = -0.5 * inverse * squared_distance
    if log_weights is not None:
        logits = logits + log_weights[..., None, :]
    if leave_one_out:
        own = torch.eye(x.shape[-2], y.shape[-2], dtype=torch.bool, device=x.device)
        logits = logits.masked_fill(own, -torch.inf)
    return inverse * (torch.softmax(logits, dim=-1) @ y - x), torch.logsumexp(logits, dim=-1)
