"""The unit sphere."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Sphere:
    r"""The unit sphere $S^{d-1}$ in $\mathbb R^d$ with its angle as distance.

    Example:
        >>> import torch
        >>> x, y = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0])
        >>> round(Sphere().dist(x, y).item(), 4)
        1.5708
        >>> [round(value, 4) for value in Sphere().logmap(x, y).tolist()]
        [0.0, 1.5708, 0.0]
    """

    def expmap(self, x: Float[Tensor, "*n d"], u: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        r"""$\cos\|u\|\, x + \frac{\sin\|u\|}{\|u\|} u$, smooth at u = 0."""
        angle = u.norm(dim=-1, keepdim=True)
        return self.projx(torch.cos(angle) * x + torch.sinc(angle / torch.pi) * u)

    def logmap(self, x: Float[Tensor, "*n d"], y: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """The tangent at x towards y, as long as their angle; at antipodes one of the many shortest ways is taken."""
        tangent = self.proju(x, y - x)  # y − x, not y: exact where the two nearly coincide
        tangent = self.proju(x, tangent)  # again: near antipodes the first leaves the rounding of the long way through
        length = tangent.norm(dim=-1, keepdim=True)
        angle = self.dist(x, y)[..., None]
        tiny = torch.finfo(x.dtype).eps
        direction = torch.where(length > tiny, tangent / length.clamp_min(tiny), self._any_tangent(x))
        return torch.where((length > tiny) | (angle > 1), angle * direction, tangent)

    def projx(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """x over its length."""
        return x / x.norm(dim=-1, keepdim=True)

    def proju(self, x: Float[Tensor, "*n d"], u: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        r"""$(I - x x^\top) u$."""
        return u - (x * u).sum(dim=-1, keepdim=True) * x

    def dist(self, x: Float[Tensor, "*n d"], y: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
        r"""The angle $2\,\mathrm{atan2}(\|x - y\|, \|x + y\|)$, accurate from coincidence to antipodes (Kahan 2006)."""
        return 2 * torch.atan2((x - y).norm(dim=-1), (x + y).norm(dim=-1))

    def check_point_on_manifold(self, x: Float[Tensor, "*n d"]) -> bool:
        """Whether all lengths are one to within 100 roundings."""
        return bool(((x.norm(dim=-1) - 1).abs() <= 100 * torch.finfo(x.dtype).eps).all())

    def _any_tangent(self, x: Tensor) -> Tensor:
        """A unit tangent at x: the axis that x leans to least, projected."""
        axis = torch.nn.functional.one_hot(x.abs().argmin(dim=-1), x.shape[-1]).to(x)
        return self.projx(self.proju(x, axis))
