"""Where a run trains, and what is told where that is not there; several processes are tested in each package."""

import pytest
import torch
from papertrio_shared.devices import fabric_of, is_writer


def test_one_device_is_the_writer() -> None:
    fabric = fabric_of("cpu", precision="bf16-mixed")
    assert (fabric.world_size, fabric.device.type) == (1, "cpu")
    assert fabric_of("auto").device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert is_writer()


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (0, "device = cuda: torch finds no CUDA device; use cpu, or auto"),
        (2, "devices = 3: torch finds 2 CUDA devices; ask for no more, or for device cpu"),
    ],
)
def test_devices_that_are_not_there_are_told(monkeypatch: pytest.MonkeyPatch, found: int, message: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: found > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: found)
    with pytest.raises(ValueError, match=message):
        fabric_of("cuda", 3)
