"""Profile `robust`: its losses, what each stage trains, and what it draws."""

from dataclasses import replace

import pytest
import torch
from cbldm.config import CurveSource
from cbldm.decode import decode
from cbldm.diffusion.samplers import Ddim, Ddpm
from cbldm.examples import ExampleSource
from cbldm.profiles import Examples, Robust
from cbldm.profiles.robust import RobustProfile, _counts
from papertrio_shared.seed import generator
from tiny import ROBUST as SMALL


@pytest.fixture(scope="module")
def examples() -> Examples:
    profile = SMALL.build()
    source = CurveSource(max_atoms=30, distinct=8)
    return ExampleSource(source, profile, batch=8, validation=0, seed=0, device=torch.device("cpu"))(0)


def built() -> RobustProfile:
    torch.manual_seed(0)
    return SMALL.build()


@pytest.mark.parametrize("stage", RobustProfile.stages)
def test_a_stage_trains_its_part_alone(stage: str, examples: Examples) -> None:
    profile = built()
    profile.loss(stage, examples, generator(0, "a"))["loss"].backward()
    reached = {name for name, each in profile.named_parameters() if each.grad is not None and each.grad.abs().sum() > 0}
    parts = {
        name: part for name, part in profile.named_children() if any(part is each for each in profile.trained(stage))
    }
    assert {name.split(".")[0] for name in reached} == set(parts)


def test_a_loss_repeats_with_its_stream(examples: Examples) -> None:
    profile = built().eval()
    for stage in profile.stages[1:]:  # in the first nothing is drawn
        with torch.no_grad():
            first, again, other = (float(profile.loss(stage, examples, generator(s, "a"))["loss"]) for s in (0, 0, 1))
        assert first == again != other


def test_the_stages_together_cover_all() -> None:
    profile = built()
    trained = {id(each) for stage in profile.stages for part in profile.trained(stage) for each in part.parameters()}
    assert trained == {id(each) for each in profile.parameters()}


def test_latents_are_followed_while_training_only(examples: Examples) -> None:
    profile = built().eval()
    before = profile.latent_mean.clone()
    profile.loss("latents", examples, generator(0, "a"))
    assert torch.equal(profile.latent_mean, before)
    profile.train()
    for k in range(250):
        profile.loss("latents", examples, generator(k, "a"))
    with torch.no_grad():
        found = profile._encoded(examples.positions * (2.8 / examples.bond)[:, None, None], examples.atom_count)
        clean = profile._standardised(torch.cat([found.draw(torch.randn(8, 3, 4)) for _ in range(200)]))
    assert clean.mean(0).abs().max() < 0.2
    assert (clean.std(0) - 1).abs().max() < 0.15


@pytest.mark.parametrize("sampler", [Ddim(3), Ddpm(4)])
def test_draws_are_affinities_of_as_many_atoms_as_were_drawn(sampler: Ddim | Ddpm, examples: Examples) -> None:
    torch.manual_seed(0)
    profile = replace(SMALL, sampler=sampler).build().eval()
    curve = type(examples.curves)(*(each[:1] for each in examples.curves))
    found = profile.generate(curve, 6, generator(0, "a"))
    counts = found.present.sum(1)
    assert (counts >= 2).all()
    assert len(counts.unique()) > 1
    assert torch.equal(found.affinity.diagonal(dim1=1, dim2=2), found.present.float())
    assert torch.allclose(found.affinity, found.affinity.mT)
    again, other = (profile.generate(curve, 6, generator(seed, "a")) for seed in (0, 1))
    assert torch.equal(again.affinity, found.affinity)
    assert other.affinity.shape != found.affinity.shape or not torch.equal(other.affinity, found.affinity)


def test_numbers_of_atoms_are_drawn_in_their_shares_the_likeliest_first() -> None:
    logits = torch.tensor([0.0, 0.0, 0.2, 0.5, 0.3]).log()
    for seed in range(20):
        found = _counts(logits, 10, generator(seed, "a"))
        assert found[0] == 3
        assert (found.bincount(minlength=5) - torch.tensor([0, 0, 2, 5, 3])).abs().max() <= 1
        assert _counts(logits, 1, generator(seed, "a")).tolist() == [3]


def test_draws_have_the_bond_of_the_curve(examples: Examples) -> None:
    """The unit of the curve, but for what the head adds."""
    profile = built().eval()
    curve = type(examples.curves)(*(each[:1] for each in examples.curves))
    found = profile.generate(curve, 2, generator(0, "a"))
    assert torch.allclose(2.8 * found.scale, examples.bond[:1].expand(2), rtol=0.05)


def test_the_size_of_a_cluster_is_not_in_its_latent(examples: Examples) -> None:
    profile = built().eval()
    larger = examples._replace(positions=1.3 * examples.positions, bond=1.3 * examples.bond)
    with torch.no_grad():
        a, b = (float(profile.loss("latents", each, generator(0, "a"))["misfit"]) for each in (examples, larger))
    assert a == pytest.approx(b, rel=1e-4)


def test_distances_may_stand_in_the_place_of_the_affinity(examples: Examples) -> None:
    """They are what the encoder sees and what is compared; what is drawn is the affinity of points either way."""
    plain = built().eval()
    other = replace(SMALL, target="distance", sampled=SMALL.atoms).build().eval()
    other.load_state_dict(plain.state_dict())
    positions = examples.positions * (2.8 / examples.bond)[:, None, None]
    noise = torch.randn(8, 3, 4, generator=generator(0, "a"))
    with torch.no_grad():
        assert not torch.allclose(
            plain._encoded(positions, examples.atom_count).mean, other._encoded(positions, examples.atom_count).mean
        )
        said = other.loss("latents", examples, generator(0, "a"))
        z = other._encoded(positions, examples.atom_count).draw(noise)
        places = torch.arange(positions.shape[1]).expand(8, -1)
        points = other.decoder(z, examples.atom_count, places)
        squares = [
            (torch.cdist(a[:n], a[:n]) - torch.cdist(b[:n], b[:n])).square().mean() / 260
            for a, b, n in zip(points, positions, examples.atom_count.tolist(), strict=True)
        ]
        curve = type(examples.curves)(*(each[:1] for each in examples.curves))
        drawn = other.generate(curve, 2, generator(0, "a"))
    assert float(said["misfit"]) == pytest.approx(float(torch.stack(squares).mean().sqrt()), rel=2e-3)
    assert decode(drawn.affinity.double(), mask=drawn.present).residual.max() < 1e-5


def test_heads_that_do_not_share_the_width_are_told() -> None:
    with pytest.raises(ValueError, match=r"profile\.width = 30: give a multiple of the 4 heads"):
        Robust(width=30)


def test_the_posterior_is_two_distributions(examples: Examples) -> None:
    found = built().eval().posterior(examples.curves)
    assert torch.allclose(found.atom_count.exp().sum(1), torch.ones(8))
    assert torch.allclose(found.type.exp().sum(1), torch.ones(8))
    assert found.atom_count.shape == (8, 31)
