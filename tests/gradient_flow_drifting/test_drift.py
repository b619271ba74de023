"""The drifting field is the score difference; laws, limits and bad input of `drift` and its loss."""

import math

import pytest
import torch
from close import assert_close_by_name
from gradient_flow_drifting import (
    DIVERGENCES,
    Euclidean,
    Gaussian,
    Kernel,
    Laplace,
    Sphere,
    VonMisesFisher,
    drift,
    drifting_loss,
    mixed,
)
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

F64 = torch.float64
SEEDS = st.integers(0, 2**31)
NAMES = st.sampled_from(DIVERGENCES)
UNLIMITED = {"log_weight_limit": None, "max_step": None}


def clouds(d: int, seed: int = 0, n: int = 30, m: int = 41) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator, dtype=F64)
    return x, 0.4 + 1.2 * torch.randn(m, d, generator=generator, dtype=F64)


def sphere_clouds(d: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    x, y = clouds(d, seed)
    return Sphere().projx(x), Sphere().projx(y)


def log_density(x: Tensor, sample: Tensor, h: float) -> Tensor:
    """Logarithm of the estimate, written out with a loop over its terms."""
    terms = [-((x - each) ** 2).sum(1) / (2 * h**2) for each in sample]
    d = x.shape[1]
    return torch.logsumexp(torch.stack(terms), 0) - math.log(len(sample)) - d * math.log(h * math.sqrt(2 * math.pi))


@pytest.mark.parametrize("backend", ["reference", "attention"])
@pytest.mark.parametrize(("d", "h"), [(1, 0.3), (2, 0.5), (16, 2.0)])
def test_drifting_is_the_mean_shift_is_the_score_difference(d: int, h: float, backend: str) -> None:
    x, y = clouds(d)
    leaf = x.clone().requires_grad_()
    difference = log_density(leaf, y, h) - log_density(leaf, x, h)
    (score,) = torch.autograd.grad(difference.sum(), leaf)
    options = {"positives": y, "negatives": x, "kernel": Gaussian(h), "max_step": None, "backend": backend}
    result = drift(x, **options)  # type: ignore[arg-type]

    def mean(sample: Tensor) -> Tensor:
        k = torch.stack([torch.exp(-((x - each) ** 2).sum(1) / (2 * h**2)) for each in sample], 1)
        return (k @ sample) / k.sum(1, keepdim=True)

    assert float((result.velocity - (mean(y) - mean(x))).abs().max()) < 1e-12
    assert float((result.velocity - h**2 * score).abs().max()) < 1e-12
    in_score = drift(x, velocity_unit="score", **options)  # type: ignore[arg-type]
    assert_close_by_name({"score": in_score.velocity}, {"score": score}, rtol=1e-12)
    assert float((result.log_ratio - difference.detach()).abs().max()) < 1e-12


@given(NAMES, SEEDS, st.integers(1, 4))
def test_no_field_where_the_samples_agree(name: str, seed: int, d: int) -> None:
    _, y = clouds(d, seed)
    result = drift(y, positives=y, negatives=y, kernel=Gaussian((0.2, 0.7)), divergence=name)
    assert not result.velocity.any()
    assert not result.log_ratio.any()
    x, _ = clouds(d, seed)
    exact = "kl_pq" if name == "mmd2" else name
    result = drift(x, positives=y, negatives=y, kernel=Gaussian(0.4), divergence=exact, field="exact", draws=2)
    assert not result.velocity.any()


@given(NAMES, SEEDS, st.integers(2, 4), st.sampled_from(["keep", "leave_one_out"]))
def test_equivariance(name: str, seed: int, d: int, self_terms: str) -> None:
    x, y = clouds(d, seed)
    rotation = torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(seed), dtype=F64))[0]
    shift = torch.linspace(-3, 5, d, dtype=F64)
    options = {"kernel": Gaussian((0.5, 1.0)), "divergence": name, "self_terms": self_terms}
    plain = drift(x, positives=y, negatives=x, **options)  # type: ignore[arg-type]
    moved = x @ rotation.T + shift
    turned = drift(moved, positives=y @ rotation.T + shift, negatives=moved, **options)  # type: ignore[arg-type]
    assert torch.allclose(turned.velocity, plain.velocity @ rotation.T, atol=1e-9)
    assert torch.allclose(turned.log_ratio, plain.log_ratio, atol=1e-9)
    order, order_y = torch.randperm(len(x)), torch.randperm(len(y))
    permuted = drift(x[order], positives=y[order_y], negatives=x[order], **options)  # type: ignore[arg-type]
    assert torch.allclose(permuted.velocity, plain.velocity[order], atol=1e-10)


