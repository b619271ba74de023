"""Gaussians of one covariance: closed forms, and what a map between spaces does to them."""

import torch
from close import assert_close_by_name
from qkd_cil.models.gaussian import (
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


def labelled(classes: int = 3, each: int = 40, dim: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(classes).repeat_interleave(each)
    means = 2 * torch.randn(classes, dim, generator=generator).double()
    mixing = torch.randn(dim, dim, generator=generator).double()
    noise = torch.randn(classes * each, dim, generator=generator).double()
    return means[targets] + noise @ mixing, targets


def test_the_discriminant_is_that_of_scikit_learn() -> None:
    features, targets = labelled()
    weights, biases = discriminant(moments(features, targets, classes=3), shrinkage=0.1)
    oracle = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1).fit(features.numpy(), targets.numpy())
    ours = (features @ weights.T + biases).softmax(dim=1)
    # scikit-learn shrinks the standardised covariance: with unit variances the two are one
    scale = (features - moments(features, targets, classes=3).means[targets]).square().mean(0).sqrt()
    standard = features / scale
    oracle.fit(standard.numpy(), targets.numpy())
    weights, biases = discriminant(moments(standard, targets, classes=3), shrinkage=0.1)
    ours = (standard @ weights.T + biases).softmax(dim=1)
    expected = torch.from_numpy(oracle.predict_proba(standard.numpy()))
    assert_close_by_name({"probabilities": ours}, {"probabilities": expected}, rtol=1e-8)


def test_merging_two_groups_is_counting_them_together() -> None:
    features, targets = labelled()
    first, second = targets < 1, targets >= 1
    apart = merge(
        moments(features[first], targets[first], classes=1), moments(features[second], targets[second] - 1, classes=2)
    )
    assert_close_by_name(apart._asdict(), moments(features, targets, classes=3)._asdict(), rtol=1e-12)


def test_transport_by_the_true_map_gives_the_moments_of_the_mapped_features() -> None:
    features, targets = labelled()
    generator = torch.Generator().manual_seed(1)
    mapped = features @ torch.randn(5, 5, generator=generator).double() + torch.randn(5, generator=generator).double()
    affine = affine_map(features[:60], mapped[:60], ridge=1e-12)
    found = transport(moments(features, targets, classes=3), affine)
    assert_close_by_name(found._asdict(), moments(mapped, targets, classes=3)._asdict(), rtol=1e-7)


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
    weights, biases = discriminant(moments(features, targets, classes=2), shrinkage=0.1)
    assert torch.isfinite(weights).all()
    assert ((features @ weights.T + biases).argmax(dim=1) == targets).all()


def test_moments_keep_their_precision() -> None:
    features, targets = labelled()
    assert {part.dtype for part in moments(features, targets, classes=3)} == {torch.float64}
    assert isinstance(moments(features.float(), targets, classes=3), Gaussians)
