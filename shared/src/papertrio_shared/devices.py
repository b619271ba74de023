"""Where a run trains: on one device, or on several, with a process for each."""

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def fabric_of(device: str, devices: int = 1, *, num_nodes: int = 1, strategy: Any = "ddp", **options: Any) -> "Fabric":
    """Lightning Fabric for a run; with several devices it starts the other processes, which run the same command.

    Args:
        device: `auto`, `cpu` or `cuda`.
        devices: How many of each machine; of a CPU processes.
        num_nodes: Machines.
        strategy: How several devices share the work, as Lightning Fabric spells it.
        **options: Of Fabric, such as `precision`.

    Returns:
        Fabric, launched where there are several processes; each of them has its own.

    Raises:
        ValueError: If so many devices are not there.

    Example:
        >>> fabric_of("cpu").world_size
        1
    """
    from lightning_fabric import Fabric  # takes seconds to import, which who only samples need not spend

    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cuda" and not found:
        raise ValueError("device = cuda: torch finds no CUDA device; use cpu, or auto")
    kind = device if device != "auto" else "cuda" if found else "cpu"
    if kind == "cuda" and devices > found:
        raise ValueError(f"devices = {devices}: torch finds {found} CUDA devices; ask for no more, or for device cpu")
    if devices * num_nodes == 1:
        return Fabric(accelerator=kind, devices=1, **options)
    fabric = Fabric(accelerator=kind, devices=devices, num_nodes=num_nodes, strategy=strategy, **options)
    fabric.launch()
    return fabric


def is_writer() -> bool:
    """Whether this process is the one that writes files and prints: the first of all, or the only one.

    Example:
        >>> is_writer()
        True
    """
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return not distributed or torch.distributed.get_rank() == 0