@given(NAMES, SEEDS, st.integers(2, 5), st.sampled_from(["keep", "leave_one_out"]))
def test_on_the_sphere(name: str, seed: int, d: int, self_terms: str) -> None:
    x, y = sphere_clouds(d, seed)
    options = {"kernel": VonMisesFisher((4.0, 20.0)), "divergence": name, "self_terms": self_terms}
    plain = drift(x, positives=y, negatives=x, **options)  # type: ignore[arg-type]
    assert float((x * plain.velocity).sum(1).abs().max()) < 1e-12  # tangent
    rotation = torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(seed), dtype=F64))[0]
    turned = drift(x @ rotation.T, positives=y @ rotation.T, negatives=x @ rotation.T, **options)  # type: ignore[arg-type]
    assert torch.allclose(turned.velocity, plain.velocity @ rotation.T, atol=1e-10)
    same = drift(y, positives=y, negatives=y, **{**options, "self_terms": "keep"})  # type: ignore[arg-type]
    assert not same.velocity.any()


def test_several_bandwidths_are_averaged() -> None:
    x, y = clouds(2)
    options = {"positives": y, "negatives": x, "divergence": "mixed", **UNLIMITED}
    for unit in ("mean_shift", "score"):
        each = [drift(x, kernel=Gaussian(h), velocity_unit=unit, **options).velocity for h in (0.5, 1.0)]  # type: ignore[arg-type]
        both = drift(x, kernel=Gaussian((0.5, 1.0)), velocity_unit=unit, **options)  # type: ignore[arg-type]
        assert torch.allclose(both.velocity, (each[0] + each[1]) / 2, rtol=1e-12)
    assert both.log_ratio.shape == both.effective_sample_size.shape == (2, 30)


def test_steps_are_capped_in_their_direction() -> None:
    x, y = clouds(2)
    y = y + 30
    free = drift(x, positives=y, negatives=x, kernel=Gaussian((0.2, 0.5)), max_step=None)
    for unit, longest in (("mean_shift", 0.5), ("score", 2.0)):
        capped = drift(x, positives=y, negatives=x, kernel=Gaussian((0.2, 0.5)), velocity_unit=unit)  # type: ignore[arg-type]
        assert torch.allclose(capped.velocity.norm(dim=1), torch.full((30,), longest, dtype=F64))
    capped = drift(x, positives=y, negatives=x, kernel=Gaussian((0.2, 0.5)), max_step=7.0)
    assert torch.allclose(capped.velocity, 7 * torch.nn.functional.normalize(free.velocity), rtol=1e-12)
    assert torch.equal(capped.speed, free.velocity.norm(dim=1))


def test_cross_fit_and_weights() -> None:
    x, y = clouds(2)
    independent = torch.randn(50, 2, dtype=F64)
    weights = torch.rand(50, dtype=F64)
    repeated = torch.cat([independent, independent[:10]])
    doubled = torch.ones(50, dtype=F64) + (torch.arange(50) < 10)
    options = {"kernel": Gaussian(0.5), "divergence": "kl_pq"}
    by_weight = drift(x, positives=independent, negatives=y, positive_weights=doubled, **options)  # type: ignore[arg-type]
    by_number = drift(x, positives=repeated, negatives=y, **options)  # type: ignore[arg-type]
    assert torch.allclose(by_weight.velocity, by_number.velocity, atol=1e-12)
    some = drift(x, positives=y, negatives=independent, negative_weights=weights, **options)  # type: ignore[arg-type]
    scaled = drift(x, positives=y, negatives=independent, negative_weights=5 * weights, **options)  # type: ignore[arg-type]
    assert torch.allclose(some.velocity, scaled.velocity, atol=1e-12)
    extended = torch.cat([x, independent])  # further negatives behind x
    left_out = drift(x, positives=y, negatives=extended, self_terms="leave_one_out", **options)  # type: ignore[arg-type]
    first = drift(x[:1], positives=y, negatives=extended[1:], **options)  # type: ignore[arg-type]
    assert torch.allclose(left_out.velocity[0], first.velocity[0], atol=1e-12)


