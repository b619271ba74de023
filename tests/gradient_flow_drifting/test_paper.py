"""The paper's experiments: every part once, a second time from what is there, and what is counted."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from gradient_flow_drifting.__main__ import main
from gradient_flow_drifting.data import Toy
from gradient_flow_drifting.paper import SMOKE, Scale, _count, reproduce, table_of_modes

TINY = Scale(particles=40, points=60, steps=5, seeds=2)
PARTS = [f"{kind}-{what}" for kind in ("divergences", "kernels", "sphere") for what in ("field", "particles")] + [
    "modes"
]


def test_every_part_is_made_once(tmp_path: Path) -> None:
    page = reproduce(tmp_path, TINY)
    assert {path.name for path in tmp_path.iterdir()} == {
        *(f"{name}.{kind}" for name in PARTS for kind in ("png", "json")),
        "modes.md",
        "paper.html",
    }
    text = page.read_text()
    assert text.count("data:image/png") == len(PARTS)
    assert 'src="http' not in text
    counts = json.loads((tmp_path / "modes.json").read_text())["figures"]
    assert {len(of["covered"]) for starts in counts.values() for of in starts.values()} == {2}
    assert len((tmp_path / "modes.md").read_text().splitlines()) == 2 + 2 * len(counts)

    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    (tmp_path / "kernels-field.json").unlink()
    reproduce(tmp_path, TINY)
    changed = {path.name for path in tmp_path.iterdir() if before.get(path.name) != path.stat().st_mtime_ns}
    assert changed == {"kernels-field.json", "kernels-field.png", "modes.md", "paper.html"}
    with pytest.raises(ValueError, match="was made at another scale"):
        reproduce(tmp_path, replace(TINY, steps=6))


def test_modes_are_counted_as_they_are() -> None:
    data = Toy("8gaussians")
    assert data.modes is not None
    centres = data.modes.centres
    points = torch.cat([centres[:3].repeat(10, 1), torch.zeros(10, 2)])
    counted = _count(points, data)
    assert counted == pytest.approx({"covered": 3.0, "between": 0.25, "largest": 2.0})


def test_the_table_has_a_row_for_each_divergence_and_start() -> None:
    of = {"covered": [8.0, 7.0], "between": [0.1, 0.3], "largest": [1.0, 2.0]}
    head, rows = table_of_modes({"kl_qp": {"wide": of}, "mixed": {"wide": {name: [1.0] for name in of}}})
    assert len(head) == len(rows[0])
    assert rows[0] == ["kl_qp", "wide", "7.5 ± 0.7", "0.200 ± 0.141", "1.50 ± 0.71"]
    assert rows[1][2:] == ["1.0", "1.000", "1.00"]


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--seeds", "0"], "seeds = 0: give at least 1"), (["--seeds", "-2"], "seeds = -2: give at least 1")],
)
def test_bad_numbers_leave_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["paper", "--out", str(tmp_path / "a"), *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


def test_the_smoke_scale_is_small() -> None:
    assert SMOKE.particles * SMOKE.steps * SMOKE.seeds <= 2000
