"""The Gaussian of the geodesic distance, on any manifold."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from ..manifolds import Manifold, Sphere
from .kernel import freeze_numbers
from .pairwise import Pairs, Pairwise


@dataclass(frozen=True)
class GeodesicGaussian(Pairwise):
    r"""The kernel $e^{-\mathrm{dist}(x, y)^2 / 2h^2}$ of a manifold with `logmap` and `dist`, ours or geoopt's.

    Its gradient with respect to x is $\log_x(y)\, e^{-\mathrm{dist}^2/2h^2} / h^2$, for
    $\mathrm{grad}_x \frac12 \mathrm{dist}^2 = -\log_x y$. So the mean shift, $\sum_j \mathrm{softmax}_j\, \log_x y_j$,
    is h² times the score as in flat space. The kernel's integral has no common closed form, so `log_density` is the
    logarithm of the mean of the kernel itself: of a density, but for a constant, where the manifold looks the same
    from all of its points (spheres, tori, hyperbolic spaces and their products). On a curved space it is not positive
    definite for every h (Feragen, Lauze and Hauberg 2015, Theorem 2), which matters to `mmd2` alone.

    Args:
        bandwidth: h in the units of `dist`, or a sequence of them.
        manifold: The space, whose points are rows of numbers.

    Raises:
        ValueError: If a bandwidth is not positive and finite, or the manifold lacks `logmap` or `dist`.

    Example:
        >>> import torch
        >>> pole, equator = torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[1.0, 0.0, 0.0]])
        >>> [round(each, 4) for each in GeodesicGaussian(0.5).score(equator, pole).score[0].tolist()]  # (π/2) / h²
        [0.0, 0.0, 6.2832]
    """

    bandwidth: float | tuple[float, ...]
    manifold: Manifold = field(default_factory=Sphere)

    def __post_init__(self) -> None:
        freeze_numbers(self, "bandwidth")
        check_manifold(self.manifold)

    def pairs(self, x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Pairs:
        """The kernel of all pairs."""
        starts, ends = torch.broadcast_tensors(x[:, None], y)
        try:
            ways = self.manifold.logmap(starts, ends)
            square = self.manifold.dist(starts, ends).square()
        except NotImplementedError:
            raise _unfit(self.manifold, "logmap or dist") from None
        scale = x.new_tensor([h**-2 for h in self.lengths])[:, None, None]

        def shift(numbers: Tensor) -> Tensor:
            return torch.einsum("bnm,nmd->bnd", numbers, ways)

        return Pairs(-0.5 * scale * square, lambda numbers: scale * shift(numbers), shift)

    def numbers_of_a_pair(self, dimension: int) -> int:
        """The ways are vectors."""
        return max(dimension, len(self.lengths))


def check_manifold(manifold: object) -> None:
    """Hold a manifold to the methods that particles on it need.

    Args:
        manifold: Ours, geoopt's or a user's.

    Raises:
        ValueError: If a method is missing, or it is a class.
    """
    if isinstance(manifold, type):
        raise ValueError(f"manifold: an object is needed, {manifold.__name__}() say, found the class itself")
    for method in ("expmap", "logmap", "dist", "check_point_on_manifold"):
        if not hasattr(manifold, method):
            raise _unfit(manifold, method)


def _unfit(manifold: object, method: str) -> ValueError:
    """geoopt's Stiefel manifolds, for one, have neither logmap nor dist."""
    return ValueError(
        f"manifold: {type(manifold).__name__} has no {method}, which geodesics need; take Sphere(), Torus() or one "
        "of geoopt's that has, PoincareBall, Lorentz and products of them say"
    )
