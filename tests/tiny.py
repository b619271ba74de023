"""A profile small enough to be trained within a test."""

from cbldm.profiles import Robust

ROBUST = Robust(
    atoms=30,
    curve_channels=4,
    summary=24,
    width=16,
    heads=2,
    rows=8,
    columns=6,
    depth=1,
    decoder_width=16,
    slots=8,
    sampled=12,
    denoiser_depth=1,
    tokens=3,
    channels=4,
)
