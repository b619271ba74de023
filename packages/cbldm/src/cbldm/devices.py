"""Several devices share every batch and keep the same weights."""

from .models.condition import Curves
from .profiles import Examples


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
