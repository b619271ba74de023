"""The flat torus."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Torus:
    r"""The flat torus $(\mathbb R / 2\pi\mathbb Z)^d$: each coordinate is an angle in radians, of any number of turns.

    Example:
        >>> import torch
        >>> x, y = torch.tensor([3.0, 0.0]), torch.tensor([-3.0, 0.0])
        >>> round(Torus().dist(x, y).item(), 4)  # the short way, across ±π
        0.2832
    """

    def expmap(self, x: Float[Tensor, "*n d"], u: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """x + u, brought to [−π, π]."""
        return self.projx(x + u)

    def logmap(self, x: Float[Tensor, "*n d"], y: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """y − x the short way round in each coordinate; of two equally short ones either."""
        return self.projx(y - x)

    def projx(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """The same point with angles in [−π, π]; by atan2, which keeps the digits of small angles."""
        return torch.atan2(torch.sin(x), torch.cos(x))

    def proju(self, x: Float[Tensor, "*n d"], u: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:  # noqa: ARG002
        """u itself."""
        return u

    def dist(self, x: Float[Tensor, "*n d"], y: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
        """The length of the short way."""
        return self.logmap(x, y).norm(dim=-1)

    def check_point_on_manifold(self, x: Float[Tensor, "*n d"]) -> bool:  # noqa: ARG002
        """Every row of angles is a point."""
        return True
