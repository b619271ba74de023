"""The commands from one end to the other, and the one line of each error."""

import json
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from gradient_flow_drifting import Drifting, ParticleFlow, Regression, TrainConfig
from gradient_flow_drifting.__main__ import main

TINY = [
    "--flow.particles=256",
    "--flow.pool=256",
    "--flow.steps=6",
    "--regression.steps=6",
    "--objective.steps=6",
    "--generator.width=16",
    "--draws=1",
    "--frames=4",
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished run, and what the command printed."""
    folder, printed = tmp_path_factory.mktemp("runs") / "a", StringIO()
    mixed = [
        "--objective.field.divergence",
        "kl_pq",
        "1.0",
        "chi2_qp",
        "0.5",
        "--objective.field.max-step",
        "bandwidth",
    ]
    with redirect_stdout(printed):
        assert main(["train", "8gaussians", *TINY, *mixed, "--out", str(folder)]) == 0
    return folder, printed.getvalue()


def test_train_then_sample_evaluate_and_resume(
    tmp_path: Path, trained: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = trained
    written = json.loads((folder / "config.json").read_text())["objective"]["field"]
    assert written["divergence"] == [["kl_pq", 1.0], ["chi2_qp", 0.5]]
    assert "W₂" in out
    assert "floor" in out
    names = {
        "samples.npy",
        "evaluation.json",
        "samples.png",
        "field.png",
        "diagnostics.png",
        "training.gif",
        "report.html",
    }
    assert names <= {path.name for path in folder.iterdir()}
    assert np.load(folder / "samples.npy").shape == (10_000, 2)
    page = (folder / "report.html").read_text()
    assert page.count("data:image/") == 4
    assert 'src="http' not in page
    assert "W₂" in page

    target = tmp_path / "s.npy"
    assert main(["sample", str(folder), "-n", "50", "-o", str(target)]) == 0
    assert np.load(target).shape == (50, 2)
    assert main(["evaluate", str(folder), "--draws", "1", "--seed", "5"]) == 0
    figures = json.loads((folder / "evaluation.json").read_text())
    assert figures["draws"] == 1
    capsys.readouterr()
    assert main(["train", "--resume", str(folder)]) == 0
    assert str(folder / "report.html") in capsys.readouterr().out


@pytest.mark.parametrize("data", ["sphere", "points.npy"])
def test_particles_leave_points_and_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data: str
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("points.npy", torch.randn(300, 4).numpy())
    argv = ["particles", data, "--count", "200", "--points", "300", "--steps", "5", "--out", "p"]
    assert main(argv) == 0
    assert "W₂" in capsys.readouterr().out
    pictures = {"particles.png", "particles.gif", "diagnostics.png"}
    assert {path.name for path in Path("p").iterdir()} == {"particles.npy", "particles.html", *pictures}
    assert np.load("p/particles.npy").shape == (200, 3 if data == "sphere" else 4)
    page = Path("p/particles.html").read_text()
    assert page.count("data:image/") == 3
    assert 'src="http' not in page
    assert ("standardised units" in page) == (data != "sphere")


def test_particles_are_written_in_the_units_of_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("points.npy", torch.randn(300, 2).numpy() * 20 + 500)
    assert main(["particles", "points.npy", "--count=200", "--points=240", "--steps=2", "--out", "p"]) == 0
    found = np.load("p/particles.npy")
    assert np.abs(found.mean(0) - 500).max() < 10
    assert 10 < found.std() < 30


def test_particles_know_the_space_they_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("points.npy", torch.nn.functional.normalize(torch.randn(300, 3), dim=1).numpy())
    argv = ["particles", "points.npy", "--count=50", "--points=100", "--steps=3", "--out", "p"]
    assert main([*argv, "--data.geometry", "sphere"]) == 0
    assert np.allclose(np.linalg.norm(np.load("p/particles.npy"), axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    "words",
    [["--level", "exact", "--step-rule", "backtracking"], ["--negatives", "cross_fit", "--divergence", "mixed"]],
)
def test_particles_take_each_level_and_each_kind_of_negatives(tmp_path: Path, words: list[str]) -> None:
    found = []
    for _ in range(2):
        argv = ["particles", "moons", "--count=60", "--points=100", "--steps=3", "--out", str(tmp_path), *words]
        assert main(argv) == 0
        found.append(np.load(tmp_path / "particles.npy"))
    assert np.array_equal(*found)
    assert main(["particles", "moons", "--count=60", "--points=100", "--steps=3", "--out", str(tmp_path)]) == 0
    assert not np.array_equal(found[0], np.load(tmp_path / "particles.npy"))


def test_particles_that_are_images_are_shown_as_images(tmp_path: Path) -> None:
    argv = ["particles", "digits", "--count", "20", "--points", "50", "--steps", "2", "--out", str(tmp_path)]
    assert main(argv) == 0
    assert not (tmp_path / "particles.gif").exists()
    assert "images of the data" in (tmp_path / "particles.html").read_text()


def test_particles_follow_a_field_that_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["particles", "moons", "--count", "100", "--points", "150", "--steps", "4", "--out", str(tmp_path)]
    for words in (["field:sinkhorn-drift", "--field.blur", "0.3"], ["field:sliced-wasserstein"], ["field:bi-softmax"]):
        assert main([*argv, *words]) == 0
        assert "W₂" in capsys.readouterr().out
    assert main([*argv, "field:sinkhorn-drift", "--field.blur", "-1"]) == 2
    assert "field.blur = -1.0: give a positive number" in capsys.readouterr().err


def test_a_run_follows_a_field_that_is_named(tmp_path: Path) -> None:
    words = ["objective.field:bi-softmax", "--objective.field.affinity-floor", "None", "--objective.negatives", "same"]
    assert main(["train", "moons", "--out", str(tmp_path / "a"), *TINY, *words]) == 0
    field = json.loads((tmp_path / "a" / "config.json").read_text())["objective"]["field"]
    assert (field["class"], field["affinity_floor"]) == ("BiSoftmax", None)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["train", "8gausians"], "did you mean '8gaussians'?"),
        (["train", "--resume", "none"], "none: holds no run (config.json is missing): check the path"),
        (["train", "array", "--out", "a", "--data.path", "none.npy"], "none.npy: no such file: check the path"),
        (["train", "array", "--out", "a", "--data.path", "nan.npy"], "row 0 holds a value that is not finite"),
        (["train", "moons", "--out", "a", "--objective.field.bandwidths", "0.1", "-1"], "field.bandwidths"),
        (["train", "moons", "--out", "a", "--objective.field.max-step", "0"], "max_step: a number > 0"),
        (["train", "moons", "--out", "a", "--limit", "1e-9", *TINY], "loss blew up"),
        (["sample", "none"], "none: holds no run (config.json is missing): check the path"),
        (["evaluate", "none"], "none: holds no run (config.json is missing): check the path"),
        (["sample", "w.safetensors"], "w.safetensors: not a whole safetensors file"),
        (["particles", "mons"], "no data set is called 'mons': did you mean 'moons'?"),
        (["particles", "moons", "--count", "0"], "count = 0: ask for at least one"),
        (["particles", "moons", "--points", "0"], "points: a whole number, at least 1, is needed, found 0"),
        (["particles", "moons", "--out", "nan.npy"], "nan.npy: is a file: give a folder by --out"),
        (["particles", "moons", "--steps", "0"], "steps: a whole number, at least 1, is needed, found 0"),
        (["particles", "moons", "--divergence", "kl"], '"kl" is unknown; did you mean'),
        (["particles", "nan.npy"], "nan.npy: row 0 holds a value that is not finite"),
        (["particles", "moons", "--level", "exact", "field:bi-softmax"], "level: exact is of a divergence's own field"),
        (["particles", "moons", "--step-rule", "backtracking"], 'only the "exact" field is the gradient of an energy'),
        (["particles", "moons", "--data.geometry", "torus"], "moons knows its geometry: leave torus out"),
        (["train", "array-conditional", "--out", "a", "--data.path", "good.npy"], "no labels: give some, or set it to"),
    ],
)
def test_what_goes_wrong_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("nan.npy", np.full((20, 2), np.nan))
    np.save("good.npy", np.eye(20))
    Path("w.safetensors").write_bytes(b"torn")
    assert main(argv) == 2
    if "blew up" not in message:  # a run that began leaves its folder
        assert {path.name for path in tmp_path.iterdir()} == {"good.npy", "nan.npy", "w.safetensors"}
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert message in error
    assert "__" not in error  # no inner name of the parser
    assert "\n" not in error


def test_what_a_finished_run_refuses_is_told(
    tmp_path: Path, trained: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = trained
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert main(["sample", str(folder), "-n", "0", "-o", str(tmp_path / "s.npy")]) == 2
    assert "count = 0: ask for at least one point" in capsys.readouterr().err
    assert main(["evaluate", str(folder), "--draws", "0"]) == 2
    assert "draws: a whole number, at least 1, is needed, found 0" in capsys.readouterr().err
    assert main(["train", "moons", *TINY, "--out", str(folder)]) == 2
    assert "holds a run already" in capsys.readouterr().err
    for words in (["moons"], ["8gaussians", "--seed", "3"], ["--out", str(tmp_path / "b")]):
        assert main(["train", *words, "--resume", str(folder)]) == 2
        assert "goes on with the run's own config" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_run_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gradient_flow_drifting.__main__.start_run", interrupted)
    assert main(["train", "moons", "--out", str(tmp_path / "a")]) == 130
    assert f"go on with: gradient-flow-drifting train --resume {tmp_path / 'a'}\n" in capsys.readouterr().err


def test_a_run_on_a_file_is_measured_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    generator = torch.Generator().manual_seed(0)
    np.savez("points.npz", points=torch.randn(100, 2, generator=generator).numpy(), labels=np.arange(100) % 2)
    words = ["--generator.width=8", "--objective.steps=2", "--draws=1", "--frames=1", "--samples=20"]
    assert main(["train", "array-conditional", "--data.path", "points.npz", *words, "--out", "a"]) == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["evaluate", str(tmp_path / "a"), "--draws", "1"]) == 0
    assert main(["sample", str(tmp_path / "a"), "--label", "1", "-n", "5", "-o", "s.npy"]) == 0


def test_a_demo_run_again_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = TrainConfig(
        flow=ParticleFlow(steps=0), regression=Regression(steps=0), objective=Drifting(steps=2), draws=1, frames=1
    )
    monkeypatch.setattr("gradient_flow_drifting.__main__.SMOKE", tiny)
    for _ in range(2):
        assert main(["demo", "--smoke", "--out", str(tmp_path / "a")]) == 0
    assert main(["demo", "--out", str(tmp_path / "a")]) == 2
    assert "holds a run already" in capsys.readouterr().err
