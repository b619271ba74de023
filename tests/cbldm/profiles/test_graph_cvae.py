"""Profile `graph_cvae`: its loss knows no frame, it learns, it resumes to the same bits, and what it draws."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cbldm.affinity import affinity, centred
from cbldm.config import CurveSource
from cbldm.decode import decode
from cbldm.examples import ExampleSource
from cbldm.models.condition import Curves
from cbldm.presets import PRESETS
from cbldm.profiles import Examples, GraphCvae
from cbldm.profiles.graph_cvae import GraphCvaeProfile, turned_onto
from cbldm.sample import load_profile
from cbldm.train import CHECKPOINT, Trainer, resume, train
from papertrio_shared.checkpoint import load_state
from papertrio_shared.run import read_metrics
from papertrio_shared.seed import generator

SMOKE = PRESETS["graph-cvae-smoke"]
SMALL = SMOKE.profile
assert isinstance(SMALL, GraphCvae)


@pytest.fixture(scope="module")
def examples() -> Examples:
    source = CurveSource(max_atoms=60, distinct=8)
    return ExampleSource(source, SMALL.build(), batch=8, validation=0, seed=0, device=torch.device("cpu"))(0)


def built() -> GraphCvaeProfile:
    torch.manual_seed(0)
    return SMALL.build()


def rotation(seed: int) -> torch.Tensor:
    """Orthogonal, of either handedness."""
    return torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))[0]


@pytest.mark.parametrize("seed", range(4))
def test_a_cluster_turned_mirrored_and_moved_is_turned_back(seed: int, examples: Examples) -> None:
    onto = centred(examples.positions.double(), examples.present)
    other = (onto @ rotation(seed) + 3.0) * examples.present[..., None]
    assert (turned_onto(other, onto, examples.present) - onto).abs().max() < 1e-9


def test_no_turn_is_nearer_than_the_one_found(examples: Examples) -> None:
    random = torch.Generator().manual_seed(0)
    onto = centred(torch.randn(examples.positions.shape, generator=random, dtype=torch.float64), examples.present)
    x = centred(examples.positions.double(), examples.present)

    def apart(each: torch.Tensor) -> torch.Tensor:
        return (each - onto).square().sum((1, 2))

    best = apart(turned_onto(x, onto, examples.present))
    assert all((best <= apart(x @ rotation(seed)) + 1e-9).all() for seed in range(20))


def test_the_loss_knows_no_frame_of_what_is_compared(examples: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the encoder held, since its nodes are coordinates."""
    profile = built().eval()
    held = profile.encoder(examples.positions, examples.present)
    monkeypatch.setattr(profile.encoder, "forward", lambda *_: held)
    turned = examples._replace(positions=examples.positions @ rotation(0).float() * examples.present[..., None])
    with torch.no_grad():
        plain, other = (profile.loss("autoencoder", each, generator(0, "a")) for each in (examples, turned))
    assert float(other["loss"]) == pytest.approx(float(plain["loss"]), rel=1e-5)


def test_the_loss_is_the_sum_of_its_parts_and_repeats_with_its_stream(examples: Examples) -> None:
    profile = built().eval()
    with torch.no_grad():
        found = [profile.loss("autoencoder", examples, generator(0, "a"), progress=p) for p in (0.0, 0.25, 0.5, 1.0)]
        other = profile.loss("autoencoder", examples, generator(1, "a"))
    betas = (0.0, 0.5, 1.0, 1.0)
    parts = [
        float(each["loss"] - SMALL.divergence * beta * each["divergence"])
        for each, beta in zip(found, betas, strict=True)
    ]
    assert parts == pytest.approx([parts[0]] * 4, rel=1e-5)
    assert float(other["loss"]) != float(found[3]["loss"])


def test_every_weight_is_trained(examples: Examples) -> None:
    profile = built()
    profile.loss("autoencoder", examples, generator(0, "a"))["loss"].backward()
    idle = {name for name, each in profile.named_parameters() if each.grad is None}
    assert idle == {"curve.tokens.weight", "curve.tokens.bias", "curve.place"}  # the summary is what is looked at
    trained = {id(each) for part in profile.trained("autoencoder") for each in part.parameters()}
    assert trained == {id(each) for each in profile.parameters()}


