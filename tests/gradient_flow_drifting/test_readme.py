"""The tour of the README runs as it stands."""

import re
from pathlib import Path

import pytest
import torch

README = Path(__file__).parents[2] / "packages" / "gradient-flow-drifting" / "README.md"


def test_the_tour_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 2
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    samples, particles = names["samples"], names["particles"]
    assert isinstance(samples, torch.Tensor)
    assert isinstance(particles, torch.Tensor)
    assert samples.shape == (10_000, 2)
    assert bool(samples.isfinite().all())
    assert bool(particles.isfinite().all())


def test_every_preset_is_in_the_readme() -> None:
    from gradient_flow_drifting import PRESETS

    text = README.read_text(encoding="utf-8")
    assert [name for name in PRESETS if f"`{name}`" not in text] == []


def test_pictures_of_the_readme_are_there_and_small() -> None:
    for name in re.findall(r"!\[[^]]*\]\(([^)]+)\)", README.read_text(encoding="utf-8")):
        assert (README.parent / name).stat().st_size <= 300_000
