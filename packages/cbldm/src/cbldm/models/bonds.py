"""A curve in units of its own bond, so that a network sees each kind of particle once and not at every size."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_SHORTEST, _LONGEST = 2.0, 4.0
"""Between which the first peak is looked for, Å."""
_STRONG = 0.5
"""Height of the first peak at least, as a share of the highest there: ripples of the transform are lower."""


def first_peak(g: Float[Tensor, "batch bins"], *, rstep: float) -> Float[Tensor, " batch"]:
    """Where the first strong peak of each curve is, which is the distance of nearest neighbours within a percent.

    The first maximum between 2 and 4 Å that is at least half as high as the highest point there, by the parabola
    through three points. On noisy curves of DeepStruc's clusters it is within 1 % of the bond for 98 in 100, and 2 to
    5 % too long for icosahedra, whose bonds are of two lengths.

    Args:
        g: G(r) from r = 0, zero where it is not known.
        rstep: Step of r, Å.

    Returns:
        Its place, Å.

    >>> r = 0.05 * torch.arange(200)
    >>> first_peak(torch.exp(-((r - 2.77) / 0.1) ** 2 / 2)[None], rstep=0.05).round(decimals=2)
    tensor([2.7700])
    """
    r = rstep * torch.arange(g.shape[1], device=g.device)
    inside = (r >= _SHORTEST) & (r <= _LONGEST)
    seen = torch.where(inside, g, 0)
    strong = inside & (g > g.roll(1, 1)) & (g >= g.roll(-1, 1)) & (g >= _STRONG * seen.amax(1, keepdim=True))
    place = torch.where(strong.any(1), strong.int().argmax(1), seen.argmax(1).clamp(min=round(_SHORTEST / rstep)))
    left, middle, right = (g.gather(1, (place + k)[:, None])[:, 0] for k in (-1, 0, 1))
    bend = (left - 2 * middle + right).clamp(max=-1e-9)
    return rstep * (place + (0.5 * (left - right) / bend).clamp(-1, 1))


def in_units(
    g: Float[Tensor, "batch bins"],
    measured: Bool[Tensor, "batch bins"],
    unit: Float[Tensor, " batch"],
    *,
    rstep: float,
    step: float,
    bins: int,
) -> tuple[Float[Tensor, "batch steps"], Bool[Tensor, "batch steps"]]:
    """Each curve on a grid in a unit of its own, by cubic interpolation (Catmull and Rom).

    Args:
        g: G(r) from r = 0.
        measured: Where it is known.
        unit: The unit of each, Å.
        rstep: Step of r, Å.
        step: Step of the new grid, in the units.
        bins: Its points.

    Returns:
        G there, zero where it is not known, and where it is.
    """
    place = step * torch.arange(bins, device=g.device) * (unit / rstep)[:, None]
    k = place.floor()
    t, last = place - k, g.shape[1] - 1
    before, here, there, after = (g.gather(1, (k.long() + shift).clamp(0, last)) for shift in (-1, 0, 1, 2))
    bend = 2 * before - 5 * here + 4 * there - after + t * (3 * (here - there) + after - before)
    value = here + 0.5 * t * (there - before + t * bend)
    known = measured.gather(1, k.long().clamp(0, last)) & measured.gather(1, (k.long() + 1).clamp(0, last))
    known = known & (k < last)
    return torch.where(known, value, 0), known
