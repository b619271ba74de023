"""Named runs: the finest bandwidth follows the width of a set's modes, the coarsest reaches from one to the next."""

from .config import TrainConfig
from .data import ArrayFile, SphereMixture, Toy, named
from .fields import KernelField
from .stretches import Drifting, ParticleFlow, Regression

_FINE = KernelField(bandwidths=(0.05, 0.15, 0.4))
_GENTLE = Drifting(learning_rate=5e-3)
_PLACES = ("earthquakes-sphere", "floods-sphere", "fires-sphere", "volcanoes-sphere")

PRESETS: dict[str, TrainConfig] = {
    "8gaussians": TrainConfig(data=Toy("8gaussians"), objective=Drifting(field=_FINE)),
    "25grid": TrainConfig(
        data=Toy("25grid"),
        flow=ParticleFlow(bandwidth_end=0.02),
        regression=Regression(steps=1500),
        objective=Drifting(steps=3000, learning_rate=5e-3, field=KernelField(bandwidths=(0.05, 0.1, 0.2))),
    ),
    "moons": TrainConfig(data=Toy("moons"), objective=_GENTLE),
    "checkerboard": TrainConfig(data=Toy("checkerboard"), regression=Regression(steps=1500), objective=_GENTLE),
    "swissroll": TrainConfig(data=Toy("swissroll"), regression=Regression(steps=1500), objective=_GENTLE),
    "pinwheel": TrainConfig(data=Toy("pinwheel"), regression=Regression(steps=1500), objective=_GENTLE),
    "two_spirals": TrainConfig(data=Toy("two_spirals"), regression=Regression(steps=1500), objective=_GENTLE),
    "ring": TrainConfig(data=Toy("ring"), objective=_GENTLE),
    "sphere": TrainConfig(data=SphereMixture()),
    **{name: TrainConfig(data=named(name)) for name in _PLACES},
    "protein-torus": TrainConfig(  # whose kernel is slow
        data=named("protein-torus"),
        flow=ParticleFlow(particles=2048, pool=512, steps=100),
        objective=Drifting(steps=300, learning_rate=5e-3),
    ),
    "array": TrainConfig(data=ArrayFile(), objective=_GENTLE),
}

DEMO = TrainConfig(
    flow=ParticleFlow(particles=4096, steps=120),
    regression=Regression(steps=800),
    objective=Drifting(steps=1000, field=_FINE),
    frames=30,
    draws=4,
)
SMOKE = TrainConfig(
    flow=ParticleFlow(particles=1024, pool=1024, steps=50),
    regression=Regression(steps=150),
    objective=Drifting(steps=80, field=_FINE),
    frames=9,
    draws=1,
)
