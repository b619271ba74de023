"""One result against another, by name."""

from collections.abc import Mapping

import torch
from torch import Tensor


def assert_close_by_name(actual: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, rtol: float) -> None:
    """Hold each tensor to max |a − b| ≤ rtol · max |b|, with equal shapes and no NaN.

    Args:
        actual: Tensors by name.
        expected: The same names.
        rtol: Tolerance relative to the largest expected magnitude of each tensor.
    """
    assert actual.keys() == expected.keys(), f"names differ: {sorted(actual)} and {sorted(expected)}"
    errors = {name: relative_error(actual[name], expected[name], name) for name in expected}
    worst = max(errors, key=lambda name: errors[name])
    assert errors[worst] <= rtol, f"{worst}: relative error {errors[worst]:.3g} exceeds {rtol:.3g}"


def relative_error(actual: Tensor, expected: Tensor, name: str = "tensor") -> float:
    """The largest difference over the largest expected magnitude; the difference itself where all expected are zero."""
    assert actual.shape == expected.shape, f"{name}: shapes {tuple(actual.shape)} and {tuple(expected.shape)} differ"
    if expected.numel() == 0:
        return 0.0
    a, b = actual.detach().cpu().to(torch.float64), expected.detach().cpu().to(torch.float64)
    error = (a - b).abs().max() / (b.abs().max() or 1.0)
    return float(error.nan_to_num(nan=float("inf")))
