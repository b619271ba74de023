"""The frozen transformer, its weights and its adapters."""

import re
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import constants
from qkd_cil.models.adapter import AdapterConfig
from qkd_cil.models.backbone import Backbone, BackboneConfig
from safetensors.torch import save_file

TINY = BackboneConfig(
    "vit_tiny_patch16_224",
    weights="random",
    img_size=16,
    patch_size=8,
    embed_dim=24,
    depth=2,
    num_heads=2,
    adapter=AdapterConfig(bottleneck=4),
)


def trained_backbone(adapters: int) -> Backbone:
    """A tiny backbone whose adapters do something."""
    torch.manual_seed(0)
    backbone = Backbone(TINY)
    for task in range(adapters):
        backbone.add_adapter(torch.Generator().manual_seed(task))
        for parameter in backbone.adapter_parameters(task):
            torch.nn.init.normal_(parameter)
    return backbone


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def test_frozen_features_are_those_of_timm(images: torch.Tensor) -> None:
    backbone = trained_backbone(2)
    plain = timm.create_model(
        TINY.name, num_classes=0, img_size=16, patch_size=8, embed_dim=24, depth=2, num_heads=2
    ).eval()
    plain.load_state_dict(
        {
            key.replace(".mlp.mlp.", ".mlp."): value
            for key, value in backbone.vit.state_dict().items()
            if ".adapters." not in key
        }
    )
    assert torch.equal(backbone(images), plain(images))


def test_a_new_adapter_changes_nothing(images: torch.Tensor) -> None:
    backbone = Backbone(TINY)
    backbone.add_adapter(torch.Generator().manual_seed(0))
    assert torch.equal(backbone.adapted(images, tasks=[0])[0], backbone(images))


def test_an_adapter_stands_beside_the_mlp() -> None:
    backbone = trained_backbone(1)
    parallel = backbone.vit.blocks[0].mlp
    tokens = torch.randn(2, 5, 24)
    parallel.active = (0,)
    adapter = parallel.adapters[0]
    correction = adapter.up(torch.relu(adapter.down(tokens))) * 0.1
    assert torch.allclose(parallel(tokens), parallel.mlp(tokens) + correction, atol=1e-6)


