"""What the benchmarks time: each way gives the same mean shift, and one that is absent is said so."""

import sys

import pytest
import torch
from close import assert_close_by_name
from gradient_flow_drifting import kde_score

from benchmarks.gradient_flow_drifting.ways import by_baddbmm, by_cdist, by_keops, by_product, those_that_run


def test_naive_ways_give_the_mean_of_the_score() -> None:
    x, y = torch.randn(3, 20, 5, dtype=torch.float64), torch.randn(3, 31, 5, dtype=torch.float64)
    mean = kde_score(x, y, bandwidth=0.7, backend="reference").score * 0.7**2 + x
    ways = {"cdist": by_cdist, "product": by_product, "baddbmm": by_baddbmm}
    found = {name: way(x, y, 0.7) for name, way in ways.items()}
    assert_close_by_name(found, dict.fromkeys(ways, mean), rtol=1e-10)


def test_ways_that_cannot_run_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pykeops.torch", None)
    x = torch.zeros(2, 2)

    def too_large() -> None:
        raise torch.OutOfMemoryError("of 17 GB")

    ran, refused = those_that_run({"KeOps": lambda: by_keops(x, x, 1.0), "large": too_large, "here": lambda: None})
    assert list(ran) == ["here"]
    assert refused == {"KeOps": "absent", "large": "no memory"}
