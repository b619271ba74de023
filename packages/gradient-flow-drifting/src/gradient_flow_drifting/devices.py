"""Several devices: every process draws the same random numbers, takes its share, and the field sees all shares.

So a run is the same, but for rounding, on however many devices, and one checkpoint holds all of it.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def share(fabric: "Fabric", batch: Tensor, dim: int = 0) -> Tensor:
    """This process's part of a batch that all processes have drawn.

    Args:
        fabric: Of the run.
        batch: The whole.
        dim: Which axis is shared; its length a multiple of the number of processes.

    Returns:
        Every process's part is as long as every other's.
    """
    if fabric.world_size == 1:
        return batch
    return batch.tensor_split(fabric.world_size, dim)[fabric.global_rank]


def gather(fabric: "Fabric", part: Tensor, dim: int = 0) -> Tensor:
    """The parts of all processes, in their order, without a gradient.

    Args:
        fabric: Of the run.
        part: This process's.
        dim: Along which axis they are joined.

    Returns:
        The whole, the same in every process.
    """
    if fabric.world_size == 1:
        return part.detach()
    whole = fabric.all_gather(part.detach().contiguous())
    assert isinstance(whole, Tensor)
    return torch.cat(whole.unbind(0), dim)


def require_share(fabric: "Fabric", **counts: int) -> None:
    """Refuse a batch that cannot be shared equally.

    Args:
        fabric: Of the run.
        counts: Sizes by name, a dot written as two underscores.

    Raises:
        ValueError: If one is no multiple of the number of processes.
    """
    for name, count in counts.items():
        if count % fabric.world_size:
            name = name.replace("__", ".")
            raise ValueError(f"{name} = {count}: give a multiple of the {fabric.world_size} devices")
