"""Named training runs."""

from .config import CurveSource, TrainConfig
from .profiles import Robust

_SMALL = Robust(atoms=60, width=32, heads=2, curve_depth=1, depth=1, denoiser_depth=1, tokens=4, channels=4)

PRESETS: dict[str, TrainConfig] = {
    "robust": TrainConfig(),
    "robust-cpu": TrainConfig(
        profile=Robust(width=96, heads=4, curve_depth=4, depth=3, denoiser_depth=4),
        data=CurveSource(distinct=16_384),
        steps=(6000, 3000),
        learning_rate=1e-3,
        warmup=100,
    ),
    "robust-smoke": TrainConfig(
        profile=_SMALL,
        data=CurveSource(max_atoms=60, distinct=64),
        steps=(6, 4),
        batch=8,
        warmup=2,
        validation=16,
        log_every=5,
        checkpoint_every=5,
    ),
}
