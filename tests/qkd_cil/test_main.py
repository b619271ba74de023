"""The command line as one types it, and what it says of a slip."""

import fcntl
import itertools
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from papertrio_shared.run import Run
from PIL import Image
from qkd_cil.__main__ import main
from safetensors.torch import save_file
from torch import ones

SMALL = ["--tasks.train-per-class", "6", "--tasks.test-per-class", "4", "--schedule.epochs", "1"]


def say(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Exit status, output and errors of a command."""
    status = main([str(word) for word in words])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_run_compare_and_predict(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    simple, tuned = tmp_path / "simple", tmp_path / "tuned"
    status, out, err = say(
        capsys, "run", "digits-b0-inc2", "--seeds", 1, 2, "--out", simple, *SMALL, "learner:simple-cil"
    )
    assert (status, err) == (0, "")
    assert "| simple | SimpleCIL | 2 |" in out
    orders = []
    for seed in (1, 2):
        config = json.loads((simple / str(seed) / "config.json").read_text())
        assert config["seed"] == config["tasks"]["class_order_seed"] == seed
        orders.append(json.loads((simple / str(seed) / "result.json").read_text())["task_classes"])
    assert orders[0] != orders[1]
    words = ["run", "digits-b0-inc2", "--out", tuned, *SMALL, "learner:finetune", "--learner.loss-over", "seen"]
    assert say(capsys, *words)[0] == 0
    status, out, _ = say(capsys, "compare", simple, tuned, "--out", tmp_path / "both")
    assert status == 0
    assert re.search(r"\| simple \| SimpleCIL \| 2 \| \d+\.\d\d ± \d+\.\d\d \|", out)
    assert re.search(r"\| tuned \| Finetune adapter \| 1 \| \d+\.\d\d \|", out)
    assert "against" not in (tmp_path / "both" / "comparison.md").read_text()  # one seed in common tells nothing
    page = (tmp_path / "both" / "comparison.html").read_text()
    assert "<img" in page
    assert "<th>forward</th>" in page
    latex = (tmp_path / "both" / "comparison.tex").read_text()
    assert re.search(r"simple & SimpleCIL & 2 & \d+\.\d\d \$\\pm\$ \d+\.\d\d & .* \\\\\n", latex)
    image = tmp_path / "seven.png"
    Image.fromarray(np.full((8, 8), 200, dtype=np.uint8)).save(image)
    status, out, _ = say(capsys, "predict", simple, image)
    assert status == 0
    assert re.fullmatch(rf"{image}\t\d\n", out)
    status, out, _ = say(capsys, "run", "--resume", simple)
    assert status == 0
    assert "| simple | SimpleCIL | 2 |" in out


def test_resume_runs_the_seeds_that_never_started(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for seed in (1, 2):  # a folder may get its seeds one by one
        words = ["run", "digits-b0-inc2", "--seeds", seed, "--out", tmp_path / "a", *SMALL, "learner:simple-cil"]
        assert say(capsys, *words)[0] == 0
    for path in sorted((tmp_path / "a" / "2").iterdir()):
        path.unlink()
    status, out, _ = say(capsys, "run", "--resume", tmp_path / "a")
    assert status == 0
    assert "| a | SimpleCIL | 2 |" in out


def test_arrays_and_weights_by_their_short_options(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    labels = np.repeat(np.arange(4), 3)
    images = np.random.default_rng(0).integers(0, 255, (12, 8, 8, 3), dtype=np.uint8)
    data = tmp_path / "mine.npz"
    np.savez(data, train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    words = ["run", "digits-b0-inc2", "--data", data, "--out", tmp_path / "a", "learner:simple-cil"]
    status, _, err = say(capsys, *words)
    assert (status, err) == (0, "")
    assert json.loads((tmp_path / "a" / "1993" / "result.json").read_text())["dataset"] == "mine"


def write_folder(root: Path) -> Path:
    """Three classes, three images each in train and test, one of them damaged."""
    random = np.random.default_rng(0)
    for place in itertools.product(("train", "test"), "abc", ("0.png", "1.png", "2.png")):
        path = root.joinpath(*place)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (9, 8), dtype=np.uint8)).save(path)
    (root / "train" / "b" / "1.png").write_text("no image")
    return root


def test_a_folder_with_a_corrupt_image(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data = write_folder(tmp_path / "letters")
    words = ["run", "digits-b0-inc2", "--data", data, "--tasks.increment", 1, "--out", tmp_path / "a"]
    line = "data letters: files skipped since they cannot be read as images: 1 (train/b/1.png)"
    assert "1.png: cannot be read as an image" in slip(capsys, *words, "--strict", "learner:simple-cil")
    assert not (tmp_path / "a").exists()
    status, out, err = say(capsys, *words, "learner:simple-cil")
    assert (status, err) == (0, "")
    assert out.count(line) == 1
    assert line in (tmp_path / "a" / "1993" / "log.txt").read_text()
    result = json.loads((tmp_path / "a" / "1993" / "result.json").read_text())
    assert f"data letters: {result['skipped_images']}" == line
    assert result["skipped_images"] in (tmp_path / "a" / "1993" / "report.html").read_text()


def slip(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """The one line that is said of a command that fails."""
    status, _, err = say(capsys, *words)
    assert status == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err


def test_slips_are_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "did you mean 'digits-b0-inc2'?" in slip(capsys, "run", "digits-b0-inc")
    assert "did you mean 'cifar100-small'?" in slip(capsys, "run", "cifar100-smal")
    assert "increment 3 do not divide 10 classes" in slip(
        capsys, "run", "digits-b0-inc2", "--tasks.increment", 3, "--out", tmp_path / "a"
    )
    assert not (tmp_path / "a" / "1993" / "config.json").exists()
    assert "no such file; give an .npz file" in slip(capsys, "run", "cifar100-small", "--data", tmp_path / "no.npz")
    assert "neither digits nor cifar100" in slip(capsys, "run", "cifar100-small", "--data", tmp_path / "nowhere")
    assert "qubits" in slip(capsys, "run", "digits-b0-inc2", "learner:qkd", "--learner.gate.qubits", 17)
    assert "holds no run (plan.json or config.json)" in slip(capsys, "run", "--resume", tmp_path)
    assert "holds no finished run" in slip(capsys, "compare", tmp_path)
    assert "give at least one" in slip(capsys, "compare")
    assert f"{tmp_path}: holds no finished run" in slip(capsys, "predict", tmp_path, tmp_path / "image.png")


def test_damaged_files_of_a_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["run", "digits-b0-inc2", *SMALL, "learner:simple-cil"]
    assert say(capsys, *words, "--out", tmp_path / "a")[0] == 0
    result, plan = tmp_path / "a" / "1993" / "result.json", tmp_path / "a" / "plan.json"
    whole = json.loads(result.read_text())
    image = tmp_path / "image.png"
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(image)
    assert "give at least one" in slip(capsys, "predict", tmp_path / "a")
    for text in ("{", "{}", "[]", '{"summary": {}}', '{"summary": null}'):
        result.write_text(text)
        assert "result.json is damaged; resume the run" in slip(capsys, "compare", tmp_path / "a")
        assert "result.json is damaged; resume the run" in slip(capsys, "predict", tmp_path / "a", image)
        assert say(capsys, "run", "--resume", tmp_path / "a")[0] == 0  # the advice helps
        assert json.loads(result.read_text())["summary"] == whole["summary"]
    plan.write_text('{"1994": {}}')
    assert f"{plan}: cannot be read" in slip(capsys, "run", "--resume", tmp_path / "a")
    assert f"{plan}: cannot be read" in slip(capsys, *words, "--seeds", 5, "--out", tmp_path / "a")
    (result.parent / "learner.safetensors").unlink()
    assert "learner.safetensors: no such file" in slip(capsys, "predict", tmp_path / "a", image)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tasks.increment", 3], "increment 3 do not divide 10 classes"),
        (["--tasks.task-sizes", 4, 4], "add up to 8, but the data set has 10 classes"),
        (["--tasks.train-per-class", 0], "train_per_class 0: give 1 or more"),
        (["--tasks.test-per-class", -1], "test_per_class -1: give 1 or more"),
        (["--seeds", -3], "class_order_seed -3: give a whole number from 0"),
        (["--seeds", 1, 2, 1], "seeds [1, 2, 1]: one is given twice"),
        (["--device", "cuda:99"], "device 'cuda:99' cannot be used here"),
        (["--backbone.depth", 0], "backbone: depth 0; it must be positive"),
        (["--backbone.weights", "random", "--backbone.img-size", 3], "img_size 3 is less than a patch, 8 pixels"),
        (["--backbone.embed-dim", 48], "do not fit vit_tiny_patch16_224"),
        (["--backbone.adapter.bottleneck", 0], "adapter: bottleneck 0; it must be positive"),
        (["--schedule.momentum", 1], "give a momentum from 0 to below 1"),
        (["--schedule.weight-decay", -1], "a weight decay that is not negative"),
        (["--schedule.learning-rate", "nan"], "all must be positive"),
        (["learner:qkd", "--learner.gate.qubits", 17], "gate: 17 qubits; choose 1 to 16 ("),
        (["learner:qkd", "--learner.gate.device", "no.such"], "no.such"),
        (["learner:icarl", "--learner.memory", 9], "a memory of 9 images is too small for 10 classes"),
        (["learner:qkd", "--learner.gate.temperature", "nan"], "temperature nan and bandwidth 1.0: both must be"),
        (["learner:qkd", "--learner.ridge", "inf"], "qkd: ridge inf; it must be positive"),
        (["learner:qkd", "--learner.routing-learning-rate", 0], "routing_learning_rate 0.0; it must be positive"),
    ],
)
def test_what_does_not_fit_leaves_nothing_behind(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[object], message: str
) -> None:
    assert message in slip(capsys, "run", "digits-b0-inc2", "--out", tmp_path / "a", *words)
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_cannot_be_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for words in (["run", "digits-b0-inc2"], ["demo", "--smoke"]):
        assert str(tmp_path / "file") in slip(capsys, *words, "--out", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "in the way"


def test_weights_that_do_not_fit_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["run", "digits-b0-inc2", "--out", tmp_path / "a", "--backbone.fingerprint", "", "--weights"]
    foreign, text = tmp_path / "foreign.safetensors", tmp_path / "text.safetensors"
    save_file({"weight": ones(3)}, foreign)
    text.write_text("no weights")
    assert "do not fit vit_tiny_patch16_224" in slip(capsys, *words, foreign)
    assert "not a safetensors file" in slip(capsys, *words, text)
    assert "no such file" in slip(capsys, *words, tmp_path / "none.safetensors")
    assert "is not the expected" not in slip(capsys, *words, tmp_path / "none.safetensors")


def test_a_folder_with_runs_is_left_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["run", "digits-b0-inc2", "--out", tmp_path / "a", *SMALL, "learner:simple-cil"]
    assert say(capsys, *words)[0] == 0
    assert "holds runs already; give another --out, or go on with --resume" in slip(capsys, *words)


def test_runs_of_other_scenarios_are_not_compared(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name, increment in (("two", 2), ("five", 5)):
        words = ["run", "digits-b0-inc2", "--out", tmp_path / name, "--tasks.increment", increment, *SMALL]
        assert say(capsys, *words, "learner:simple-cil")[0] == 0
    assert "compare runs of one scenario" in slip(capsys, "compare", tmp_path / "two", tmp_path / "five")
    (tmp_path / "two" / "1993" / "result.json").write_text("{")
    assert "result.json is damaged" in slip(capsys, "compare", tmp_path / "two")


def test_the_demonstration(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    earlier = tmp_path / "qkd"  # of an earlier demonstration, which is replaced
    earlier.mkdir()
    (earlier / "config.json").write_text("{}")
    status, out, err = say(capsys, "demo", "--out", tmp_path, "--smoke")
    assert (status, err) == (0, "")
    for name in ("simple-cil", "finetune-adapter", "qkd"):
        assert re.search(rf"\| {name} \| [\w ]+ \| 1 \| \d+\.\d\d", out)
        assert str(tmp_path / name / "report.html") in out
    assert (tmp_path / "comparison.png").stat().st_size > 1000


def test_every_method_has_a_name_on_the_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["run", "digits-b0-inc2", "--out", tmp_path, *SMALL, "learner:ranpac", "--learner.projection", 50]
    status, out, err = say(capsys, *words)
    assert (status, err) == (0, "")
    assert "| RanPAC | 1 |" in out
    names = re.findall(r"learner:([\w-]+)", say(capsys, "run", "digits-b0-inc2", "--help")[1])
    methods = "finetune joint lwf icarl slca l2p dual-prompt coda-prompt aper ranpac ease mote mos tuna qkd qkd-paper"
    assert {"simple-cil", *methods.split()} <= set(names)


def test_a_back_end_that_cannot_run_here_is_told_before_anything_is_learned(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["run", "digits-b0-inc2", "--out", tmp_path / "a", "--device", "cpu"]
    assert '"triton"' in slip(capsys, *words, "learner:qkd", "--learner.gate.backend", "triton")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_a_run_that_goes_on(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["run", "digits-b0-inc2", *SMALL, "--checkpoint-seconds", 0, "learner:finetune"]
    log = Run.log

    def interrupted(record: Run, step: int, **values: float) -> None:
        if step == 3:
            raise KeyboardInterrupt
        log(record, step, **values)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "log", interrupted)
        status, _, err = say(capsys, *words, "--out", tmp_path / "cut")
    assert (status, err.strip()) == (130, "qkd-cil: interrupted")
    assert say(capsys, "run", "--resume", tmp_path / "cut")[0] == 0
    assert say(capsys, *words, "--out", tmp_path / "whole")[0] == 0
    learners = [(tmp_path / name / "1993" / "learner.safetensors").read_bytes() for name in ("cut", "whole")]
    assert learners[0] == learners[1]


def test_two_processes_are_not_at_one_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["run", "digits-b0-inc2", *SMALL, "--tasks.first-tasks", 1, "--out", tmp_path, "learner:simple-cil"]
    assert say(capsys, *words)[0] == 0
    (tmp_path / "1993" / "result.json").unlink()
    descriptor = os.open(tmp_path / "1993", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)  # as the other process holds it
    assert "1993: another process is at this run" in slip(capsys, "run", "--resume", tmp_path)
    os.close(descriptor)

    def no_locks(*_: object) -> None:
        raise OSError(9, "Bad file descriptor")  # what NFS says

    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert say(capsys, "run", "--resume", tmp_path)[0] == 0