def test_a_few_clusters_are_learnt_and_drawn_from_their_curves() -> None:
    """What the prior draws for the curves that it was trained on."""
    config = replace(
        SMOKE, data=CurveSource(max_atoms=30, distinct=4), steps=(250,), learning_rate=5e-3, average_decay=0.9
    )
    trainer = Trainer(replace(config, validation=0))
    trainer.step()
    start = trainer.figures()
    for _ in range(249):
        trainer.step()
    examples, profile = trainer.source(0), trainer.averaged
    with torch.no_grad():
        end = profile.loss("autoencoder", examples, generator(0, "a"))
    assert end["rmsd"] < 0.2 * start["rmsd"]
    assert end["presence"] < 0.1 * start["presence"]
    for k, count in enumerate(examples.atom_count.tolist()):
        curve = type(examples.curves)(*(each[k : k + 1] for each in examples.curves))
        found = profile.generate(curve, 3, generator(0, "a"))
        assert (found.present.sum(1) - count).abs().max() <= 2


def test_draws_are_affinities_of_points_in_space(examples: Examples) -> None:
    profile = built().eval()
    curve = type(examples.curves)(*(each[:1] for each in examples.curves))
    first, again, other = (profile.generate(curve, 3, generator(seed, "a")) for seed in (0, 0, 1))
    assert torch.equal(first.affinity, again.affinity)
    assert first.affinity.shape != other.affinity.shape or not torch.equal(first.affinity, other.affinity)
    assert (first.present.sum(1) >= 2).all()
    assert torch.equal(first.affinity.diagonal(dim1=1, dim2=2), first.present.float())
    decoded = decode(first.affinity.double(), mask=first.present)
    assert decoded.residual.max() < 1e-5
    assert torch.allclose(affinity(decoded.positions, mask=first.present).float(), first.affinity, atol=1e-5)
    assert profile.posterior(curve) is None


def test_a_longer_bond_gives_the_same_cluster_larger() -> None:
    """The curve of a cluster that is stretched by a tenth is nearly the same in units of its first peak."""
    profile = built().eval()
    r = profile.rstep * torch.arange(profile.bins)
    one = torch.ones(1)
    found = []
    for stretch in (1.0, 1.1):
        # Peaks of the distances 1, √2, √3, 2 in bonds of 2.6 Å.
        peaks = sum(torch.exp(-((r / (2.6 * stretch) - root**0.5) / 0.05).square() / 2) for root in (1, 2, 3, 4))
        curve = Curves(peaks[None], torch.ones(1, profile.bins, dtype=torch.bool), one, 25 * one, 0 * one, 30 * one)
        found.append(profile.generate(curve, 1, generator(0, "a")))
    assert float(found[1].scale / found[0].scale) == pytest.approx(1.1, rel=3e-3)
    few = (slice(None), slice(20), slice(20))
    assert torch.allclose(found[0].affinity[few], found[1].affinity[few], atol=1e-3)


def test_its_prior_is_all_there_is_to_sample(examples: Examples) -> None:
    profile = built().eval()
    curve = type(examples.curves)(*(each[:1] for each in examples.curves))
    plain, prior = (p.generate(curve, 2, generator(0, "a")) for p in (profile, profile.with_sampling("prior")))
    assert torch.equal(plain.affinity, prior.affinity)
    with pytest.raises(ValueError, match=r"sampling shortcut: the profile GraphCvae has no diffusion; ask for prior"):
        profile.with_sampling("shortcut")


def test_an_interrupted_run_resumes_to_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(SMOKE, tmp_path / "whole")
    step = Trainer.step

    def interrupted(self: Trainer) -> float:
        if self.steps_done == 7:
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(Trainer, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(SMOKE, tmp_path / "cut")
    monkeypatch.undo()
    cut = resume(tmp_path / "cut")
    a, b = (load_state(each / CHECKPOINT)["average"] for each in (whole, cut))
    assert [key for key in a if not torch.equal(a[key], b[key])] == []
    assert read_metrics(whole) == read_metrics(cut)
    assert load_profile(cut).config == SMALL
