"""Named runs. One recipe serves every set of low dimension; only the end of the flow follows the width of the modes."""

from dataclasses import replace

from .config import SETTLING, TrainConfig
from .data import ArrayFile, SphereMixture, Toy, named
from .stretches import ParticleFlow, Regression

_PLACES = ("earthquakes-sphere", "floods-sphere", "fires-sphere", "volcanoes-sphere")

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
