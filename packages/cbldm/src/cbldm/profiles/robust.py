"""Profile `robust`: a curve in units of its bond, heads for N and type, latent tokens of a canonical affinity."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..affinity import PairMatrix, affinity, atom_mask, pair_mask, pair_matrix
from ..data.curves import TYPES
from ..diffusion.samplers import Ddim, PriorJump, Sampler, draw
from ..diffusion.schedule import CosineSchedule
from ..models.atom_count import AtomCount, CountAndType, count_divergence
from ..models.cluster_autoencoder import ClusterDecoder, ClusterEncoder, evenly, taken
from ..models.condition import CurveCode, Curves, CurveTokens
from ..models.denoiser import TokenDenoiser
from ..models.gaussian import Gaussian
from ..models.prior import TokenPrior
from ..order import all_places
from .latents import LATENT_LIMIT, LatentProfile
from .profile import Examples, Generated

_STRETCH_UNIT = 0.05
_FLATTEST = 0.1
"""Spread of a layer one atom thick, bonds."""


@dataclass(frozen=True)
class Robust:
    """Shape of the profile and weights of its losses.

    Attributes:
        atoms: Largest number of atoms.
        rstep: Step of the curves' grid, Å.
        rmax: Its end, Å.
        bond: Bond length at which clusters are drawn, whatever theirs is, Å.
        curve_channels: Of the first convolutions over a curve.
        summary: Numbers in the summary of a curve.
        width: Of all tokens.
        heads: Of all attention.
        rows, columns: How much of an affinity the encoder sees.
        depth: Layers of the encoder and of the decoder.
        decoder_width: Of the decoder's network of places.
        slots: Of its memory, for each number of atoms.
        sampled: Atoms of a cluster between which W is compared in a step.
        denoiser_depth: Layers of the denoiser.
        tokens: Latent tokens.
        channels: Numbers in each.
        bell: Width of the bell around the true number of atoms that its head learns, atoms.
        target: The matrix that the encoder sees and the misfit compares: the affinity, or in its place the distances in
            units of √t. Decoded are points in space either way, and their affinity is what is drawn.
        misfit: Weight of the mean square of W − Ŵ.
        off: Weight of the mean distance along an axis from a point to its atom, Å⁻¹; as the canonical order knows the
            axes of the library, points can be held against atoms, which is learnt faster than W alone.
        divergence: Weight of KL(q(z|W)‖p(z|G, N)), which trains the conditional prior too.
        schedule: Noise of the diffusion.
        sampler: How latents are drawn.
        jump: Where the conditional prior takes over for a step, if it does.
        types: Structure types that are told apart.
    """

    atoms: int = 256
    rstep: float = 0.05
    rmax: float = 30.0
    bond: float = 2.8
    curve_channels: int = 24
    summary: int = 512
    width: int = 96
    heads: int = 4
    rows: int = 64
    columns: int = 32
    depth: int = 3
    decoder_width: int = 96
    slots: int = 8
    sampled: int = 64
    denoiser_depth: int = 4
    tokens: int = 16
    channels: int = 8
    bell: float = 0.4
    target: PairMatrix = "affinity"
    misfit: float = 1000.0
    off: float = 10.0
    divergence: float = 3e-3
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


class RobustProfile(LatentProfile):
    """The networks of `Robust`.

    First stage, `heads`: the network over curves with the heads for N, type, bond and axes, apart from all else, whose
    gradients would drown theirs. Second, `latents`: the autoencoder of the affinity and the conditional prior.
    Third, `diffusion`: the denoiser of the standardised latents, which looks at the curve's tokens.
    """

    stages = ("heads", "latents", "diffusion")

    def __init__(self, config: Robust) -> None:
        super().__init__()
        self.config = config
        self.bins, self.rstep, self.types = round(config.rmax / config.rstep), config.rstep, config.types
        latent = {"tokens": config.tokens, "channels": config.channels}
        places = all_places(config.atoms)
        self.curve = CurveTokens(
            rstep=config.rstep,
            channels=config.curve_channels,
            width=config.width,
            summary=config.summary,
            reading="both",
        )
        self.heads = AtomCount(summary=config.summary, atoms=config.atoms, types=len(config.types))
        self.prior = TokenPrior(summary=config.summary, **latent)
        self.encoder = ClusterEncoder(
            places,
            rows=config.rows,
            columns=config.columns,
            width=config.width,
            heads=config.heads,
            depth=config.depth,
            **latent,
        )
        self.decoder = ClusterDecoder(
            places, width=config.decoder_width, depth=config.depth, slots=config.slots, bond=config.bond, **latent
        )
        self.denoiser = TokenDenoiser(
            atoms=config.atoms, depth=config.denoiser_depth, width=config.width, heads=config.heads, **latent
        )
        self._begin_latents(config.tokens, config.channels)

    def trained(self, stage: str) -> Sequence[nn.Module]:
        """The networks of each stage."""
        match stage:
            case "heads":
                return [self.curve, self.heads]
            case "latents":
                return [self.prior, self.encoder, self.decoder]
            case _:
                return [self.denoiser]

    def loss(
        self,
        stage: str,
        examples: Examples,
        generator: torch.Generator,
        *,
        progress: float = 1.0,  # noqa: ARG002 (its weights stay as they are)
    ) -> dict[str, Tensor]:
        """See `Profile.loss`."""
        if stage == "heads":
            return self._heads_loss(examples)
        positions = examples.positions * (self.config.bond / examples.bond)[:, None, None]
        noise = self._noise(len(positions), generator, positions.device)
        with torch.no_grad():
            code = self.curve(examples.curves)
        if stage == "latents":
            return self._latents_loss(examples, positions, code, noise, generator)
        with torch.no_grad():
            clean = self._standardised(self._encoded(positions, examples.atom_count).draw(noise))
        t = torch.randint(1, self.config.schedule.steps + 1, (len(clean),), generator=generator).to(clean.device)
        epsilon = self._noise(len(clean), generator, clean.device)
        z, share = self.config.schedule.noised(clean, t, epsilon), self.config.schedule.shares(t, clean)
        velocity = share.sqrt() * epsilon - (1 - share).sqrt() * clean
        found = self.denoiser(z, t, atom_count=examples.atom_count, condition=code.tokens)
        return {"loss": F.mse_loss(found, velocity)}

    def _heads_loss(self, examples: Examples) -> dict[str, Tensor]:
        code = self.curve(examples.curves)
        said = self.heads(code.summary)
        count_loss = count_divergence(said.atom_count, examples.atom_count, width=self.config.bell).mean()
        type_loss = F.cross_entropy(said.type, examples.type)
        stretch_loss = (said.stretch - (examples.bond / code.bond).log()).abs().mean()
        axes_loss = (said.axes - _axes(examples)).abs().mean()
        off = (said.atom_count.argmax(1) - examples.atom_count).abs().float()
        return {
            "loss": count_loss + type_loss + stretch_loss / _STRETCH_UNIT + axes_loss,
            "count_loss": count_loss,
            "count_right": (off == 0).float().mean(),
            "count_off": off.mean(),
            "type_loss": type_loss,
            "type_right": (said.type.argmax(1) == examples.type).float().mean(),
            "stretch_off": stretch_loss,
            "axes_off": axes_loss,
        }

    def _latents_loss(
        self, examples: Examples, positions: Tensor, code: CurveCode, noise: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        q = self._encoded(positions, examples.atom_count)
        p = self.prior(code.summary, examples.atom_count)
        z = q.draw(noise)
        if self.training:
            self._follow(z)
        dice = torch.rand(examples.present.shape, generator=generator).to(z.device)
        chosen = (dice - 2 * examples.present.float()).argsort(1)[:, : self.config.sampled]
        there = pair_mask(examples.present.gather(1, chosen))
        true = taken(positions, chosen)
        found = self.decoder(z, examples.atom_count, chosen)
        apart = (pair_matrix(found, self.config.target) - pair_matrix(true, self.config.target)).square() * there
        misfit = (apart.sum((1, 2)) / there.sum((1, 2))).mean()
        atoms = examples.present.gather(1, chosen)[..., None]
        off = ((found - true).abs() * atoms).sum() / (3 * atoms.sum())
        divergence = q.divergence(p).mean()
        return {
            "loss": self.config.misfit * misfit + self.config.off * off + self.config.divergence * divergence,
            "misfit": misfit.sqrt(),
            "off": off,
            "divergence": divergence,
        }

    @torch.no_grad()
    def posterior(self, curves: Curves) -> CountAndType:
        """See `Profile.posterior`."""
        said = self.heads(self.curve(curves).summary)
        return CountAndType(said.atom_count.log_softmax(1), said.type.log_softmax(1))

    @torch.no_grad()
    def generate(self, curves: Curves, count: int, generator: torch.Generator) -> Generated:
        """Each has a number of atoms, the first the likeliest, then a latent is drawn, which is decoded.

        The affinity is that of a cluster whose bond is `Robust.bond`; by how much the curve's is longer is told.
        """
        code = self.curve(curves)
        said = self.heads(code.summary)
        atom_count = _counts(said.atom_count[0].cpu(), count, generator).to(code.summary.device)
        tokens = code.tokens.expand(count, -1, -1)
        p = self.prior(code.summary.expand(count, -1), atom_count)

        def denoise(z: Tensor, t: Tensor) -> Tensor:
            return self.denoiser(z, t, atom_count=atom_count, condition=tokens)

        latent = draw(
            denoise,
            self._noise(count, generator, tokens.device),
            self.config.schedule,
            sampler=self.config.sampler,
            generator=generator,
            prediction="velocity",
            limit=LATENT_LIMIT,
            jump=self.config.jump,
            prior=self._standardised(p.draw(self._noise(count, generator, tokens.device))),
        )
        scale = (code.bond * said.stretch.exp() / self.config.bond).expand(count)
        return self._decoded(self._restored(latent), atom_count, scale)

    def _encoded(self, positions: Tensor, atom_count: Tensor) -> Gaussian:
        rows = self.config.rows
        some = torch.cat([evenly(atom_count, rows), evenly(atom_count, self.config.columns)], 1)
        return self.encoder(pair_matrix(taken(positions, some), self.config.target)[:, :rows, rows:], atom_count)

    def _decoded(self, latent: Tensor, atom_count: Tensor, scale: Tensor) -> Generated:
        places = int(atom_count.max())
        present = atom_mask(atom_count, places)
        chosen = torch.arange(places, device=latent.device).expand(len(latent), -1)
        return Generated(affinity(self.decoder(latent, atom_count, chosen), mask=present), present, scale)


def _counts(logits: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Numbers of atoms in the shares that their distribution gives them, the likeliest first."""
    chances, order = logits.softmax(0).sort(descending=True, stable=True)
    dice = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    dice[0] = 0
    return order[torch.searchsorted(chances.cumsum(0), dice, right=True).clamp(max=int((chances > 0).sum()) - 1)]


def _axes(examples: Examples) -> Tensor:
    """Logarithms of the spreads along the principal axes in bonds, the longest first."""
    x = examples.positions / examples.bond[:, None, None]
    moments = torch.linalg.eigvalsh(x.mT @ x / examples.atom_count[:, None, None]).flip(1)
    return moments.clamp(min=_FLATTEST**2).log() / 2
