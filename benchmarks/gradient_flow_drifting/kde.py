"""Score of a kernel density estimate on a CPU: ours beside plain PyTorch and its peers."""

import math
import resource
import subprocess
import sys

import torch
from gradient_flow_drifting import kde_score
from gradient_flow_drifting.ops.kde import _attention

from benchmarks.registry import Rows, benchmark
from benchmarks.timing import Timing, compare

from .ways import WAYS, by_baddbmm, those_that_run

DIMENSIONS = [2, 16, 64, 256]
BATCHES = [(200, 256), (80, 640), (40, 1280), (10, 5120)]
NAIVE = ("cdist and softmax", "product and softmax")
KEOPS_PRODUCTS = 2**31  # n²d; beyond, a call takes seconds


def milliseconds(times: dict[str, Timing], digits: int = 1) -> dict[str, object]:
    """Medians by name."""
    return {name: round(1e3 * each.median, digits) for name, each in times.items()}


def quotient(times: dict[str, Timing], above: str, below: str) -> float:
    """Of two medians; the ways were timed in turn."""
    return round(times[above].median / times[below].median, 2)


@benchmark(package="gradient-flow-drifting", name="kde_score", device="cpu")
def kde_score_cpu() -> Rows:
    """Milliseconds of score and log density in float32, n queries by n keys; the naive ways give the score alone."""
    rows: Rows = []
    for n in (2048, 8192):
        for d in DIMENSIONS:
            x, y, h = torch.randn(n, d), torch.randn(n, d), 0.3 * math.sqrt(d)
            three = (h / 2, h, 2 * h)
            ways = {name: lambda way=way, x=x, y=y, h=h: way(x, y, h) for name, way in WAYS.items()}
            if n * n * d > KEOPS_PRODUCTS:
                del ways["KeOps"]
            ways |= {
                "ours": lambda x=x, y=y, h=h: kde_score(x, y, bandwidth=h),
                "ours, one left out": lambda x=x, y=y, h=h: kde_score(x, y, bandwidth=h, self_terms="leave_one_out"),
                "ours, three bandwidths": lambda x=x, y=y, three=three: kde_score(x, y, bandwidth=three),
                "ours, in float64 (h/1000)": lambda x=x, y=y, h=h: kde_score(x, y, bandwidth=h / 1000),
            }
            ran, refused = those_that_run(ways)
            times = compare(ran, repeats=11 if n == 2048 else 3, warmup=0)
            faster = min(NAIVE, key=lambda name: times[name].median)
            print(n, d, milliseconds(times), flush=True)
            rows.append(
                {
                    "n": n,
                    "d": d,
                    **{name: milliseconds(times).get(name, refused.get(name, "–")) for name in [*WAYS, *ways]},
                    "faster naive / ours": quotient(times, faster, "ours"),
                    "three / one": quotient(times, "ours, three bandwidths", "ours"),
                }
            )
    return rows


@benchmark(package="gradient-flow-drifting", name="kde_score_batch", device="cpu")
def kde_score_batch() -> Rows:
    """Milliseconds for many problems of 64 queries by 160 keys in float32; `baddbmm` gives the score alone."""
    rows: Rows = []
    for problems, d in BATCHES:
        h = 0.5 * math.sqrt(d)
        x, y = torch.randn(problems, 64, d, requires_grad=True), torch.randn(problems, 160, d, requires_grad=True)
        leaves, three = (x, y), (h / 2, h, 2 * h)
        weight = torch.randn(problems, 64, d)
        frozen = (x.detach(), y.detach())
        times = compare(
            {
                "baddbmm and softmax": lambda frozen=frozen, h=h: by_baddbmm(*frozen, h),
                "ours": lambda frozen=frozen, h=h: kde_score(*frozen, bandwidth=h),
                "ours, three bandwidths": lambda frozen=frozen, three=three: kde_score(*frozen, bandwidth=three),
                "baddbmm and softmax, with gradients": lambda leaves=leaves, h=h, weight=weight: torch.autograd.grad(
                    by_baddbmm(*leaves, h), leaves, weight
                ),
                "ours, with gradients": lambda leaves=leaves, h=h, weight=weight: torch.autograd.grad(
                    kde_score(*leaves, bandwidth=h).score, leaves, weight
                ),
            },
            repeats=7,
        )
        rows.append(
            {
                "problems": problems,
                "d": d,
                **milliseconds(times),
                "baddbmm / ours": quotient(times, "baddbmm and softmax", "ours"),
                "the same with gradients": quotient(
                    times, "baddbmm and softmax, with gradients", "ours, with gradients"
                ),
                "three / one": quotient(times, "ours, three bandwidths", "ours"),
            }
        )
    return rows


@benchmark(package="gradient-flow-drifting", name="kde_score_small", device="cpu")
def kde_score_small() -> Rows:
    """Microseconds of a call of the size of a training step, beside torch's bare fused operator, without gradients."""
    rows: Rows = []
    before = torch.get_num_threads()
    for threads in dict.fromkeys((1, before)):
        torch.set_num_threads(threads)
        for n, m, d, widths in ((256, 512, 2, (0.4,)), (256, 512, 2, (0.1, 0.4, 1.0))):
            x, y = torch.randn(n, d), torch.randn(m, d)
            query, key = (torch.randn(1, len(widths), count, d + 1) for count in (n, m))
            times = compare(
                {
                    "bare operator": lambda query=query, key=key: _attention._FORWARD(query, key, key, scale=1.0),
                    "ours": lambda x=x, y=y, widths=widths: kde_score(x, y, bandwidth=widths),
                    "ours, one left out": lambda x=x, y=y, widths=widths: kde_score(
                        x, y, bandwidth=widths, self_terms="leave_one_out"
                    ),
                },
                repeats=500,
                warmup=20,
            )
            micro = {name: round(1e6 * each.median) for name, each in times.items()}
            over = round(1e6 * (times["ours"].median - times["bare operator"].median))
            rows.append(
                {"threads": threads, "n": n, "m": m, "d": d, "bandwidths": len(widths), **micro, "over the bare": over}
            )
    torch.set_num_threads(before)
    return rows


LARGE = """
import sys, time, torch
from benchmarks.gradient_flow_drifting.kde import peak_megabytes
from gradient_flow_drifting import kde_score
n = int(sys.argv[1])
x, y = torch.randn(n, 2), torch.randn(n, 2)
kde_score(x[:100], y[:100], bandwidth=0.2)
before, start = peak_megabytes(), time.perf_counter()
assert torch.isfinite(kde_score(x, y, bandwidth=0.2).score).all()
print(time.perf_counter() - start, peak_megabytes() - before, peak_megabytes())
"""


def peak_megabytes() -> float:
    """The largest resident size of this process so far."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / (1024 if sys.platform == "linux" else 1024**2)


@benchmark(package="gradient-flow-drifting", name="kde_score_memory", device="cpu")
def kde_score_memory() -> Rows:
    """Time and memory of one call in a process of its own, n by n points in the plane."""
    rows: Rows = []
    for n in (50_000, 200_000):
        done = subprocess.run([sys.executable, "-c", LARGE, str(n)], check=True, capture_output=True, text=True)
        seconds, growth, peak = map(float, done.stdout.split())
        rows.append(
            {
                "n": n,
                "seconds": round(seconds, 2),
                "growth of the largest resident size, MB": round(growth, 1),
                "largest resident size, MB": round(peak),
                "one matrix of n² numbers would take, MB": round(4 * n * n / 1024**2),
            }
        )
    return rows
