"""Diagonal Gaussians over latents."""

from typing import NamedTuple, Self

import torch
from jaxtyping import Float
from torch import Tensor

_LOWEST, _HIGHEST = -8.0, 4.0


class Gaussian(NamedTuple):
    """Mean and logarithm of the variance of each number.

    >>> standard = Gaussian(torch.zeros(1, 2), torch.zeros(1, 2))
    >>> Gaussian(torch.ones(1, 2), torch.zeros(1, 2)).divergence(standard)
    tensor([1.])
    """

    mean: Float[Tensor, "*latent"]
    log_variance: Float[Tensor, "*latent"]

    @classmethod
    def of(cls, both: Float[Tensor, "*twice"], dim: int = -1) -> Self:
        """From a network's output, the variance kept within e⁻⁸ and e⁴."""
        mean, raw = both.chunk(2, dim)
        return cls(mean, raw.clamp(_LOWEST, _HIGHEST))

    def draw(self, noise: Float[Tensor, "*latent"]) -> Float[Tensor, "*latent"]:
        """A sample, from standard normal noise."""
        return self.mean + torch.exp(self.log_variance / 2) * noise

    def divergence(self, other: "Gaussian") -> Float[Tensor, " batch"]:
        r"""KL(self‖other), $\frac{1}{2} \sum \frac{s^2 + (m - \mu)^2}{\sigma^2} - 1 - \ln \frac{s^2}{\sigma^2}$."""
        ratio = self.log_variance - other.log_variance
        apart = (self.mean - other.mean).square() * torch.exp(-other.log_variance)
        return 0.5 * (torch.exp(ratio) + apart - 1 - ratio).flatten(1).sum(1)