def test_effective_sample_size() -> None:
    x, y = clouds(3)
    weights = torch.rand(len(y), dtype=F64)
    for u in (None, weights):
        k = torch.exp(-(torch.cdist(x, y) ** 2) / (2 * 0.7**2)) * (1 if u is None else u)
        expected = k.sum(1) ** 2 / (k**2).sum(1)
        result = drift(x, positives=y, negatives=x, kernel=Gaussian((0.7, 100.0)), positive_weights=u)
        assert torch.allclose(result.effective_sample_size[0], expected, rtol=1e-10)
        if u is None:
            assert torch.allclose(result.effective_sample_size[1], torch.full((30,), 41.0, dtype=F64), rtol=1e-2)
    x, y = sphere_clouds(3)
    k = torch.exp(9 * x @ y.T)
    result = drift(x, positives=y, negatives=x, kernel=VonMisesFisher(9.0))
    assert torch.allclose(result.effective_sample_size, k.sum(1) ** 2 / (k**2).sum(1), rtol=1e-10)


@pytest.mark.parametrize("manifold", [Euclidean(), Sphere()])
def test_loss_follows_the_field(manifold: Euclidean | Sphere) -> None:
    x, y = sphere_clouds(3) if isinstance(manifold, Sphere) else clouds(3)
    kernel = VonMisesFisher(5.0) if isinstance(manifold, Sphere) else Gaussian(0.8)
    step = drift(x, positives=y, negatives=x, kernel=kernel, divergence="mixed")
    leaf = x.clone().requires_grad_()
    loss = drifting_loss(manifold.projx(leaf), y, kernel=kernel, divergence="mixed", step_size=0.3)
    assert abs(float(loss.detach()) - 0.09 * float(step.velocity.square().sum(1).mean())) < 1e-12
    (grad,) = torch.autograd.grad(loss, leaf)
    assert torch.allclose(grad, -2 * 0.3 * step.velocity / len(x), atol=1e-12)
    other = drifting_loss(leaf, y, kernel=kernel, negatives=y)
    assert float(other.detach()) < 1e-30


def test_velocity_is_differentiable() -> None:
    x, y = clouds(2, n=4, m=5)
    x.requires_grad_()

    def velocity(x: Tensor) -> Tensor:
        return drift(
            x, positives=y, negatives=y[:3], kernel=Gaussian((0.8, 2.0)), divergence="mixed", **UNLIMITED
        ).velocity  # type: ignore[arg-type]

    assert torch.autograd.gradcheck(velocity, (x,))


def test_bad_input_is_named() -> None:
    x, y = torch.randn(3, 2), torch.randn(4, 2)
    nan = y.clone()
    nan[1, 0] = torch.nan
    on, gaussian = Sphere().projx(x), Gaussian(1.0)
    good = {"positives": y, "negatives": x, "kernel": gaussian}
    sphere = {"positives": Sphere().projx(y), "negatives": on, "kernel": VonMisesFisher(5.0)}
    exact = {"field": "exact"}
    cases = [
        (x[:0], good, r"x: the cloud is empty"),
        (x, good | {"positives": y[:0]}, r"positives: the cloud is empty, shape \[0, 2\]"),
        (x, good | {"negatives": y[:0]}, r"negatives: the cloud is empty"),
        (x, good | {"positives": nan}, r"positives: 1 of 4 points have a NaN or infinite coordinate"),
        (x, good | {"positives": y[:, :1]}, r"positives: 2 coordinates are needed as in x, found 1"),
        (x[0], good, r"x: shape \[points, coordinates\] is needed, found \[2\]"),
        (x, good | {"divergence": "kl_pp"}, r'divergence: "kl_pp" is unknown; did you mean "kl_qp"\?'),
        (
            x,
            good | {"positive_weights": torch.ones(3)},
            r"positive_weights: a tensor of 4 weights, one for each of positives, is needed, found shape \[3\]",
        ),
        (
            x,
            good | {"negative_weights": torch.ones(4)},
            r"negative_weights: a tensor of 3 weights, one for each of negatives, is needed, found shape \[4\]",
        ),
        (x[:1], good | {"negatives": x[:1], "self_terms": "leave_one_out"}, r"negatives: .* at least two, found 1"),
        (x, good | {"negatives": y, "self_terms": "leave_one_out"}, r"negatives: .* x as the first rows"),
        (x, good | {"manifold": Sphere()}, r"kernel: Gaussian lives on Euclidean, manifold is Sphere"),
        (1.01 * on, sphere, r"x: points off the sphere; project them with projx first"),
        (on, sphere | {"positives": y}, r"positives: points off the sphere"),
        (
            x,
            good | {"kernel": 0.2},
            r"kernel: a kernel is needed, Gaussian\(0.2\) or resolve_kernel\(name, 0.2\) say, found 0.2",
        ),
        (x, good | {"positives": y.double()}, r"positives: torch.float32 is needed as in x, found torch.float64"),
        (on, sphere | exact, r'field: "exact" is for the Gaussian kernel; VonMisesFisher has only "density"'),
        (on, sphere | exact | {"divergence": mixed({"mmd2": 1.0, "kl_qp": 1.0})}, r"has only"),
        (x, good | exact | {"draws": 0}, r"draws: a whole number, at least 1, is needed, found 0"),
        (x, good | {"field": "true"}, r'field: "density" or "exact" is needed, found "true"'),
        (x, good | {"velocity_unit": "m"}, r'velocity_unit: "mean_shift" or "score" is needed, found "m"'),
        (x, good | {"max_step": 0.0}, r'max_step: a number > 0, "bandwidth" or None is needed, found 0.0'),
        (x, good | {"log_weight_limit": -1.0}, r"log_weight_limit: a number ≥ 0 or None is needed, found -1.0"),
    ]
    for cloud, options, message in cases:
        with pytest.raises(ValueError, match=message) as error:
            drift(cloud, **options)  # type: ignore[arg-type]
        assert "\n" not in str(error.value)
    for bandwidth in (0.0, -1.0, (0.1, math.nan)):
        with pytest.raises(ValueError, match="bandwidth: must be positive and finite"):
            Gaussian(bandwidth)
    with pytest.raises(ValueError, match=r"concentration: must be positive and finite, found 0\.0"):
        VonMisesFisher(0)


