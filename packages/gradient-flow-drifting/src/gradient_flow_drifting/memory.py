"""Real points kept at hand: the latest of each class, and the latest of any."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .data import Labelled, labelled


class Memory:
    """A queue of real points for each class and one for all (Deng et al. 2026, appendix A.8).

    Points are drawn from a queue without replacement; what is pushed takes the place of the oldest. At first each
    queue is filled by drawing from the data.

    Args:
        data: The source, with labels.
        size: Length of the queue of a class.
        unconditional: Length of the queue of all.
        generator: Where the randomness comes from, on the CPU.

    Raises:
        ValueError: If the source has no labels.

    Example:
        >>> from gradient_flow_drifting.data import Toy
        >>> memory = Memory(Toy("8gaussians"), size=4, unconditional=8, generator=torch.Generator().manual_seed(0))
        >>> memory.draw(torch.tensor([0, 7]), 3, torch.Generator().manual_seed(0)).shape
        torch.Size([2, 3, 2])
    """

    def __init__(self, data: Labelled, *, size: int, unconditional: int, generator: torch.Generator) -> None:
        data = labelled(data)
        self.of_class = torch.stack([data.sample_class(label, size, generator) for label in range(data.classes)])
        self.of_all = data.sample(unconditional, generator)
        self._next = torch.zeros(data.classes, dtype=torch.int64)
        self._next_of_all = 0

    def push(self, points: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> None:
        """Let points take the place of the oldest of their class and of all.

        Args:
            points: New real points.
            labels: Their classes.
        """
        size, unconditional = self.of_class.shape[1], len(self.of_all)
        for point, label in zip(points, labels.tolist(), strict=True):
            self.of_class[label, self._next[label]] = point
            self._next[label] = (self._next[label] + 1) % size
            self.of_all[self._next_of_all] = point
            self._next_of_all = (self._next_of_all + 1) % unconditional

    def draw(
        self, labels: Int[Tensor, " classes"], count: int, generator: torch.Generator
    ) -> Float[Tensor, "classes count d"]:
        """Draw points of some classes, none twice.

        Args:
            labels: The classes.
            count: How many of each, at most the length of a queue.
            generator: Where the randomness comes from, on the CPU.

        Returns:
            The points.
        """
        chosen = torch.rand(len(labels), self.of_class.shape[1], generator=generator).argsort(1)[:, :count]
        return self.of_class[labels[:, None], chosen]

    def draw_unconditional(self, count: int, generator: torch.Generator) -> Float[Tensor, "count d"]:
        """Draw points of any class, none twice.

        Args:
            count: How many, at most the length of the queue.
            generator: Where the randomness comes from, on the CPU.

        Returns:
            The points.
        """
        return self.of_all[torch.randperm(len(self.of_all), generator=generator)[:count]]

    def state_dict(self) -> dict[str, Any]:
        """Both queues and where the oldest points stand."""
        return {
            "of_class": self.of_class,
            "of_all": self.of_all,
            "next": self._next,
            "next_of_all": self._next_of_all,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        for name, mine in (("of_class", self.of_class), ("of_all", self.of_all), ("next", self._next)):
            if state[name].shape != mine.shape:
                raise ValueError(f"memory.{name}: {tuple(mine.shape)} is needed, found {tuple(state[name].shape)}")
            mine.copy_(state[name])
        self._next_of_all = int(state["next_of_all"])
