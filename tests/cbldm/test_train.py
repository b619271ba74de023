"""Training: golden numbers, that it learns, resume to the same bits, and how a diverging run ends."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cbldm.config import CurveSource, TrainConfig
from cbldm.presets import PRESETS
from cbldm.sample import WEIGHTS, load_profile
from cbldm.train import CHECKPOINT, DivergedError, Trainer, resume, run_config, train
from papertrio_shared.checkpoint import CheckpointError, load_state, load_weights, save_state
from papertrio_shared.run import config_to_dict, read_metrics
from tiny import ROBUST

GOLDEN = Path(__file__).parent / "golden" / "train.json"
SHORT = TrainConfig(
    profile=replace(ROBUST, atoms=20, tokens=2, channels=2),
    data=CurveSource(max_atoms=20, distinct=24, split="random"),
    steps=(9, 7, 6),
    batch=8,
    warmup=2,
    learning_rate=3e-3,
    validation=8,
    log_every=4,
    checkpoint_every=5,
)


def assert_same_bits(one: Path, other: Path) -> None:
    a, b = (load_state(each / CHECKPOINT) for each in (one, other))
    for name in ("profile", "average"):
        assert [key for key in a[name] if not torch.equal(a[name][key], b[name][key])] == []
    a, b = (load_weights(each / WEIGHTS)[0] for each in (one, other))
    assert [key for key in a if not torch.equal(a[key], b[key])] == []
    assert read_metrics(one) == read_metrics(other)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(SHORT, tmp_path_factory.mktemp("train") / "whole")


def test_a_run_gives_the_golden_numbers(whole: Path) -> None:
    """Regenerated, after a change that is meant to alter them, with PAPERTRIO_REGENERATE=1 in the environment."""
    found = read_metrics(whole)
    if os.environ.get("PAPERTRIO_REGENERATE"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
    expected = json.loads(GOLDEN.read_text())
    assert [row["step"] for row in found] == [row["step"] for row in expected] == [4, 8, 12, 16, 20, 22]
    for row, golden in zip(found, expected, strict=True):
        assert row == pytest.approx(golden, rel=5e-3, abs=1e-4)


def test_all_stages_learn() -> None:
    """On curves that no step has seen; what is drawn for these is the same each time."""
    data = replace(SHORT.data, split=None, distinct=480)
    trainer = Trainer(replace(SHORT, steps=(120, 120, 120), data=data, validation=64, average_decay=0.9))
    found = []
    for _ in range(3):
        trainer.step()
        before = trainer.figures()
        for _ in range(119):
            trainer.step()
        found.append((before, trainer.figures()))
    (first, heads), (begun, latents), (start, diffusion) = found
    assert heads["unseen/loss"] < 0.7 * first["unseen/loss"]
    assert heads["unseen/count_loss"] < first["unseen/count_loss"] - 0.15
    assert latents["unseen/loss"] < 0.5 * begun["unseen/loss"]
    assert diffusion["unseen/loss"] < 0.9 * start["unseen/loss"]


def test_a_stage_moves_its_part_alone() -> None:
    trainer = Trainer(SHORT)
    for _ in range(16):
        trainer.step()
    average = {key: value.clone() for key, value in trainer.averaged.state_dict().items()}
    trainer.step()
    now = trainer.profile.state_dict()
    moved = {key.split(".")[0] for key in now if not torch.equal(now[key], average[key])}
    assert moved == {"denoiser"}  # all else is the average that the stage before ended with


@pytest.mark.parametrize("stop", [3, 12, 18])
def test_an_interrupted_run_resumes_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Path, stop: int
) -> None:
    """Before the first checkpoint, and in the later stages."""
    step = Trainer.step

    def interrupted(self: Trainer) -> float:
        if self.steps_done == stop:
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(Trainer, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(SHORT, tmp_path / "cut")
    monkeypatch.undo()
    if stop >= 5:
        assert load_state(tmp_path / "cut" / CHECKPOINT)["steps_done"] == stop // 5 * 5
    resume(tmp_path / "cut")
    assert_same_bits(whole, tmp_path / "cut")


def test_a_checkpoint_at_the_end_of_a_stage_resumes_into_the_next(tmp_path: Path) -> None:
    config = replace(SHORT, steps=(5, 5, 0), checkpoint_every=5)
    kept: dict[int, bytes] = {}
    whole = train(config, tmp_path / "whole")
    cut = train(replace(config, steps=(5, 0, 0)), tmp_path / "cut")
    kept[5] = (cut / CHECKPOINT).read_bytes()
    folder = tmp_path / "on"
    begun(folder, config)
    (folder / CHECKPOINT).write_bytes(kept[5])
    resume(folder)
    a, b = (load_weights(each / WEIGHTS)[0] for each in (whole, folder))
    # The first stage's rate fell to zero over the same five steps.
    assert [key for key in a if not torch.equal(a[key], b[key])] == []


def begun(folder: Path, config: TrainConfig) -> Path:
    """A run folder with no step taken."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config_to_dict(config)))
    (folder / "metrics.jsonl").touch()
    return folder


