"""Classes as Gaussians: closed forms, and what a map between spaces does to them."""

import pytest
import torch
from close import assert_close_by_name
from qkd_cil.models.gaussian import (
    Discriminant,
    Gaussians,
    affine_map,
    covariance,
    discriminant,
    merge,
    moments,
    sample,
    transport,
)
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor
from torch.distributions import MultivariateNormal


def labelled(classes: int = 3, each: int = 40, dim: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(classes).repeat_interleave(each)
    means = 2 * torch.randn(classes, dim, generator=generator).double()
    mixing = torch.randn(dim, dim, generator=generator).double()
    noise = torch.randn(classes * each, dim, generator=generator).double()
    return means[targets] + noise @ mixing, targets


def linear(features: Tensor, targets: Tensor, classes: int = 3) -> Discriminant:
    return discriminant(moments(features, targets, classes=classes), shrinkage=0.1, own=0.0)


def covariances(gaussians: Gaussians) -> Tensor:
    return gaussians.directions @ gaussians.directions.mT


def test_without_own_spread_the_discriminant_is_that_of_scikit_learn() -> None:
    features, targets = labelled()
    # scikit-learn shrinks the standardised covariance: with unit variances the two are one
    scale = (features - moments(features, targets, classes=3).means[targets]).square().mean(0).sqrt()
    standard = features / scale
    oracle = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1).fit(standard.numpy(), targets.numpy())
    ours = linear(standard, targets)(standard).softmax(dim=1)
    expected = torch.from_numpy(oracle.predict_proba(standard.numpy()))
    assert_close_by_name({"probabilities": ours}, {"probabilities": expected}, rtol=1e-8)


@pytest.mark.parametrize("rank", [1, 3, 5, 8])
def test_the_discriminant_is_the_density_of_each_class(rank: int) -> None:
    features, targets = labelled()
    gaussians = moments(features, targets, classes=3, rank=rank)
    mixed = 0.7 * covariance(gaussians, shrinkage=0.1) + 0.3 * covariances(gaussians)
    density = MultivariateNormal(gaussians.means, mixed).log_prob(features[:, None])
    found = discriminant(gaussians, shrinkage=0.1, own=0.3)(features)
    apart = {"found": found - found[:, :1], "density": density - density[:, :1]}  # without what all classes share
    assert_close_by_name({"logits": apart["found"]}, {"logits": apart["density"]}, rtol=1e-9)


def test_all_directions_together_are_the_covariance_of_a_class() -> None:
    features, targets = labelled()
    expected = torch.stack([features[targets == target].T.cov(correction=0) for target in range(3)])
    found = {rank: covariances(moments(features, targets, classes=3, rank=rank)) for rank in (2, 5, 7)}
    assert_close_by_name({"covariance": found[5]}, {"covariance": expected}, rtol=1e-10)
    assert_close_by_name({"covariance": found[7]}, {"covariance": expected}, rtol=1e-10)
    values = torch.linalg.eigvalsh(expected)
    assert_close_by_name(
        {"left out": (expected - found[2]).diagonal(dim1=1, dim2=2).sum(1)},
        {"left out": values[:, :-2].sum(1)},
        rtol=1e-9,
    )


def test_several_spaces_are_judged_at_once() -> None:
    features, targets = labelled()
    each = [
        discriminant(moments(part, targets, classes=3, rank=2), shrinkage=0.1, own=0.3)
        for part in (features, features.flip(1) ** 3)
    ]
    both = Discriminant(*(torch.stack(parts) for parts in zip(*each, strict=True)))
    found = both(torch.stack([features, features.flip(1) ** 3], dim=1))
    for index, part in enumerate((features, features.flip(1) ** 3)):
        assert_close_by_name({"logits": found[:, index]}, {"logits": each[index](part)}, rtol=1e-12)


def test_merging_two_groups_is_counting_them_together() -> None:
    features, targets = labelled()
    first, second = targets < 1, targets >= 1
    apart = merge(
        moments(features[first], targets[first], classes=1, rank=2),
        moments(features[second], targets[second] - 1, classes=2, rank=2),
    )
    assert_close_by_name(apart._asdict(), moments(features, targets, classes=3, rank=2)._asdict(), rtol=1e-12)


def test_transport_by_the_true_map_gives_the_moments_of_the_mapped_features() -> None:
    features, targets = labelled()
    generator = torch.Generator().manual_seed(1)
    mapped = features @ torch.randn(5, 5, generator=generator).double() + torch.randn(5, generator=generator).double()
    affine = affine_map(features[:60], mapped[:60], ridge=1e-12)
    found = transport(moments(features, targets, classes=3, rank=5), affine)
    expected = moments(mapped, targets, classes=3, rank=5)
    assert_close_by_name(
        found._replace(directions=covariances(found))._asdict(),
        expected._replace(directions=covariances(expected))._asdict(),
        rtol=1e-7,
    )


def test_a_strong_ridge_holds_the_map_to_a_shift() -> None:
    features, _ = labelled()
    matrix, shift = affine_map(features, 3 * features + 1, ridge=1e9)
    assert torch.allclose(matrix, torch.eye(5).double(), atol=1e-6)
    assert torch.allclose(shift, 2 * features.mean(0) + 1, atol=1e-4)


def test_draws_have_the_moments_they_are_drawn_from() -> None:
    gaussians = moments(*labelled(), classes=3)
    targets = torch.arange(3).repeat_interleave(20_000)
    draws = sample(gaussians, targets, shrinkage=0.1, generator=torch.Generator().manual_seed(2))
    found = moments(draws, targets, classes=3)
    error = 5 * covariance(gaussians, shrinkage=0.1).diagonal().max().sqrt() / 20_000**0.5
    assert (found.means - gaussians.means).abs().max() < error
    assert torch.allclose(
        covariance(found, shrinkage=0), covariance(gaussians, shrinkage=0.1), atol=5 * error.item() * 2
    )


def test_fewer_features_than_dimensions_still_have_a_discriminant() -> None:
    features, targets = labelled(classes=2, each=2, dim=30)
    found = discriminant(moments(features, targets, classes=2, rank=4), shrinkage=0.1, own=0.1)
    assert all(part.isfinite().all() for part in found)
    assert (found(features).argmax(dim=1) == targets).all()


def test_moments_keep_their_precision() -> None:
    features, targets = labelled()
    assert {part.dtype for part in moments(features, targets, classes=3)} == {torch.float64}
    assert isinstance(moments(features.float(), targets, classes=3), Gaussians)
