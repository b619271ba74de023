r"""The op on a GPU: all bandwidths, mean and log normaliser in one pass over the sample, forward and backward.

A program holds a block of x of one problem and walks over its y; distances are formed once for a pair of blocks and
serve all bandwidths, whose rows are stacked for the product with y. With $p_{ij}$ the softmax weights, g and c the
gradients of mean and log normaliser and $\delta_i = g_i \cdot m_i - c_i$, the backward pass goes from
$s_{ij} = p_{ij}(g_i \cdot y_j - \delta_i)$ to $\nabla x_i = \sum_j s_{ij}(y_j - x_i)/h^2$ and
$\nabla y_j = \sum_i s_{ij}(x_i - y_j)/h^2 + p_{ij}\, g_i$, summed over bandwidths. All sums are in float32. In up to
`DIRECT` dimensions the distance is a sum of squared differences and free of cancellation; beyond, the rounding is that
stated in `_precision`. Block sizes of the forward pass are chosen by timing, once for each number of coordinates and
bandwidths, among those whose operands fit into the registers and the shared memory of a program; those of the backward
passes are fixed, and small.
"""
# mypy: disallow_untyped_defs=False, disallow_incomplete_defs=False

import math
from typing import Any

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor
from triton.runtime import JITFunction

from .reference import score_reference

DIRECT = 4
BLOCKS = [(16, 16, 4), (32, 32, 4), (64, 32, 4), (64, 64, 4), (128, 64, 8)]  # rows, keys, warps