PROGRAM = """
import sys
from pathlib import Path
from cbldm.train import resume
resume(Path(sys.argv[1]))
"""


def kill_after(folder: Path, seconds: float) -> int:
    """Kill a resumed run a moment after its next checkpoint; what it returned otherwise."""
    before = (folder / CHECKPOINT).stat().st_mtime_ns if (folder / CHECKPOINT).exists() else 0
    with subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder)], stderr=subprocess.PIPE) as process:
        while process.poll() is None:
            if (folder / CHECKPOINT).exists() and (folder / CHECKPOINT).stat().st_mtime_ns != before:
                time.sleep(seconds)
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.002)
        process.wait()
        assert process.returncode in (0, -signal.SIGKILL), process.stderr and process.stderr.read().decode()
        return process.returncode


def test_a_killed_run_resumes_to_the_same_bits(tmp_path: Path) -> None:
    config = replace(SHORT, steps=(16, 12, 12))
    folder = begun(tmp_path / "killed", config)
    assert kill_after(folder, 0.0) == -signal.SIGKILL
    assert 0 < load_state(folder / CHECKPOINT)["steps_done"] < 40
    resume(folder)
    assert_same_bits(train(config, tmp_path / "whole"), folder)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_twenty_kills_at_random_times_change_no_bit(tmp_path: Path) -> None:
    config = replace(SHORT, steps=(2000, 2000, 2000), log_every=50, checkpoint_every=20)
    folder = begun(tmp_path / "killed", config)
    chance = random.Random(0)
    kills = [kill_after(folder, chance.uniform(0, 0.3)) for _ in range(20)]
    assert kills == [-signal.SIGKILL] * 20
    resume(folder)
    assert_same_bits(train(config, tmp_path / "whole"), folder)


def test_a_diverging_run_ends_with_its_last_good_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Trainer.step
    monkeypatch.setattr(Trainer, "step", lambda self: float("nan") if self.steps_done == 11 else step(self))
    with pytest.raises(DivergedError, match=r"a: the loss blew up \(nan, the limit is 1e\+06\) at step 11") as caught:
        train(SHORT, tmp_path / "a")
    assert str(caught.value).endswith("the last good checkpoint is that of step 10; lower the learning rate")
    assert "\n" not in str(caught.value)
    assert load_state(tmp_path / "a" / CHECKPOINT)["steps_done"] == 10


def test_a_step_without_a_number_moves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(SHORT)
    trainer.step()
    before = {key: value.clone() for key, value in trainer.profile.named_parameters()}
    monkeypatch.setattr(
        type(trainer.profile),
        "loss",
        lambda self, *_, **__: {"loss": torch.nan * sum(p.sum() for p in self.parameters())},
    )
    assert trainer.step() != trainer.step()  # not a number
    assert [key for key, value in trainer.profile.named_parameters() if not torch.equal(value, before[key])] == []


