"""What the networks keep by construction."""

import pytest
import torch
from cbldm.affinity import affinity, atom_mask
from cbldm.models.atom_count import AtomCount
from cbldm.models.cluster_autoencoder import ClusterDecoder, ClusterEncoder
from cbldm.models.condition import Curves, CurveTokens
from cbldm.models.denoiser import TokenDenoiser, step_waves
from cbldm.models.gaussian import Gaussian
from torch import Tensor

SEEN = {"width": 16, "heads": 2}
LATENT = {"tokens": 3, "channels": 4}


def curves(batch: int = 2, end: int = 40) -> Curves:
    measured = (torch.arange(60) < end).expand(batch, -1)
    g = torch.randn(batch, 60, generator=torch.Generator().manual_seed(0)) * measured
    ones = torch.ones(batch)
    return Curves(g, measured, 0.8 * ones, 23 * ones, 0.04 * ones, 0.5 * end * ones)


def curve_tokens() -> CurveTokens:
    torch.manual_seed(0)
    return CurveTokens(bins=60, patch=6, depth=1, **SEEN).eval()


def test_what_was_not_measured_is_not_looked_at() -> None:
    network, seen = curve_tokens(), curves()
    tokens, absent = network(seen)
    assert tokens.shape == (2, 15, 16)
    assert absent[0].tolist() == [False] * 7 + [True] * 3 + [False] * 5
    hidden = seen._replace(g=torch.where(seen.measured, seen.g, 1e3))
    again, _ = network(hidden)
    assert torch.allclose(again[~absent], tokens[~absent], atol=1e-5)


def test_the_scale_is_told_but_does_not_blow_up_the_pieces() -> None:
    network, seen = curve_tokens(), curves()
    doubled = network(seen._replace(g=1e6 * seen.g))[0]
    assert doubled.isfinite().all()
    assert not torch.allclose(doubled, network(seen)[0])


@pytest.mark.parametrize("name", ["qmin", "qmax", "qdamp", "rmax"])
def test_each_setting_reaches_the_tokens(name: str) -> None:
    network, seen = curve_tokens(), curves()
    other = network(seen._replace(**{name: 1.3 * getattr(seen, name)}))[0]
    assert (other - network(seen)[0])[:, :7].abs().max() > 1e-4


def test_pieces_must_fill_the_grid() -> None:
    with pytest.raises(ValueError, match=r"patch = 7: give a divisor of the 60 points of the curve"):
        CurveTokens(bins=60, patch=7, depth=1, **SEEN)


def test_the_decoded_affinity_is_symmetric_of_unit_diagonal_and_masked() -> None:
    torch.manual_seed(0)
    decoder = ClusterDecoder(atoms=12, depth=1, dimensions=5, **LATENT, **SEEN).eval()
    counts = torch.tensor([5, 9])
    mask = atom_mask(counts, 9)
    w = affinity(decoder(torch.randn(2, 3, 4), counts, 9), mask=mask)
    assert torch.equal(w, w.mT)
    assert ((w >= 0) & (w <= 1)).all()
    assert torch.equal(w.diagonal(dim1=1, dim2=2), mask.float())
    assert (w[0, 5:] == 0).all()


def test_more_places_change_nothing() -> None:
    torch.manual_seed(0)
    encoder = ClusterEncoder(atoms=12, depth=1, **LATENT, **SEEN).eval()
    decoder = ClusterDecoder(atoms=12, depth=1, dimensions=5, **LATENT, **SEEN).eval()
    x, counts = torch.randn(1, 5, 3), torch.tensor([5])
    wide = torch.nn.functional.pad(x, (0, 0, 0, 4))
    few, many = (
        encoder(affinity(each, mask=atom_mask(counts, places)), atom_mask(counts, places)).mean
        for each, places in ((x, 5), (wide, 9))
    )
    assert torch.allclose(few, many, atol=1e-5)
    assert torch.allclose(decoder(few, counts, 5), decoder(few, counts, 9)[:, :5], atol=1e-4)


def test_counts_without_a_distance_have_no_chance() -> None:
    torch.manual_seed(0)
    tokens, absent = curve_tokens()(curves())
    found = AtomCount(atoms=20, types=7, **SEEN)(tokens, absent)
    chances = found.atom_count.softmax(1)
    assert chances.shape == (2, 21)
    assert found.type.shape == (2, 7)
    assert (chances[:, :2] == 0).all()
    assert (chances[:, 2:] > 0).all()


def test_the_denoiser_sees_step_count_and_curve_but_nothing_that_is_absent() -> None:
    torch.manual_seed(0)
    network = TokenDenoiser(depth=1, atoms=20, **LATENT, **SEEN).eval()
    z, t, counts = torch.randn(2, 3, 4), torch.tensor([5, 5]), torch.tensor([7, 7])
    condition, absent = torch.randn(2, 6, 16), torch.tensor([[False] * 4 + [True] * 2] * 2)

    def run(**changed: Tensor) -> Tensor:
        given = {"z": z, "t": t, "atom_count": counts, "condition": condition, "absent": absent} | changed
        return network(
            given["z"],
            given["t"],
            atom_count=given["atom_count"],
            condition=given["condition"],
            absent=given["absent"],
        )

    hidden = torch.where(absent[..., None], 99.0, condition)
    assert torch.allclose(run(condition=hidden), run(), atol=1e-5)
    for change in ({"t": t + 300}, {"atom_count": counts + 1}, {"condition": condition + 1}):
        assert not torch.allclose(run(**change), run(), atol=1e-4)


def test_steps_are_told_apart() -> None:
    waves = step_waves(torch.arange(1001), 32)
    assert torch.pdist(waves).min() > 1e-2


def test_divergence_is_torchs() -> None:
    a, b = (Gaussian(torch.randn(4, 3, 2), torch.randn(4, 3, 2)) for _ in range(2))
    expected = torch.distributions.kl_divergence(
        *(torch.distributions.Normal(each.mean, (each.log_variance / 2).exp()) for each in (a, b))
    )
    assert torch.allclose(a.divergence(b), expected.sum((1, 2)), rtol=1e-5)
    assert a.divergence(a).abs().max() == 0


def test_a_gaussian_of_anything_is_drawn_from() -> None:
    found = Gaussian.of(1e9 * torch.randn(2, 8))
    assert found.draw(torch.randn(2, 4)).isfinite().all()
    assert found.log_variance.abs().max() <= 8