@pytest.mark.parametrize(("d", "h", "away"), [(2, 0.05, 300.0), (300, 0.01, 0.0), (300, 0.3, 50.0)])
def test_far_points_and_many_coordinates_leave_the_effective_sample_size_right(d: int, h: float, away: float) -> None:
    x, y = (each.float() for each in clouds(d, n=4))
    y = y + away
    terms = torch.softmax(-torch.cdist(x.double(), y.double()).square() / (2 * h**2), dim=1)
    size = Gaussian(h).effective_sample_size(x, y)
    assert size.dtype == torch.float32
    assert_close_by_name({"size": size.double()}, {"size": 1 / terms.square().sum(1)}, rtol=1e-4)
    beyond = Gaussian(0.01).effective_sample_size(x, y + 1e15)  # where rounding leaves nothing, it is still a number
    assert bool(((beyond >= 1) & (beyond <= len(y))).all())


def test_a_density_that_cannot_be_held_is_told() -> None:
    x, y = clouds(300)
    with pytest.raises(ValueError, match=r"divergence: mmd2 is in units of densities, here up to e\^\d+, which torch"):
        drift(x, positives=y, negatives=x, kernel=Gaussian(0.01), divergence="mmd2")
    assert drift(x, positives=y, negatives=x, kernel=Gaussian(0.01)).velocity.isfinite().all()


@pytest.mark.parametrize("size", [0.0, -1.0, math.nan, math.inf, "1"])
def test_the_loss_refuses_a_step_that_is_none(size: float) -> None:
    x, y = clouds(2)
    with pytest.raises(ValueError, match=r"^step_size: "):
        drifting_loss(x, y, kernel=Gaussian(0.2), step_size=size)


def test_the_loss_refuses_what_is_no_kernel() -> None:
    x, y = clouds(2)
    for wrong in ("gaussian", Gaussian, None):
        with pytest.raises(ValueError, match=r"^kernel: a kernel is needed"):
            drifting_loss(x, y, kernel=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("draws", [0, 1.5, "8", None])
def test_draws_are_a_whole_number(draws: int) -> None:
    x, y = clouds(2)
    with pytest.raises(ValueError, match="draws: a whole number, at least 1, is needed"):
        drift(x, positives=y, negatives=x, kernel=Gaussian(0.2), field="exact", draws=draws)


@pytest.mark.parametrize("kernel", [Gaussian(0.5), Laplace(0.5)])
def test_points_whose_squares_overflow_are_told(kernel: Kernel) -> None:
    x, y = (each.float() for each in clouds(2))
    with pytest.raises(ValueError, match=r"positives: coordinates up to \d.*e\+20, whose squares torch.float32 cannot"):
        drift(x, positives=1e20 * y, negatives=x, kernel=kernel)
    assert drift(x, positives=1e15 * y, negatives=x, kernel=kernel).velocity.isfinite().all()
