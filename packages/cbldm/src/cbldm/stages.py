"""The stages of a long computation, told to the terminal and to whoever listens."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from papertrio_shared.progress import progress

T = TypeVar("T")
Listener = Callable[[str, int, int], None]

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Be told of each step of what runs inside the block, in this thread.

    Args:
        listener: Is called with the stage's name, how much of it is done, and how much there is.
    """
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def stage(items: Iterable[T], name: str, *, total: int) -> Iterator[T]:
    """Go through the items of a stage with a progress bar.

    Args:
        items: What to go through.
        name: What is done, in a word or two.
        total: How many there are.

    Yields:
        The items.

    >>> heard = []
    >>> with listening(lambda *step: heard.append(step)):
    ...     list(stage("ab", "letters", total=2))
    ['a', 'b']
    >>> heard
    [('letters', 0, 2), ('letters', 1, 2), ('letters', 2, 2)]
    """
    listener = _listener.get() or _nobody
    listener(name, 0, total)
    for done, item in enumerate(progress(items, name, total=total), 1):
        yield item
        listener(name, done, total)


def _nobody(name: str, done: int, total: int) -> None:
    """Nobody listens."""
