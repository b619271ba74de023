"""What moves samples: a velocity from the clouds of data and model, the package's own field and the baselines'."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from jaxtyping import Float
from torch import Tensor

from .data import Geometry
from .divergences import Divergence, mixed, resolve_divergence
from .drift import check_limits, drift
from .geometry import kernel_of, space_of
from .kernels import Kernel, resolve_kernel
from .ops.kde import SelfTerms
from .ops.kde.checks import positive_numbers

Weights = tuple[tuple[str, float], ...]


class Field(Protocol):
    """A frozen config that can say where samples go."""

    def velocity(
        self,
        x: Float[Tensor, "n d"],
        *,
        positives: Float[Tensor, "p d"],
        negatives: Float[Tensor, "q d"],
        geometry: Geometry = "euclidean",
        self_terms: SelfTerms = "keep",
    ) -> Float[Tensor, "n d"]:
        """Velocity of the samples x, tangent to their space.

        Args:
            x: Samples of the model.
            positives: Sample of the data.
            negatives: Sample of the model, x itself or independent of it.
            geometry: Space of the points.
            self_terms: `"leave_one_out"` if the first rows of `negatives` are x and are not to act on themselves.

        Returns:
            The velocity, in the units of the points.

        Raises:
            ValueError: If the clouds cannot be used, or the field does not exist in that space.
        """


@dataclass(frozen=True)
class KernelField:
    """The velocity of a divergence between kernel density estimates, in units of the mean shift; see `drift`.

    Attributes:
        bandwidths: Scales whose velocities are averaged; on the sphere in radians.
        divergence: Names of divergences with their weights; kl_qp, kl_pq, chi2_qp, chi2_pq, js, hellinger2, mmd2, mixed
            or alpha(a) with a number a.
        log_weight_limit: Bound of each divergence's log weight; None for no bound.
        max_step: Bound of the velocity's length (`"bandwidth"`: the largest of them); None for no bound.
        kernel: gaussian, laplace, sharp_laplace or inverse_multiquadric; on the sphere von_mises_fisher,
            geodesic_gaussian or sphere_heat; on the torus wrapped_gaussian; None for that of the space.

    Example:
        >>> import torch
        >>> x, y = torch.zeros(1, 2), torch.tensor([[0.1, 0.0]])
        >>> KernelField().velocity(x, positives=y, negatives=x)
        tensor([[0.1000, 0.0000]])
    """

    bandwidths: tuple[float, ...] = (0.1, 0.2, 0.4)
    divergence: Weights = (("kl_qp", 1.0),)
    log_weight_limit: float | None = 3.0
    max_step: float | Literal["bandwidth"] | None = None
    kernel: str | None = None

    def __post_init__(self) -> None:
        if self.kernel is not None:
            resolve_kernel(self.kernel, 1.0)
        object.__setattr__(self, "bandwidths", positive_numbers("field.bandwidths", self.bandwidths))
        divergence_of(self.divergence)
        check_limits(self.log_weight_limit, self.max_step)

    def velocity(
        self,
        x: Float[Tensor, "n d"],
        *,
        positives: Float[Tensor, "p d"],
        negatives: Float[Tensor, "q d"],
        geometry: Geometry = "euclidean",
        self_terms: SelfTerms = "keep",
    ) -> Float[Tensor, "n d"]:
        """Velocity of the samples x; see `Field`."""
        space = space_of(geometry)
        if self.kernel is None:
            kernel: Kernel = kernel_of(geometry, self.bandwidths)
        else:
            kernel = resolve_kernel(self.kernel, self.bandwidths, manifold=space)
        return drift(
            x,
            positives=positives,
            negatives=negatives,
            kernel=kernel,
            divergence=divergence_of(self.divergence),
            manifold=space,
            self_terms=self_terms,
            log_weight_limit=self.log_weight_limit,
            max_step=self.max_step,
        ).velocity


def divergence_of(weights: Weights) -> Divergence:
    """The divergence of names with their weights.

    Args:
        weights: Name and weight of each divergence; one name of weight one is that divergence itself.

    Returns:
        The divergence.

    Raises:
        ValueError: If a name is unknown or a weight is not positive.

    Example:
        >>> divergence_of((("kl_pq", 1.0), ("chi2_qp", 0.5))) == mixed()
        True
    """
    if not isinstance(weights, Sequence) or not all(isinstance(each, Sequence) and len(each) == 2 for each in weights):
        raise ValueError(f"divergence: names with weights are needed, (('kl_qp', 1.0),) say, found {weights!r}")
    if len(weights) == 1 and weights[0][1] == 1:
        return resolve_divergence(weights[0][0])
    return mixed(dict(weights))
