"""Feature vectors, the fields in their space, and encoders."""

import sys
import types
from typing import Any

import pytest
import torch
from gradient_flow_drifting.data import Digits, Toy
from gradient_flow_drifting.drift import drift
from gradient_flow_drifting.encoders import (
    LearntEncoder,
    OwnEncoder,
    Pixels,
    TimmEncoder,
    build_encoder,
    check_encoder,
    train_encoder,
)
from gradient_flow_drifting.feature_fields import BiSoftmaxFeatures, FeatureField, KernelFeatures
from gradient_flow_drifting.features import feature_drift, feature_vectors
from gradient_flow_drifting.kernels import Gaussian
from torch import nn

FIELDS: list[FeatureField] = [
    BiSoftmaxFeatures((0.2, 0.5)),
    KernelFeatures((0.4, 0.8), divergence=(("kl_pq", 1.0), ("chi2_qp", 0.5))),
]


def clouds(b: int = 3, c: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.randn(b, 6, c), torch.randn(b, 7, c) + 0.5, torch.randn(b, 2, c)


@pytest.mark.parametrize("field", FIELDS)
def test_a_weight_of_two_is_the_point_twice_and_of_zero_its_absence(field: FeatureField) -> None:
    x, y, more = clouds()
    ones = torch.ones(3, 6)

    def velocity(others: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        negatives = torch.cat([x, others], 1)
        return field.velocities(x, positives=y, negatives=negatives, negative_weights=torch.cat([ones, weights], 1))

    twice = velocity(torch.cat([more, more], 1), torch.ones(3, 4))
    assert torch.allclose(velocity(more, torch.full((3, 2), 2.0)), twice, atol=1e-5)
    without = field.velocities(x, positives=y, negatives=x, negative_weights=ones)
    assert torch.allclose(velocity(more, torch.zeros(3, 2)), without, atol=1e-5)
    assert not torch.allclose(twice, without, atol=1e-3)


@pytest.mark.parametrize("field", FIELDS)
def test_fields_turn_and_move_with_their_clouds(field: FeatureField) -> None:
    x, y, _ = clouds()
    turn, _ = torch.linalg.qr(torch.randn(4, 4))
    options = {"negative_weights": torch.ones(3, 6)}
    straight = field.velocities(x, positives=y, negatives=x, **options)
    turned = field.velocities(x @ turn + 1, positives=y @ turn + 1, negatives=x @ turn + 1, **options)
    assert torch.allclose(turned, straight @ turn, atol=1e-4)


def test_the_field_of_kernels_is_that_of_drift() -> None:
    x, y, _ = clouds(b=1)
    field = KernelFeatures((0.5,), divergence=(("kl_pq", 1.0),))
    ours = field.velocities(x, positives=y, negatives=x, negative_weights=torch.ones(1, 6))[0, 0]
    options: dict[str, Any] = {"kernel": Gaussian(1.0), "divergence": "kl_pq", "self_terms": "leave_one_out"}
    theirs = drift(x[0], positives=y[0], negatives=x[0], max_step=None, **options).velocity
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_the_bi_softmax_is_algorithm_two() -> None:
    """Written out with loops, from the pseudo-code."""
    x, y, _ = clouds(b=1, c=4)
    x, y, tau = x[0].double(), y[0].double(), 0.3
    others = torch.cat([y, x])
    logits = -torch.cdist(x, others) / (tau * 2)
    for i in range(6):
        logits[i, 7 + i] = -1e6
    affinity = (logits.softmax(1) * logits.softmax(0)).sqrt()
    expected = torch.zeros_like(x)
    for i in range(6):
        for a in range(7):
            for b in range(7, 13):
                expected[i] += affinity[i, a] * affinity[i, b] * (others[a] - others[b])
    field = BiSoftmaxFeatures((tau,))
    ones = torch.ones(1, 6, dtype=torch.double)
    found = field.velocities(x[None], positives=y[None], negatives=x[None], negative_weights=ones)[0, 0]
    assert torch.allclose(found, expected, atol=1e-10)


def test_a_far_outlier_gives_no_number_that_is_not_finite() -> None:
    x, y, _ = clouds()
    x[0, 0] = 1e4
    for field in (BiSoftmaxFeatures(), KernelFeatures()):
        found = field.velocities(x, positives=y, negatives=x, negative_weights=torch.ones(3, 6))
        assert bool(found.isfinite().all())


def test_normalisation_takes_out_the_units_of_features() -> None:
    samples, real, others = torch.randn(2, 8, 3, 5), torch.randn(2, 9, 3, 5), torch.randn(4, 3, 5)
    weights = torch.tensor([0.0, 1.5])
    one, other = (
        feature_drift(
            k * samples, positives=k * real, unconditional=k * others, weights=weights, field=BiSoftmaxFeatures((0.2,))
        )
        for k in (1.0, 1000.0)
    )
    assert torch.allclose(other.velocity, one.velocity, atol=1e-3)
    assert float(other.scale / one.scale) == pytest.approx(1000, rel=1e-4)
    assert float(one.velocity.square().mean()) == pytest.approx(1, rel=1e-4)
    plain = feature_drift(samples, positives=samples + 0.0, field=BiSoftmaxFeatures((0.2,)))
    distance = torch.cdist(samples.transpose(1, 2), samples.transpose(1, 2)).sum() * 2
    mean = distance / (2 * 3 * 8 * (8 + 7))  # no sample counts its distance to itself among the negatives
    assert float(plain.scale) == pytest.approx(float(mean) / 5**0.5, rel=1e-5)


def test_features_that_are_the_same_for_all_do_not_move() -> None:
    same = torch.ones(1, 4, 2, 3)
    found = feature_drift(same, positives=same, field=BiSoftmaxFeatures())
    assert float(found.scale) == 1
    assert bool((found.velocity == 0).all())


def test_maps_give_places_patches_and_the_whole() -> None:
    image = torch.randn(2, 3, 4, 8)
    vectors = feature_vectors([image, torch.randn(2, 7)], patches=(2, 4))
    assert {name: tuple(each.shape) for name, each in vectors.items()} == {
        "0": (2, 32, 3), "0/all": (2, 2, 3), "0/2": (2, 16, 3), "1": (2, 1, 7),
    }  # fmt: skip
    assert torch.allclose(vectors["0"][0, 9], image[0, :, 1, 1])
    assert torch.allclose(vectors["0/2"][1, 5], image[1, :, 2:4, 2:4].mean((1, 2)), atol=1e-6)
    assert torch.allclose(vectors["0/2"][1, 13], image[1, :, 2:4, 2:4].var((1, 2), correction=0).add(1e-6).sqrt())


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({}, r"encoder: returns no feature"),
        (None, r"encoder: returns no feature"),
        ({"a": torch.zeros(3)}, r"encoder: feature 'a' is \(3,\): give \[n, c\]"),
        ([3], r"encoder: feature '0' is int"),
    ],
)
def test_what_is_no_feature_is_told(output: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        feature_vectors(output)


def test_encoders_that_cannot_be_used_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    points = torch.randn(4, 64)
    check_encoder(nn.LogSigmoid(), points)
    with pytest.raises(ValueError, match=r"encoder: does not take points of shape \(4, 64\)"):
        check_encoder(nn.Linear(3, 2), points)

    def broken(points: torch.Tensor) -> torch.Tensor:
        return points * torch.nan

    with pytest.raises(ValueError, match=r"holds a value that is not finite"):
        check_encoder(broken, points)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"has 1 rows for 4 points"):
        check_encoder(lambda points: points[:1], points)  # type: ignore[arg-type]
    module = types.ModuleType("own_encoders")
    module.build, module.number = nn.Identity, lambda: 3  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "own_encoders", module)
    assert isinstance(build_encoder(OwnEncoder("own_encoders:build"), Digits(), seed=0), nn.Identity)
    for factory in ("", "own_encoders:none", "no.such:thing", "own_encoders:number"):
        with pytest.raises(ValueError, match=r"encoder.factory = "):
            build_encoder(OwnEncoder(factory), Digits(), seed=0)
    with pytest.raises(ValueError, match=r"encoder: the data holds no images: give encoder.image"):
        build_encoder(LearntEncoder(), Toy(), seed=0)
    with pytest.raises(ValueError, match=r"encoder.image = \(1, 3, 3\): a point of the data has 64 coordinates"):
        build_encoder(LearntEncoder(image=(1, 3, 3)), Digits(), seed=0)
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ImportError, match=r"encoder: timm is not installed"):
        build_encoder(TimmEncoder(), Digits(), seed=0)
    assert isinstance(build_encoder(Pixels(), Toy(), seed=0), nn.Identity)


def test_an_encoder_of_timm_gives_maps() -> None:
    pytest.importorskip("timm")
    network = build_encoder(TimmEncoder("resnet10t", pretrained=False, size=32), Digits(), seed=0).eval()
    assert len([name for name in feature_vectors(network(torch.randn(2, 64))) if "/" not in name]) == 5
    with pytest.raises(ValueError, match=r"encoder.name = 'nonet': timm cannot make it"):
        build_encoder(TimmEncoder("nonet", pretrained=False), Digits(), seed=0)


def test_the_encoder_learns_from_the_training_part() -> None:
    config, data = LearntEncoder(width=8, steps=60), Digits()
    network = config.network(data)
    state = torch.get_rng_state()
    train_encoder(network, config, data, seed=0, device=torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), state)
    images, labels = data.held_out()[0].sample_labelled(200, torch.Generator().manual_seed(0))
    assert float((network.classify(images).argmax(1) == labels).double().mean()) > 0.8
    assert float((network.reconstruct(images) - images).square().mean()) < 0.8
    assert not any(each.requires_grad for each in network.parameters())
