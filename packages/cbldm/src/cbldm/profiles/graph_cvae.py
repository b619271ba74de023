"""Profile `graph_cvae`: the conditional variational autoencoder of DeepStruc, made anew as a baseline.

DeepStruc (Kjær et al., Digital Discovery 2, 69, 2023) encodes the graph of a cluster by message passing, learns a prior
of the latent from the PDF, and decodes latent and PDF to the coordinates of as many nodes as the largest cluster has.
What differs here:

- The curve is read by the tokens of the profile `robust`, so that what is compared is how structures are drawn, not how
  curves are read.
- Atoms stand in canonical order. Coordinates are compared after the cluster was turned (or mirrored) and moved onto
  what was decoded: the loss is in Å as DeepStruc's, but knows no frame, of which G says nothing.
- A place that holds no atom is told by a number of its own instead of coordinates that no atom has.
- Every instrument and bond length of the training curves is met, up to 256 atoms instead of 200.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..affinity import affinity, atom_mask, centred
from ..data.curves import TYPES
from ..models.attention import Readout
from ..models.condition import Curves, CurveTokens
from ..models.gaussian import Gaussian
from ..models.graph import CoordinateDecoder, GraphEncoder
from .profile import Examples, Generated, Profile

_FULL_BETA = 0.5
"""Share of the training after which β has risen to one."""


@dataclass(frozen=True)
class GraphCvae:
    """Shape of the profile and weights of its losses.

    Attributes:
        atoms: Largest number of atoms.
        rstep: Step of the curves' grid, Å.
        rmax: Its end, Å.
        patch: Points in a token of the curve.
        width: Of the curve's tokens and what is read from them.
        heads: Of the attention over the curve.
        curve_depth: Layers over the tokens of a curve.
        graph_width: Of the graph's nodes.
        depth: Rounds of messages.
        latent: Numbers in the latent. It is small as DeepStruc's is, so that the curve has to say the most.
        decoder_width: Of the decoder's hidden layers.
        unit: In which coordinates are given to the networks, Å.
        misfit: Weight of the mean square distance of decoded atoms, in units of `unit`².
        presence: Weight of the cross-entropy of each place's presence.
        divergence: Weight of β KL(q(z|x, G)‖p(z|G)), β rising from nothing to one over the first half of the training.
        types: Structure types of the library; this profile does not tell them apart.
    """

    atoms: int = 256
    rstep: float = 0.05
    rmax: float = 30.0
    patch: int = 12
    width: int = 64
    heads: int = 4
    curve_depth: int = 2
    graph_width: int = 32
    depth: int = 3
    latent: int = 8
    decoder_width: int = 512
    unit: float = 8.0
    misfit: float = 100.0
    presence: float = 10.0
    divergence: float = 0.01
    types: tuple[str, ...] = TYPES

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"profile.width = {self.width}: give a multiple of the {self.heads} heads")

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages of training."""
        return GraphCvaeProfile.stages

    def build(self) -> "GraphCvaeProfile":
        """The networks, with fresh weights."""
        return GraphCvaeProfile(self)


