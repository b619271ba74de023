"""The Debye sum as it is written, in blocks of pairs."""

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
    atoms, nq = positions.shape[1], amplitudes.shape[1]
    delta1, delta2, qbroad = widths[..., None]
    q = qstep * torch.arange(nq, dtype=torch.float64, device=positions.device)
    here = species >= 0
    x = torch.where(here[..., None], positions, 0).double()
    u = (u if u.ndim == 2 else u[:, None].expand(-1, atoms)).double()
    f = amplitudes.to(dtype)[species]

    def block(i: Tensor, j: Tensor) -> Tensor:
        pair = here[:, i] & here[:, j]
        d = torch.where(pair[..., None], x[:, i] - x[:, j], 1).norm(dim=-1)
        pair = pair & (d >= window[0]) & (d <= window[1])
        width = 1 - delta1 / d - delta2 / d**2 + (qbroad * d) ** 2  # Eq. (2)
        damping = torch.exp(-((u[:, i] + u[:, j]) * width.clamp(min=0))[..., None] * q**2 / 2).to(dtype)
        phase = torch.remainder(q * d[..., None], 2 * torch.pi).to(dtype)
        weight = torch.where(pair, 2 / d, 0).to(dtype)[..., None]
        return (weight * f[:, i] * f[:, j] * damping * torch.sin(phase)).sum(1, dtype=torch.float64)  # Eq. (1)

    i, j = torch.triu_indices(atoms, atoms, 1, device=positions.device)
    size = max(1, BLOCK // max(1, len(positions) * nq))
    blocks = list(zip(i.split(size), j.split(size), strict=True))
    if len(blocks) == 1 or not (positions.requires_grad or u.requires_grad or widths.requires_grad):
        return torch.stack([block(*pairs) for pairs in blocks]).sum(0).to(dtype)
    # Each block is computed again for its gradient rather than kept.
    return torch.stack([checkpoint(block, *pairs, use_reentrant=False) for pairs in blocks]).sum(0).to(dtype)
