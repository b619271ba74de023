"""A frozen timm vision transformer with parallel adapters."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from qkd_cil.models.adapter import AdapterConfig, ParallelAdapters

if TYPE_CHECKING:
    from timm.models import VisionTransformer

EMBEDDED = Path(__file__).parent.parent / "embedded" / "glyph_vit.safetensors"


@dataclass(frozen=True)
class BackboneConfig:
    """Which vision transformer, its weights and its adapters.

    Args:
        name: timm's name of the model; with its tag (`vit_base_patch16_224.augreg_in21k`) where the weights come from
            the hub, since a bare name changes its weights between releases of timm.
        weights: `hub`, `random`, `embedded` (those that ship with this package, for `qkd_cil.embedded.GLYPH_VIT`), or
            the path of a `.safetensors` file (half precision is widened).
        img_size: Side of the square images, pixels; `pos_embed` is resampled where the weights have another.
        patch_size: Side of a patch, pixels; None: the model's own. Likewise the next three.
        embed_dim: Width.
        depth: Number of blocks.
        num_heads: Heads of the attention.
        inputs: `normalised` by the mean and deviation the weights were trained with, or `raw` values from 0 to 1, as
            LAMDA-PILOT gives them to every network (a slip: its numbers can only be met with it).
        precision: `32-true`, or `bf16-mixed`: products inside the blocks in bfloat16; weights, norms, the sums from
            block to block, and all that comes after the blocks stay in float32.
        fingerprint: Expected `Backbone.fingerprint()`; empty: not checked.
        adapter: Shape of the adapters.

    Raises:
        ValueError: If a size is not positive.

    >>> BackboneConfig().name
    'vit_base_patch16_224.augreg_in21k'
    """

    name: str = "vit_base_patch16_224.augreg_in21k"
    weights: str = "hub"
    img_size: int = 224
    patch_size: int | None = None
    embed_dim: int | None = None
    depth: int | None = None
    num_heads: int | None = None
    inputs: Literal["normalised", "raw"] = "normalised"
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    fingerprint: str = ""
    adapter: AdapterConfig = field(default_factory=AdapterConfig)

    def __post_init__(self) -> None:
        for name in ("img_size", "patch_size", "embed_dim", "depth", "num_heads"):
            if (size := getattr(self, name)) is not None and size < 1:
                raise ValueError(f"backbone: {name} {size}; it must be positive")


class Backbone(nn.Module):
    """A frozen vision transformer that gives an image's feature, alone or with the adapter of a task.

    Args:
        config: Model, weights and adapters.

    Raises:
        ValueError: If timm knows no such vision transformer, the tag is missing, or the weights do not fit or are not
            those of the fingerprint.
        FileNotFoundError: If the file of weights is missing.
        OSError: If the hub cannot be reached.

    >>> backbone = Backbone(BackboneConfig("vit_tiny_patch16_224", weights="random", img_size=32, depth=1))
    >>> backbone(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 192])
    >>> backbone.add_adapter(torch.Generator().manual_seed(0))
    0
    >>> backbone.adapted(torch.zeros(2, 3, 32, 32), tasks=[0]).shape
    torch.Size([1, 2, 192])
    """

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.config = config
        self.vit = _pretrained(config)
        self.vit.requires_grad_(False)
        self.vit.eval()
        if config.fingerprint and config.fingerprint != (found := self.fingerprint()):
            raise ValueError(
                f"weights of {config.name}: fingerprint {found[:12]}… is not the expected {config.fingerprint[:12]}…; "
                "take the weights the run was made with or leave the fingerprint empty"
            )
        for block in self.vit.blocks:
            block.mlp = ParallelAdapters(block.mlp, self.dim, config.adapter)
            if config.adapter.reads == "residual":
                block.norm2.register_forward_pre_hook(block.mlp.see)
            if config.precision == "bf16-mixed":
                block.__class__ = _in_bfloat16(type(block))  # type: ignore[arg-type]

    @property
    def dim(self) -> int:
        """Width of a feature."""
        return self.vit.num_features

    @property
    def adapter_count(self) -> int:
        """Number of adapters, one for each task so far."""
        return len(self.parallel_adapters()[0].adapters)

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean of each channel the weights were trained with, of values in [0, 1]."""
        raw = self.config.inputs == "raw"
        return (0.0,) * 3 if raw else tuple(self.vit.pretrained_cfg.get("mean", (0.5, 0.5, 0.5)))

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation of each channel the weights were trained with."""
        raw = self.config.inputs == "raw"
        return (1.0,) * 3 if raw else tuple(self.vit.pretrained_cfg.get("std", (0.5, 0.5, 0.5)))

    def fingerprint(self) -> str:
        """SHA-256 of the frozen weights, adapters left out."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.vit.state_dict().items()):
            if ".adapters." not in name:
                digest.update(name.replace(".mlp.mlp.", ".mlp.").encode())
                digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def add_adapter(self, generator: torch.Generator) -> int:
        """Append the adapter of a new task, freeze the earlier ones, and return its index."""
        for parallel in self.parallel_adapters():
            parallel.add(generator)
        return self.adapter_count - 1

    def clear_adapters(self) -> None:
        """Forget all adapters."""
        for parallel in self.parallel_adapters():
            parallel.adapters = nn.ModuleList()
            parallel.active = ()

    def adapter_parameters(self, task: int) -> list[nn.Parameter]:
        """Parameters of one task's adapter, block by block."""
        return [
            parameter for parallel in self.parallel_adapters() for parameter in parallel.adapters[task].parameters()
        ]

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch dim"]:
        """Features of the frozen network, normalised images in."""
        return self._run(self.embed(images), ())

    def adapted(
        self, images: Float[Tensor, "batch channel height width"], *, tasks: Sequence[int]
    ) -> Float[Tensor, "task batch dim"]:
        """Features under each of the tasks' adapters, all in one batched pass.

        Args:
            images: Normalised images.
            tasks: Indices of the adapters.

        Returns:
            One block of features for each of `tasks`.

        Raises:
            ValueError: If a task has no adapter.
        """
        if not tasks or not all(0 <= task < self.adapter_count for task in tasks):
            raise ValueError(f"tasks {list(tasks)}: there are adapters 0 to {self.adapter_count - 1}; ask for these")
        tokens = self.embed(images).repeat(len(tasks), 1, 1)
        return self._run(tokens, tuple(tasks)).reshape(len(tasks), len(images), -1)

    def mixed(
        self, images: Float[Tensor, "batch channel height width"], weights: Float[Tensor, "batch adapter"]
    ) -> Float[Tensor, "batch dim"]:
        """Features with the first adapters mixed inside every block, each image by weights of its own: one pass.

        Args:
            images: Normalised images.
            weights: Of the adapters from the first on.

        Raises:
            ValueError: If there are fewer adapters than weights.
        """
        if not 0 < weights.shape[1] <= self.adapter_count:
            raise ValueError(f"{weights.shape[1]} weights for {self.adapter_count} adapters; give one for each at most")
        tokens = self.embed(images)
        self.activate(range(weights.shape[1]), mixture=weights)
        try:
            return self.pool(self.vit.blocks(tokens))
        finally:
            self.activate(())

    def train(self, mode: bool = True) -> "Backbone":
        """Set the mode of the newest adapter; all else stays in evaluation mode (no dropout)."""
        super().train(mode)
        self.vit.eval()
        for parallel in self.parallel_adapters():
            parallel.adapters[-1:].train(mode)
        return self

    def parallel_adapters(self) -> list[ParallelAdapters]:
        return [block.mlp for block in self.vit.blocks]

    def drop_adapters(self, first: int) -> None:
        """Forget the adapters from one on."""
        for parallel in self.parallel_adapters():
            del parallel.adapters[first:]

    def embed(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch token dim"]:
        """Tokens that enter the first block: no adapter has touched them."""
        tokens = self.vit._pos_embed(self.vit.patch_embed(images))
        return self.vit.norm_pre(self.vit.patch_drop(tokens))

    def activate(self, adapters: Sequence[int], mixture: Tensor | None = None) -> None:
        """Choose the adapters that take part when blocks are run one by one."""
        for parallel in self.parallel_adapters():
            parallel.active, parallel.mixture = tuple(adapters), mixture

    def pool(self, tokens: Float[Tensor, "batch token dim"]) -> Float[Tensor, "batch dim"]:
        """Features from the tokens that leave the last block."""
        return self.vit.forward_head(self.vit.norm(tokens), pre_logits=True)

    def _run(self, tokens: Tensor, active: tuple[int, ...]) -> Tensor:
        self.activate(active)
        return self.pool(self.vit.blocks(tokens))


@cache
def _in_bfloat16(kind: type[nn.Module]) -> type[nn.Module]:
    """A class of blocks that computes in bfloat16 where torch's autocast deems it safe."""

    class InBfloat16(kind):  # type: ignore[valid-type,misc]
        def forward(self, x: Tensor, *arguments: Any, **settings: Any) -> Tensor:
            with torch.autocast(x.device.type, dtype=torch.bfloat16):
                return super().forward(x, *arguments, **settings)

    return InBfloat16


def _pretrained(config: BackboneConfig) -> "VisionTransformer":
    """The timm model of a config with its weights, without a classifier."""
    import timm  # slow to import, and a command that builds no network has no need of it

    if config.name.split(".")[0] not in timm.list_models(module="vision_transformer"):
        raise ValueError(f"backbone {config.name!r}: no vision transformer of timm; see timm.list_models('vit_*')")
    hub = config.weights == "hub"
    if hub and "." not in config.name:
        tags = timm.list_pretrained(f"{config.name}.*")
        raise ValueError(f"backbone {config.name!r}: name the weights by their tag, one of {', '.join(tags) or 'none'}")
    shape = {key: getattr(config, key) for key in ("patch_size", "embed_dim", "depth", "num_heads")}
    shape = {key: value for key, value in shape.items() if value is not None}
    try:
        vit = timm.create_model(config.name, pretrained=hub, num_classes=0, img_size=config.img_size, **shape)
    except Exception as error:
        if hub:
            raise OSError(
                f"backbone {config.name!r}: the weights could not be had from the hub ({type(error).__name__}); "
                "check the tag and the connection, or give a local file as weights"
            ) from error
        raise ValueError(f"backbone {config.name!r}: timm cannot build it: {_first_line(error)}") from error
    if config.img_size < (side := max(vit.patch_embed.patch_size)):
        raise ValueError(
            f"backbone: img_size {config.img_size} is less than a patch, {side} pixels; give larger images"
        )
    if config.weights not in ("hub", "random"):
        _load_local(vit, EMBEDDED if config.weights == "embedded" else Path(config.weights), config.name)
    return vit


def _load_local(vit: "VisionTransformer", path: Path, name: str) -> None:
    """Fill a model from a `.safetensors` file, classifier left out, position embedding resampled as timm does."""
    from timm.models.vision_transformer import checkpoint_filter_fn

    if not path.is_file():
        raise FileNotFoundError(f"weights {path}: no such file; give a .safetensors file, 'hub' or 'random'")
    try:
        found = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"weights {path}: not a safetensors file: {_first_line(error)}") from error
    kept = {key: value.float() for key, value in found.items() if not key.startswith(("head.", "head_dist."))}
    try:
        vit.load_state_dict(checkpoint_filter_fn(kept, vit), strict=True)
    except (RuntimeError, ValueError) as error:
        expected = vit.state_dict()
        wrong = [key for key in expected if key not in kept or kept[key].shape != expected[key].shape]
        wrong += [key for key in kept if key not in expected]
        raise ValueError(
            f"weights {path} do not fit {name}: {len(wrong)} tensors differ, {', '.join(wrong[:3])} among them; "
            "choose the architecture they were made for"
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
