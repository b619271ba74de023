r"""The op as attention on a CPU: memory linear in n + m, log density included.

The exponent $x \cdot y/h^2 - \|y\|^2/2h^2 + \log u$ is the product of a query $(x/h^2, 1/h^2, 1)$ and a key
$(y, -\|y\|^2/2, \log u)$, the values are y, and the term $-\|x\|^2/2h^2$, the same for all keys, is added to the
normaliser afterwards. Keys and values serve all bandwidths. Leaving j = i out is a mask $M_{ij}$ that depends on
$i - j$ alone: with the queries in reversed order it is a view of one vector of n + m − 1 numbers.

Rounding. About the mean of y, the exponents are sums of terms as large as $R^2/h^2$ with
$R^2 = \max\|y\| \max(\|x\|, \|y\|)$, so that a log density is off by at most about $2 \epsilon R^2/h^2$ (ε = 1.2e-7
in float32) and the weights by that much relatively. Where this passes `ROUNDING_LIMIT` the bandwidth is worked in
float64, at two to three times the time, and the results have the rounding of their storage alone.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from .reference import weighted_mean_reference

ROUNDING_LIMIT = 2e-3
NO_WEIGHT = -1e30  # in place of -inf, which would turn the gradient's 0 · inf into NaN

_ARGUMENTS = ["query", "key", "value", "dropout_p", "is_causal", "attn_mask", "scale"]
_ARGUMENTS_BACKWARD = ["grad_out", "query", "key", "value", "out", "logsumexp", *_ARGUMENTS[3:]]


def _operator(name: str, arguments: list[str]) -> Any:
    """The internal operator, or None where this torch has none of that name and signature."""
    packet = getattr(torch.ops.aten, name, None)
    overload = getattr(packet, "default", None)
    if overload is None or [each.name for each in overload._schema.arguments] != arguments:
        return None
    return overload


_FORWARD = _operator("_scaled_dot_product_flash_attention_for_cpu", _ARGUMENTS)
_BACKWARD = _operator("_scaled_dot_product_flash_attention_for_cpu_backward", _ARGUMENTS_BACKWARD)


def is_supported(x: Tensor) -> bool:
    """Whether this torch has the fused operator, and for tensors of this kind."""
    available = _FORWARD is not None and _BACKWARD is not None
    return available and x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)


class _Attention(torch.autograd.Function):
    """Fused attention with its log normaliser, both differentiable; the last column of the values must be zero."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        out, log_sum = _FORWARD(query, key, value, attn_mask=mask, scale=1.0)
        ctx.save_for_backward(query, key, value, out, log_sum)
        ctx.mask = mask
        return out, log_sum

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor, grad_log_sum: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value, out, log_sum = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted, which the fused operator has not
            dense = _attention_dense(query, key, value, ctx.mask)
            second = torch.autograd.grad(dense, (query, key, value), (grad_out, grad_log_sum), create_graph=True)
            return second[0], second[1], second[2], None
        # The operator forms dS = P ∘ (dO·Vᵀ − Σ dO∘O). In the zero column of V, a pair (dO, O) = (g, −1) adds the
        # gradient g of the log normaliser to dS and nothing else.
        grad_out, out = grad_out.clone(), out.clone()
        grad_out[..., -1] = grad_log_sum
        out[..., -1] = -1.0
        grads = _BACKWARD(grad_out, query, key, value, out, log_sum, 0.0, False, attn_mask=ctx.mask, scale=1.0)
        grads[2][..., -1] = 0.0
        return grads[0], grads[1], grads[2], None


def _attention_dense(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    logits = query @ key.mT
    if mask is not None:
        logits = logits + mask
    return torch.softmax(logits, dim=-1) @ value, torch.logsumexp(logits, dim=-1)


def rounding(x: Tensor, y: Tensor) -> float:
    """Times 1/h², about the largest error of a log density from rounding; for clouds centred about the mean of y."""
    square_x, square_y = (float(each.detach().square().sum(dim=1).amax()) for each in (x, y))
    return 2 * torch.finfo(x.dtype).eps * math.sqrt(square_y * max(square_x, square_y))


def weighted_mean_attention(
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    log_weights: Float[Tensor, " m"] | None,
    bandwidths: tuple[float, ...],
    leave_one_out: bool,
) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b n"]]:
    """The results of `weighted_mean_reference` by fused attention, in float64 for the bandwidths that need it."""
    if len(x) == 0:  # the fused operator divides by the number of queries
        return weighted_mean_reference(x, y, log_weights, bandwidths, leave_one_out)
    centre = y.detach().mean(dim=0)
    unit = rounding(x - centre, y - centre)
    narrow = [unit / h**2 > ROUNDING_LIMIT for h in bandwidths]
    means: dict[float, Tensor] = {}
    log_sums: dict[float, Tensor] = {}
    for wide_type, chosen in ((x.dtype, False), (torch.float64, True)):
        group = tuple(h for h, is_narrow in zip(bandwidths, narrow, strict=True) if is_narrow == chosen)
        if group:
            log_u = None if log_weights is None else log_weights.to(wide_type)
            wide_x, wide_y = (each.to(wide_type) - centre for each in (x, y))
            mean, log_sum = _fused(wide_x, wide_y, log_u, group, leave_one_out)
            means.update(zip(group, (mean + centre).to(x.dtype), strict=True))
            log_sums.update(zip(group, log_sum.to(x.dtype), strict=True))
    return torch.stack([means[h] for h in bandwidths]), torch.stack([log_sums[h] for h in bandwidths])


def _fused(
    x: Tensor, y: Tensor, log_weights: Tensor | None, bandwidths: tuple[float, ...], leave_one_out: bool
) -> tuple[Tensor, Tensor]:
    n, m, b = len(x), len(y), len(bandwidths)
    inverse = x.new_tensor([h**-2 for h in bandwidths])[:, None, None]
    square = (y * y).sum(dim=1, keepdim=True)
    query = torch.cat([inverse * x, inverse.expand(b, n, 1)], dim=-1)
    key = torch.cat([y, -0.5 * square], dim=-1)
    if log_weights is not None:
        query = torch.cat([query, query.new_ones(b, n, 1)], dim=-1)
        key = torch.cat([key, log_weights.clamp_min(NO_WEIGHT)[:, None]], dim=-1)
    value = torch.nn.functional.pad(y, (0, key.shape[-1] - y.shape[-1]))
    mask = None
    if leave_one_out:
        query = query.flip(1)
        diagonal = torch.zeros(n + m - 1, dtype=x.dtype)
        diagonal[n - 1] = -torch.inf
        mask = diagonal.as_strided((1, 1, n, m), (0, 0, 1, 1))
    shared = (1, b, m, key.shape[-1])
    out, log_sum = _Attention.apply(query[None], key.expand(shared), value.expand(shared), mask)
    out, log_sum = out[0, ..., : x.shape[1]], log_sum[0]
    if leave_one_out:
        out, log_sum = out.flip(1), log_sum.flip(1)
    return out, log_sum - 0.5 * inverse[..., 0] * (x * x).sum(dim=1)
