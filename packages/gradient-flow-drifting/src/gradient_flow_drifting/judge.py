"""A judge of generated images: a classifier that the generator has never met, trained on the training part alone."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from papertrio_shared.checkpoint import CheckpointError, load_weights, save_weights
from torch import Tensor

from .data import Distribution, labelled
from .encoders import LearntEncoder, build_encoder
from .models import ConvEncoder, OneStep

JUDGE = "judge.safetensors"
_CONFIG, _SEED, _POINTS = LearntEncoder(steps=300), 2_000_003, 2_000


@dataclass(frozen=True)
class Verdict:
    """What a judge finds of a generator.

    Attributes:
        accuracy: Of the judge, on images that were held out from its training.
        shares: Share of the samples that it takes for each class, times the number of classes: 1 is fair.
        agreement: Share of the samples that it takes for the class they were asked for; None without classes.
    """

    accuracy: float
    shares: tuple[float, ...]
    agreement: float | None

    def lines(self) -> list[str]:
        """The verdict in words."""
        low, high = min(self.shares), max(self.shares)
        text = [
            f"classes in fair shares: least {low:.2f}, largest {high:.2f} (by a classifier that is right about"
            f" {self.accuracy:.1%} of held-out images)"
        ]
        if self.agreement is not None:
            text.append(f"samples taken for the class they were asked for: {self.agreement:.1%}")
        return text

    def to_dict(self) -> dict[str, object]:
        """What JSON can hold."""
        return {"accuracy": self.accuracy, "shares": list(self.shares), "agreement": self.agreement}


class Judge:
    """An encoder with a classifier, of a seed of its own.

    Args:
        data: Labelled images; their training part trains it.
        folder: Where its weights are kept between calls; None to keep none.

    Attributes:
        network: The encoder.
        accuracy: On the held-out images.
    """

    def __init__(self, data: Distribution, folder: Path | None = None) -> None:
        self.data, network = labelled(data), build_encoder(_CONFIG, data, seed=_SEED)
        assert isinstance(network, ConvEncoder)
        self.network, path = network, None if folder is None else folder / JUDGE
        if path is not None and path.exists():
            try:
                network.load_state_dict(load_weights(path)[0])
            except RuntimeError as error:
                raise CheckpointError(f"{path}: is no judge of this data: remove it") from error
            network.eval().requires_grad_(False)
        else:
            _CONFIG.prepare(network, data, seed=_SEED, device=torch.device("cpu"))
            if path is not None:
                save_weights(path, network.state_dict(), {})
        probe, stream = self.data.held_out()[0], torch.Generator().manual_seed(_SEED)
        images, labels = probe.sample_labelled(probe.size or _POINTS, stream)
        self.accuracy = float((self.classify(images) == labels).double().mean())

    @torch.no_grad()
    def classify(self, points: Float[Tensor, "n d"]) -> Int[Tensor, " n"]:
        """The class it takes each standardised image for."""
        return self.network.classify(points).argmax(1)

    @torch.no_grad()
    def features(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n c"]:
        """What its classifier sees of standardised images."""
        return self.network.embed(points)

    def verdict(self, generator: OneStep, *, seed: int = 0, guidance: float | None = None) -> Verdict:
        """Judge samples of a generator.

        Args:
            generator: Of the same data.
            seed: Of the samples.
            guidance: Of the samples.

        Returns:
            The verdict.
        """
        classes, labels = self.data.classes, None
        if generator.classes:
            labels = torch.arange(_POINTS) % classes
        samples = generator.sample(_POINTS, seed=seed, labels=labels, guidance=guidance)
        found = self.classify((samples - generator.location.cpu()) / generator.scale.cpu())
        shares = torch.bincount(found, minlength=classes) / len(found) * classes
        agreement = None if labels is None else float((found == labels).double().mean())
        return Verdict(self.accuracy, tuple(shares.tolist()), agreement)
