"""Several processes: each trains on its part of every batch, and all end with the same weights."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from papertrio_shared.devices import fabric_of
from torch import Tensor

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def launch(device: str, devices: int) -> "Fabric | None":
    """Lightning Fabric over several processes, launched; None for one, which has no need of it.

    Args:
        device: `auto`, `cpu` or `cuda`.
        devices: How many processes on this host; under `torchrun` as many as it has started.

    Raises:
        ValueError: If so many devices are not there.

    >>> launch("cpu", 1)
    """
    if devices < 1:
        raise ValueError(f"devices {devices}; give 1 or more")
    if devices == 1:
        return None
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device {device!r} is one device, but devices is {devices}; choose auto, cpu or cuda")
    from lightning_fabric.strategies import DDPStrategy  # takes seconds to import, which one process need not spend

    # A method trains what it likes: some of what wants a gradient may have no part in a loss.
    # The others wait while the first judges.
    strategy: Any = DDPStrategy(find_unused_parameters=True, broadcast_buffers=False, timeout=timedelta(days=1))
    return fabric_of(device, devices, strategy=strategy)


def part_of(fabric: "Fabric | None", rows: Tensor) -> tuple[Tensor, float]:
    """This process's part of a batch, and the factor that makes the mean over the processes that over the batch.

    Args:
        fabric: Of the run.
        rows: The whole batch, the same in every process. Of a batch that has fewer rows than there are processes every
            one takes all.

    >>> import torch
    >>> part_of(None, torch.arange(3))
    (tensor([0, 1, 2]), 1.0)
    """
    if fabric is None or len(rows) < fabric.world_size:
        return rows, 1.0
    part = rows.tensor_split(fabric.world_size)[fabric.global_rank]
    return part, len(part) * fabric.world_size / len(rows)