def test_one_batched_pass_equals_one_pass_for_each_adapter(images: torch.Tensor) -> None:
    backbone = trained_backbone(3).double()
    together = backbone.adapted(images.double(), tasks=[2, 0, 1])
    apart = torch.cat([backbone.adapted(images.double(), tasks=[task]) for task in (2, 0, 1)])
    assert together.shape == (3, 5, 24)
    assert torch.allclose(together, apart, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(together[0], together[1], atol=1e-2)


def test_only_the_newest_adapter_learns() -> None:
    backbone = trained_backbone(3)
    learning = {name for name, parameter in backbone.named_parameters() if parameter.requires_grad}
    newest = {
        f"vit.blocks.{block}.mlp.adapters.2.{part}.{kind}"
        for block in (0, 1)
        for part in ("down", "up")
        for kind in ("weight", "bias")
    }
    assert learning == newest
    assert len(backbone.adapter_parameters(2)) == len(newest)


def test_state_goes_round_with_any_number_of_adapters(images: torch.Tensor) -> None:
    backbone = trained_backbone(3)
    fewer, more = Backbone(TINY), trained_backbone(5)
    for fresh in (fewer, more):
        fresh.load_state_dict(backbone.state_dict())
        assert fresh.adapter_count == 3
        assert torch.equal(fresh.adapted(images, tasks=[0, 1, 2]), backbone.adapted(images, tasks=[0, 1, 2]))


def test_training_mode_leaves_the_frozen_network_in_evaluation() -> None:
    """All but the newest adapter, which may have dropout."""
    backbone = trained_backbone(2).train()
    newest = {id(module) for parallel in backbone.parallel_adapters() for module in parallel.adapters[1].modules()}
    assert {id(module) for module in backbone.vit.modules() if module.training} == newest
    assert not any(module.training for module in backbone.eval().modules())


def test_a_task_without_adapter_is_an_error(images: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"adapters 0 to 1; ask for these"):
        trained_backbone(2).adapted(images, tasks=[2])


def local_weights(folder: Path, **changes: torch.Tensor) -> tuple[Path, Backbone]:
    torch.manual_seed(3)
    backbone = Backbone(TINY)
    state = {key.replace(".mlp.mlp.", ".mlp."): value.half() for key, value in backbone.vit.state_dict().items()}
    state["head.weight"], state["head.bias"] = torch.zeros(7, 24), torch.zeros(7)
    save_file(state | changes, folder / "vit.safetensors")
    return folder / "vit.safetensors", backbone


def tiny(**changes: object) -> BackboneConfig:
    return BackboneConfig(**{**vars(TINY), **changes})  # type: ignore[arg-type]


def test_local_weights_are_widened(tmp_path: Path, images: torch.Tensor) -> None:
    path, backbone = local_weights(tmp_path)
    found = Backbone(tiny(weights=str(path)))
    assert {value.dtype for value in found.state_dict().values()} == {torch.float32}
    assert torch.allclose(found(images), backbone(images), atol=2e-2)


def test_another_image_size_resamples_the_position_embedding(tmp_path: Path) -> None:
    path, _ = local_weights(tmp_path)
    larger = Backbone(tiny(weights=str(path), img_size=32))
    smaller = Backbone(tiny(weights=str(path)))
    embedding = smaller.vit.pos_embed
    grid = embedding[:, 1:].reshape(1, 2, 2, 24).permute(0, 3, 1, 2)
    resampled = torch.nn.functional.interpolate(grid, size=(4, 4), mode="bicubic", antialias=True)
    assert torch.equal(larger.vit.pos_embed[:, 0], embedding[:, 0])
    assert torch.allclose(larger.vit.pos_embed[:, 1:], resampled.flatten(2).transpose(1, 2), atol=1e-6)


def test_the_fingerprint_tells_weights_apart_and_ignores_adapters(tmp_path: Path) -> None:
    path, _ = local_weights(tmp_path)
    backbone = Backbone(tiny(weights=str(path)))
    fingerprint = backbone.fingerprint()
    backbone.add_adapter(torch.Generator().manual_seed(0))
    assert backbone.fingerprint() == fingerprint
    assert Backbone(tiny(weights=str(path), fingerprint=fingerprint)).fingerprint() == fingerprint
    with pytest.raises(ValueError, match=r"is not the expected 0000"):
        Backbone(tiny(weights=str(path), fingerprint="0" * 64))


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    path, _ = local_weights(tmp_path, cls_token=torch.zeros(1, 1, 9))
    with pytest.raises(ValueError, match=r"do not fit vit_tiny_patch16_224: 1 tensors differ, cls_token among them"):
        Backbone(tiny(weights=str(path)))
    path, _ = local_weights(tmp_path)
    with pytest.raises(ValueError, match=r"do not fit") as caught:
        Backbone(tiny(weights=str(path), depth=3))
    assert "\n" not in str(caught.value)


def test_weights_that_are_missing_or_no_weights(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent.safetensors: no such file"):
        Backbone(tiny(weights=str(tmp_path / "absent.safetensors")))
    (tmp_path / "text.safetensors").write_text("text")
    with pytest.raises(ValueError, match=r"not a safetensors file"):
        Backbone(tiny(weights=str(tmp_path / "text.safetensors")))


@pytest.mark.parametrize("name", ["vit_nano", "resnet18"])
def test_a_name_that_is_no_vision_transformer(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}.*no vision transformer of timm"):
        Backbone(tiny(name=name))


def test_hub_weights_need_their_tag() -> None:
    with pytest.raises(ValueError, match=r"name the weights by their tag.*vit_tiny_patch16_224\.augreg_in21k"):
        Backbone(BackboneConfig("vit_tiny_patch16_224"))


def test_hub_out_of_reach_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(OSError, match=r"could not be had from the hub.*give a local file") as caught:
        Backbone(BackboneConfig("vit_tiny_patch16_224.augreg_in21k"))
    assert re.search(r"\n", str(caught.value)) is None


def test_a_shape_timm_cannot_build() -> None:
    with pytest.raises(ValueError, match=r"timm cannot build it"):
        Backbone(tiny(num_heads=5))


def test_the_real_weights(data_folder: Path) -> None:
    path = data_folder / "cil/vit/vit_tiny_patch16_224.augreg_in21k_ft_in1k.fp16.safetensors"
    backbone = Backbone(BackboneConfig("vit_tiny_patch16_224", weights=str(path), img_size=112))
    assert backbone.dim == 192
    assert (backbone.mean, backbone.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert torch.isfinite(backbone(torch.zeros(1, 3, 112, 112))).all()
