"""A small convolutional encoder of images, with what trains it: a decoder of masked images, a classifier."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate, silu

_GROUPS = 4


class ConvEncoder(nn.Module):
    """A residual network of two-convolution blocks; each stage halves the side of the one before and doubles its width.

    Args:
        image: Channels, height and width.
        width: Channels of the first stage, a multiple of 4.
        blocks: Number of blocks of each stage.
        classes: Number of classes; zero for no classifier.

    Example:
        >>> encoder = ConvEncoder((1, 8, 8), width=4, blocks=(1, 1), classes=10)
        >>> {name: tuple(map.shape) for name, map in encoder(torch.zeros(2, 64)).items()}
        {'input': (2, 64), 'stage1': (2, 4, 8, 8), 'stage2': (2, 8, 4, 4)}
    """

    def __init__(self, image: tuple[int, int, int], *, width: int, blocks: tuple[int, ...], classes: int = 0) -> None:
        super().__init__()
        self.image, stages, channels = image, [], image[0]
        for i, count in enumerate(blocks):
            of_stage = []
            for j in range(count):
                of_stage.append(_Block(channels, width * 2**i, stride=2 if i and not j else 1))
                channels = width * 2**i
            stages.append(nn.Sequential(*of_stage))
        self.stages = nn.ModuleList(stages)
        of_all = sum(width * 2**i for i in range(len(blocks)))
        self.decoder = nn.Sequential(
            nn.Conv2d(of_all, 2 * width, 3, padding=1), nn.SiLU(), nn.Conv2d(2 * width, image[0], 1)
        )
        self.classifier = nn.Linear(4 * channels, classes) if classes else None

    def forward(self, points: Float[Tensor, "n d"]) -> dict[str, Tensor]:
        """The images themselves, and a map for each stage."""
        return {"input": points} | {f"stage{i + 1}": each for i, each in enumerate(self.maps(points))}

    def maps(self, points: Float[Tensor, "n d"]) -> list[Float[Tensor, "n c h w"]]:
        """The map of each stage."""
        maps, x = [], points.reshape(-1, *self.image)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def reconstruct(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Images from the maps of all stages."""
        size = self.image[1:]
        wide = [interpolate(each, size=size) if each.shape[2:] != size else each for each in self.maps(points)]
        return self.decoder(torch.cat(wide, 1)).flatten(1)

    def embed(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n c"]:
        """What the classifier sees: the last map on a 2 × 2 grid."""
        return adaptive_avg_pool2d(self.maps(points)[-1], 2).flatten(1)

    def classify(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n classes"]:
        """Logits of the classes."""
        assert self.classifier is not None
        return self.classifier(self.embed(points))


class _Block(nn.Module):
    def __init__(self, before: int, after: int, *, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride=stride, padding=1)
        self.second = nn.Conv2d(after, after, 3, padding=1)
        self.norms = nn.ModuleList(nn.GroupNorm(_GROUPS, after) for _ in range(2))
        same = before == after and stride == 1
        self.skip = nn.Identity() if same else nn.Conv2d(before, after, 1, stride=stride)

    def forward(self, x: Float[Tensor, "n b h w"]) -> Float[Tensor, "n a h2 w2"]:
        """Two convolutions beside a skip."""
        y = self.norms[1](self.second(silu(self.norms[0](self.first(x)))))
        return silu(y + self.skip(x))
