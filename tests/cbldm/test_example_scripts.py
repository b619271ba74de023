"""The scripts of the folder `examples` run from top to bottom, without a measured file."""

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "packages" / "cbldm" / "examples"
MADE = {
    "simulate_and_fit": "simulate_and_fit.png",
    "own_library": "my_clusters/hollow.xyz",
    "tour": "tour/fit/fit_diffpy.py",
}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("simulate_and_fit", ["its U rises: True", "dilation 1.0300, U of the shell 0.0120, U of the core 0.0040"]),
        ("compare_with_pdfgui", ["diameter 19.3 Å, some 246 atoms", "FCC 4 6 6, 249 atoms, Rw 0.000"]),
        ("own_library", ["hollow: hollow.xyz (own), Pt54", "Ni10Pt44", "icosahedron: Ico 3 (library)"]),
        pytest.param("tour", ["Dec 4 2 0 with 85 atoms", "types {Dec: 1.00}", "± 0.0"], marks=pytest.mark.slow),
    ],
)
def test_an_example_runs(
    name: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [f"{name}.py"])
    runpy.run_path(str(EXAMPLES / f"{name}.py"))
    printed = capsys.readouterr().out
    for word in words:
        assert word in printed
    assert (tmp_path / MADE.get(name, "")).exists()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "element"), [("Pt_JQ_S1", "Pt"), ("Au144PET_100K", "Au")])
def test_the_sphere_says_whether_a_measured_particle_is_larger_than_what_is_searched(
    name: str, element: str, data_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    curve = data_folder / "pdf" / "experimental" / f"{name}.gr"
    monkeypatch.setattr(sys, "argv", ["compare_with_pdfgui.py", str(curve), element])
    found = runpy.run_path(str(EXAMPLES / "compare_with_pdfgui.py"))
    capsys.readouterr()
    larger = found["atoms"] > 256 and found["found"].cost < 0.5 * ((found["curve"].g * found["best"].rw) ** 2).sum()
    assert larger == (name == "Pt_JQ_S1")
