r"""The op as attention on a CPU: memory linear in n + m, log density included.

The exponent $x \cdot y/h^2 - \|y\|^2/2h^2 + \log u$ is the product of a query $(x/h^2, -1/2h^2, 1)$ and a key
$(y, \|y\|^2, \log u)$, whose first columns are the values too, and the term $-\|x\|^2/2h^2$, the same for all keys, is
added to the normaliser afterwards. Keys serve all bandwidths, which are the heads. Leaving j = i out is a mask
$M_{ij}$ that depends on $i - j$ alone: with the keys in reversed order it is a view of one vector of n + m − 1 numbers.
"""

from typing import Any

import torch
from torch import Tensor

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
    """Fused attention whose values are its keys, with its log normaliser; of the values the last column is not used."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        shared = key.expand(-1, query.shape[1], -1, -1)
        out, log_sum = _FORWARD(query, shared, shared, attn_mask=mask, scale=1.0)
        ctx.save_for_backward(query, key, out, log_sum)
        ctx.mask = mask
        return out, log_sum

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor, grad_log_sum: Tensor) -> tuple[Tensor, Tensor, None]:
        query, key, out, log_sum = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted, which the fused operator has not
            dense = _attention_dense(query, key, ctx.mask)
            second = torch.autograd.grad(dense, (query, key), (grad_out, grad_log_sum), create_graph=True)
            return second[0], second[1], None
        # The operator forms dS = P ∘ (dO·Vᵀ − Σ dO∘O). Where the last column of V is zero, a pair (dO, O) = (g, −1) in
        # it adds the gradient g of the log normaliser to dS and nothing else.
        grad_out, out, value = grad_out.clone(), out.clone(), key.clone()
        grad_out[..., -1] = grad_log_sum
        out[..., -1] = -1.0
        value[..., -1] = 0.0
        keys, values = (each.expand(-1, query.shape[1], -1, -1) for each in (key, value))
        grads = _BACKWARD(grad_out, query, keys, values, out, log_sum, 0.0, False, attn_mask=ctx.mask, scale=1.0)
        grads[2][..., -1] = 0.0
        return grads[0], (grads[1] + grads[2]).sum(dim=1, keepdim=True), None


def _attention_dense(query: Tensor, key: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    logits = query @ key.mT
    if mask is not None:
        logits = logits + mask
    return torch.softmax(logits, dim=-1) @ key, torch.logsumexp(logits, dim=-1)


def score_attention(
    x: Tensor, y: Tensor, log_weights: Tensor | None, bandwidths: tuple[float, ...], leave_one_out: bool
) -> tuple[Tensor, Tensor]:
    """The results of `score_reference` by fused attention, about the origin and in the precision of the points."""
    (*batch, n, d), m, b = x.shape, y.shape[-2], len(bandwidths)
    x, y = x.reshape(-1, 1, n, d), y.reshape(-1, 1, m, d)
    inverse = x.new_tensor([h**-2 for h in bandwidths])[:, None, None]
    query = [inverse * x, (-0.5 * inverse).expand(len(x), b, n, 1)]
    key = [y, (y * y).sum(dim=-1, keepdim=True)]
    if log_weights is not None:
        query.append(x.new_ones(1, 1, 1, 1).expand(len(x), b, n, 1))
        key.append(log_weights.clamp_min(NO_WEIGHT).reshape(-1, 1, m, 1))
    keys, mask = torch.cat(key, dim=-1), None
    if leave_one_out:
        keys = keys.flip(-2)
        diagonal = x.new_zeros(n + m - 1)
        diagonal[m - 1] = -torch.inf
        mask = diagonal.as_strided((1, 1, n, m), (0, 0, 1, 1))
    out, log_sum = _Attention.apply(torch.cat(query, dim=-1), keys, mask)
    score = inverse * (out[..., :d] - x)
    log_sum = log_sum - 0.5 * inverse[..., 0] * (x * x).sum(dim=-1)
    return score.transpose(0, 1).reshape(b, *batch, n, d), log_sum.transpose(0, 1).reshape(b, *batch, n)
