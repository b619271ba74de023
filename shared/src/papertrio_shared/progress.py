"""One progress bar style."""

from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(iterable: Iterable[T], description: str, total: int | None = None, initial: int = 0) -> "tqdm[T]":
    """Go through an iterable with a bar on standard error, silent where that is no terminal.

    Args:
        iterable: What to go through.
        description: What is done, in a word or two.
        total: Length, where the iterable has none.
        initial: How much was done before, in a resumed run.

    Returns:
        The iterable; `set_postfix` shows figures beside the bar.

    Example:
        >>> list(progress(range(3), "count"))
        [0, 1, 2]
    """
    return tqdm(iterable, desc=description, total=total, initial=initial, disable=None, dynamic_ncols=True, leave=False)
