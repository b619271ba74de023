"""What profiles that draw latents by diffusion have in common: latents of mean zero and spread one."""

import torch
from torch import Tensor

from .profile import Profile

LATENT_LIMIT = 5.0
"""Standard deviations beyond which no latent lies."""
_FOLLOWS = 0.02
"""How fast the latents' mean and spread are followed."""


class LatentProfile(Profile):
    """A profile whose latents are standardised, each place on its own, before they are diffused.

    Attributes:
        latent_mean: Mean of the autoencoder's latents, which training follows.
        latent_square: Mean of their squares.
    """

    latent_mean: Tensor
    latent_square: Tensor

    def _begin_latents(self, *shape: int) -> None:
        self.register_buffer("latent_mean", torch.zeros(shape))
        self.register_buffer("latent_square", torch.ones(shape))

    @torch.no_grad()
    def _follow(self, latent: Tensor) -> None:
        self.latent_mean.lerp_(latent.mean(0), _FOLLOWS)
        self.latent_square.lerp_(latent.square().mean(0), _FOLLOWS)

    def _standardised(self, latent: Tensor) -> Tensor:
        return (latent - self.latent_mean) / self._spread()

    def _restored(self, latent: Tensor) -> Tensor:
        return self.latent_mean + latent * self._spread()

    def _spread(self) -> Tensor:
        return (self.latent_square - self.latent_mean.square()).clamp(min=1e-4).sqrt()

    def _noise(self, count: int, generator: torch.Generator, device: torch.device) -> Tensor:
        return torch.randn(count, *self.latent_mean.shape, generator=generator).to(device)
