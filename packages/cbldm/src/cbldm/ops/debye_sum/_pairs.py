"""The pairs of a batch of clusters, block by block, and the threads that work on them."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, combinations_with_replacement
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from scipy.spatial.distance import cdist, pdist, squareform

ATOMS = 2048
"""A cluster with more atoms of a kind is cut into blocks of so many by so many."""


T = TypeVar("T")


def share(items: Iterable[T], work: Callable[[list[T]], None]) -> None:
    """Deal the items to as many threads as torch has, always in the same way."""
    items = list(items)
    threads = min(torch.get_num_threads(), len(items))
    if threads <= 1:
        work(items)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, [items[k::threads] for k in range(threads)]))


class Block(NamedTuple):
    """Pairs of the atoms `i` with the atoms `j` of a cluster, or of the atoms `i` with each other where j is None."""

    cluster: int
    species: tuple[int, int]
    i: np.ndarray
    j: np.ndarray | None

    @property
    def pairs(self) -> int:
        n = len(self.i)
        return n * (n - 1) // 2 if self.j is None else n * len(self.j)


def blocks_of(species: np.ndarray) -> Iterator[Block]:
    """The pairs of each cluster, one pair of species after the other."""
    kinds = range(int(species.max(initial=-1)) + 1)
    for cluster, row in enumerate(species):
        present = [(s, np.flatnonzero(row == s)) for s in kinds]
        parts = [(s, i[k : k + ATOMS]) for s, i in present for k in range(0, len(i), ATOMS)]
        for (n, (s, i)), (m, (r, j)) in combinations_with_replacement(enumerate(parts), 2):
            block = Block(cluster, (s, r), i, None if n == m else j)
            if block.pairs:
                yield block


def groups_of(blocks: Iterator[Block], most: int, pairs: int) -> Iterator[list[Block]]:
    """Lists of at most so many blocks, and of so many pairs where they are more than one."""
    group: list[Block] = []
    held = 0
    for block in blocks:
        if group and (len(group) == most or held + block.pairs > pairs):
            yield group
            group, held = [], 0
        group.append(block)
        held += block.pairs
    if group:
        yield group


def distances_of(places: np.ndarray, blocks: list[Block]) -> np.ndarray:
    """Distances of the blocks' pairs as a flat list."""
    ends = [0, *accumulate(block.pairs for block in blocks)]
    out = np.empty(ends[-1])
    for block, start, stop in zip(blocks, ends, ends[1:], strict=False):
        first, d = places[block.cluster][block.i], out[start:stop]
        if block.j is None:
            pdist(first, out=d)
        else:
            cdist(first, places[block.cluster][block.j], out=d.reshape(len(block.i), -1))
    return out


def pull(to: np.ndarray, places: np.ndarray, blocks: list[Block], ratio: np.ndarray) -> None:
    """Add to each atom of each pair the vector from its partner times the pair's ratio (slope over distance)."""
    start = 0
    for block in blocks:
        w, start = ratio[start : start + block.pairs], start + block.pairs
        onto, at = to[block.cluster], places[block.cluster]
        if block.j is None:
            w = squareform(w, checks=False)
            onto[block.i] += w.sum(1)[:, None] * at[block.i] - w @ at[block.i]
        else:
            w = w.reshape(len(block.i), -1)
            onto[block.i] += w.sum(1)[:, None] * at[block.i] - w @ at[block.j]
            onto[block.j] += w.sum(0)[:, None] * at[block.j] - w.T @ at[block.i]
