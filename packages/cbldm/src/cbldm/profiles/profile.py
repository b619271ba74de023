"""What training and sampling ask of a profile."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from typing import Any, NamedTuple, Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..models.atom_count import CountAndType
from ..models.condition import Curves
from .sampling import Sampling, sampled


class Examples(NamedTuple):
    """Clusters with their curves.

    Attributes:
        curves: What was measured.
        positions: Coordinates in canonical order, Å; zero where there is no atom.
        present: False there.
        atom_count: Number of atoms.
        type: Structure type, its place in `cbldm.data.curves.TYPES`.
        bond: Bond length, Å.
    """

    curves: Curves
    positions: Float[Tensor, "batch places 3"]
    present: Bool[Tensor, "batch places"]
    atom_count: Int[Tensor, " batch"]
    type: Int[Tensor, " batch"]
    bond: Float[Tensor, " batch"]


class Generated(NamedTuple):
    """What a profile draws for a curve.

    Attributes:
        affinity: One matrix for each draw, zero in empty places.
        present: Which places hold an atom.
        scale: By what the coordinates of each affinity are multiplied to have the curve's bond.
    """

    affinity: Float[Tensor, "draws places places"]
    present: Bool[Tensor, "draws places"]
    scale: Float[Tensor, " draws"]


class Profile(nn.Module, ABC):
    """Networks that are trained in stages, each with what came before it frozen.

    Attributes:
        config: Their shape, the weights of their losses and how they are sampled.
        stages: The names of the stages, in order.
        bins: Points of the curves' grid of r.
        rstep: Its step, Å.
        types: Structure types that are told apart.
    """

    config: Any
    stages: tuple[str, ...]
    bins: int
    rstep: float
    types: tuple[str, ...]

    @abstractmethod
    def trained(self, stage: str) -> Sequence[nn.Module]:
        """The parts that a stage trains."""

    @abstractmethod
    def loss(
        self, stage: str, examples: Examples, generator: torch.Generator, *, progress: float = 1.0
    ) -> dict[str, Tensor]:
        """Figures of a batch, `loss` among them; all that is drawn comes from the generator, on the CPU.

        Args:
            stage: Which stage.
            examples: The batch.
            generator: Of the noise.
            progress: Share of the stage that is done.
        """

    def posterior(self, curves: Curves) -> CountAndType | None:  # noqa: ARG002 (where there is no head)
        """Log-probabilities of the number of atoms and of the structure type; None where the profile has no head."""
        return None

    @abstractmethod
    def generate(self, curves: Curves, count: int, generator: torch.Generator) -> Generated:
        """Affinities for one curve (a batch of one), drawn independently."""

    def with_sampling(self, sampling: Sampling) -> Self:
        """The same networks, not copied, with another way to sample them.

        Args:
            sampling: Which one.

        Returns:
            The profile.

        Raises:
            ValueError: If the profile cannot be sampled so.
        """
        other = copy(self)
        other.config = sampled(self.config, sampling)
        return other
