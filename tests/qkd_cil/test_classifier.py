"""The classifier that grows."""

import pytest
import torch
from qkd_cil.models.classifier import Classifier


@pytest.mark.parametrize("similarity", ["cosine", "linear"])
def test_growing_keeps_the_logits_of_earlier_classes(similarity: str) -> None:
    generator = torch.Generator().manual_seed(0)
    classifier = Classifier(6, similarity=similarity)  # type: ignore[arg-type]
    features = torch.randn(4, 6)
    classifier.grow(3, generator)
    before = classifier(features)
    classifier.grow(2, generator)
    assert classifier.class_count == 5
    assert torch.allclose(classifier(features)[:, :3], before, atol=1e-5)


def test_cosine_ignores_lengths_and_is_bounded_by_its_scale() -> None:
    classifier = Classifier(6, scale=3.0)
    classifier.grow(4, torch.Generator().manual_seed(0))
    features = torch.randn(9, 6)
    assert torch.allclose(classifier(features), classifier(7 * features), atol=1e-5)
    assert classifier(features).abs().max() <= 3.0 + 1e-5
    classifier.set_rows(torch.tensor([2]), features[:1])
    assert torch.allclose(classifier(features[:1])[0, 2], torch.tensor(3.0))


@pytest.mark.parametrize("similarity", ["cosine", "linear"])
def test_state_goes_round_with_any_number_of_classes(similarity: str) -> None:
    grown = Classifier(6, similarity=similarity)  # type: ignore[arg-type]
    grown.grow(4, torch.Generator().manual_seed(0))
    fresh = Classifier(6, similarity=similarity)  # type: ignore[arg-type]
    fresh.load_state_dict(grown.state_dict())
    features = torch.randn(3, 6)
    assert torch.equal(fresh(features), grown(features))
