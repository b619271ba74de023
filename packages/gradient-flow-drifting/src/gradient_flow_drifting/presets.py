"""Named runs. One recipe serves every set of low dimension; only the end of the flow follows the width of the modes."""

from dataclasses import replace
from typing import Any

from .config import SETTLING, TrainConfig
from .data import ArrayFile, Digits, GeneratedLatents, SphereMixture, Toy, named
from .encoders import LearntEncoder, Pixels
from .guidance import Guidance
from .models import GeneratorConfig, ResidualConfig, TransformerConfig
from .stretches import FeatureDrifting, ParticleFlow, Regression

_PLACES = ("earthquakes-sphere", "floods-sphere", "fires-sphere", "volcanoes-sphere")

_NO_FLOW, _NO_REGRESSION = ParticleFlow(steps=0), Regression(steps=0)
_IMAGES: dict[str, Any] = {"ema_decay": 0.995, "shown": 100, "watched": 512, "samples": 1000, "threads": 4, "frames": 5}

# The "ablation default" of Deng et al. 2026 (Table 8): DiT-B/2 on latents of 4 × 32 × 32, 64 classes of 64 samples,
# 64 positives, 16 unconditional negatives, p(α) ∝ α⁻³ on [1, 4], temperatures 0.02, 0.05, 0.2, AdamW (0.9, 0.95) with
# rate 2e-4, decay 0.01, 5k steps of rise, gradient norm 2, 30k steps, average 0.999; latent-MAE of base width 256,
# blocks 3, 4, 6, 3, half of the 2 × 2 patches masked, rate 4e-3, batch 8192, 192 epochs.
_PAPER = FeatureDrifting(
    steps=30_000,
    classes=64,
    samples=64,
    positives=64,
    learning_rate=2e-4,
    encoder=LearntEncoder(
        image=(4, 32, 32),
        width=256,
        blocks=(3, 4, 6, 3),
        steps=30_000,
        batch=8192,
        learning_rate=4e-3,
        classify=0,
    ),
    guidance=Guidance(largest=4.0, power=3.0, plain=0.0, unconditional=16),
    patches=(2, 4),
    places="sum",
    memory=128,
    warmup=5000,
    decay="constant",
)
_IMAGENET: dict[str, Any] = {
    "generator": TransformerConfig(width=768, depth=12, heads=12),
    "flow": _NO_FLOW,
    "regression": _NO_REGRESSION,
    "objective": _PAPER,
    "ema_decay": 0.999,
    "precision": "bf16-mixed",
    "limit": 1e6,  # the loss is a sum over some thousands of places
    "shown": 16,
    "watched": 128,
    "samples": 1000,
    "frames": 2,
}

PRESETS: dict[str, TrainConfig] = {
    "8gaussians": TrainConfig(data=Toy("8gaussians")),
    "25grid": TrainConfig(data=Toy("25grid"), flow=ParticleFlow(bandwidth_end=0.02)),
    "moons": TrainConfig(data=Toy("moons")),
    "checkerboard": TrainConfig(data=Toy("checkerboard")),
    "swissroll": TrainConfig(data=Toy("swissroll")),
    "pinwheel": TrainConfig(data=Toy("pinwheel")),
    "two_spirals": TrainConfig(data=Toy("two_spirals")),
    "ring": TrainConfig(data=Toy("ring")),
    "sphere": TrainConfig(data=SphereMixture()),
    **{name: TrainConfig(data=named(name)) for name in _PLACES},
    "protein-torus": TrainConfig(  # whose kernel is slow
        data=named("protein-torus"),
        flow=ParticleFlow(particles=2048, pool=512, steps=100),
        objective=replace(SETTLING, steps=200, batch=256, positives=512),
    ),
    "array": TrainConfig(data=ArrayFile()),
    "array-conditional": TrainConfig(
        data=ArrayFile(),
        generator=GeneratorConfig(condition="class"),
        flow=_NO_FLOW,
        regression=_NO_REGRESSION,
        objective=FeatureDrifting(encoder=Pixels()),
    ),
    "digits": TrainConfig(
        data=Digits(),
        generator=ResidualConfig(),
        flow=_NO_FLOW,
        regression=_NO_REGRESSION,
        objective=FeatureDrifting(samples=64, positives=160),
        **_IMAGES,
    ),
    "digits-conditional": TrainConfig(
        data=Digits(),
        generator=ResidualConfig(condition="class_and_guidance"),
        flow=_NO_FLOW,
        regression=_NO_REGRESSION,
        objective=FeatureDrifting(memory=64),
        **_IMAGES,
    ),
    "imagenet-latents": TrainConfig(data=GeneratedLatents(), **_IMAGENET),
    "imagenet-latents-smoke": TrainConfig(
        data=GeneratedLatents(classes=4, points=16),
        **_IMAGENET
        | {
            "generator": TransformerConfig(width=64, depth=2, heads=4),
            "objective": replace(
                _PAPER,
                steps=3,
                classes=2,
                samples=4,
                positives=4,
                memory=8,
                refresh=4,
                guidance=replace(_PAPER.guidance, unconditional=4),
                encoder=LearntEncoder(image=(4, 32, 32), width=4, blocks=(1, 1, 1, 1), steps=3, batch=4, classify=0),
            ),
            "shown": 8,
            "watched": 16,
            "samples": 16,
            "draws": 1,
        },
    ),
}

DEMO = TrainConfig(
    flow=ParticleFlow(particles=4096, steps=120),
    regression=Regression(steps=1500, pairs=32_768),
    objective=replace(SETTLING, steps=400),
    frames=30,
    draws=4,
)
SMOKE = TrainConfig(
    flow=ParticleFlow(particles=1024, pool=1024, steps=50),
    regression=Regression(steps=150, pairs=8192),
    objective=replace(SETTLING, steps=40),
    frames=9,
    draws=1,
)
