"""Encoders whose features are compared: the package's own, the points themselves, timm's, and anyone's."""

import importlib
from dataclasses import dataclass
from typing import Any

import torch
from papertrio_shared.seed import generator as seeded
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from .checks import require_not_negative, require_positive
from .data import Distribution
from .features import feature_vectors
from .models import ConvEncoder

Image = tuple[int, int, int]


@dataclass(frozen=True)
class LearntEncoder:
    r"""The package's own: a small residual network, trained on the training part of the data before the first step.

    It learns to restore images of which half of the patches are zeroed, as the Drifting Model's latent-MAE does
    (Deng et al. 2026, A.3), and, where the data has labels, to tell the classes of noisy images beside that.

    Attributes:
        width: Channels of the first stage, a multiple of 4.
        blocks: Blocks of each stage.
        steps, batch, learning_rate: Of its training, by AdamW, the rate falling to zero.
        patch: Side of a patch that is zeroed.
        masked: Share of the patches that are.
        classify: Weight of the classification beside the restoration; zero for none.
        noise: Deviation of what is added to the images to be classified.
        image: Channels, height and width; as the data says where None.
    """

    width: int = 16
    blocks: tuple[int, ...] = (1, 1, 1)
    steps: int = 300
    batch: int = 64
    learning_rate: float = 2e-3
    patch: int = 2
    masked: float = 0.5
    classify: float = 1.0
    noise: float = 0.3
    image: Image | None = None

    def __post_init__(self) -> None:
        require_positive(self, "encoder", "width", "batch", "learning_rate", "patch")
        require_not_negative(self, "encoder", "steps", "classify", "noise")
        if self.width % 4:
            raise ValueError(f"encoder.width = {self.width}: give a multiple of 4")
        if not self.blocks or min(self.blocks) < 1:
            raise ValueError(f"encoder.blocks = {self.blocks}: give at least one block for each stage")
        if not 0 < self.masked < 1:
            raise ValueError(f"encoder.masked = {self.masked}: give a share between 0 and 1")

    def network(self, data: Distribution) -> ConvEncoder:
        """The network, not trained."""
        classes = getattr(data, "classes", 0) if self.classify else 0
        return ConvEncoder(image_of(self.image, data), width=self.width, blocks=self.blocks, classes=classes)

    def prepare(self, network: nn.Module, data: Distribution, *, seed: int, device: torch.device) -> None:
        """Train the network."""
        assert isinstance(network, ConvEncoder)
        train_encoder(network, self, data, seed=seed, device=device)


@dataclass(frozen=True)
class Pixels:
    """The points themselves, no encoder: enough for points of few numbers; images by their pixels alone blur."""

    def network(self, data: Distribution) -> nn.Module:  # noqa: ARG002 (as the others)
        """Gives back what it is given."""
        return nn.Identity()

    def prepare(self, network: nn.Module, data: Distribution, *, seed: int, device: torch.device) -> None:
        """Nothing to train."""


@dataclass(frozen=True)
class TimmEncoder:
    """The feature maps of a network of the timm library, if it is installed; it fetches pretrained weights itself.

    Attributes:
        name: As timm calls it.
        pretrained: Whether to load its weights.
        size: Side that images are brought to.
        stages: Which of its feature maps; all where empty.
        image: Channels, height and width; as the data says where None.
    """

    name: str = "resnet18"
    pretrained: bool = True
    size: int = 224
    stages: tuple[int, ...] = ()
    image: Image | None = None

    def __post_init__(self) -> None:
        require_positive(self, "encoder", "size")

    def network(self, data: Distribution) -> nn.Module:
        """timm's network behind a change of units and size."""
        try:
            import timm
        except ImportError as error:
            raise ImportError(
                "encoder: timm is not installed: install it, or take objective.encoder:learnt-encoder"
            ) from error
        channels = image_of(self.image, data)[0]
        options: dict[str, Any] = {"out_indices": self.stages} if self.stages else {}
        try:
            network = timm.create_model(
                self.name, pretrained=self.pretrained, features_only=True, in_chans=channels, **options
            )
        except Exception as error:  # timm has many kinds of them
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(f"encoder.name = {self.name!r}: timm cannot make it: {reason}") from error
        return _Resized(network, image_of(self.image, data), self.size, data)

    def prepare(self, network: nn.Module, data: Distribution, *, seed: int, device: torch.device) -> None:
        """Nothing to train."""