class GraphCvaeProfile(Profile):
    """The networks of `GraphCvae`, all of them trained together."""

    stages = ("autoencoder",)

    def __init__(self, config: GraphCvae) -> None:
        super().__init__()
        self.config = config
        self.bins, self.rstep, self.types = round(config.rmax / config.rstep), config.rstep, config.types
        width, both = config.width, 2 * config.latent
        self.curve = CurveTokens(
            bins=self.bins, patch=config.patch, width=width, depth=config.curve_depth, heads=config.heads
        )
        self.condition = Readout(width, config.heads, 1, width)
        self.encoder = GraphEncoder(width=config.graph_width, depth=config.depth, out=width, unit=config.unit)
        self.posterior_latent = _perceptron(2 * width, width, both)
        self.prior = _perceptron(width, width, both)
        self.decoder = CoordinateDecoder(
            places=config.atoms, into=config.latent + width, width=config.decoder_width, unit=config.unit
        )

    def trained(self, stage: str) -> Sequence[nn.Module]:  # noqa: ARG002 (there is one)
        """All of it."""
        return [self.curve, self.condition, self.encoder, self.posterior_latent, self.prior, self.decoder]

    def loss(
        self,
        stage: str,  # noqa: ARG002 (there is one)
        examples: Examples,
        generator: torch.Generator,
        *,
        progress: float = 1.0,
    ) -> dict[str, Tensor]:
        """See `Profile.loss`; β rises with the progress."""
        condition = self._read(examples.curves)
        q = self._encoded(examples, condition)
        p = Gaussian.of(self.prior(condition))
        z = q.draw(self._noise(len(condition), generator, condition.device))
        decoded, logits = self.decoder(torch.cat([z, condition], 1))
        places = examples.present.shape[1]
        decoded = centred(decoded[:, :places], examples.present)
        with torch.no_grad():
            target = turned_onto(examples.positions, decoded, examples.present)
        square = (decoded - target).square().sum((1, 2)) / examples.atom_count
        there = F.pad(examples.present, (0, self.config.atoms - places))
        presence = F.binary_cross_entropy_with_logits(logits, there.to(logits))
        divergence = q.divergence(p).mean()
        beta = min(1.0, progress / _FULL_BETA)
        loss = (
            self.config.misfit * square.mean() / self.config.unit**2
            + self.config.presence * presence
            + self.config.divergence * beta * divergence
        )
        return {
            "loss": loss,
            "rmsd": square.sqrt().mean(),
            "presence": presence,
            "divergence": divergence,
            "count_right": (self._count(logits) == examples.atom_count).float().mean(),
        }

    @torch.no_grad()
    def generate(self, curves: Curves, count: int, generator: torch.Generator) -> Generated:
        """A draw of the prior is decoded; there are as many atoms as places that rather hold one than not."""
        condition = self._read(curves).expand(count, -1)
        p = Gaussian.of(self.prior(condition))
        z = p.draw(self._noise(count, generator, condition.device))
        decoded, logits = self.decoder(torch.cat([z, condition], 1))
        atom_count = self._count(logits)
        places = int(atom_count.max())
        present = atom_mask(atom_count, places)
        return Generated(affinity(decoded[:, :places], mask=present), present)

    def _read(self, curves: Curves) -> Tensor:
        return self.condition(*self.curve(curves))[:, 0]

    def _encoded(self, examples: Examples, condition: Tensor) -> Gaussian:
        x = centred(examples.positions, examples.present)
        return Gaussian.of(self.posterior_latent(torch.cat([self.encoder(x, examples.present), condition], 1)))

    @staticmethod
    def _count(logits: Tensor) -> Tensor:
        return (logits > 0).sum(1).clamp(min=2)  # a single atom has no distance

    def _noise(self, count: int, generator: torch.Generator, device: torch.device) -> Tensor:
        return torch.randn(count, self.config.latent, generator=generator).to(device)


def turned_onto(
    positions: Float[Tensor, "batch places 3"],
    onto: Float[Tensor, "batch places 3"],
    present: Bool[Tensor, "batch places"],
) -> Float[Tensor, "batch places 3"]:
    r"""Clusters moved, turned and, where that is nearer, mirrored onto others, atom for atom (Kabsch 1976).

    $R = U V^\top$ of $X^\top Y = U S V^\top$ is the orthogonal matrix that minimises $\lVert X R - Y \rVert$. Since it
    is the best one, the derivative of that distance by Y is the same whether R is held or not.

    Args:
        positions: X.
        onto: Y, about its centre.
        present: False where there is no atom.

    Returns:
        X R about the centre, zero in empty places.

    >>> x = torch.tensor([[[0.0, 0, 0], [2, 0, 0], [0, 4, 0]]])
    >>> there = torch.tensor([[True] * 3])
    >>> other = centred(-x[..., [2, 0, 1]], there)
    >>> bool((turned_onto(x, other, there) - other).abs().max() < 1e-5)
    True
    """
    x = centred(positions, present)
    u, _, v = torch.linalg.svd(x.mT @ (onto * present[..., None]))
    return x @ (u @ v)


def _perceptron(into: int, width: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(into, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, out))
