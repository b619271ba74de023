"""The Debye sum as it is written, in blocks of clusters and pairs."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

BLOCK = 2**22
"""Terms (clusters × pairs × Q points) held at once."""


def debye_sum_reference(
    positions: Float[Tensor, "clusters atoms 3"],
    species: Int[Tensor, "clusters atoms"],
    amplitudes: Float[Tensor, "species nq"],
    u: Float[Tensor, " clusters"] | Float[Tensor, "clusters atoms"],
    widths: Float[Tensor, "3 clusters"],
    qstep: float,
    window: tuple[float, float],
    dtype: torch.dtype,
) -> Float[Tensor, "clusters nq"]:
    """Eqs. (1) and (2) of the contract."""
    clusters, atoms, nq = len(positions), positions.shape[1], amplitudes.shape[1]
    q = qstep * torch.arange(nq, dtype=torch.float64, device=positions.device)
    x = torch.where((species >= 0)[..., None], positions, 0).double()
    u = (u if u.ndim == 2 else u[:, None].expand(-1, atoms)).double()
    f = amplitudes.to(dtype)

    def block(c: slice, rows: Tensor, columns: Tensor) -> Tensor:
        i, j = torch.cartesian_prod(rows, columns).T
        i, j = i[i < j], j[i < j]
        s_i, s_j = species[c, i], species[c, j]
        pair = (s_i >= 0) & (s_j >= 0)
        d = torch.where(pair[..., None], x[c, i] - x[c, j], 1).norm(dim=-1)
        pair = pair & (d >= window[0]) & (d <= window[1])
        delta1, delta2, qbroad = widths[:, c, None]
        width = 1 - delta1 / d - delta2 / d**2 + (qbroad * d) ** 2  # Eq. (2)
        damping = torch.exp(-((u[c, i] + u[c, j]) * width.clamp(min=0))[..., None] * q**2 / 2).to(dtype)
        phase = torch.remainder(q * d[..., None], 2 * torch.pi).to(dtype)
        weight = torch.where(pair, 2 / d, 0).to(dtype)[..., None]
        return (weight * f[s_i] * f[s_j] * damping * torch.sin(phase)).sum(1, dtype=torch.float64)  # Eq. (1)

    # A few clusters at a time, and of those whole rows of the triangle i < j.
    some = max(1, BLOCK // max(1, nq * atoms))
    rows = torch.arange(max(0, atoms - 1), device=positions.device).split(max(1, some // max(1, clusters)))
    pieces = [slice(k, k + some) for k in range(0, clusters, some)]
    columns = [torch.arange(int(r[0]) + 1, atoms, device=r.device) if len(r) else r for r in rows]
    kept = len(pieces) * len(rows) == 1 or not (positions.requires_grad or u.requires_grad or widths.requires_grad)
    totals = [torch.zeros(0, nq, dtype=torch.float64, device=positions.device)]
    for c in pieces:
        total = 0 * x[c].sum((1, 2))[:, None].expand(-1, nq)
        for pair in zip(rows, columns, strict=True):
            # Each block is computed again for its gradient rather than kept.
            total = total + (block(c, *pair) if kept else checkpoint(block, c, *pair, use_reentrant=False))
        totals.append(total)
    return torch.cat(totals).to(dtype)
