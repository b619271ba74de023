"""The same weights sampled in other ways: what the diffusion adds to its prior, and what the shortcut changes."""

from dataclasses import fields, replace
from typing import Any, Literal

from ..diffusion.samplers import PriorJump, PriorOnly

Sampling = Literal["shortcut", "diffusion", "prior"]
"""Diffusion with the jump by the conditional prior, diffusion without it, or the prior's draws without diffusion."""


def sampled(config: Any, sampling: Sampling) -> Any:
    """The config of the same networks that are sampled in another way.

    A jump that the config has stays; where it has none, it is that of Cao et al., from 0.9 to 0.8 of the steps.

    Args:
        config: Of a profile.
        sampling: Which way.

    Returns:
        A config of the same class.

    Raises:
        ValueError: If the profile has no diffusion and one is asked for.

    >>> from cbldm.profiles import Robust
    >>> sampled(Robust(), "diffusion").jump, sampled(Robust(), "prior").sampler
    (None, PriorOnly())
    """
    if "sampler" not in {each.name for each in fields(config)}:
        if sampling == "prior":
            return config
        name = type(config).__name__
        raise ValueError(f"sampling {sampling}: the profile {name} has no diffusion; ask for prior")
    if sampling == "prior":
        return replace(config, sampler=PriorOnly())
    own = type(config)().sampler if isinstance(config.sampler, PriorOnly) else config.sampler
    steps = config.schedule.steps
    jump = config.jump or PriorJump(9 * steps // 10, 8 * steps // 10)
    return replace(config, sampler=own, jump=jump if sampling == "shortcut" else None)
