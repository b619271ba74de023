"""Profile `paper`: the latent diffusion of Cao et al. (arXiv 2509.01370), sampled as its equations have it.

What differs from the released scripts: atoms stand in canonical order; latents are standardised before they are
diffused; the samplers add noise of the right standard deviation, work for whole batches, use each step once and run
the last one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..affinity import affinity
from ..data.curves import TYPES
from ..diffusion.samplers import Ddpm, PriorJump, Sampler, draw
from ..diffusion.schedule import CosineSchedule
from ..models.autoencoder import (
    CurveAutoencoder,
    PerceptronPrior,
    PictureDecoder,
    PictureEncoder,
    standard_like,
)
from ..models.condition import Curves
from ..models.unet import LatentUnet
from .latents import LATENT_LIMIT, LatentProfile
from .profile import Examples, Generated

_FULL_BETA = 0.5
"""Share of the autoencoder's stage after which β has risen to one."""
_UNIT = 1000.0
"""W is compared in thousandths."""


@dataclass(frozen=True)
class Paper:
    """Shape of the profile and weights of its losses.

    Attributes:
        atoms: Places of atoms, to which the affinity is padded.
        rstep: Step of the curves' grid, Å.
        rmax: Its end, Å.
        encoder_width, decoder_width: Channels at the largest size of the autoencoder.
        encoder_multiples, decoder_multiples: Channels at each size, in units of the width.
        blocks: Residual blocks at each size.
        channels: Of the latent.
        prior_widths: Of the conditional prior's layers.
        curve_width: Channels at the first size of the curve's autoencoder.
        code: Numbers of a curve's code.
        unet_width: Channels at the first size of the U-Net.
        unet_multiples: Channels at each size, in units of the width.
        heads: Of the U-Net's attention.
        divergence: Weight of β KL(q(z|W)‖p(z|G)) beside the mean square of 1000 (W − Ŵ).
        curve_divergence: Weight of the KL to the standard normal in the curve's autoencoder.
        schedule: Noise of the diffusion.
        sampler: How latents are drawn.
        jump: Where the conditional prior takes over for a step, if it does.
        types: Structure types of the library; this profile does not tell them apart.
    """

    atoms: int = 256
    rstep: float = 0.01
    rmax: float = 30.0
    encoder_width: int = 32
    decoder_width: int = 64
    encoder_multiples: tuple[int, ...] = (1, 2, 4, 8)
    decoder_multiples: tuple[int, ...] = (1, 1, 2, 4)
    blocks: int = 2
    channels: int = 1
    prior_widths: tuple[int, ...] = (128, 256, 512)
    curve_width: int = 16
    code: int = 250
    unet_width: int = 128
    unet_multiples: tuple[int, ...] = (1, 2, 2, 4)
    heads: int = 4
    divergence: float = 0.1
    curve_divergence: float = 1e-6
    schedule: CosineSchedule = field(default_factory=CosineSchedule)
    sampler: Sampler = field(default_factory=Ddpm)
    jump: PriorJump | None = field(default_factory=PriorJump)
    types: tuple[str, ...] = TYPES

    def __post_init__(self) -> None:
        halvings = len(self.encoder_multiples)
        if len(self.decoder_multiples) != halvings:
            raise ValueError("profile.encoder_multiples and decoder_multiples: give as many of one as of the other")
        side = self.atoms // 2**halvings
        if side * 2**halvings != self.atoms or side % 2 ** (len(self.unet_multiples) - 1) or not side:
            raise ValueError(
                f"profile.atoms = {self.atoms}: it cannot be halved as often as the autoencoder and the U-Net do; "
                "give a larger power of two, or fewer multiples"
            )

    @property
    def side(self) -> int:
        """Height and width of the latent."""
        return self.atoms // 2 ** len(self.encoder_multiples)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages of training."""
        return PaperProfile.stages

    def build(self) -> "PaperProfile":
        """The networks, with fresh weights."""
        return PaperProfile(self)


