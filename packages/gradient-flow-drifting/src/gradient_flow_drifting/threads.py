"""How torch computes on a CPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def limited_threads(count: int) -> Iterator[None]:
    """Let torch use so many threads of the CPU within a block, and no denormal numbers.

    The moments that Adam keeps of a unit that died fall below 1e-38 within some hundred steps; numbers so small take a
    processor many times as long, and a step of a small network half as long again.

    Args:
        count: Number of threads.

    Example:
        >>> with limited_threads(1):
        ...     torch.get_num_threads()
        1
    """
    threads, flushed = torch.get_num_threads(), float(torch.tensor([2.0**-130]) * 1.0) == 0.0
    torch.set_num_threads(count)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(flushed)
