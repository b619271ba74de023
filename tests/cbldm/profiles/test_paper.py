"""Profile `paper`: its losses as written, what each stage trains, and what it draws."""

from dataclasses import replace

import pytest
import torch
from cbldm.affinity import affinity
from cbldm.config import CurveSource
from cbldm.diffusion.samplers import Ddim
from cbldm.examples import ExampleSource
from cbldm.presets import PRESETS
from cbldm.profiles import Examples, Paper
from cbldm.profiles.paper import PaperProfile
from papertrio_shared.seed import generator

SMALL = PRESETS["paper-smoke"].profile
assert isinstance(SMALL, Paper)


@pytest.fixture(scope="module")
def examples() -> Examples:
    source = CurveSource(max_atoms=32, distinct=4, rmin=0.0)
    return ExampleSource(source, SMALL.build(), batch=4, validation=0, seed=0, device=torch.device("cpu"))(0)


def built() -> PaperProfile:
    torch.manual_seed(0)
    return SMALL.build()


@pytest.mark.parametrize("stage", PaperProfile.stages)
def test_a_stage_trains_its_part_alone(stage: str, examples: Examples) -> None:
    profile = built()
    profile.loss(stage, examples, generator(0, "a"))["loss"].backward()
    reached = {
        name.split(".")[0]
        for name, each in profile.named_parameters()
        if each.grad is not None and each.grad.abs().sum() > 0
    }
    parts = list(profile.trained(stage))
    assert reached == {name for name, part in profile.named_children() if any(part is each for each in parts)}


def test_the_loss_of_the_autoencoder_is_the_papers(examples: Examples) -> None:
    """MSE(1000 W) + 0.1 β KL, β rising to one."""
    profile = built().eval()
    found = [profile.loss("autoencoder", examples, generator(0, "a"), progress=p) for p in (0.0, 0.25, 0.5, 1.0)]
    for each, beta in zip(found, (0.0, 0.5, 1.0, 1.0), strict=True):
        expected = (1000 * each["misfit"]) ** 2 + 0.1 * beta * each["divergence"]
        assert float(each["loss"].detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_a_curve_is_divided_by_its_maximum_whatever_its_scale(examples: Examples) -> None:
    profile = built().eval()
    scaled = examples._replace(curves=examples.curves._replace(g=7 * examples.curves.g))
    with torch.no_grad():
        a, b = (float(profile.loss("condition", each, generator(0, "a"))["loss"]) for each in (examples, scaled))
    assert a == pytest.approx(b, rel=1e-5)


def test_draws_have_as_many_atoms_as_ones_on_the_diagonal(examples: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    profile = built().eval()
    curve = type(examples.curves)(*(each[:1] for each in examples.curves))
    positions = 2.8 * torch.randn(3, 32, 3)
    w = torch.zeros(3, 32, 32)
    for row, x, count in zip(w, positions, (1, 7, 30), strict=True):
        row[:count, :count] = affinity(x[:count])
    monkeypatch.setattr(profile.decoder, "forward", lambda _: w)
    found = profile.generate(curve, 3, generator(0, "a"))
    assert found.present.sum(1).tolist() == [2, 7, 30]  # a single atom has no distance
    assert torch.allclose(found.affinity[1], w[1])


@pytest.mark.parametrize("change", [{}, {"sampler": Ddim(4)}, {"jump": None}])
def test_draws_repeat_with_their_seed(change: dict[str, object], examples: Examples) -> None:
    torch.manual_seed(0)
    profile = replace(SMALL, **change).build().eval()  # type: ignore[arg-type]
    curve = type(examples.curves)(*(each[:1] for each in examples.curves))
    first, again, other = (profile.generate(curve, 3, generator(seed, "a")) for seed in (0, 0, 1))
    assert torch.equal(first.affinity, again.affinity)
    assert not torch.equal(first.affinity, other.affinity)
    assert ((first.affinity >= 0) & (first.affinity <= 1)).all()
    assert torch.allclose(first.affinity, first.affinity.mT)
    assert profile.posterior(curve) is None


def test_sizes_that_cannot_be_halved_are_told() -> None:
    with pytest.raises(ValueError, match=r"profile\.atoms = 40: it cannot be halved as often"):
        Paper(atoms=40)
    with pytest.raises(ValueError, match=r"give as many of one as of the other"):
        Paper(decoder_multiples=(1, 2))
    assert Paper().side == 16
