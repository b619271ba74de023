"""Profile `robust`: tokens of the curve, a head for the number of atoms, latent tokens of a canonical affinity."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..affinity import affinity, atom_mask, pair_mask
from ..data.curves import TYPES
from ..diffusion.samplers import Ddim, PriorJump, Sampler, draw
from ..diffusion.schedule import CosineSchedule
from ..models.atom_count import AtomCount, CountAndType
from ..models.attention import Readout
from ..models.cluster_autoencoder import ClusterDecoder, ClusterEncoder
from ..models.condition import Curves, CurveTokens
from ..models.denoiser import TokenDenoiser
from ..models.gaussian import Gaussian
from .profile import Examples, Generated, Profile

_LATENT_LIMIT = 5.0
"""Standard deviations beyond which no latent lies."""
_FOLLOWS = 0.02
"""How fast the latents' mean and spread are followed."""


@dataclass(frozen=True)
class Robust:
    """Shape of the profile and weights of its losses.

    Attributes:
        atoms: Largest number of atoms.
        rstep: Step of the curves' grid, Å.
        rmax: Its end, Å.
        patch: Points in a token of the curve.
        width: Of all tokens.
        heads: Of all attention.
        curve_depth: Layers over the tokens of a curve.
        depth: Layers of the encoder and of the decoder.
        denoiser_depth: Layers of the denoiser.
        tokens: Latent tokens.
        channels: Numbers in each.
        dimensions: Of the decoder's points.
        misfit: Weight of the mean square of W − Ŵ.
        divergence: Weight of KL(q(z|W)‖p(z|G)), which trains the conditional prior too.
        schedule: Noise of the diffusion.
        sampler: How latents are drawn.
        jump: Where the conditional prior takes over for a step, if it does.
        types: Structure types that are told apart.
    """

    atoms: int = 256
    rstep: float = 0.05
    rmax: float = 30.0
    patch: int = 12
    width: int = 120
    heads: int = 4
    curve_depth: int = 4
    depth: int = 3
    denoiser_depth: int = 4
    tokens: int = 16
    channels: int = 8
    dimensions: int = 8
    misfit: float = 1000.0
    divergence: float = 3e-4
    schedule: CosineSchedule = field(default_factory=CosineSchedule)
    sampler: Sampler = field(default_factory=Ddim)
    jump: PriorJump | None = field(default_factory=PriorJump)
    types: tuple[str, ...] = TYPES

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"profile.width = {self.width}: give a multiple of the {self.heads} heads")

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages of training."""
        return RobustProfile.stages

    def build(self) -> "RobustProfile":
        """The networks, with fresh weights."""
        return RobustProfile(self)


class RobustProfile(Profile):
    """The networks of `Robust`.

    First stage, `latents`: curve tokens, the heads for N and type, the autoencoder and the conditional prior together.
    Second, `diffusion`: the denoiser of the standardised latents, which looks at the curve's tokens.
    """

    stages = ("latents", "diffusion")

    def __init__(self, config: Robust) -> None:
        super().__init__()
        self.config = config
        self.bins, self.rstep, self.types = round(config.rmax / config.rstep), config.rstep, config.types
        seen = {"width": config.width, "heads": config.heads}
        latent = {"tokens": config.tokens, "channels": config.channels}
        self.curve = CurveTokens(bins=self.bins, patch=config.patch, depth=config.curve_depth, **seen)
        self.heads = AtomCount(atoms=config.atoms, types=len(config.types), **seen)
        self.prior = Readout(config.width, config.heads, config.tokens, 2 * config.channels)
        self.encoder = ClusterEncoder(atoms=config.atoms, depth=config.depth, **latent, **seen)
        self.decoder = ClusterDecoder(
            atoms=config.atoms, depth=config.depth, dimensions=config.dimensions, **latent, **seen
        )
        self.denoiser = TokenDenoiser(atoms=config.atoms, depth=config.denoiser_depth, **latent, **seen)
        self.latent_mean: Tensor
        self.latent_square: Tensor
        self.register_buffer("latent_mean", torch.zeros(config.tokens, config.channels))
        self.register_buffer("latent_square", torch.ones(config.tokens, config.channels))

    def trained(self, stage: str) -> Sequence[nn.Module]:
        """All but the denoiser first, then the denoiser."""
        if stage == "diffusion":
            return [self.denoiser]
        return [self.curve, self.heads, self.prior, self.encoder, self.decoder]

    def loss(
        self,
        stage: str,
        examples: Examples,
        generator: torch.Generator,
        *,
        progress: float = 1.0,  # noqa: ARG002 (its weights stay as they are)
    ) -> dict[str, Tensor]:
        """See `Profile.loss`."""
        w = affinity(examples.positions, mask=examples.present)
        noise = self._noise(len(w), generator, w.device)
        if stage == "latents":
            return self._latents_loss(examples, w, noise)
        with torch.no_grad():
            tokens, absent = self.curve(examples.curves)
            clean = self._standardised(self.encoder(w, examples.present).draw(noise))
        t = torch.randint(1, self.config.schedule.steps + 1, (len(w),), generator=generator).to(w.device)
        epsilon = self._noise(len(w), generator, w.device)
        z, share = self.config.schedule.noised(clean, t, epsilon), self.config.schedule.shares(t, clean)
        velocity = share.sqrt() * epsilon - (1 - share).sqrt() * clean
        found = self.denoiser(z, t, atom_count=examples.atom_count, condition=tokens, absent=absent)
        return {"loss": F.mse_loss(found, velocity)}

    def _latents_loss(self, examples: Examples, w: Tensor, noise: Tensor) -> dict[str, Tensor]:
        tokens, absent = self.curve(examples.curves)
        heads = self.heads(tokens, absent)
        count_loss = F.cross_entropy(heads.atom_count, examples.atom_count)
        type_loss = F.cross_entropy(heads.type, examples.type)
        q, p = self.encoder(w, examples.present), Gaussian.of(self.prior(tokens, absent))
        z = q.draw(noise)
        if self.training:
            with torch.no_grad():
                self.latent_mean.lerp_(z.mean(0), _FOLLOWS)
                self.latent_square.lerp_(z.square().mean(0), _FOLLOWS)
        found = affinity(self.decoder(z, examples.atom_count, w.shape[-1]), mask=examples.present)
        pairs = pair_mask(examples.present).sum((1, 2))
        misfit = ((found - w).square().sum((1, 2)) / pairs).mean()
        divergence = q.divergence(p).mean()
        loss = self.config.misfit * misfit + self.config.divergence * divergence + count_loss + type_loss
        return {
            "loss": loss,
            "misfit": misfit.sqrt(),
            "divergence": divergence,
            "count_loss": count_loss,
            "count_right": (heads.atom_count.argmax(1) == examples.atom_count).float().mean(),
            "type_right": (heads.type.argmax(1) == examples.type).float().mean(),
        }

    @torch.no_grad()
    def posterior(self, curves: Curves) -> CountAndType:
        """See `Profile.posterior`."""
        heads = self.heads(*self.curve(curves))
        return CountAndType(heads.atom_count.log_softmax(1), heads.type.log_softmax(1))

    @torch.no_grad()
    def generate(self, curves: Curves, count: int, generator: torch.Generator) -> Generated:
        """A number of atoms is drawn from its distribution for each, then a latent, which is decoded."""
        tokens, absent = self.curve(curves)
        chances = self.heads(tokens, absent).atom_count.softmax(1)[0].cpu()
        atom_count = torch.multinomial(chances, count, replacement=True, generator=generator).to(tokens.device)
        tokens, absent = tokens.expand(count, -1, -1), absent.expand(count, -1)
        p = Gaussian.of(self.prior(tokens, absent))

        def denoise(z: Tensor, t: Tensor) -> Tensor:
            return self.denoiser(z, t, atom_count=atom_count, condition=tokens, absent=absent)

        latent = draw(
            denoise,
            self._noise(count, generator, tokens.device),
            self.config.schedule,
            sampler=self.config.sampler,
            generator=generator,
            prediction="velocity",
            limit=_LATENT_LIMIT,
            jump=self.config.jump,
            prior=self._standardised(p.draw(self._noise(count, generator, tokens.device))),
        )
        places = int(atom_count.max())
        present = atom_mask(atom_count, places)
        points = self.decoder(self.latent_mean + latent * self._spread(), atom_count, places)
        return Generated(affinity(points, mask=present), present)

    def _standardised(self, latent: Tensor) -> Tensor:
        return (latent - self.latent_mean) / self._spread()

    def _spread(self) -> Tensor:
        return (self.latent_square - self.latent_mean.square()).clamp(min=1e-4).sqrt()

    def _noise(self, count: int, generator: torch.Generator, device: torch.device) -> Tensor:
        return torch.randn(count, self.config.tokens, self.config.channels, generator=generator).to(device)
