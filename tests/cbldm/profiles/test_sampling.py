"""One set of weights sampled by diffusion with the shortcut, without it, and by the prior alone."""

from dataclasses import replace

import pytest
import torch
from cbldm.diffusion.samplers import Ddim, PriorJump, PriorOnly
from cbldm.models.condition import Curves
from cbldm.presets import PRESETS
from cbldm.profiles import Paper, Profile, Robust
from cbldm.profiles.sampling import sampled
from papertrio_shared.seed import generator

WAYS = ("shortcut", "diffusion", "prior")


def built(name: str) -> tuple[Profile, Curves]:
    """A profile with fresh weights and a curve of noise."""
    torch.manual_seed(0)
    profile = PRESETS[name].profile.build().eval()
    one = torch.ones(1)
    g = torch.randn(1, profile.bins)
    return profile, Curves(g, torch.ones_like(g, dtype=torch.bool), 0.5 * one, 25.0 * one, 0.04 * one, 30.0 * one)


@pytest.mark.parametrize("name", ["robust-smoke", "paper-smoke"])
def test_the_ways_differ_and_repeat_with_their_seed(name: str) -> None:
    profile, curve = built(name)
    found = {}
    for way in WAYS:
        other = profile.with_sampling(way)  # type: ignore[arg-type]
        found[way], again = (other.generate(curve, 2, generator(0, "a")).affinity for _ in range(2))
        assert torch.equal(found[way], again)
        assert not torch.equal(found[way], other.generate(curve, 2, generator(1, "a")).affinity[: len(again)])
    for way, other_way in (("shortcut", "diffusion"), ("diffusion", "prior"), ("shortcut", "prior")):
        assert (found[way] - found[other_way]).abs().max() > 1e-4


@pytest.mark.parametrize("name", ["robust-smoke", "paper-smoke"])
def test_the_prior_alone_asks_no_denoiser_and_leaves_the_profile_as_it_was(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile, curve = built(name)
    other = profile.with_sampling("prior")
    assert other.denoiser is profile.denoiser
    assert isinstance(other.config.sampler, PriorOnly)
    assert not isinstance(profile.config.sampler, PriorOnly)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the denoiser was asked")

    monkeypatch.setattr(profile.denoiser, "forward", refuse)
    other.generate(curve, 2, generator(0, "a"))
    with pytest.raises(AssertionError, match="was asked"):
        profile.generate(curve, 2, generator(0, "a"))


def test_what_a_config_has_stays_and_what_it_lacks_is_the_papers() -> None:
    own = Robust(sampler=Ddim(7), jump=PriorJump(500, 400))
    assert sampled(own, "shortcut") == own
    assert sampled(own, "diffusion") == replace(own, jump=None)
    assert sampled(Paper(jump=None), "shortcut").jump == PriorJump(900, 800)
    assert sampled(Robust(sampler=PriorOnly()), "shortcut") == Robust()
