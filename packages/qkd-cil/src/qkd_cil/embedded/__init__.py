"""The network that ships with the package: a small vision transformer pretrained on drawn letters."""

from qkd_cil.models.adapter import AdapterConfig
from qkd_cil.models.backbone import BackboneConfig

GLYPH_VIT = BackboneConfig(
    name="vit_tiny_patch16_224",
    weights="embedded",
    img_size=32,
    patch_size=8,
    embed_dim=96,
    depth=4,
    num_heads=3,
    fingerprint="cdff85147a13a18eb95ce92d79d0b4225a6940221190df0b3292b863a85ffa0d",
    adapter=AdapterConfig(bottleneck=16),
)