@triton.jit
def _place(blocks):
    """Problem and block of a program."""
    return (tl.program_id(0) // blocks).to(tl.int64), (tl.program_id(0) % blocks).to(tl.int64)


INTERPRETED = not isinstance(_place, JITFunction)


def _fitting(configs: list[triton.Config], _: dict[str, Any], **shape: Any) -> list[triton.Config]:
    """Those of which accumulator, exponents and a block of y fit; the first one always does."""
    B, D = shape["B"], shape["D"]
    fits = [
        B * each.kwargs["ROWS"] * max(D, each.kwargs["KEYS"]) <= 2**14 and each.kwargs["KEYS"] * D <= 2**13
        for each in configs
    ]
    return [each for each, fit in zip(configs, fits, strict=True) if fit] or configs[:1]


def _configs() -> list[triton.Config]:
    """What is tried; the interpreter, which has nothing to time, gets one."""
    blocks = BLOCKS[1:2] if INTERPRETED else BLOCKS
    return [triton.Config({"ROWS": rows, "KEYS": keys}, num_warps=warps, num_stages=2) for rows, keys, warps in blocks]


@triton.jit
def _load(base, rows, count, d: tl.constexpr, D: tl.constexpr):
    """Rows of a [count, d] matrix as [rows, D], zeros beyond."""
    columns = tl.arange(0, D)
    mask = (rows < count)[:, None] & (columns < d)[None, :]
    return tl.load(base + rows[:, None] * d + columns[None, :], mask=mask, other=0.0)


@triton.jit
def _load_stacked(base, bands, rows, b, count, d: tl.constexpr, D: tl.constexpr, R: tl.constexpr):
    """Rows of a [b, count, d] array as [bands · rows, D], zeros beyond."""
    columns = tl.arange(0, D)
    mask = (bands < b)[:, None, None] & (rows < count)[None, :, None] & (columns < d)[None, None, :]
    at = (bands[:, None, None] * count + rows[None, :, None]) * d + columns[None, None, :]
    return tl.reshape(tl.load(base + at, mask=mask, other=0.0), (R, D))


@triton.jit
def _logits(
    x_at, y_at, u_at, x, y, rows, keys, n, m, scale,
    d: tl.constexpr, IS_DIRECT: tl.constexpr, HAS_WEIGHTS: tl.constexpr, LEAVE_ONE_OUT: tl.constexpr,
):  # fmt: skip
    """log u − ‖x − y‖²/2h² as [bands, rows, keys], −inf where there is no term."""
    if IS_DIRECT:
        square = tl.zeros((rows.shape[0], keys.shape[0]), dtype=tl.float32)
        for k in tl.static_range(d):
            x_k = tl.load(x_at + rows * d + k, mask=rows < n, other=0.0)
            y_k = tl.load(y_at + keys * d + k, mask=keys < m, other=0.0)
            difference = x_k[:, None] - y_k[None, :]
            square += difference * difference
    else:
        product = tl.dot(x, tl.trans(y), input_precision="ieee")
        square = tl.maximum(tl.sum(x * x, axis=1)[:, None] + tl.sum(y * y, axis=1)[None, :] - 2.0 * product, 0.0)
    present = (keys < m)[None, :] & (rows >= 0)[:, None]
    if LEAVE_ONE_OUT:
        present = present & (keys[None, :] != rows[:, None])
    logits = scale[:, None, None] * square[None, :, :]
    if HAS_WEIGHTS:
        logits += tl.load(u_at + keys, mask=keys < m, other=-float("inf"))[None, None, :]
    return tl.where(present[None, :, :], logits, -float("inf"))


@triton.autotune(configs=_configs(), key=["d", "B"], prune_configs_by={"early_config_prune": _fitting})
@triton.jit
def _forward(
    x_at, y_at, u_at, scale_at, mean_at, log_sum_at, n, m, b,
    d: tl.constexpr, D: tl.constexpr, B: tl.constexpr, ROWS: tl.constexpr, KEYS: tl.constexpr,
    IS_DIRECT: tl.constexpr, HAS_WEIGHTS: tl.constexpr, LEAVE_ONE_OUT: tl.constexpr,
):  # fmt: skip
    problem, block = _place(tl.cdiv(n, ROWS))
    x_at, y_at, u_at = x_at + problem * n * d, y_at + problem * m * d, u_at + problem * m
    mean_at, log_sum_at = mean_at + problem * b * n * d, log_sum_at + problem * b * n
    rows = block * ROWS + tl.arange(0, ROWS)
    bands = tl.arange(0, B)
    scale = tl.load(scale_at + bands, mask=bands < b, other=0.0)
    x = _load(x_at, rows, n, d, D)
    largest = tl.full((B, ROWS), -float("inf"), dtype=tl.float32)
    total = tl.zeros((B, ROWS), dtype=tl.float32)
    mean = tl.zeros((B * ROWS, D), dtype=tl.float32)
    for start in range(0, m, KEYS):
        keys = start + tl.arange(0, KEYS).to(tl.int64)
        y = _load(y_at, keys, m, d, D)
        logits = _logits(
            x_at, y_at, u_at, x, y, rows, keys, n, m, scale, d, IS_DIRECT, HAS_WEIGHTS, LEAVE_ONE_OUT
        )  # fmt: skip
        new = tl.maximum(largest, tl.max(logits, axis=2))
        base = tl.where(new == -float("inf"), 0.0, new)
        terms = tl.exp(logits - base[:, :, None])
        shrink = tl.exp(largest - base)
        total = total * shrink + tl.sum(terms, axis=2)
        mean = mean * tl.reshape(shrink, (B * ROWS, 1))
        mean += tl.dot(tl.reshape(terms, (B * ROWS, KEYS)), y, input_precision="ieee")
        largest = new
    stored = (bands < b)[:, None] & (rows < n)[None, :]
    at = bands[:, None].to(tl.int64) * n + rows[None, :]
    tl.store(log_sum_at + at, largest + tl.log(total), mask=stored)
    columns = tl.arange(0, D)
    mean = tl.reshape(mean, (B, ROWS, D)) / total[:, :, None]
    within = stored[:, :, None] & (columns < d)[None, None, :]
    tl.store(mean_at + at[:, :, None] * d + columns[None, None, :], mean, mask=within)


@triton.jit
def _backward_pair(
    x_at, y_at, u_at, log_sum_at, delta_at, x, y, g, rows, keys, bands, n, m, b, scale,
    d: tl.constexpr, B: tl.constexpr, ROWS: tl.constexpr, KEYS: tl.constexpr,
    IS_DIRECT: tl.constexpr, HAS_WEIGHTS: tl.constexpr, LEAVE_ONE_OUT: tl.constexpr,
):  # fmt: skip
    """Softmax weights p and the gradient s of the exponents, both [bands, rows, keys]."""
    logits = _logits(x_at, y_at, u_at, x, y, rows, keys, n, m, scale, d, IS_DIRECT, HAS_WEIGHTS, LEAVE_ONE_OUT)
    stored = (bands < b)[:, None] & (rows < n)[None, :]
    at = bands[:, None].to(tl.int64) * n + rows[None, :]
    log_sum = tl.load(log_sum_at + at, mask=stored, other=float("inf"))
    delta = tl.load(delta_at + at, mask=stored, other=0.0)
    p = tl.exp(logits - log_sum[:, :, None])
    along = tl.reshape(tl.dot(g, tl.trans(y), input_precision="ieee"), (B, ROWS, KEYS))
    return p, p * (along - delta[:, :, None])


@triton.jit
def _backward_x(
    x_at, y_at, u_at, scale_at, log_sum_at, delta_at, g_at, grad_x_at, n, m, b,
    d: tl.constexpr, D: tl.constexpr, B: tl.constexpr, ROWS: tl.constexpr, KEYS: tl.constexpr,
    IS_DIRECT: tl.constexpr, HAS_WEIGHTS: tl.constexpr, LEAVE_ONE_OUT: tl.constexpr,
):  # fmt: skip
    problem, block = _place(tl.cdiv(n, ROWS))
    x_at, y_at, u_at = x_at + problem * n * d, y_at + problem * m * d, u_at + problem * m
    log_sum_at, delta_at = log_sum_at + problem * b * n, delta_at + problem * b * n
    g_at, grad_x_at = g_at + problem * b * n * d, grad_x_at + problem * n * d
    rows = block * ROWS + tl.arange(0, ROWS)
    bands = tl.arange(0, B)
    scale = tl.load(scale_at + bands, mask=bands < b, other=0.0)
    x = _load(x_at, rows, n, d, D)
    g = _load_stacked(g_at, bands.to(tl.int64), rows, b, n, d, D, B * ROWS)
    towards = tl.zeros((ROWS, D), dtype=tl.float32)
    total = tl.zeros((ROWS,), dtype=tl.float32)
    for start in range(0, m, KEYS):
        keys = start + tl.arange(0, KEYS).to(tl.int64)
        y = _load(y_at, keys, m, d, D)
        _, s = _backward_pair(
            x_at, y_at, u_at, log_sum_at, delta_at, x, y, g, rows, keys, bands, n, m, b, scale,
            d, B, ROWS, KEYS, IS_DIRECT, HAS_WEIGHTS, LEAVE_ONE_OUT,
        )  # fmt: skip
        pull = tl.sum(s * (-2.0 * scale)[:, None, None], axis=0)
        towards += tl.dot(pull, y, input_precision="ieee")
        total += tl.sum(pull, axis=1)
    columns = tl.arange(0, D)
    within = (rows < n)[:, None] & (columns < d)[None, :]
    tl.store(grad_x_at + rows[:, None] * d + columns[None, :], towards - total[:, None] * x, mask=within)


@triton.jit
def _backward_y(
    x_at, y_at, u_at, scale_at, log_sum_at, delta_at, g_at, grad_y_at, grad_u_at, n, m, b,
    d: tl.constexpr, D: tl.constexpr, B: tl.constexpr, ROWS: tl.constexpr, KEYS: tl.constexpr,
    IS_DIRECT: tl.constexpr, HAS_WEIGHTS: tl.constexpr, LEAVE_ONE_OUT: tl.constexpr,
):  # fmt: skip
    problem, block = _place(tl.cdiv(m, KEYS))
    x_at, y_at, u_at = x_at + problem * n * d, y_at + problem * m * d, u_at + problem * m
    log_sum_at, delta_at = log_sum_at + problem * b * n, delta_at + problem * b * n
    g_at, grad_y_at, grad_u_at = g_at + problem * b * n * d, grad_y_at + problem * m * d, grad_u_at + problem * m
    keys = block * KEYS + tl.arange(0, KEYS)
    bands = tl.arange(0, B)
    scale = tl.load(scale_at + bands, mask=bands < b, other=0.0)
    y = _load(y_at, keys, m, d, D)
    grad = tl.zeros((KEYS, D), dtype=tl.float32)
    total = tl.zeros((KEYS,), dtype=tl.float32)
    grad_u = tl.zeros((KEYS,), dtype=tl.float32)
    for start in range(0, n, ROWS):
        rows = start + tl.arange(0, ROWS).to(tl.int64)
        x = _load(x_at, rows, n, d, D)
        g = _load_stacked(g_at, bands.to(tl.int64), rows, b, n, d, D, B * ROWS)
        p, s = _backward_pair(
            x_at, y_at, u_at, log_sum_at, delta_at, x, y, g, rows, keys, bands, n, m, b, scale,
            d, B, ROWS, KEYS, IS_DIRECT, HAS_WEIGHTS, LEAVE_ONE_OUT,
        )  # fmt: skip
        pull = tl.sum(s * (-2.0 * scale)[:, None, None], axis=0)
        grad += tl.dot(tl.trans(pull), x, input_precision="ieee")
        grad += tl.dot(tl.trans(tl.reshape(p, (B * ROWS, KEYS))), g, input_precision="ieee")
        total += tl.sum(pull, axis=0)
        grad_u += tl.sum(tl.sum(s, axis=0), axis=0)
    columns = tl.arange(0, D)
    within = (keys < m)[:, None] & (columns < d)[None, :]
    tl.store(grad_y_at + keys[:, None] * d + columns[None, :], grad - total[:, None] * y, mask=within)
    if HAS_WEIGHTS:
        tl.store(grad_u_at + keys, grad_u, mask=keys < m)


class _WeightedMean(torch.autograd.Function):
    """The three kernels on contiguous float32 tensors [problems, points, coordinates]; after the first axis of the
    results stands that of the bandwidths. A second derivative is the reference's."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, y: Tensor, log_weights: Tensor | None, bandwidths: tuple[float, ...], leave_one_out: bool
    ) -> tuple[Tensor, Tensor]:
        (problems, n, d), m, b = x.shape, y.shape[1], len(bandwidths)
        scale = x.new_tensor([-0.5 / h**2 for h in bandwidths])
        mean, log_sum = x.new_empty(problems, b, n, d), x.new_empty(problems, b, n)
        u = y if log_weights is None else log_weights  # a pointer is wanted where none is read
        D, B = max(16, triton.next_power_of_2(d)), triton.next_power_of_2(b)
        shape = {"d": d, "D": D, "B": B, "IS_DIRECT": d <= DIRECT}
        shape |= {"HAS_WEIGHTS": log_weights is not None, "LEAVE_ONE_OUT": leave_one_out}
        if x.numel():
            _forward[lambda chosen: (problems * triton.cdiv(n, chosen["ROWS"]),)](
                x, y, u, scale, mean, log_sum, n, m, b, **shape
            )
        ctx.save_for_backward(x, y, log_weights, scale, mean, log_sum)
        ctx.shape, ctx.arguments = shape, (bandwidths, leave_one_out)
        return mean, log_sum

    @staticmethod
    def backward(
        ctx: Any, grad_mean: Tensor, grad_log_sum: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        x, y, log_weights, scale, mean, log_sum = ctx.saved_tensors
        if torch.is_grad_enabled():
            score, again = score_reference(x, y, log_weights, *ctx.arguments)
            towards = x + score / (-2 * scale.reshape(-1, 1, 1, 1))
            leaves = [each for each in (x, y, log_weights) if each is not None and each.requires_grad]
            grads = (grad_mean.transpose(0, 1), grad_log_sum.transpose(0, 1))
            second = iter(torch.autograd.grad((towards, again), leaves, grads, create_graph=True))
            wanted = ctx.needs_input_grad[:3]
            return *(next(second) if want else None for want in wanted), None, None  # type: ignore[return-value]
        g = grad_mean.contiguous()
        delta = (g * mean).sum(dim=-1) - grad_log_sum
        grad_x, grad_y = torch.zeros_like(x), torch.zeros_like(y)
        grad_u = None if log_weights is None else torch.zeros_like(log_weights)
        u = y if log_weights is None else log_weights
        (problems, n, _), m, b = x.shape, y.shape[1], len(scale)
        if x.numel():
            saved = (x, y, u, scale, log_sum, delta, g)
            # small enough that operands of the widest backward pass fit into the shared memory of a program
            D, B = ctx.shape["D"], ctx.shape["B"]
            blocks = {"ROWS": max(16, min(64, 2048 // (B * D))), "KEYS": max(16, min(64, 2048 // D))}
            if ctx.needs_input_grad[0]:
                grid = (problems * triton.cdiv(n, blocks["ROWS"]),)
                _backward_x[grid](*saved, grad_x, n, m, b, **ctx.shape, **blocks)
            if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
                grid = (problems * triton.cdiv(m, blocks["KEYS"]),)
                _backward_y[grid](*saved, grad_y, y if grad_u is None else grad_u, n, m, b, **ctx.shape, **blocks)
        return grad_x, grad_y, grad_u, None, None


def score_triton(
    x: Float[Tensor, "*batch n d"],
    y: Float[Tensor, "*batch m d"],
    log_weights: Float[Tensor, "*batch m"] | None,
    bandwidths: tuple[float, ...],
    leave_one_out: bool,
) -> tuple[Float[Tensor, "b *batch n d"], Float[Tensor, "b *batch n"]]:
    """The results of `score_reference`, in float32 whatever the precision of the points.

    Raises:
        ValueError: If the tensors are not on a CUDA device.
    """
    if x.device.type != "cuda" and not INTERPRETED:
        raise ValueError(f'backend: "triton" needs CUDA tensors, found {x.device.type}')
    (*batch, n, d), m, b = x.shape, y.shape[-2], len(bandwidths)
    problems = math.prod(batch)
    centre = y.detach().mean(dim=-2, keepdim=True)
    near_x, near_y = ((each - centre).float().contiguous().view(problems, count, d) for each, count in ((x, n), (y, m)))
    log_u = None if log_weights is None else log_weights.float().reshape(problems, m).contiguous()
    at_once = max(1, min(8, 256 // d))  # by shared memory
    groups = [bandwidths[k : k + at_once] for k in range(0, b, at_once)]
    parts = [_WeightedMean.apply(near_x, near_y, log_u, group, leave_one_out) for group in groups]
    mean, log_sum = (torch.cat(each, dim=1) for each in zip(*parts, strict=True))
    score = near_x.new_tensor([h**-2 for h in bandwidths])[:, None, None] * (mean - near_x[:, None])
    score, log_sum = (each.transpose(0, 1).to(x.dtype) for each in (score, log_sum))
    return score.reshape(b, *batch, n, d), log_sum.reshape(b, *batch, n)
