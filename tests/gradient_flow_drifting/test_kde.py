"""The op against an oracle, its back ends against the reference, and the laws of a density estimate."""

import itertools
import math
import subprocess
import sys
from collections.abc import Iterable

import numpy as np
import pytest
import torch
from close import assert_close_by_name
from gradient_flow_drifting import kde_score
from gradient_flow_drifting.ops import kde
from gradient_flow_drifting.ops.kde import _attention, _matmul, _precision
from gradient_flow_drifting.ops.kde.reference import score_reference
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

SIZES = [(1, 1, 1), (3, 7, 1), (33, 65, 2), (130, 257, 17), (5, 300, 64)]


def clouds(n: int, m: int, d: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Two clouds of which the second begins with the first where it is long enough."""
    x = torch.randn(n, d, dtype=torch.float64)
    y = torch.cat([x, 0.5 + torch.randn(max(m - n, 0), d, dtype=torch.float64)])[:m]
    return x.to(dtype), y.to(dtype)


def mixture(y: Tensor, bandwidth: float, weights: Tensor) -> MixtureSameFamily:
    """The estimate as PyTorch's mixture of normal distributions, an oracle that shares no code with the op."""
    return MixtureSameFamily(Categorical(weights), Independent(Normal(y, bandwidth), 1))


@pytest.mark.parametrize("backend", ["reference", "attention", "matmul"])
@pytest.mark.parametrize(("n", "m", "d"), SIZES)
def test_against_mixture_of_normals(backend: str, n: int, m: int, d: int) -> None:
    x, y = clouds(n, m, d)
    weights = torch.rand(m, dtype=torch.float64) + 0.1
    h = 0.7 * math.sqrt(d)
    result = kde_score(x, y, bandwidth=h, weights=weights, backend=backend)
    leaf = x.clone().requires_grad_()
    log_density = mixture(y, h, weights).log_prob(leaf)
    (score,) = torch.autograd.grad(log_density.sum(), leaf)
    expected = {"score": score, "log_density": log_density}
    assert_close_by_name(result._asdict(), expected, rtol=1e-12)


@pytest.mark.parametrize("backend", ["reference", "attention", "matmul"])
def test_leaving_one_out_changes_sum_and_normaliser(backend: str) -> None:
    _, y = clouds(9, 9, 2)
    weights = torch.rand(9, dtype=torch.float64) + 0.1
    for u in (None, weights):
        result = kde_score(y, y, bandwidth=0.5, weights=u, self_terms="leave_one_out", backend=backend)
        for i in range(9):
            others = torch.arange(9) != i
            expected = kde_score(
                y[i : i + 1], y[others], bandwidth=0.5, weights=None if u is None else u[others], backend="reference"
            )
            assert torch.allclose(result.score[i], expected.score[0], rtol=1e-11, atol=1e-12)
            assert torch.allclose(result.log_density[i], expected.log_density[0], rtol=1e-12)


def outputs_and_gradients(
    backend: str, batch: tuple[int, ...], n: int, m: int, d: int, self_terms: str, weighted: bool, widths: list[float]
) -> dict[str, Tensor]:
    """Outputs, and first and second derivatives of a random linear form of them, by name; the same at each call."""
    torch.manual_seed(1)
    x = torch.randn(*batch, n, d, dtype=torch.float64)
    leaves = {"x": x, "y": torch.cat([x, 0.5 + torch.randn(*batch, m - n, d, dtype=torch.float64)], dim=-2)}
    if weighted:
        leaves["weights"] = torch.rand(*batch, m, dtype=torch.float64) * (torch.arange(m) != 4)
    for each in leaves.values():
        each.requires_grad_()
    result = kde_score(
        leaves["x"],
        leaves["y"],
        bandwidth=[width * math.sqrt(d) for width in widths],
        weights=leaves.get("weights"),
        self_terms=self_terms,
        backend=backend,
    )

    def form(tensors: Iterable[Tensor]) -> Tensor:
        return sum((each * torch.randn(each.shape).to(each)).sum() for each in tensors)

    loss, inputs = form(result), list(leaves.values())
    first = torch.autograd.grad(loss, inputs, create_graph=True)
    plain = torch.autograd.grad(loss, inputs, retain_graph=True)
    second = torch.autograd.grad(form(first), inputs)
    return {
        **result._asdict(),
        **{f"grad_{name}": each for name, each in zip(leaves, plain, strict=True)},
        **{f"second_{name}": each for name, each in zip(leaves, second, strict=True)},
    }


# of the eight combinations those four that hold every pair of choices
CHOICES = [
    ("keep", False, [0.6]),
    ("leave_one_out", True, [0.6]),
    ("keep", True, [0.4, 0.9, 2.0]),
    ("leave_one_out", False, [0.4, 0.9, 2.0]),
]
SHAPES = [((), 20, 33, 1), ((), 33, 33, 2), ((), 40, 67, 19), ((5,), 20, 33, 2), ((2, 3), 7, 11, 19)]


@pytest.mark.parametrize(("self_terms", "weighted", "widths"), CHOICES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("backend", ["attention", "matmul"])
def test_backends_against_reference_with_two_derivatives(
    backend: str,
    shape: tuple[tuple[int, ...], int, int, int],
    self_terms: str,
    weighted: bool,
    widths: list[float],
) -> None:
    actual, expected = (outputs_and_gradients(b, *shape, self_terms, weighted, widths) for b in (backend, "reference"))
    assert_close_by_name(actual, expected, rtol=1e-11)


@pytest.mark.parametrize("block", [1, 50, 100, 700])
@pytest.mark.parametrize("shape", [((), 20, 33, 3), ((5,), 8, 11, 3)])
def test_one_result_whatever_the_block(
    shape: tuple[tuple[int, ...], int, int, int], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (*shape, "leave_one_out", True, [0.5, 1.0])
    whole = outputs_and_gradients("matmul", *arguments)
    monkeypatch.setattr(_matmul, "BLOCK", block)
    assert_close_by_name(outputs_and_gradients("matmul", *arguments), whole, rtol=1e-12)


@pytest.mark.parametrize("backend", ["reference", "attention", "matmul"])
@pytest.mark.parametrize("self_terms", ["keep", "leave_one_out"])
def test_each_problem_of_a_batch_is_alone(backend: str, self_terms: str) -> None:
    x = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    y, weights = torch.cat([x, x + 1], dim=-2), torch.rand(2, 3, 10, dtype=torch.float64)
    x, y = (each * 2.0 ** torch.arange(6).view(2, 3, 1, 1) for each in (x, y))
    for bandwidth in (1.0, [1.0, 3.0]):
        options = {"bandwidth": bandwidth, "self_terms": self_terms, "backend": backend}
        whole = kde_score(x, y, weights=weights, **options)
        for i, j in itertools.product(range(2), range(3)):
            alone = kde_score(x[i, j], y[i, j], weights=weights[i, j], **options)
            assert torch.allclose(whole.score[..., i, j, :, :], alone.score, rtol=1e-11, atol=1e-11)
            assert torch.allclose(whole.log_density[..., i, j, :], alone.log_density, rtol=1e-11, atol=1e-11)
    none = kde_score(x[:, :0], y[:, :0], bandwidth=[1.0, 2.0], self_terms=self_terms, backend=backend)
    assert none.score.shape == (2, 2, 0, 5, 4)
    assert none.log_density.shape == (2, 2, 0, 5)


@pytest.mark.parametrize(
    ("x", "y", "widths", "expected"),
    [
        ((256, 2), (512, 2), 3, "attention"),
        ((8192, 256), (8192, 256), 1, "attention"),
        ((8192, 256), (8192, 256), 3, "attention"),
        ((9, 64, 256), (9, 160, 256), 1, "matmul"),
        ((9, 64, 2), (9, 160, 2), 1, "attention"),
        ((512, 256), (512, 256), 1, "attention"),
        ((512, 256), (512, 256), 3, "matmul"),
    ],
)
def test_a_cpu_chooses_by_shape(x: tuple[int, ...], y: tuple[int, ...], widths: int, expected: str) -> None:
    assert kde._on_cpu(torch.empty(x), torch.empty(y), widths) == expected


@pytest.mark.parametrize("leave_one_out", [False, True])
def test_gradcheck_of_reference(leave_one_out: bool) -> None:
    x, y = (each.requires_grad_() for each in clouds(3, 4, 2))
    log_weights = torch.randn(4, dtype=torch.float64, requires_grad=True)

    def outputs(x: Tensor, y: Tensor, log_weights: Tensor) -> tuple[Tensor, Tensor]:
        return score_reference(x, y, log_weights, (0.5, 1.1), leave_one_out)

    assert torch.autograd.gradcheck(outputs, (x, y, log_weights))
    assert torch.autograd.gradgradcheck(outputs, (x, y, log_weights))


@pytest.mark.parametrize("backend", ["reference", "attention", "matmul"])
def test_strided_input_and_no_queries(backend: str) -> None:
    x, y = clouds(20, 31, 6, torch.float32)
    strided = [torch.cat([each, each]).T.contiguous().T[: len(each)] for each in (x, y)]
    assert not strided[0].is_contiguous()
    for self_terms in ("keep", "leave_one_out"):
        plain = kde_score(x, y, bandwidth=0.8, self_terms=self_terms, backend=backend)
        other = kde_score(*strided, bandwidth=0.8, self_terms=self_terms, backend=backend)
        assert_close_by_name(other._asdict(), plain._asdict(), rtol=1e-5)
        none = kde_score(x[:0], y, bandwidth=(0.8, 1.0), self_terms=self_terms, backend=backend)
        assert none.score.shape == (2, 0, 6)
        assert none.log_density.shape == (2, 0)


@pytest.mark.parametrize("backend", ["reference", "attention", "matmul"])
def test_extreme_bandwidths_have_their_limits(backend: str) -> None:
    """A narrow kernel sees the nearest point alone, a wide one all of them evenly."""
    x, y = clouds(20, 30, 2, torch.float32)
    x = x + 0.1
    square = ((x[:, None] - y) ** 2).sum(-1).double()
    result = kde_score(x, y, bandwidth=torch.tensor(1e-6), backend=backend)
    nearest = y[square.argmin(1)]
    assert_close_by_name({"score": result.score}, {"score": (nearest - x) * 1e12}, rtol=1e-4)
    expected = -square.min(1).values / 2e-12
    assert_close_by_name({"log_density": result.log_density}, {"log_density": expected}, rtol=1e-4)
    result = kde_score(x, y, bandwidth=np.array(1e6), backend=backend)
    assert_close_by_name({"score": result.score}, {"score": (y.mean(0) - x) / 1e12}, rtol=1e-5)
    assert torch.allclose(result.log_density, torch.tensor(-math.log(2 * math.pi * 1e12)), rtol=1e-6)


def test_weights_of_all_magnitudes_are_left_out() -> None:
    """A total less a weight would vanish where the weight is most of it."""
    y = torch.randn(5, 2, dtype=torch.float64)
    weights = torch.tensor([1.0, 1e-30, 2e-30, 1e-30, 1e-30], dtype=torch.float64, requires_grad=True)
    result = kde_score(y, y, bandwidth=0.5, weights=weights, self_terms="leave_one_out")
    expected = kde_score(y[:1], y[1:], bandwidth=0.5, weights=torch.tensor([1.0, 2.0, 1.0, 1.0], dtype=torch.float64))
    assert float((result.log_density[0] - expected.log_density[0]).detach().abs()) < 1e-12
    (gradient,) = torch.autograd.grad(result.log_density.sum(), weights)
    assert bool(gradient.isfinite().all())


def test_several_bandwidths_are_those_of_one_each() -> None:
    x, y = clouds(50, 70, 2)
    together = kde_score(x, y, bandwidth=[0.1, 0.5, 0.1])
    for k, h in enumerate((0.1, 0.5, 0.1)):
        alone = kde_score(x, y, bandwidth=h)
        assert torch.allclose(together.score[k], alone.score, rtol=1e-12)
        assert torch.allclose(together.log_density[k], alone.log_density, rtol=1e-12)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**31))
def test_one_result_whatever_the_clouds_are_cut_into(rows: int, columns: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(count, 3, generator=generator, dtype=torch.float64) for count in (31, 37))
    whole = kde_score(x, y, bandwidth=(0.4, 1.0))
    by_rows = [kde_score(part, y, bandwidth=(0.4, 1.0)) for part in x.split(rows)]
    assert torch.allclose(torch.cat([each.score for each in by_rows], 1), whole.score, rtol=1e-11, atol=1e-11)
    by_columns = [kde_score(x, part, bandwidth=(0.4, 1.0)) for part in y.split(columns)]
    counts = [len(part) for part in y.split(columns)]
    shares = torch.stack([each.log_density + math.log(m / 37) for each, m in zip(by_columns, counts, strict=True)])
    score = (torch.softmax(shares, 0)[..., None] * torch.stack([each.score for each in by_columns])).sum(0)
    assert torch.allclose(torch.logsumexp(shares, 0), whole.log_density, rtol=1e-11, atol=1e-11)
    assert torch.allclose(score, whole.score, rtol=1e-10, atol=1e-10)


def test_log_density_integrates_to_one() -> None:
    y = torch.randn(20, 2, dtype=torch.float64)
    axis = torch.linspace(-8, 8, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    density = kde_score(grid, y, bandwidth=0.3).log_density.exp()
    assert abs(float(density.sum()) * 0.04**2 - 1) < 1e-12


@pytest.mark.parametrize("backend", ["attention", "matmul"])
@pytest.mark.parametrize("d", [2, 16])
@pytest.mark.parametrize("ratio", [0.2, 0.05, 0.02, 0.01, 1e-3])
def test_float32_keeps_its_stated_bound(d: int, ratio: float, backend: str) -> None:
    x, y = clouds(256, 512, d, torch.float32)
    x, y = x + 100, y + 100  # far from the origin: the op centres the clouds
    h = ratio * math.sqrt(d)
    result = kde_score(x, y, bandwidth=h, backend=backend)
    exact = kde_score(x.double(), y.double(), bandwidth=h, backend="reference")
    bound = _precision.rounding(x - y.mean(0), y - y.mean(0)) / h**2
    assert bound > _precision.ROUNDING_LIMIT or ratio >= 0.02
    bound = bound if bound < _precision.ROUNDING_LIMIT else 0.0  # beyond, there is the rounding of storage alone
    storage = 1.2e-7 * (exact.log_density.abs() + math.log(512) + d * (1 + abs(math.log(h))))  # of each summand
    assert bool(((result.log_density - exact.log_density).abs() <= bound + storage).all())
    error = (result.score - exact.score).abs() * h**2  # of the mean shift, about a hundred off the origin
    assert float(error.max()) < 4 * bound + 2e-5


@pytest.mark.parametrize("backend", ["attention", "matmul"])
@pytest.mark.parametrize("offset", [0.0, 0.5, 2.0])
def test_clouds_left_where_they_are_keep_the_bound(offset: float, backend: str) -> None:
    x, y = (each + offset for each in clouds(256, 512, 8, torch.float32))
    unit = _precision.rounding(x, y)
    h = math.sqrt(unit / (2 * 2**-23 * _precision.CENTRED_BEYOND)) * 1.001  # as narrow as is worked about the origin
    result = kde_score(x, y, bandwidth=h, backend=backend)
    exact = kde_score(x.double(), y.double(), bandwidth=h, backend="reference")
    storage = 1.2e-7 * (exact.log_density.abs() + math.log(512) + 8 * (1 + abs(math.log(h))))
    assert bool(((result.log_density - exact.log_density).abs() <= unit / h**2 + storage).all())
    assert float((result.score - exact.score).abs().max()) * h**2 < 4 * unit / h**2


def test_small_bandwidths_are_worked_in_double_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    types = []

    def spy(x: Tensor, *rest: object) -> tuple[Tensor, Tensor]:
        types.append((x.dtype, rest[2]))
        return _attention.score_attention(x, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(kde, "score_attention", spy)
    x, y = clouds(10, 20, 2, torch.float32)
    kde_score(x, y, bandwidth=(0.001, 1.0), backend="attention")
    assert types == [(torch.float32, (1.0,)), (torch.float64, (0.001,))]


def test_without_the_fused_operator_the_products_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = clouds(10, 20, 2)
    expected = kde_score(x, y, bandwidth=0.5)
    monkeypatch.setattr(_attention, "_FORWARD", None)
    assert_close_by_name(kde_score(x, y, bandwidth=0.5)._asdict(), expected._asdict(), rtol=1e-12)
    with pytest.raises(ValueError, match=r'backend: "attention" is for float32 and float64 on a CPU'):
        kde_score(x, y, bandwidth=0.5, backend="attention")


def test_guard_refuses_an_operator_of_another_signature() -> None:
    name = "_scaled_dot_product_flash_attention_for_cpu"
    assert _attention._operator(name, _attention._ARGUMENTS) is not None
    assert _attention._operator(name, ["query", "key"]) is None
    assert _attention._operator("no_such_operator", _attention._ARGUMENTS) is None


MEMORY = """
import resource, sys, torch
from gradient_flow_drifting import kde_score
n = int(sys.argv[1])
torch.manual_seed(0)
x = torch.randn(n, 2)
kde_score(x[:100], x[:100], bandwidth=0.2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for self_terms in sys.argv[2:]:
    assert torch.isfinite(kde_score(x, x, bandwidth=0.2, self_terms=self_terms).score).all()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def peak_megabytes(n: int, *self_terms: str) -> float:
    """Growth of a fresh process's largest resident size over one call for each."""
    command = [sys.executable, "-c", MEMORY, str(n), *self_terms]
    kilobytes = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return kilobytes / (1024 if sys.platform == "linux" else 1024**2)


def test_memory_is_linear() -> None:
    assert peak_megabytes(12_000, "keep", "leave_one_out") < 100  # one matrix of n² numbers would take 576


@pytest.mark.slow
def test_memory_at_two_hundred_thousand() -> None:
    assert peak_megabytes(200_000, "keep") < 200  # one matrix of n² numbers would take 160,000


def test_bad_input_is_named() -> None:
    x, y = torch.zeros(3, 2), torch.zeros(4, 2)
    nan = y.clone()
    nan[1, 0] = torch.nan
    cases = [
        ((x, nan), {"bandwidth": 1.0}, r"y: 1 of 4 points have a NaN or infinite coordinate"),
        ((nan, y), {"bandwidth": 1.0}, r"x: 1 of 4 points have a NaN"),
        ((x, y[:0]), {"bandwidth": 1.0}, r"y: the cloud is empty, shape \[0, 2\]"),
        ((x, y[:, :1]), {"bandwidth": 1.0}, r"y: 2 coordinates are needed as in x, found 1"),
        ((x[0], y), {"bandwidth": 1.0}, r"x: shape \[points, coordinates\] is needed, found \[2\]"),
        ((x.long(), y), {"bandwidth": 1.0}, r"x: a float32 or float64 tensor .* found torch.int64"),
        ((x, y), {"bandwidth": 0.0}, r"bandwidth: must be positive and finite, found 0.0"),
        ((x, y), {"bandwidth": [0.1, -2.0]}, r"bandwidth: must be positive and finite, found -2.0"),
        ((x, y), {"bandwidth": []}, r"bandwidth: at least one number is needed"),
        ((x, y), {"bandwidth": 1.0, "weights": torch.ones(3)}, r"weights: a tensor of 4 weights, .* of y, .* \[3\]"),
        ((x, y), {"bandwidth": 1.0, "weights": [1.0] * 4}, r"weights: a tensor of 4 weights, .* found list"),
        (
            (x, y),
            {"bandwidth": 1.0, "weights": torch.ones(4) / 0},
            r"weights: weights must be finite and ≥ 0, found inf",
        ),
        ((x.half(), y), {"bandwidth": 1.0}, r"x: a float32 or float64 tensor .* found torch.float16"),
        ((x.numpy(), y), {"bandwidth": 1.0}, r"x: a float32 or float64 tensor .* found ndarray"),
        ((x, y.double()), {"bandwidth": 1.0}, r"y: torch.float32 is needed as in x, found torch.float64"),
        ((x, y), {"bandwidth": None}, r"bandwidth: a number or a sequence of them is needed, found None"),
        ((x, y), {"bandwidth": "5"}, r"bandwidth: a number or a sequence of them is needed, found '5'"),
        (
            (x, y),
            {"bandwidth": 1e-25},
            r"bandwidth: between 3e-16 and 6e\+15 are possible in torch.float32, found 1e-25",
        ),
        ((x, y), {"bandwidth": [1.0, 1e160]}, r"bandwidth: between .* are possible in torch.float32, found 1e\+160"),
        ((x, y), {"bandwidth": 1.0, "weights": -torch.ones(4)}, r"weights: weights must be finite and ≥ 0, found -1.0"),
        ((x, y), {"bandwidth": 1.0, "weights": torch.zeros(4)}, r"weights: at least 1 positive weights"),
        ((x[None], y), {"bandwidth": 1.0}, r"y: leading axes \[1\] are needed as in x, found \[\]"),
        (
            (x.expand(2, 3, 2), y.expand(2, 4, 2)),
            {"bandwidth": 1.0, "weights": torch.ones(4)},
            r"weights: a tensor of 2 × 4 weights, one for each of y, is needed, found shape \[4\]",
        ),
        (
            (x.expand(2, 3, 2), y.expand(2, 4, 2)),
            {"bandwidth": 1.0, "weights": torch.tensor([[1.0] * 4, [0.0] * 4])},
            r"weights: at least 1 positive weights are needed, found 0",
        ),
        ((x.expand(2, 3, 2), nan.expand(2, 4, 2)), {"bandwidth": 1.0}, r"y: 2 of 8 points have a NaN"),
        (
            (x[:1], y[:1]),
            {"bandwidth": 1.0, "self_terms": "leave_one_out"},
            r"y: leaving one out .* points, found 1",
        ),
        ((y, x), {"bandwidth": 1.0, "self_terms": "leave_one_out"}, r"y: .* found 3 rows for 4 of x"),
        ((x, y), {"bandwidth": 1.0, "self_terms": "drop"}, r'self_terms: "keep" or "leave_one_out" .* "drop"'),
        ((x, y), {"bandwidth": 1.0, "backend": "cuda"}, r'backend: .* found "cuda"'),
        ((torch.zeros(2, 300), torch.zeros(2, 300)), {"bandwidth": 1.0, "backend": "triton"}, r"up to 256 coordinates"),
    ]
    for clouds_given, options, message in cases:
        with pytest.raises(ValueError, match=message) as error:
            kde_score(*clouds_given, **options)
        assert "\n" not in str(error.value)
