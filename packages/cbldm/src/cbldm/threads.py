"""Work that is dealt to threads piece by piece."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

T = TypeVar("T")
S = TypeVar("S")


def in_threads(work: Callable[[T], S], items: Iterable[T]) -> Iterator[S]:
    """The results in order, by as many threads as torch has; each works with matrices too small to share."""
    threads = torch.get_num_threads()
    with one_torch_thread(), ThreadPoolExecutor(max(1, threads)) as pool:
        yield from map(work, items) if threads <= 1 else pool.map(work, items)


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Threads that wait for one another at every small matrix cost more than they save on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
