"""The choice of an implementation by device."""

import pytest
import torch
from papertrio_shared import backend
from papertrio_shared.backend import resolve_backend


def test_auto_takes_the_cpu_name_for_cpu_tensors() -> None:
    assert resolve_backend("auto", torch.zeros(1), torch.ones(2)) == "reference"
    assert resolve_backend("auto", torch.zeros(1), cpu="attention") == "attention"


def test_an_explicit_name_is_kept() -> None:
    assert resolve_backend("pennylane", torch.zeros(1), cpu="attention") == "pennylane"


def test_mixed_devices_are_named() -> None:
    with pytest.raises(ValueError, match=r"different devices \(cpu, meta\): move them to one"):
        resolve_backend("auto", torch.zeros(1), torch.zeros(1, device="meta"))


class _OnGpu:
    device = torch.device("cuda", 0)


@pytest.mark.parametrize(
    ("triton_installed", "gpu", "expected"),
    [(True, "triton", "triton"), (False, "triton", "reference"), (False, "fused", "fused")],
)
def test_gpu_tensors_fall_back_only_where_triton_is_missing(
    monkeypatch: pytest.MonkeyPatch, triton_installed: bool, gpu: str, expected: str
) -> None:
    monkeypatch.setattr(backend, "find_spec", lambda _: object() if triton_installed else None)
    assert resolve_backend("auto", _OnGpu(), gpu=gpu) == expected  # type: ignore[arg-type]
