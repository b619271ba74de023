r"""The op by matrix products, for many small problems or many coordinates: the first product serves all bandwidths.

Problems and queries are worked in blocks of `BLOCK` exponents, which a cache holds. The backward pass forms them again:
with softmax weights $p_{ij}$ of one bandwidth, gradients G and c of score and log normaliser, and $g = G/h^2$, it goes
from $s_{ij} = p_{ij}(g_i \cdot y_j - \sum_k p_{ik}\, g_i \cdot y_k + c_i)$ to
$\nabla x_i = \sum_j s_{ij}(y_j - x_i)/h^2 - g_i$ and $\nabla y_j = \sum_i s_{ij}(x_i - y_j)/h^2 + p_{ij}\, g_i$, summed
over bandwidths before the products. Here $\sum_j s_{ij} = c_i$.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from .reference import score_reference

BLOCK = 2**19


def _blocks(problems: int, n: int, m: int) -> Iterator[tuple[slice, slice]]:
    """Slices of problems and of queries whose exponents are about as many as a block holds."""
    group, rows = max(1, BLOCK // (n * m)), min(n, max(1, BLOCK // m))
    for first in range(0, problems, group):
        for row in range(0, n, rows):
            yield slice(first, first + group), slice(row, row + rows)


def _exponents(
    x: Tensor, y: Tensor, half_square: Tensor, log_weights: Tensor | None, inverse: Tensor, row: int | None
) -> Tensor:
    """Exponents but for −‖x‖²/2h² as [problems, bandwidths, rows, m]; from `row` on, own terms are left out."""
    product = torch.baddbmm(half_square[:, None], x, y.mT, beta=-1)
    logits = product[:, None] * inverse
    if log_weights is not None:
        logits += log_weights[:, None, None]
    if row is not None:
        logits.diagonal(row, -2, -1).fill_(-torch.inf)
    return logits


class _Score(torch.autograd.Function):
    """Score and log normaliser of problems [problems, points, coordinates], one axis of bandwidths after the first."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, y: Tensor, log_weights: Tensor | None, bandwidths: tuple[float, ...], leave_one_out: bool
    ) -> tuple[Tensor, Tensor]:
        (problems, n, d), m, b = x.shape, y.shape[1], len(bandwidths)
        inverse = x.new_tensor([h**-2 for h in bandwidths])[:, None, None]
        half_square = 0.5 * torch.linalg.vector_norm(y, dim=-1).square()
        score, log_sum = x.new_empty(problems, b, n, d), x.new_empty(problems, b, n)
        for some, rows in _blocks(problems, n, m):
            log_u = None if log_weights is None else log_weights[some]
            near, row = x[some, rows], rows.start if leave_one_out else None
            logits = _exponents(near, y[some], half_square[some], log_u, inverse, row)
            largest = logits.amax(dim=-1)
            p = torch.softmax(logits, dim=-1)
            log_sum[some, :, rows] = largest - p.amax(dim=-1).log()  # the largest weight is 1 over the others' sum
            towards = (-inverse * near[:, None]).flatten(1, 2).baddbmm_((inverse * p).flatten(1, 2), y[some])
            score[some, :, rows] = towards.unflatten(1, (b, -1))
        log_sum -= 0.5 * inverse[..., 0] * torch.linalg.vector_norm(x, dim=-1).square()[:, None]
        ctx.save_for_backward(x, y, log_weights, half_square, inverse)
        ctx.arguments = (bandwidths, leave_one_out)
        return score, log_sum

    @staticmethod
    def backward(
        ctx: Any, grad_score: Tensor, grad_log_sum: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        x, y, log_weights, half_square, inverse = ctx.saved_tensors
        if torch.is_grad_enabled():
            score, log_sum = score_reference(x, y, log_weights, *ctx.arguments)
            leaves = [each for each in (x, y, log_weights) if each is not None and each.requires_grad]
            grads = (grad_score.transpose(0, 1), grad_log_sum.transpose(0, 1))
            second = iter(torch.autograd.grad((score, log_sum), leaves, grads, create_graph=True))
            wanted = ctx.needs_input_grad[:3]
            return *(next(second) if want else None for want in wanted), None, None  # type: ignore[return-value]
        g = inverse * grad_score
        grad_x, grad_y = -g.sum(dim=1), torch.zeros_like(y)
        grad_u = None if log_weights is None else torch.zeros_like(log_weights)
        for some, rows in _blocks(len(x), x.shape[1], y.shape[1]):
            log_u = None if log_weights is None else log_weights[some]
            near, row = x[some, rows], rows.start if ctx.arguments[1] else None
            p = torch.softmax(_exponents(near, y[some], half_square[some], log_u, inverse, row), dim=-1)
            g_rows, c = g[some, :, rows].flatten(1, 2), grad_log_sum[some, :, rows, None]
            s = torch.bmm(g_rows, y[some].mT).view_as(p)
            s = p * (s + (c - torch.linalg.vecdot(p, s)[..., None]))
            if grad_u is not None:
                grad_u[some] += s.sum(dim=(1, 2))
            s = (s * inverse).sum(dim=1)
            grad_x[some, rows] += torch.bmm(s, y[some]) - (c * inverse).sum(dim=1) * near
            grad_y[some] += torch.bmm(p.flatten(1, 2).mT, g_rows) - s.sum(dim=1)[..., None] * y[some]
            grad_y[some].baddbmm_(s.mT, near)
        return grad_x, grad_y, grad_u, None, None


def score_matmul(
    x: Tensor, y: Tensor, log_weights: Tensor | None, bandwidths: tuple[float, ...], leave_one_out: bool
) -> tuple[Tensor, Tensor]:
    """The results of `score_reference` by matrix products, about the origin and in the precision of the points."""
    (*batch, n, d), m, b = x.shape, y.shape[-2], len(bandwidths)
    log_u = None if log_weights is None else log_weights.reshape(-1, m)
    score, log_sum = _Score.apply(x.reshape(-1, n, d), y.reshape(-1, m, d), log_u, bandwidths, leave_one_out)
    return score.transpose(0, 1).reshape(b, *batch, n, d), log_sum.transpose(0, 1).reshape(b, *batch, n)
