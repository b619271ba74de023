"""Classes as Gaussians, and the alignment of a classifier on them."""

import pytest
import torch
import torch.nn.functional as F
from qkd_cil import AlignmentConfig
from qkd_cil.learners.alignment import ClassGaussians, align, class_gaussians, recency
from qkd_cil.models.classifier import Classifier


def test_gaussians_are_those_of_torch() -> None:
    features, targets = torch.randn(20, 4), torch.arange(20) % 3 + 5
    full = class_gaussians(features, targets, covariance="full")
    for index in range(3):
        group = features[targets == index + 5]
        torch.testing.assert_close(full.means[index], group.mean(0))
        torch.testing.assert_close(full.covariances[index], group.T.cov())
    diagonal = class_gaussians(features, targets, covariance="diagonal")
    torch.testing.assert_close(diagonal.covariances, full.covariances.diagonal(dim1=1, dim2=2))


def test_a_single_feature_has_no_spread() -> None:
    found = class_gaussians(torch.randn(1, 3), torch.tensor([0]), covariance="full")
    assert torch.equal(found.covariances, torch.zeros(1, 3, 3))


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_alignment_takes_a_classifier_out_of_one_tasks_favour(covariance: str) -> None:
    """Rows that see nothing but the last class learn all four, whose means are the axes."""
    means = 4 * torch.eye(4)
    spread = torch.eye(4).expand(4, 4, 4) if covariance == "full" else torch.ones(4, 4)
    classifier = Classifier(4, similarity="linear")
    classifier.grow(4)
    classifier.set_rows(torch.tensor([3]), torch.full((1, 4), 5.0))
    assert (classifier(means).argmax(1) == torch.arange(4)).sum() == 1
    config = AlignmentConfig(epochs=20, draws=32, learning_rate=0.1, covariance=covariance)
    align(classifier, ClassGaussians(means, spread), config, generator=torch.Generator().manual_seed(0))
    assert torch.equal(classifier(means).argmax(1), torch.arange(4))


def test_draws_have_the_means_and_covariances() -> None:
    seen: list[torch.Tensor] = []

    class Watched(Classifier):
        def forward(self, features: torch.Tensor) -> torch.Tensor:
            seen.append(features.detach())
            return super().forward(features)

    factor = torch.tensor([[2.0, 0.0], [1.0, 0.5]])
    gaussians = ClassGaussians(torch.tensor([[3.0, -1.0]]), (factor @ factor.T)[None])
    classifier = Watched(2, similarity="linear")
    classifier.grow(1)
    align(classifier, gaussians, AlignmentConfig(epochs=1, draws=20_000), generator=torch.Generator().manual_seed(0))
    (drawn,) = seen
    torch.testing.assert_close(drawn.mean(0), gaussians.means[0], atol=0.05, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), gaussians.covariances[0], atol=0.1, rtol=0)


def test_each_batch_of_an_epoch_has_its_own_labels() -> None:
    """The loss falls below what any assignment of wrong labels allows: rows and labels belong together."""
    classifier = Classifier(3, similarity="linear")
    classifier.grow(3)
    gaussians = ClassGaussians(5 * torch.eye(3), torch.full((3, 3), 1e-4))
    align(classifier, gaussians, AlignmentConfig(epochs=5, draws=16, learning_rate=0.5), generator=torch.Generator())
    assert F.cross_entropy(classifier(5 * torch.eye(3)), torch.arange(3)) < 0.01


def test_recency_shortens_by_the_age_of_the_task() -> None:
    torch.testing.assert_close(recency(torch.tensor([0, 0, 1, 2, 3])), torch.tensor([0.925, 0.925, 0.95, 0.975, 1.0]))


@pytest.mark.parametrize("change", [{"epochs": -1}, {"draws": 0}, {"learning_rate": 0.0}])
def test_numbers_out_of_range_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="alignment: "):
        AlignmentConfig(**change)
