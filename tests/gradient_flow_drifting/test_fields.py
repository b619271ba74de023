"""Laws of every field: equivariance, no motion where model and data coincide, tangents on the sphere, bad input."""

import math
from typing import get_args, get_type_hints

import pytest
import torch
from gradient_flow_drifting import (
    BiSoftmax,
    Drifting,
    Field,
    KernelField,
    SinkhornDrift,
    SlicedWasserstein,
    Sphere,
    drift,
    flow_particles,
    resolve_kernel,
)
from papertrio_shared.run import config_to_dict, dict_to_config
from torch import Tensor

FIELDS: list[Field] = [
    KernelField((0.3, 1.0), divergence=(("kl_pq", 1.0), ("chi2_qp", 0.5)), max_step="bandwidth"),
    BiSoftmax(affinity_floor=None),
    BiSoftmax(temperatures=(0.1, 0.5), temperature_unit="absolute", force="raw"),
    SinkhornDrift(blur=0.2),
    SlicedWasserstein(projections=4096),
]
EXACT = [each for each in FIELDS if not isinstance(each, SlicedWasserstein)]


def clouds(dimension: int = 2, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    return tuple(torch.randn(n, dimension, dtype=dtype) + shift for n, shift in ((20, 0.0), (30, 0.5), (25, 0.0)))  # type: ignore[return-value]


def name(field: Field) -> str:
    return type(field).__name__


@pytest.mark.parametrize("name", ["laplace", "inverse_multiquadric"])
def test_a_kernel_field_takes_a_kernel_by_name(name: str) -> None:
    x, positives, _ = clouds()
    velocity = KernelField((0.3,), kernel=name).velocity(x, positives=positives, negatives=x)
    kernel = resolve_kernel(name, 0.3)
    assert torch.equal(velocity, drift(x, positives=positives, negatives=x, kernel=kernel, max_step=None).velocity)
    assert not torch.allclose(velocity, KernelField((0.3,)).velocity(x, positives=positives, negatives=x))
    with pytest.raises(ValueError, match=r'kernel: "lapalce" is unknown; did you mean "laplace"\?'):
        KernelField(kernel="lapalce")


def test_all_kinds_of_fields_are_here() -> None:
    kinds = get_args(get_type_hints(Drifting)["field"])
    assert {type(each) for each in FIELDS} == set(kinds)


@pytest.mark.parametrize("field", FIELDS, ids=name)
@pytest.mark.parametrize("self_terms", ["keep", "leave_one_out"])
def test_rotation_and_translation_go_along(field: Field, self_terms: str) -> None:
    x, y, z = clouds()
    z = torch.cat([x, z]) if self_terms == "leave_one_out" else z
    angle, shift = 0.7, torch.tensor([3.0, -2.0], dtype=torch.float64)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64)

    def moved(points: Tensor) -> Tensor:
        return points @ turn.T + shift

    options = {"self_terms": self_terms}
    expected = field.velocity(x, positives=y, negatives=z, **options) @ turn.T  # type: ignore[arg-type]
    found = field.velocity(moved(x), positives=moved(y), negatives=moved(z), **options)  # type: ignore[arg-type]
    tolerance = 0.1 if isinstance(field, SlicedWasserstein) else 1e-8  # its directions are drawn anew
    assert (found - expected).abs().max() < tolerance * expected.abs().max()


@pytest.mark.parametrize("field", EXACT, ids=name)
def test_the_order_of_the_clouds_does_not_matter(field: Field) -> None:
    x, y, z = clouds()
    expected = field.velocity(x, positives=y, negatives=z)
    orders = [torch.randperm(len(each)) for each in (x, y, z)]
    found = field.velocity(x[orders[0]], positives=y[orders[1]], negatives=z[orders[2]])
    assert torch.allclose(found, expected[orders[0]], atol=1e-10)


@pytest.mark.parametrize("field", FIELDS, ids=name)
@pytest.mark.parametrize("geometry", ["euclidean", "sphere"])
def test_nothing_moves_where_model_and_data_coincide(field: Field, geometry: str) -> None:
    x, y, _ = clouds(3)
    if geometry == "sphere":
        x, y = Sphere().projx(x), Sphere().projx(y)
    assert field.velocity(x, positives=y, negatives=y, geometry=geometry).abs().max() < 1e-10  # type: ignore[arg-type]


@pytest.mark.parametrize("field", FIELDS, ids=name)
@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_a_shifted_cloud_is_called_back(field: Field, dimension: int) -> None:
    x = torch.randn(40, dimension)
    y = x[torch.randperm(40)] + 1.0
    velocity = field.velocity(x, positives=y, negatives=x)
    assert velocity.shape == x.shape
    assert velocity.mean() > 0.05
    if isinstance(field, SlicedWasserstein | SinkhornDrift):
        assert (velocity - 1).abs().max() < (1e-4 if isinstance(field, SlicedWasserstein) else 0.3)


