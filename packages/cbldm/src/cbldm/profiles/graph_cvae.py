"""Profile `graph_cvae`: the conditional variational autoencoder of DeepStruc, made anew as a baseline.

DeepStruc (Kjær et al., Digital Discovery 2, 69, 2023) encodes the graph of a cluster by message passing, learns a prior
of the latent from the PDF, and decodes latent and PDF to the coordinates of as many nodes as the largest cluster has.
What differs here:

- The curve is read by the network of the profile `robust` and lengths are in units of its first peak, so that what is
  compared is how structures are drawn, not how curves are read.
- Atoms stand in canonical order. Coordinates are compared after the cluster was turned (or mirrored) and moved onto
  what was decoded: the loss is one of coordinates as DeepStruc's, but knows no frame, of which G says nothing.
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
        bond: Bond length at which clusters are drawn, whatever theirs is, Å.
        curve_channels: Of the first convolutions over a curve.
        summary: Numbers in the summary of a curve.
        width: Of the perceptrons to the latent.
        graph_width: Of the graph's nodes.
        depth: Rounds of messages.
        latent: Numbers in the latent. It is small as DeepStruc's is, so that the curve has to say the most.
        decoder_width: Of the decoder's hidden layers.
        misfit: Weight of the mean square distance of decoded atoms in bonds.
        presence: Weight of the cross-entropy of each place's presence.
        divergence: Weight of β KL(q(z|x, G)‖p(z|G)), β rising from nothing to one over the first half of the training.
        types: Structure types of the library; this profile does not tell them apart.
    """

    atoms: int = 256
    rstep: float = 0.05
    rmax: float = 30.0
    bond: float = 2.8
    curve_channels: int = 24
    summary: int = 512
    width: int = 128
    graph_width: int = 32
    depth: int = 2
    latent: int = 8
    decoder_width: int = 512
    misfit: float = 10.0
    presence: float = 10.0
    divergence: float = 1.0
    types: tuple[str, ...] = TYPES

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
        # The tokens are not used.
        self.curve = CurveTokens(rstep=config.rstep, channels=config.curve_channels, width=1, summary=config.summary)
        self.encoder = GraphEncoder(width=config.graph_width, depth=config.depth, out=width)
        self.posterior_latent = _perceptron(width + config.summary, width, both)
        self.prior = _perceptron(config.summary, width, both)
        self.decoder = CoordinateDecoder(
            places=config.atoms, into=config.latent + config.summary, width=config.decoder_width
        )

    def trained(self, stage: str) -> Sequence[nn.Module]:  # noqa: ARG002 (there is one)
        """All of it."""
        return [self.curve, self.encoder, self.posterior_latent, self.prior, self.decoder]

    def loss(
        self,
        stage: str,  # noqa: ARG002 (there is one)
        examples: Examples,
        generator: torch.Generator,
        *,
        progress: float = 1.0,
    ) -> dict[str, Tensor]:
        """See `Profile.loss`; β rises with the progress. What is counted is drawn from the prior, as in sampling."""
        code = self.curve(examples.curves)
        positions = examples.positions / code.bond[:, None, None]
        seen = torch.cat([self.encoder(positions, examples.present), code.summary], 1)
        q, p = Gaussian.of(self.posterior_latent(seen)), Gaussian.of(self.prior(code.summary))
        z = q.draw(self._noise(len(seen), generator, seen.device))
        decoded, logits = self.decoder(torch.cat([z, code.summary], 1))
        square = _apart(decoded, positions, examples.present)
        there = F.pad(examples.present, (0, self.config.atoms - examples.present.shape[1]))
        presence = F.binary_cross_entropy_with_logits(logits, there.to(logits))
        divergence = q.divergence(p).mean()
        beta = min(1.0, progress / _FULL_BETA)
        loss = (
            self.config.misfit * square.mean()
            + self.config.presence * presence
            + self.config.divergence * beta * divergence
        )
        with torch.no_grad():
            z = p.draw(self._noise(len(seen), generator, seen.device))
            drawn, drawn_logits = self.decoder(torch.cat([z, code.summary], 1))
            drawn_square = _apart(drawn, positions, examples.present)
            off = (_count(drawn_logits) - examples.atom_count).abs().float()
        return {
            "loss": loss,
            "rmsd": (code.bond * square.sqrt()).mean(),
            "presence": presence,
            "divergence": divergence,
            "drawn_rmsd": (code.bond * drawn_square.sqrt()).mean(),
            "count_right": (off == 0).float().mean(),
            "count_off": off.mean(),
        }

    @torch.no_grad()
    def generate(self, curves: Curves, count: int, generator: torch.Generator) -> Generated:
        """A draw of the prior is decoded; there are as many atoms as places that rather hold one than not."""
        code = self.curve(curves)
        summary = code.summary.expand(count, -1)
        z = Gaussian.of(self.prior(summary)).draw(self._noise(count, generator, summary.device))
        decoded, logits = self.decoder(torch.cat([z, summary], 1))
        atom_count = _count(logits)
        places = int(atom_count.max())
        present = atom_mask(atom_count, places)
        positions = self.config.bond * decoded[:, :places]
        return Generated(affinity(positions, mask=present), present, (code.bond / self.config.bond).expand(count))

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


def _apart(decoded: Tensor, positions: Tensor, present: Tensor) -> Tensor:
    """Mean square distance of decoded atoms from those of clusters that were turned onto them."""
    decoded = centred(decoded[:, : present.shape[1]], present)
    with torch.no_grad():
        target = turned_onto(positions, decoded, present)
    return (decoded - target).square().sum((1, 2)) / present.sum(1)


def _count(logits: Tensor) -> Tensor:
    """Places that rather hold an atom than not; a single atom has no distance."""
    return (logits > 0).sum(1).clamp(min=2)


def _perceptron(into: int, width: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(into, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, out))