@dataclass(frozen=True)
class OwnEncoder:
    """A module of one's own, from a function without arguments.

    It is given standardised points [n, d] and returns a tensor, or a dictionary or list of tensors: [n, c], tokens
    [n, l, c] or maps [n, c, h, w].

    Attributes:
        factory: `package.module:function`.
    """

    factory: str = ""

    def network(self, data: Distribution) -> nn.Module:  # noqa: ARG002 (as the others)
        """What the function returns."""
        module, _, name = self.factory.partition(":")
        try:
            network = getattr(importlib.import_module(module), name)()
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(f"encoder.factory = {self.factory!r}: give package.module:function ({error})") from error
        if not isinstance(network, nn.Module):
            raise ValueError(f"encoder.factory = {self.factory!r}: gave a {type(network).__name__} and no torch module")
        return network

    def prepare(self, network: nn.Module, data: Distribution, *, seed: int, device: torch.device) -> None:
        """Nothing to train."""


AnyEncoder = LearntEncoder | Pixels | TimmEncoder | OwnEncoder


def build_encoder(config: AnyEncoder, data: Distribution, *, seed: int) -> nn.Module:
    """The network of an encoder, not yet prepared, the same for the same seed.

    Args:
        config: Which.
        data: What it is to see.
        seed: Of its first weights; the global random state is left as it was.

    Returns:
        The network.

    Raises:
        ValueError: If it cannot be made.
        ImportError: If a library is missing.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return config.network(data)


def check_encoder(network: nn.Module, points: Tensor) -> None:
    """Hold the features of some real points to what a field needs.

    Args:
        network: The encoder.
        points: Real points.

    Raises:
        ValueError: If it returns no feature, features of another number of points, or values that are not finite.
    """
    with torch.no_grad():
        try:
            output = network(points)
        except (RuntimeError, IndexError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"encoder: does not take points of shape {tuple(points.shape)}: {reason}") from error
        for name, vectors in feature_vectors(output).items():
            if len(vectors) != len(points):
                raise ValueError(f"encoder: feature {name!r} has {len(vectors)} rows for {len(points)} points")
            if not bool(vectors.isfinite().all()):
                raise ValueError(f"encoder: feature {name!r} of real points holds a value that is not finite")


def train_encoder(
    network: ConvEncoder, config: LearntEncoder, data: Distribution, *, seed: int, device: torch.device
) -> None:
    """Train an encoder on the data it is given, and on nothing else.

    Args:
        network: What to train, in place.
        config: How.
        data: The training part of a data set.
        seed: Of all draws.
        device: Where.
    """
    stream = seeded(seed, "encoder")
    network.to(device).train().requires_grad_(True)
    optimizer = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=0.05)
    (_, height, width), side = network.image, config.patch
    grid = (config.batch, 1, -(-height // side), -(-width // side))
    with torch.enable_grad():
        for k in range(config.steps):
            if network.classifier is None:
                points, labels = data.sample(config.batch, stream), None
            else:
                points, labels = data.sample_labelled(config.batch, stream)  # type: ignore[attr-defined]
            kept = (torch.rand(grid, generator=stream) >= config.masked).float()
            kept = interpolate(kept, scale_factor=side)[:, :, :height, :width].expand(-1, *network.image).flatten(1)
            noise = config.noise * torch.randn(points.shape, generator=stream)
            noisy, points, kept = (each.to(device) for each in (points + noise, points, kept))
            lost = 1 - kept
            error = (network.reconstruct(points * kept) - points).square()
            loss = (error * lost).sum() / lost.sum().clamp_min(1)
            if labels is not None:
                loss = loss + config.classify * cross_entropy(network.classify(noisy), labels.to(device))
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * (1 - k / config.steps)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    network.eval().requires_grad_(False)


def image_of(image: Image | None, data: Distribution) -> Image:
    """Channels, height and width of the data's points.

    Args:
        image: What a config says, or None.
        data: The data.

    Returns:
        The shape.

    Raises:
        ValueError: If neither says it, or it does not match the data.
    """
    shape = data.image_shape if image is None else image
    if shape is None:
        raise ValueError("encoder: the data holds no images: give encoder.image, or take objective.encoder:pixels")
    if shape[0] * shape[1] * shape[2] != data.dimension:
        raise ValueError(f"encoder.image = {shape}: a point of the data has {data.dimension} coordinates")
    return shape


class _Resized(nn.Module):
    """Takes standardised points to the units and the size that a network of photographs expects."""

    location: Tensor
    scale: Tensor

    def __init__(self, network: nn.Module, image: Image, size: int, data: Distribution) -> None:
        super().__init__()
        self.network, self.image, self.size = network, image, size
        self.register_buffer("location", data.location.clone())
        self.register_buffer("scale", torch.tensor(data.scale))

    def forward(self, points: Tensor) -> Any:
        """Features of the images, whose values from 0 to 1 are brought to mean zero and about unit variance."""
        images = (self.location + self.scale * points).unflatten(1, self.image)
        return self.network(interpolate((images - 0.45) / 0.225, size=(self.size, self.size), mode="bilinear"))
