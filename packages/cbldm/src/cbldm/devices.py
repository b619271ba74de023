"""Where a run trains: on one device, or on several that share every batch and keep the same weights."""

from typing import TYPE_CHECKING

import torch

from .config import TrainConfig
from .models.condition import Curves
from .profiles import Examples

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def fabric_of(config: TrainConfig) -> "Fabric":
    """Lightning Fabric for a run; with several devices it starts the other processes, which run the same command.

    Args:
        config: Of the run.

    Returns:
        Fabric, launched.

    Raises:
        ValueError: If the config asks for devices that are not there.
    """
    from lightning_fabric import Fabric  # takes seconds to import
    from lightning_fabric.strategies import DDPStrategy

    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if config.device == "cuda" and not found:
        raise ValueError("device = cuda: torch finds no CUDA device; use cpu, or auto")
    device = config.device if config.device != "auto" else "cuda" if found else "cpu"
    if device == "cuda" and config.devices > found:
        raise ValueError(f"devices = {config.devices}: torch finds {found} of CUDA; ask for no more, or for device cpu")
    if config.devices == 1:
        return Fabric(accelerator=device, devices=1, precision=config.precision)
    # A stage trains a part of the networks: the rest has no share in its loss.
    strategy = DDPStrategy(find_unused_parameters=True)
    fabric = Fabric(accelerator=device, devices=config.devices, strategy=strategy, precision=config.precision)
    fabric.launch()
    return fabric


def is_first() -> bool:
    """Whether this process is the one that writes and prints: the first of a run's, or the only one."""
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return not distributed or torch.distributed.get_rank() == 0


def part_of(examples: Examples, rank: int, processes: int) -> Examples:
    """The examples of a batch that one of several processes learns from.

    Args:
        examples: The batch, the same in each; a multiple of the number of processes, so that the mean of their
            gradients is that of the batch.
        rank: Which process.
        processes: How many.

    Returns:
        Its part; of one process all of them.
    """
    if processes == 1:
        return examples
    mine = slice(rank, None, processes)
    return Examples(Curves(*(each[mine] for each in examples.curves)), *(each[mine] for each in examples[1:]))
