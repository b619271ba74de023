"""A classifier that grows with the classes."""

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

Similarity = Literal["cosine", "linear"]


class Classifier(nn.Module):
    r"""One row of weights for each class seen, in the order the classes came.

    `cosine`: $z_c = s \, \cos(w_c, f)$ with a learned factor $s$; `linear`: $z_c = w_c \cdot f + b_c$. With rows that
    are the means of the classes' features the cosine form is the nearest-prototype classifier.

    Args:
        dim: Width of a feature.
        similarity: Which of the two.
        scale: Factor $s$ at the start.

    >>> classifier = Classifier(8)
    >>> classifier.grow(3)
    >>> classifier(torch.ones(2, 8)).shape
    torch.Size([2, 3])
    """

    def __init__(self, dim: int, *, similarity: Similarity = "cosine", scale: float = 16.0) -> None:
        super().__init__()
        self.similarity = similarity
        self.weight = nn.Parameter(torch.empty(0, dim))
        self.bias = nn.Parameter(torch.empty(0)) if similarity == "linear" else None
        self.scale = nn.Parameter(torch.tensor(scale)) if similarity == "cosine" else None
        self.register_load_state_dict_pre_hook(_make_room)

    @property
    def class_count(self) -> int:
        """Number of classes so far."""
        return len(self.weight)

    def grow(self, count: int, generator: torch.Generator | None = None) -> None:
        """Append rows for new classes; an optimizer made before holds the old rows.

        Args:
            count: How many classes are new.
            generator: Random numbers of the new rows, on the CPU; None: rows of zeros.
        """
        rows = torch.zeros(count, self.weight.shape[1])
        if generator is not None:
            bound = 1 / math.sqrt(self.weight.shape[1])
            rows.uniform_(-bound, bound, generator=generator)
        self.weight = nn.Parameter(torch.cat([self.weight.detach(), rows.to(self.weight)]))
        if self.bias is not None:
            self.bias = nn.Parameter(torch.cat([self.bias.detach(), self.bias.new_zeros(count)]))

    def set_rows(self, classes: Int[Tensor, " chosen"], rows: Float[Tensor, "chosen dim"]) -> None:
        """Overwrite the weights of some classes, say by prototypes."""
        with torch.no_grad():
            self.weight[classes] = rows.to(self.weight)

    def forward(self, features: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch class"]:
        """Logits of all classes seen."""
        if self.scale is None:
            return F.linear(features, self.weight, self.bias)
        return self.scale * F.linear(F.normalize(features, dim=-1), F.normalize(self.weight, dim=-1))


class OldRows:
    """The rows of a classifier as they are, to be put back after each step: weight decay would shrink them else.

    Args:
        classifier: Before it grows.

    >>> classifier = Classifier(2)
    >>> classifier.grow(1)
    >>> old = OldRows(classifier)
    >>> classifier.grow(1)
    >>> classifier.set_rows(torch.tensor([0, 1]), torch.ones(2, 2))
    >>> old.restore(classifier)
    >>> classifier.weight.tolist()
    [[0.0, 0.0], [1.0, 1.0]]
    """

    def __init__(self, classifier: Classifier) -> None:
        self._weight = classifier.weight.detach().clone()
        self._bias = None if classifier.bias is None else classifier.bias.detach().clone()

    @torch.no_grad()
    def restore(self, classifier: Classifier) -> None:
        """Give the classifier's first rows their old values."""
        classifier.weight[: len(self._weight)] = self._weight
        if classifier.bias is not None and self._bias is not None:
            classifier.bias[: len(self._bias)] = self._bias


def _make_room(classifier: Classifier, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Before a state dictionary is loaded, have as many rows as it holds."""
    rows = state.get(f"{prefix}weight")
    if rows is not None and len(rows) != classifier.class_count:
        classifier.weight = nn.Parameter(classifier.weight.new_zeros(len(rows), classifier.weight.shape[1]))
        if classifier.bias is not None:
            classifier.bias = nn.Parameter(classifier.bias.new_zeros(len(rows)))
