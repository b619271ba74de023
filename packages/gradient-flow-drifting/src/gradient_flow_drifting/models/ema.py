"""Exponential moving average of a model's weights."""

import copy
from typing import Any, Generic, TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


class Ema(Generic[M]):
    r"""A copy of a model whose weights follow it slowly.

    $\bar\theta \leftarrow d_t \bar\theta + (1 - d_t) \theta$ with $d_t = \min(d, (1 + t)/(10 + t))$, so that the first
    values are forgotten quickly.

    Args:
        model: What to follow.
        decay: The limit d, in [0, 1).

    Attributes:
        model: The averaged copy.

    Raises:
        ValueError: If `decay` is out of range.

    Example:
        >>> model = nn.Linear(1, 1); ema = Ema(model, decay=0.9)
        >>> ema.update(model); bool(ema.model.weight == model.weight)
        True
    """

    def __init__(self, model: M, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"ema_decay = {decay}: give a number in [0, 1)")
        self.decay, self.updates = decay, 0
        self.model = copy.deepcopy(model).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take one step towards the model's present weights."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - decay)
        self.updates += 1

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes: tensors and one number."""
        return {"model": self.model.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.model.load_state_dict(state["model"])
        self.updates = state["updates"]