@pytest.mark.parametrize("field", FIELDS, ids=name)
def test_on_the_sphere_velocities_are_tangent_and_lead_to_the_data(field: Field) -> None:
    sphere = Sphere()
    x = sphere.projx(torch.randn(60, 3))
    y = sphere.projx(torch.tensor([0.0, 0.0, 1.0]) + 0.3 * torch.randn(80, 3))
    velocity = field.velocity(x, positives=y, negatives=x, geometry="sphere", self_terms="leave_one_out")
    assert (velocity * x).sum(1).abs().max() < 1e-5
    moved = sphere.expmap(x, 0.1 * velocity)
    assert moved[:, 2].mean() > x[:, 2].mean()


@pytest.mark.parametrize("field", FIELDS, ids=name)
def test_as_a_flow_of_particles(field: Field) -> None:
    if isinstance(field, BiSoftmax) and field.force == "normalised":
        pytest.skip("a force of fixed length does not come to rest")
    x, y = torch.randn(80, 2), 0.3 * torch.randn(120, 2) + torch.tensor([1.0, 0.0])
    particles = flow_particles(x, y, field=field, steps=60, step_size=0.3)
    assert (particles.mean(0) - y.mean(0)).norm() < 0.15
    assert (particles.std(0) / y.std(0) - 1).abs().max() < 0.35


@pytest.mark.parametrize("field", FIELDS, ids=name)
def test_bad_clouds_are_named(field: Field) -> None:
    x, y = torch.randn(5, 2), torch.randn(6, 2)
    cases = [
        ((x[:0], y, x), {}, "x: the cloud is empty"),
        ((x, y[:, :1], x), {}, "positives: 2 coordinates are needed as in x, found 1"),
        ((x, y, x * torch.nan), {}, "negatives: 5 of 5 points have a NaN"),
        ((x, y, x), {"geometry": "sphere"}, "x: points off the sphere"),
        ((x[:1], y, x[:1]), {"self_terms": "leave_one_out"}, "negatives: leaving one out needs at least two, found 1"),
        ((x, y, y), {"self_terms": "leave_one_out"}, "needs x as the first rows of negatives, found others"),
    ]
    for (samples, positives, negatives), options, message in cases:
        with pytest.raises(ValueError, match=message):
            field.velocity(samples, positives=positives, negatives=negatives, **options)


@pytest.mark.parametrize("field", [BiSoftmax(), SlicedWasserstein()], ids=name)
def test_a_field_of_straight_lines_refuses_the_torus(field: Field) -> None:
    x = torch.zeros(3, 2)
    with pytest.raises(ValueError, match=f"{name(field)} is made of straight lines, the torus has none"):
        field.velocity(x, positives=x, negatives=x, geometry="torus")


def test_the_sinkhorn_drift_takes_the_short_way_round_the_torus() -> None:
    x = torch.tensor([[3.0, 0.0], [3.1, 1.0]], dtype=torch.float64)
    y = torch.remainder(x + torch.tensor([0.4, 0.0]) + math.pi, 2 * math.pi) - math.pi
    velocity = SinkhornDrift(blur=0.05).velocity(x, positives=y, negatives=x, geometry="torus")
    assert torch.allclose(velocity, torch.tensor([[0.4, 0.0]], dtype=torch.float64).expand(2, 2), atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BiSoftmax(temperatures=(0.1, -1.0)), "field.temperatures: must be positive and finite, found -1.0"),
        (lambda: BiSoftmax(affinity_floor=2.0), "field.affinity_floor = 2.0: give a number between 0 and 1, or None"),
        (lambda: SinkhornDrift(blur=0.0), "field.blur = 0.0: give a positive number"),
        (lambda: SinkhornDrift(scaling=1.0), "field.scaling = 1.0: give a number between 0 and 1"),
        (lambda: SlicedWasserstein(projections=0), "field.projections = 0: give a positive number"),
    ],
)
def test_bad_numbers_are_named(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


@pytest.mark.parametrize("field", FIELDS, ids=name)
def test_a_field_survives_a_run_folder(field: Field) -> None:
    config = Drifting(field=field)  # type: ignore[arg-type]
    assert dict_to_config(config_to_dict(config), Drifting) == config


@pytest.mark.parametrize("field", FIELDS, ids=name)
def test_an_unknown_space_is_no_euclidean_one(field: Field) -> None:
    x = torch.randn(5, 3)
    with pytest.raises(ValueError, match=r"geometry: .* is needed, found 'spher'"):
        field.velocity(x, positives=x, negatives=x, geometry="spher")  # type: ignore[arg-type]


@pytest.mark.parametrize("field", FIELDS, ids=name)
def test_an_unknown_way_with_own_terms_is_refused(field: Field) -> None:
    x = torch.randn(5, 3)
    with pytest.raises(ValueError, match='self_terms: "keep" or "leave_one_out" is needed, found "drop"'):
        field.velocity(x, positives=x, negatives=x, self_terms="drop")  # type: ignore[arg-type]
