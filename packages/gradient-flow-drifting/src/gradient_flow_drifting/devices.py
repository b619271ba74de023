"""Several devices: every process draws the same random numbers, takes its share, and the field sees all shares.

So a run is the same, but for rounding, on however many devices, and one checkpoint holds all of it.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from .config import TrainConfig


def fabric_of(config: "TrainConfig") -> "Fabric":
    """Lightning Fabric for a run, launched.

    Args:
        config: Of the run.

    Returns:
        Fabric; where there are several processes each one has its own.

    Raises:
        ValueError: If the config asks for devices that are not there.
    """
    from lightning_fabric import Fabric  # takes seconds to import, which who only samples need not spend

    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if config.device == "cuda" and not found:
        raise ValueError("device = cuda: torch finds no CUDA device: use cpu, or auto")
    device = config.device if config.device != "auto" else "cuda" if found else "cpu"
    if device == "cuda" and config.devices > found:
        raise ValueError(f"devices = {config.devices}: torch finds {found} CUDA devices: ask for no more")
    several = config.devices * config.num_nodes > 1
    options: dict[str, Any] = {"strategy": config.strategy, "num_nodes": config.num_nodes} if several else {}
    fabric = Fabric(accelerator=device, devices=config.devices, precision=config.precision, **options)
    if several:
        fabric.launch()
    return fabric


def is_writer() -> bool:
    """Whether this process is the one that writes files and prints: the first of all, or the only one."""
    return not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0


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
