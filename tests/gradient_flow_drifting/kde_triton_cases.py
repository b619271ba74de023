"""Cases for the Triton kernels; `test_kde_triton.py` runs them through the interpreter or on a GPU."""

import pytest
import torch
import triton
from close import assert_close_by_name
from gradient_flow_drifting import kde_score

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


# of the eight combinations those four that hold every pair of choices
@pytest.mark.parametrize(
    ("widths", "self_terms", "weighted"),
    [
        ((0.9,), "keep", False),
        ((0.9,), "leave_one_out", True),
        ((0.6, 1.0, 2.5), "keep", True),
        ((0.6, 1.0, 2.5), "leave_one_out", False),
    ],
)
@pytest.mark.parametrize(
    ("batch", "n", "m", "d"),
    [((), 1, 2, 1), ((), 70, 97, 2), ((), 33, 33, 5), ((), 17, 75, 33), ((3,), 35, 40, 2), ((2, 2), 5, 17, 19)],
)
def test_outputs_and_gradients(
    batch: tuple[int, ...], n: int, m: int, d: int, widths: tuple[float, ...], self_terms: str, weighted: bool
) -> None:
    results = {}
    for backend, dtype, device in (("reference", torch.float64, "cpu"), ("triton", torch.float32, DEVICE)):
        torch.manual_seed(2)
        x = torch.randn(*batch, n, d)
        leaves = {"x": x, "y": torch.cat([x, torch.randn(*batch, m - n, d)], dim=-2)}
        if weighted:
            leaves["weights"] = torch.rand(*batch, m) * (torch.arange(m) != 4)
        leaves = {name: each.to(device, dtype).requires_grad_() for name, each in leaves.items()}
        result = kde_score(
            leaves["x"],
            leaves["y"],
            bandwidth=[width * d**0.5 for width in widths],
            weights=leaves.get("weights"),
            self_terms=self_terms,
            backend=backend,
        )
        loss = sum((each * torch.randn(each.shape).to(each)).sum() for each in result)
        inputs = list(leaves.values())
        first = torch.autograd.grad(loss, inputs, create_graph=True)
        plain = torch.autograd.grad(loss, inputs, retain_graph=True)
        second = torch.autograd.grad(sum((each * torch.randn(each.shape).to(each)).sum() for each in first), inputs)
        results[backend] = {
            **result._asdict(),
            **{f"grad_{name}": each for name, each in zip(leaves, plain, strict=True)},
            **{f"second_{name}": each for name, each in zip(leaves, second, strict=True)},
        }
    assert_close_by_name(results["triton"], results["reference"], rtol=1e-4)


def test_strided_input_and_no_queries() -> None:
    x = torch.randn(6, 40, device=DEVICE).T[::2]
    y = torch.randn(6, 66, device=DEVICE).T[::2].requires_grad_()
    assert not x.is_contiguous()
    expected = kde_score(x.double().cpu(), y.detach().double().cpu(), bandwidth=1.5, backend="reference")
    assert_close_by_name(kde_score(x, y, bandwidth=1.5, backend="triton")._asdict(), expected._asdict(), rtol=1e-5)
    none = kde_score(x[:0], y, bandwidth=(1.0, 2.0), backend="triton")
    assert none.score.shape == (2, 0, 6)
    assert none.log_density.shape == (2, 0)
    (grad,) = torch.autograd.grad(none.score.sum() + none.log_density.sum(), y)
    assert not grad.any()
    no_problem = kde_score(x[None][:0], y[None][:0], bandwidth=(1.0, 2.0), backend="triton")
    assert no_problem.score.shape == (2, 0, 20, 6)


def test_low_dimensions_are_free_of_cancellation() -> None:
    x, y = torch.randn(40, 2, device=DEVICE), torch.randn(60, 2, device=DEVICE)
    result = kde_score(x, y, bandwidth=0.003, backend="triton")
    expected = kde_score(x.double().cpu(), y.double().cpu(), bandwidth=0.003, backend="reference")
    assert_close_by_name(result._asdict(), expected._asdict(), rtol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_auto_goes_by_the_device() -> None:
    x = torch.randn(40, 2, device=DEVICE)
    auto, triton = (kde_score(x, x, bandwidth=0.5, backend=backend) for backend in ("auto", "triton"))
    assert torch.equal(auto.score, triton.score)


@pytest.mark.parametrize("d", [1, 16, 64, 256])
@pytest.mark.parametrize("bands", [1, 2, 8])
def test_blocks_that_are_timed_fit(d: int, bands: int) -> None:
    from gradient_flow_drifting.ops.kde import _triton

    D = max(16, d)
    every = [triton.Config({"ROWS": rows, "KEYS": keys}, num_warps=warps) for rows, keys, warps in _triton.BLOCKS]
    fitting = _triton._fitting(every, {}, B=bands, D=D)
    assert fitting
    for each in fitting[1:]:  # the smallest is there whatever its size
        rows, keys = each.kwargs["ROWS"], each.kwargs["KEYS"]
        assert 4 * bands * rows * max(D, keys) <= 64 * 1024
        assert 4 * keys * D <= 32 * 1024
    assert len(fitting) == 1 or bands * D < 1024


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("d", [2, 64, 256])
def test_memory_on_a_gpu_is_linear(d: int) -> None:
    x, y = (torch.randn(65_536, d, device=DEVICE, requires_grad=True) for _ in range(2))
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    result = kde_score(x, y, bandwidth=0.3 * d**0.5)
    torch.autograd.grad(result.score.sum() + result.log_density.sum(), (x, y))
    grown = torch.cuda.max_memory_allocated() - before
    assert grown < 40 * x.numel() * 4 + 2**24  # one matrix of n² numbers would take 17 GB


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_many_coordinates_on_a_gpu() -> None:
    x, y = torch.randn(5, 64, 640), torch.randn(5, 160, 640)
    actual = kde_score(x.to(DEVICE), y.to(DEVICE), bandwidth=(10.0, 20.0))
    expected = kde_score(x.double(), y.double(), bandwidth=(10.0, 20.0), backend="reference")
    assert_close_by_name(actual._asdict(), expected._asdict(), rtol=1e-4)
