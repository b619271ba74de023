"""Named runs."""

from .config import Drifting, ParticleFlow, Regression, TrainConfig
from .data import ArrayFile, SphereMixture, Toy

DEMO = TrainConfig(
    flow=ParticleFlow(particles=4096, steps=120),
    regression=Regression(steps=800),
    drifting=Drifting(steps=1500, batch=256, positives=512),
    frames=30,
    draws=4,
)
SMOKE = TrainConfig(
    flow=ParticleFlow(particles=2048, steps=60),
    regression=Regression(steps=200),
    drifting=Drifting(steps=150, batch=256, positives=512),
    frames=12,
    draws=1,
)

PRESETS: dict[str, TrainConfig] = {
    "8gaussians": TrainConfig(data=Toy("8gaussians")),
    "25grid": TrainConfig(data=Toy("25grid")),
    "moons": TrainConfig(data=Toy("moons")),
    "checkerboard": TrainConfig(data=Toy("checkerboard")),
    "swissroll": TrainConfig(data=Toy("swissroll")),
    "sphere": TrainConfig(data=SphereMixture()),
    "array": TrainConfig(data=ArrayFile()),
}
