"""The examples run from top to bottom and leave their pictures."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "packages" / "gradient-flow-drifting" / "examples"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sphere", ["modes covered: 100%", "sphere.png"]),
        pytest.param("particle_flows", ["kl_pq", "particle_flows.png"], marks=pytest.mark.slow),
        pytest.param("own_training_loop", ["step 600", "floor"], marks=pytest.mark.slow),
    ],
)
def test_an_example_runs(
    name: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / f"{name}.py"))
    printed = capsys.readouterr().out
    for word in words:
        assert word in printed
        assert not word.endswith(".png") or (tmp_path / word).stat().st_size > 10_000
