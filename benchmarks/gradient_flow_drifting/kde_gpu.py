"""Score of a kernel density estimate on a CUDA device: ours beside KeOps, the compiled reference and bare products."""

import math
from collections.abc import Callable

import torch
from gradient_flow_drifting import kde_score
from torch import Tensor

from benchmarks.registry import Rows, benchmark
from benchmarks.timing import compare

from .kde import milliseconds, quotient
from .ways import by_baddbmm, by_compile, by_keops, those_that_run

ROWS_AT_ONCE = 4096  # of the bare products, whose matrix of n² numbers would not fit


def two_products(x: Tensor, y: Tensor) -> Callable[[], None]:
    """x·yᵀ and its product with y by torch.matmul, in blocks of queries: what their arithmetic alone takes."""
    exponents, mean = x.new_empty(min(ROWS_AT_ONCE, len(x)), len(y)), torch.empty_like(x)

    def run() -> None:
        for first in range(0, len(x), ROWS_AT_ONCE):
            some = slice(first, first + ROWS_AT_ONCE)
            torch.mm(x[some], y.T, out=exponents)
            torch.mm(exponents, y, out=mean[some])

    return run


@benchmark(package="gradient-flow-drifting", name="kde_score", device="gpu")
def kde_score_gpu() -> Rows:
    """Milliseconds of score and log density in float32 (TF32 off), n queries by n keys."""
    torch.set_float32_matmul_precision("highest")
    rows: Rows = []
    for n in (4096, 65536):
        for d in (2, 16, 64, 256):
            x, y = (torch.randn(n, d, device="cuda", requires_grad=True) for _ in range(2))
            near, far, h = x.detach(), y.detach(), 0.3 * math.sqrt(d)
            three, weight = (h / 2, h, 2 * h), torch.randn(n, d, device="cuda")
            peers = {"KeOps": by_keops, "torch.compile of the reference": by_compile}
            ways = {name: lambda way=way, a=near, b=far, h=h: way(a, b, h) for name, way in peers.items()}
            ways |= {
                "two products": two_products(near, far),
                "ours": lambda a=near, b=far, h=h: kde_score(a, b, bandwidth=h),
                "ours, three bandwidths": lambda a=near, b=far, three=three: kde_score(a, b, bandwidth=three),
                "ours, with gradients": lambda x=x, y=y, h=h, weight=weight: torch.autograd.grad(
                    kde_score(x, y, bandwidth=h).score, (x, y), weight
                ),
            }
            ran, refused = those_that_run(ways)
            torch.cuda.reset_peak_memory_stats()
            held = torch.cuda.memory_allocated()
            kde_score(near, far, bandwidth=h)
            grown = (torch.cuda.max_memory_allocated() - held) / 1024**2
            times = compare(ran, repeats=9)
            timed = milliseconds(times, 3)
            rows.append(
                {
                    "n": n,
                    "d": d,
                    **{name: timed.get(name, refused.get(name, "")) for name in ways},
                    "KeOps / ours": quotient(times, "KeOps", "ours") if "KeOps" in times else "",
                    "compiled / ours": quotient(times, "torch.compile of the reference", "ours")
                    if "torch.compile of the reference" in times
                    else "",
                    "share of the rate of two products": quotient(times, "two products", "ours"),
                    "three / one": quotient(times, "ours, three bandwidths", "ours"),
                    "memory of a call, MB": round(grown, 1),
                }
            )
    return rows


@benchmark(package="gradient-flow-drifting", name="kde_score_batch", device="gpu")
def kde_score_batch_gpu() -> Rows:
    """Milliseconds for many problems of 64 queries by 160 keys in float32 (TF32 off) on a CUDA device."""
    torch.set_float32_matmul_precision("highest")
    rows: Rows = []
    for problems, d in ((4000, 256), (2000, 1280), (500, 5120)):
        x, y = torch.randn(problems, 64, d, device="cuda"), torch.randn(problems, 160, d, device="cuda")
        h = 0.5 * math.sqrt(d)
        three = (h / 2, h, 2 * h)
        ways = {
            "baddbmm and softmax": lambda x=x, y=y, h=h: by_baddbmm(x, y, h),
            "ours": lambda x=x, y=y, h=h: kde_score(x, y, bandwidth=h),
            "ours, by products": lambda x=x, y=y, h=h: kde_score(x, y, bandwidth=h, backend="matmul"),
            "ours, three bandwidths": lambda x=x, y=y, three=three: kde_score(x, y, bandwidth=three),
        }
        times = compare(ways, repeats=9)
        rows.append(
            {
                "problems": problems,
                "d": d,
                **milliseconds(times, 3),
                "baddbmm / ours": quotient(times, "baddbmm and softmax", "ours"),
            }
        )
    return rows
