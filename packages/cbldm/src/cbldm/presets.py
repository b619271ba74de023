"""Named training runs."""

from dataclasses import replace

from .config import CurveSource, TrainConfig
from .diffusion.samplers import PriorJump
from .diffusion.schedule import CosineSchedule
from .profiles import GraphCvae, Paper, Robust

_SMALL = Robust(
    atoms=60,
    curve_channels=4,
    summary=32,
    width=32,
    heads=2,
    rows=16,
    columns=8,
    depth=1,
    decoder_width=16,
    slots=8,
    sampled=16,
    denoiser_depth=1,
    tokens=4,
    channels=4,
)

_TINY_PAPER = Paper(
    atoms=32,
    rstep=0.05,
    encoder_width=4,
    decoder_width=4,
    encoder_multiples=(1, 2),
    decoder_multiples=(1, 2),
    blocks=1,
    prior_widths=(16, 128),
    curve_width=2,
    code=8,
    unet_width=8,
    unet_multiples=(1, 2),
    heads=2,
    schedule=CosineSchedule(steps=20),
    jump=PriorJump(18, 16),
)

_CAREFUL = Robust(bell=1.0)
_GEOMETRY = TrainConfig(
    profile=_CAREFUL,
    data=CurveSource(library="extended", split="geometry"),
    steps=(4000, 2500, 1500),
    learning_rate=1.5e-3,
)

PRESETS: dict[str, TrainConfig] = {
    "robust": TrainConfig(),
    "robust-geometry": _GEOMETRY,
    "robust-distance": replace(_GEOMETRY, profile=replace(_CAREFUL, target="distance")),
    "robust-size": replace(_GEOMETRY, data=CurveSource(library="extended", split="size")),
    "robust-random": TrainConfig(
        profile=Robust(rows=48, depth=2, decoder_width=64),
        data=CurveSource(split="random", distinct=120_000),
        steps=(6000, 16_000, 3000),
        batch=96,
        learning_rate=1.5e-3,
    ),
    "robust-smoke": TrainConfig(
        profile=_SMALL,
        data=CurveSource(max_atoms=60, distinct=64),
        steps=(4, 4, 4),
        batch=8,
        warmup=2,
        validation=16,
        log_every=6,
        checkpoint_every=6,
    ),
    "paper": TrainConfig(profile=Paper(), steps=(20_000, 100_000, 200_000), batch=32, learning_rate=1e-4, clip=1.0),
    "paper-smoke": TrainConfig(
        profile=_TINY_PAPER,
        data=CurveSource(max_atoms=32, distinct=32),
        steps=(3, 4, 4),
        batch=4,
        warmup=1,
        validation=8,
        log_every=5,
        checkpoint_every=5,
    ),
    "graph-cvae": TrainConfig(
        profile=GraphCvae(),
        data=CurveSource(library="extended", split="geometry"),
        steps=(20_000,),
        batch=32,
        learning_rate=2e-3,
    ),
    "graph-cvae-smoke": TrainConfig(
        profile=GraphCvae(
            atoms=60, curve_channels=4, summary=32, width=16, graph_width=16, depth=2, latent=3, decoder_width=32
        ),
        data=CurveSource(max_atoms=60, distinct=32),
        steps=(8,),
        batch=4,
        warmup=2,
        validation=8,
        log_every=5,
        checkpoint_every=5,
    ),
}