class PaperProfile(LatentProfile):
    """The networks of `Paper`.

    Stages: `condition`, the autoencoder of curves, whose encoder is frozen then; `autoencoder`, that of affinities
    with the conditional prior; `diffusion`, the U-Net, which predicts the noise and is trained by L1.
    """

    stages = ("condition", "autoencoder", "diffusion")

    def __init__(self, config: Paper) -> None:
        super().__init__()
        self.config = config
        self.bins, self.rstep, self.types = round(config.rmax / config.rstep), config.rstep, config.types
        self.curve = CurveAutoencoder(points=self.bins, width=config.curve_width, code=config.code)
        shape = (config.channels, config.side, config.side)
        self.prior = PerceptronPrior(points=self.bins, widths=config.prior_widths, shape=shape)
        same = {"blocks": config.blocks, "channels": config.channels}
        self.encoder = PictureEncoder(width=config.encoder_width, multiples=config.encoder_multiples, **same)
        self.decoder = PictureDecoder(width=config.decoder_width, multiples=config.decoder_multiples, **same)
        self.denoiser = LatentUnet(
            width=config.unet_width,
            multiples=config.unet_multiples,
            condition=config.code,
            heads=config.heads,
            **same,
        )
        self._begin_latents(*shape)

    def trained(self, stage: str) -> Sequence[nn.Module]:
        """The networks of each stage."""
        match stage:
            case "condition":
                return [self.curve]
            case "autoencoder":
                return [self.encoder, self.decoder, self.prior]
            case _:
                return [self.denoiser]

    def loss(
        self, stage: str, examples: Examples, generator: torch.Generator, *, progress: float = 1.0
    ) -> dict[str, Tensor]:
        """See `Profile.loss`; β rises with the progress."""
        curve = _scaled(examples.curves)
        if stage == "condition":
            return self._curve_loss(curve, generator)
        w = self._affinity(examples)
        if stage == "autoencoder":
            return self._autoencoder_loss(w, curve, generator, min(1.0, progress / _FULL_BETA))
        with torch.no_grad():
            clean = self._standardised(self.encoder(w).draw(self._noise(len(w), generator, w.device)))
            condition = self.curve.encode(curve).mean[:, None]
        t = torch.randint(1, self.config.schedule.steps + 1, (len(w),), generator=generator).to(w.device)
        epsilon = self._noise(len(w), generator, w.device)
        found = self.denoiser(self.config.schedule.noised(clean, t, epsilon), t, condition)
        return {"loss": F.l1_loss(found, epsilon)}

    def _curve_loss(self, curve: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        code = self.curve.encode(curve)
        noise = torch.randn(len(curve), self.config.code, generator=generator).to(curve.device)
        misfit = (self.curve.decode(code.draw(noise)) - curve).square().mean()
        divergence = code.divergence(standard_like(code)).mean()
        loss = misfit + self.config.curve_divergence * divergence
        return {"loss": loss, "curve_misfit": misfit.sqrt(), "curve_divergence": divergence}

    def _autoencoder_loss(self, w: Tensor, curve: Tensor, generator: torch.Generator, beta: float) -> dict[str, Tensor]:
        q, p = self.encoder(w), self.prior(curve)
        z = q.draw(self._noise(len(w), generator, w.device))
        if self.training:
            self._follow(z)
        misfit = (self.decoder(z) - w).square().mean()
        divergence = q.divergence(p).mean()
        loss = _UNIT**2 * misfit + self.config.divergence * beta * divergence
        return {"loss": loss, "misfit": misfit.sqrt(), "divergence": divergence}

    @torch.no_grad()
    def generate(self, curves: Curves, count: int, generator: torch.Generator) -> Generated:
        """A latent is drawn and decoded; there are as many atoms as ones on the diagonal of what comes out."""
        curve = _scaled(curves)
        condition = self.curve.encode(curve).mean[:, None].expand(count, -1, -1)
        p = self.prior(curve.expand(count, -1))
        latent = draw(
            lambda z, t: self.denoiser(z, t, condition),
            self._noise(count, generator, curve.device),
            self.config.schedule,
            sampler=self.config.sampler,
            generator=generator,
            limit=LATENT_LIMIT,
            jump=self.config.jump,
            prior=self._standardised(p.draw(self._noise(count, generator, curve.device))),
        )
        w = self.decoder(self._restored(latent))
        w = ((w + w.mT) / 2).clamp(0, 1)
        diagonal = w.diagonal(dim1=1, dim2=2)
        two = torch.zeros_like(diagonal, dtype=torch.bool).scatter(1, diagonal.topk(2, dim=1).indices, True)
        present = (diagonal > 0.5) | two  # fewer than two atoms have no distance
        return Generated(w * (present[:, :, None] & present[:, None, :]), present, torch.ones(count, device=w.device))

    def _affinity(self, examples: Examples) -> Tensor:
        w = affinity(examples.positions, mask=examples.present)
        empty = self.config.atoms - w.shape[1]
        return F.pad(w, (0, empty, 0, empty))


def _scaled(curves: Curves) -> Tensor:
    """G divided by its maximum, zero where nothing was measured."""
    g = curves.g * curves.measured
    return g / g.amax(1, keepdim=True).clamp(min=1e-30)