def test_a_limit_is_kept_from_the_first_step(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"the limit is 1e-09\) at step 1: there is no checkpoint yet"):
        train(replace(SHORT, limit=1e-9), tmp_path / "a")


def test_weights_of_a_run_are_the_average(whole: Path) -> None:
    trainer = Trainer(SHORT)
    trainer.load_state_dict(load_state(whole / CHECKPOINT))
    loaded = load_profile(whole).state_dict()
    assert [key for key, value in trainer.averaged.state_dict().items() if not torch.equal(value, loaded[key])] == []


def test_a_folder_is_not_used_twice(whole: Path) -> None:
    with pytest.raises(ValueError, match=r"whole: holds a run already: give another folder, or go on with --resume"):
        train(SHORT, whole)
    content = (whole / WEIGHTS).read_bytes()
    (whole / WEIGHTS).write_bytes(b"torn")
    resume(whole)  # of a finished run: nothing is left to do but to write the weights anew
    assert load_weights(whole / WEIGHTS)[0].keys() == load_profile(whole).state_dict().keys()
    assert len((whole / WEIGHTS).read_bytes()) == len(content)


def test_what_cannot_be_resumed_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none: holds no run \(config.json is missing\)"):
        resume(tmp_path / "none")
    folder = begun(tmp_path / "a", SHORT)
    (folder / CHECKPOINT).write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(CheckpointError, match=r"checkpoint.pt: not a whole checkpoint"):
        resume(folder)
    for stranger in ({"a": 1}, Trainer(replace(SHORT, profile=replace(SHORT.profile, tokens=5))).state_dict()):
        save_state(folder / CHECKPOINT, stranger)
        with pytest.raises(CheckpointError, match=r"checkpoint.pt: is not of this run: put its own checkpoint") as e:
            resume(folder)
        assert "\n" not in str(e.value)
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config.json: is damaged"):
        run_config(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch": 0}, r"batch = 0: give a number above 0"),
        ({"validation": -1}, r"validation = -1: give 0 or more"),
        ({"average_decay": 1.0}, r"average_decay = 1\.0: give a number in \[0, 1\)"),
        (
            {"steps": (3,)},
            r"steps = 3: give a number for each stage \(heads, latents, diffusion\), one of them above 0",
        ),
        ({"data": CurveSource()}, r"data\.max_atoms = 256: the profile has 20 places; lower it, or raise"),
    ],
)
def test_a_config_that_makes_no_sense_is_told(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SHORT, **change)  # type: ignore[arg-type]


def test_data_that_make_no_sense_are_told() -> None:
    with pytest.raises(ValueError, match=r"data\.max_atoms = 3: give 5 to 256"):
        CurveSource(max_atoms=3)
    with pytest.raises(ValueError, match=r"data\.known = 1\.5: give a share, 0 to 1"):
        CurveSource(known=1.5)
    with pytest.raises(ValueError, match=r"data\.distinct = 0, rmin = 1\.8: give one curve at least"):
        CurveSource(distinct=0)


def test_weights_of_robust_fit_into_the_wheel() -> None:
    """At most 16 MB in half precision."""
    tensors = PRESETS["robust"].profile.build().state_dict().values()
    assert sum(2 * each.numel() for each in tensors) < 16e6


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_told() -> None:
    with pytest.raises(ValueError, match=r"device = cuda: torch finds no CUDA device; use cpu, or auto"):
        Trainer(replace(SHORT, device="cuda"))


@pytest.mark.gpu
def test_a_run_on_a_gpu_ends_where_one_on_a_cpu_does() -> None:
    found = {}
    for device in ("cpu", "cuda"):
        trainer = Trainer(replace(SHORT, device=device))  # type: ignore[arg-type]
        for _ in range(16):
            trainer.step()
        found[device] = trainer.figures()
    assert found["cuda"]["unseen/misfit"] == pytest.approx(found["cpu"]["unseen/misfit"], rel=0.05)
