"""Score of a kernel density estimate: the fused operator against plain PyTorch, and three bandwidths against one."""

import math

import torch
from gradient_flow_drifting import kde_score
from torch import Tensor

from benchmarks.registry import Rows, benchmark
from benchmarks.timing import compare

SIZES = [(2048, 2048), (2048, 8192), (8192, 8192)]
DIMENSIONS = [2, 16, 64, 256]


def by_cdist(x: Tensor, y: Tensor, h: float) -> Tensor:
    """The mean shift from a matrix of distances, without the log density."""
    return torch.softmax(-torch.cdist(x, y).square() / (2 * h * h), dim=1) @ y


def by_product(x: Tensor, y: Tensor, h: float) -> Tensor:
    """The mean shift from a matrix product, without the log density."""
    return torch.softmax((x @ y.T - 0.5 * y.square().sum(1)) / (h * h), dim=1) @ y


@benchmark(package="gradient-flow-drifting", name="kde_score", device="cpu")
def kde_score_cpu() -> Rows:
    """Milliseconds of score and log density in float32; the naive ways give the score alone."""
    rows: Rows = []
    for n, m in SIZES:
        for d in DIMENSIONS:
            x, y = torch.randn(n, d), torch.randn(m, d)
            h = 0.3 * math.sqrt(d)
            three = (h / 2, h, 2 * h)
            times = compare(
                {
                    "cdist": lambda x=x, y=y, h=h: by_cdist(x, y, h),
                    "product": lambda x=x, y=y, h=h: by_product(x, y, h),
                    "ours": lambda x=x, y=y, h=h: kde_score(x, y, bandwidth=h, backend="attention"),
                    "three": lambda x=x, y=y, three=three: kde_score(x, y, bandwidth=three, backend="attention"),
                    "narrow": lambda x=x, y=y, h=h: kde_score(x, y, bandwidth=h / 1000, backend="attention"),
                    "left_out": lambda x=x, y=y, h=h: kde_score(
                        x, y, bandwidth=h, self_terms="leave_one_out", backend="attention"
                    ),
                }
            )
            milliseconds = {name: 1e3 * each.median for name, each in times.items()}
            rows.append(
                {
                    "n": n,
                    "m": m,
                    "d": d,
                    "cdist and softmax": round(milliseconds["cdist"], 1),
                    "product and softmax": round(milliseconds["product"], 1),
                    "ours": round(milliseconds["ours"], 1),
                    "faster naive / ours": round(
                        min(milliseconds["cdist"], milliseconds["product"]) / milliseconds["ours"], 2
                    ),
                    "three bandwidths": round(milliseconds["three"], 1),
                    "three / one": round(milliseconds["three"] / milliseconds["ours"], 2),
                    "one left out": round(milliseconds["left_out"], 1),
                    "in float64 (h/1000)": round(milliseconds["narrow"], 1),
                }
            )
    return rows
