"""Pictures: what is drawn where; how they look is for eyes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from gradient_flow_drifting.data import SphereMixture
from gradient_flow_drifting.pictures import (
    animate,
    grid_of,
    picture_of_diagnostics,
    picture_of_field,
    picture_of_samples,
    save_picture,
)
from papertrio_shared.seed import generator
from PIL import Image

REAL = torch.randn(200, 2, generator=generator(0, "real"))


def test_an_animation_has_a_picture_for_each_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    frames = [REAL[:20] * scale for scale in (0.2, 0.6, 1.0)]
    written = animate(frames, ["a", "b", "c"], REAL, tmp_path / "a.gif")
    assert written == [tmp_path / "a.gif"]
    with Image.open(tmp_path / "a.gif") as picture:
        assert picture.n_frames == 3
        shown = []
        for i in range(3):
            picture.seek(i)
            shown.append(np.asarray(picture.convert("RGB"), dtype=int))
    assert all(np.abs(shown[i] - shown[i + 1]).max() > 50 for i in range(2))
    with pytest.raises(ValueError, match=r"frames and titles: 1 and 2"):
        animate(frames[:1], ["a", "b"], REAL, tmp_path / "a.gif")


@pytest.mark.parametrize(("program", "made"), [('cat > "$last"', True), ("cat > /dev/null; exit 1", False)])
def test_a_film_is_made_where_ffmpeg_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, made: bool
) -> None:
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "ffmpeg"
    script.write_text(f"#!/bin/sh\nfor last; do :; done\n{program}\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    written = animate([REAL[:20], REAL[20:40]], ["a", "b"], REAL, tmp_path / "a.gif")
    assert (tmp_path / "a.mp4" in written) == made == (tmp_path / "a.mp4").exists()
    if made:  # the stand-in passes the raw pictures on: two, three bytes to a pixel
        with Image.open(tmp_path / "a.gif") as picture:
            width, height = (2 * (side // 2) for side in picture.size)
        assert (tmp_path / "a.mp4").stat().st_size == 2 * 3 * width * height
    assert {path.suffix for path in tmp_path.iterdir()} <= {"", ".gif", ".mp4"}


@pytest.mark.parametrize("geometry", ["euclidean", "sphere"])
def test_clouds_and_fields_are_drawn_on_both_spaces(tmp_path: Path, geometry: str) -> None:
    real = REAL if geometry == "euclidean" else SphereMixture().sample(200, generator(0, "real"))
    figure = picture_of_samples(real, real, geometry=geometry)  # type: ignore[arg-type]
    assert len(figure.axes) == 3
    grid = grid_of(real, geometry=geometry, side=6)  # type: ignore[arg-type]
    fields = [("a", grid, torch.zeros_like(grid), torch.zeros(len(grid))), ("b", grid, grid.roll(1, 1), grid[:, 0])]
    figure = picture_of_field(fields, real, geometry=geometry)  # type: ignore[arg-type]
    assert len(figure.axes) == 3  # two panels and the colour bar
    with Image.open(save_picture(figure, tmp_path / "a.png")) as picture:
        assert picture.size[0] > 1000
    if geometry == "sphere":
        assert (grid.norm(dim=1) - 1).abs().max() < 1e-6


def test_every_stretch_has_the_same_width() -> None:
    names = ("loss", "velocity_squared", "energy", "log_ratio_05", "log_ratio_50", "log_ratio_95")
    rows = [{"step": step, **dict.fromkeys(names, 1.0)} for step in (5, 10, 60, 110)]
    figure = picture_of_diagnostics(rows, [("flow", 10), ("regression", 0), ("drifting", 100)])
    assert len(figure.axes) == 3
    assert figure.axes[0].lines[0].get_xdata().tolist() == [0.5, 1.0, 1.5, 2.0]  # type: ignore[union-attr]
    modes = dict.fromkeys(("coverage", "high_quality", "least_mode", "largest_mode"), 1.0)
    assert len(picture_of_diagnostics([{**row, **modes} for row in rows], [("flow", 110)]).axes) == 4
