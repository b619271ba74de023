"""What the networks keep by construction."""

import pytest
import torch
from cbldm.affinity import affinity, atom_mask
from cbldm.models.atom_count import AtomCount, count_divergence
from cbldm.models.cluster_autoencoder import ClusterDecoder, ClusterEncoder
from cbldm.models.condition import Curves, CurveTokens
from cbldm.models.denoiser import TokenDenoiser, step_waves
from cbldm.models.gaussian import Gaussian
from cbldm.models.prior import TokenPrior
from cbldm.order import all_places
from torch import Tensor

SEEN = {"width": 16, "heads": 2}
LATENT = {"tokens": 3, "channels": 4}
PLACES = all_places(12)


def curves(batch: int = 2, end: float = 25.0) -> Curves:
    """A peak at the bond, and noise."""
    r = 0.05 * torch.arange(600)
    measured = (r < end).expand(batch, -1)
    noise = 0.03 * torch.randn(batch, 600, generator=torch.Generator().manual_seed(0))
    g = (noise + 5 * torch.exp(-(((r - 2.8) / 0.1) ** 2))) * measured
    ones = torch.ones(batch)
    return Curves(g, measured, 0.8 * ones, 23 * ones, 0.04 * ones, end * ones)


def curve_tokens() -> CurveTokens:
    torch.manual_seed(0)
    return CurveTokens(rstep=0.05, channels=4, width=16, summary=24).eval()


def encoder() -> ClusterEncoder:
    torch.manual_seed(0)
    return ClusterEncoder(PLACES, rows=8, columns=6, depth=1, **LATENT, **SEEN).eval()


def decoder() -> ClusterDecoder:
    torch.manual_seed(0)
    return ClusterDecoder(PLACES, width=16, depth=2, slots=5, bond=2.8, **LATENT).eval()


def all_of(count: int, places: int) -> Tensor:
    return torch.arange(places).expand(count, -1)


def test_a_curve_is_seen_in_units_of_its_bond() -> None:
    network, seen = curve_tokens(), curves()
    found = network(seen)
    assert found.tokens.shape == (2, 10, 16)
    assert found.summary.shape == (2, 24)
    assert torch.allclose(found.bond, torch.tensor(2.8), atol=0.02)


def test_what_was_not_measured_is_not_looked_at() -> None:
    network, seen = curve_tokens(), curves()
    hidden = seen._replace(g=torch.where(seen.measured, seen.g, 1e3))
    assert torch.allclose(network(hidden).summary, network(seen).summary, atol=1e-4)


def test_the_scale_is_told_but_does_not_blow_up_the_rows() -> None:
    network, seen = curve_tokens(), curves()
    doubled = network(seen._replace(g=1e6 * seen.g)).summary
    assert doubled.isfinite().all()
    assert not torch.allclose(doubled, network(seen).summary)


@pytest.mark.parametrize("name", ["qmin", "qmax", "qdamp", "rmax"])
def test_each_setting_reaches_the_summary(name: str) -> None:
    network, seen = curve_tokens(), curves()
    other = network(seen._replace(**{name: 1.3 * getattr(seen, name)}))
    assert (other.summary - network(seen).summary).abs().max() > 1e-4


def test_the_decoded_affinity_is_symmetric_of_unit_diagonal_and_masked() -> None:
    counts = torch.tensor([5, 9])
    mask = atom_mask(counts, 9)
    w = affinity(decoder()(torch.randn(2, 3, 4), counts, all_of(2, 9)), mask=mask)
    assert torch.equal(w, w.mT)
    assert ((w >= 0) & (w <= 1)).all()
    assert torch.equal(w.diagonal(dim1=1, dim2=2), mask.float())
    assert (w[0, 5:] == 0).all()


def test_fewer_places_are_those_of_all() -> None:
    """An atom's point depends on its place alone, so that some of them can be learnt from at a time."""
    counts, network = torch.tensor([5]), decoder()
    latent = torch.randn(1, 3, 4)
    whole = network(latent, counts, all_of(1, 9))
    assert torch.allclose(network(latent, counts, torch.tensor([[3, 1]])), whole[:, [3, 1]], atol=1e-5)


def test_the_latent_depends_on_affinity_and_count() -> None:
    counts, network, w = torch.tensor([9, 9]), encoder(), torch.rand(2, 8, 6)
    found = network(w, counts).mean
    assert found.shape == (2, 3, 4)
    assert not torch.allclose(network(w * 0.9, counts).mean, found, atol=1e-3)
    assert not torch.allclose(network(w, counts + 1).mean, found, atol=1e-4)


def test_the_first_points_are_a_ball_of_the_density_of_close_packing() -> None:
    points = decoder()(torch.zeros(1, 3, 4), torch.tensor([12]), all_of(1, 12))[0]
    assert 0.3 * 0.553 * 2.8 * 12 ** (1 / 3) < points.norm(dim=1).mean() < 1.5 * 0.553 * 2.8 * 12 ** (1 / 3)


def test_counts_without_a_distance_have_no_chance() -> None:
    torch.manual_seed(0)
    found = AtomCount(atoms=20, types=7, summary=24)(curve_tokens()(curves()).summary)
    chances = found.atom_count.softmax(1)
    assert chances.shape == (2, 21)
    assert found.type.shape == (2, 7)
    assert found.axes.shape == (2, 3)
    assert (chances[:, :2] == 0).all()
    assert (chances[:, 2:] > 0).all()
    assert found.stretch.abs().max() < 0.1


def test_a_near_miss_in_the_number_of_atoms_costs_less() -> None:
    logits = torch.full((3, 101), -torch.inf)
    logits[:, 2:] = 0
    logits[torch.arange(3), torch.tensor([50, 51, 60])] = 5
    costs = count_divergence(logits, torch.tensor([50, 50, 50]), width=0.5)
    assert costs[0] < costs[1] < costs[2]
    exact = torch.nn.functional.cross_entropy(logits[:, 2:], torch.tensor([48, 48, 48]), reduction="none")
    assert torch.allclose(count_divergence(logits, torch.tensor([50, 50, 50]), width=0.0), exact, atol=1e-4)


def test_the_prior_depends_on_curve_and_count() -> None:
    torch.manual_seed(0)
    prior, summary, counts = TokenPrior(summary=24, **LATENT), torch.randn(2, 24), torch.tensor([7, 7])
    found = prior(summary, counts).mean
    assert found.shape == (2, 3, 4)
    assert not torch.allclose(prior(summary, counts + 1).mean, found)
    assert not torch.allclose(prior(summary + 1, counts).mean, found)


def test_the_denoiser_sees_step_count_and_curve() -> None:
    torch.manual_seed(0)
    network = TokenDenoiser(depth=1, atoms=20, **LATENT, **SEEN).eval()
    z, t, counts = torch.randn(2, 3, 4), torch.tensor([5, 5]), torch.tensor([7, 7])
    condition = torch.randn(2, 6, 16)

    def run(**changed: Tensor) -> Tensor:
        given = {"z": z, "t": t, "atom_count": counts, "condition": condition} | changed
        return network(
            given["z"],
            given["t"],
            atom_count=given["atom_count"],
            condition=given["condition"],
        )

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
