"""Training: what it learns, golden numbers, resume to the same bits, and how a diverging run ends."""

import json
import math
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
from gradient_flow_drifting.config import TrainConfig
from gradient_flow_drifting.data import SphereMixture, Toy
from gradient_flow_drifting.diagnostics import DivergedError, blown_up, field_diagnostics
from gradient_flow_drifting.fields import KernelField, Weights, divergence_of
from gradient_flow_drifting.metrics import mode_coverage
from gradient_flow_drifting.models import GeneratorConfig
from gradient_flow_drifting.sample import load
from gradient_flow_drifting.stretches import Drifting, ParticleFlow, Regression
from gradient_flow_drifting.train import CHECKPOINT, Trainer, frame_steps, resume, run_config, train
from papertrio_shared.checkpoint import CheckpointError, load_state, save_state
from papertrio_shared.run import config_to_dict, read_metrics
from papertrio_shared.seed import generator

GOLDEN = Path(__file__).parent / "golden" / "train.json"
SHORT = TrainConfig(
    generator=GeneratorConfig(width=32, depth=2),
    flow=ParticleFlow(particles=300, pool=150, steps=16),
    regression=Regression(steps=24, batch=64, pairs=512),
    objective=Drifting(steps=24, batch=64, positives=96),
    checkpoint_every=5,
    log_every=4,
    frames=6,
)


def final(folder: Path) -> dict[str, torch.Tensor]:
    state = load_state(folder / CHECKPOINT)
    return {**state["generator"], "particles": state["particles"], "frames": torch.stack(state["frames"])}


def assert_same_bits(one: Path, other: Path) -> None:
    a, b = final(one), final(other)
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []
    assert torch.equal(load(one).sample(100), load(other).sample(100))
    assert read_metrics(one) == read_metrics(other)


def test_a_run_gives_the_golden_numbers(tmp_path: Path) -> None:
    """Regenerated, after a change that is meant to alter them, with PAPERTRIO_REGENERATE=1 in the environment."""
    rows = read_metrics(train(SHORT, tmp_path / "a"))
    names = ("step", "loss", "energy", "velocity_squared", "effective_sample_size")
    found = [{name: row[name] for name in names} for row in rows]
    if os.environ.get("PAPERTRIO_REGENERATE"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
    expected = json.loads(GOLDEN.read_text())
    assert [row["step"] for row in found] == [row["step"] for row in expected]
    for row, golden in zip(found, expected, strict=True):
        assert row == pytest.approx(golden, rel=2e-3, abs=1e-5)


def test_the_flow_alone_brings_particles_to_the_modes() -> None:
    config = replace(SHORT, flow=ParticleFlow(particles=1000, pool=500, steps=80))
    trainer = Trainer(config)
    losses = [trainer.step() for _ in range(80)]
    modes = config.data.modes
    assert modes is not None
    assert mode_coverage(trainer.state.particles, modes) == 1
    assert losses[-1] < 0.1 * losses[0]
    assert trainer.diagnostics()["energy"] < 0.2


@pytest.mark.parametrize("negatives", ["same", "cross_fit"])
def test_drifting_alone_lowers_the_energy(negatives: str) -> None:
    drifting = Drifting(steps=150, batch=128, positives=128, negatives=negatives, field=KernelField((0.3, 1.0)))  # type: ignore[arg-type]
    trainer = Trainer(replace(SHORT, flow=ParticleFlow(steps=0), regression=Regression(steps=0), objective=drifting))
    before = trainer.diagnostics()["energy"]
    for _ in range(150):
        trainer.step()
    assert trainer.diagnostics()["energy"] < 0.2 * before


def test_the_sphere_is_learnt_on_the_sphere() -> None:
    config = replace(
        SHORT,
        data=SphereMixture(),
        generator=GeneratorConfig(width=64),
        flow=ParticleFlow(particles=1000, pool=500, steps=60),
        regression=Regression(steps=200, batch=128, pairs=4096),
        objective=Drifting(steps=60, batch=128, positives=128),
    )
    trainer = Trainer(config)
    for _ in range(config.total_steps):
        assert math.isfinite(trainer.step())
    assert (trainer.state.particles.norm(dim=1) - 1).abs().max() < 1e-5
    samples = trainer.state.ema.model.sample(1000)
    assert (samples.norm(dim=1) - 1).abs().max() < 1e-5
    modes = config.data.modes
    assert modes is not None
    assert mode_coverage(samples, modes, geometry="sphere") == 1


@pytest.mark.parametrize("divergence", [(("kl_pq", 1.0), ("chi2_qp", 0.5)), (("mmd2", 1.0),), (("kl_qp", 0.5),)])
def test_every_divergence_can_be_followed(divergence: Weights) -> None:
    flow = replace(SHORT.flow, divergence=divergence, max_step="bandwidth")
    objective = replace(SHORT.objective, field=KernelField(divergence=divergence))
    trainer = Trainer(replace(SHORT, flow=flow, objective=objective))
    for _ in range(SHORT.total_steps):
        assert math.isfinite(trainer.step())
    assert sum(weight for weight, _ in divergence_of(divergence).parts()) == sum(weight for _, weight in divergence)


def test_every_number_of_a_stretch_reaches_its_field(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, dict[str, object]] = {}
    for name in ("gradient_flow_drifting.stretches.particle_flow", "gradient_flow_drifting.fields"):
        module = sys.modules[name]
        original = module.drift

        def spy(x: torch.Tensor, name: str = name, original: object = original, **options: object) -> object:
            seen[name.rpartition(".")[2]] = options
            return original(x, **options)  # type: ignore[operator]

        monkeypatch.setattr(module, "drift", spy)
    flow = replace(SHORT.flow, divergence=(("kl_pq", 1.0),), max_step=0.25, steps=1)
    field = KernelField(divergence=(("mmd2", 1.0),), log_weight_limit=1.5, max_step=0.3)
    objective = Drifting(field=field, step_size=0.7, negatives="same")
    trainer = Trainer(replace(SHORT, flow=flow, regression=Regression(steps=0), objective=objective))
    trainer.step()
    loss = trainer.step()
    assert seen["particle_flow"]["max_step"] == 0.25
    assert seen["particle_flow"]["self_terms"] == seen["fields"]["self_terms"] == "leave_one_out"
    assert {name: seen["fields"][name] for name in ("log_weight_limit", "max_step")} == {
        "log_weight_limit": 1.5,
        "max_step": 0.3,
    }
    assert [seen[name]["divergence"] for name in seen] == [divergence_of(d.divergence) for d in (flow, field)]
    samples, real = (seen["fields"][name] for name in ("negatives", "positives"))
    velocity = field.velocity(samples.detach(), positives=real, negatives=samples.detach(), self_terms="leave_one_out")  # type: ignore[arg-type]
    assert loss == pytest.approx(0.7**2 * float(velocity.square().sum(1).mean()), rel=1e-4)


def test_half_precision_does_not_leave_the_sphere() -> None:
    trainer = Trainer(replace(SHORT, data=SphereMixture(), precision="bf16-mixed"))
    for _ in range(SHORT.total_steps):
        assert math.isfinite(trainer.step())


def test_real_points_have_no_energy_and_full_modes() -> None:
    toy = Toy()
    real = toy.sample(2000, generator(0, "real"))
    found = field_diagnostics(toy.sample(1000, generator(1, "real")), real, toy, bandwidths=(0.1, 0.2, 0.4))
    assert abs(found["energy"]) < 0.05
    assert found["velocity_squared"] < 1e-3
    assert found["coverage"] == 1
    assert found["log_ratio_05"] < found["log_ratio_50"] < found["log_ratio_95"]
    assert 1 < found["effective_sample_size"] < 2000


@pytest.mark.parametrize("stop", [3, 21, 47])
def test_an_interrupted_run_resumes_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    """In each of the three stretches, and before the first checkpoint."""
    whole = train(SHORT, tmp_path / "whole")
    step = Trainer.step

    def interrupted(self: Trainer) -> float:
        if self.steps_done == stop:
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(Trainer, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(SHORT, tmp_path / "cut")
    monkeypatch.undo()
    if (tmp_path / "cut" / CHECKPOINT).exists():
        assert load_state(tmp_path / "cut" / CHECKPOINT)["steps_done"] == stop // 5 * 5
    resume(tmp_path / "cut")
    assert_same_bits(whole, tmp_path / "cut")


PROGRAM = """
import sys
from pathlib import Path
from gradient_flow_drifting.train import resume
resume(Path(sys.argv[1]))
"""


def start(folder: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder)], stderr=subprocess.PIPE)


def kill_when(folder: Path, rows: int, delay: float) -> bool:
    """Kill a resumed run a moment after it has written some rows; False if it ended before."""
    size = (folder / "metrics.jsonl").stat().st_size
    with start(folder) as process:
        while process.poll() is None:
            with (folder / "metrics.jsonl").open("rb") as file:
                file.seek(size)
                if file.read().count(b"\n") > rows:
                    time.sleep(delay)
                    process.send_signal(signal.SIGKILL)
                    break
            time.sleep(0.002)
        process.wait()
        assert process.returncode in (0, -signal.SIGKILL), process.stderr and process.stderr.read().decode()
        return process.returncode != 0


def begun(folder: Path, config: TrainConfig) -> Path:
    """A run folder with no step taken."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config_to_dict(config)))
    (folder / "metrics.jsonl").touch()
    return folder


def test_a_killed_run_resumes_to_the_same_bits(tmp_path: Path) -> None:
    config = replace(SHORT, objective=replace(SHORT.objective, steps=150))
    folder = begun(tmp_path / "killed", config)
    assert kill_when(folder, rows=20, delay=0.01)
    done = load_state(folder / CHECKPOINT)["steps_done"]
    logged = max(row["step"] for row in read_metrics(folder))
    assert 0 < done < config.total_steps
    assert logged - done < config.checkpoint_every + config.log_every
    resume(folder)
    assert_same_bits(train(config, tmp_path / "whole"), folder)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_kills_change_no_bit(tmp_path: Path) -> None:
    chance = random.Random(0)
    config = replace(SHORT, objective=replace(SHORT.objective, steps=6000), checkpoint_every=20)
    folder = begun(tmp_path / "killed", config)
    kills = sum(kill_when(folder, rows=chance.randrange(40), delay=0.05 * chance.random()) for _ in range(20))
    assert kills == 20
    resume(folder)
    assert_same_bits(train(config, tmp_path / "whole"), folder)


def test_a_diverging_run_ends_with_its_last_good_checkpoint(tmp_path: Path) -> None:
    config = replace(SHORT, objective=replace(SHORT.objective, learning_rate=1e8))
    with pytest.raises(
        DivergedError, match=r"blew up \(.*\) at step \d+: the last good checkpoint is that of step 40"
    ) as e:
        train(config, tmp_path / "a")
    assert "\n" not in str(e.value)
    assert load_state(tmp_path / "a" / CHECKPOINT)["steps_done"] == 40
    assert load(tmp_path / "a").sample(10).isfinite().all()


def test_a_limit_is_kept_from_the_first_step(tmp_path: Path) -> None:
    with pytest.raises(
        DivergedError, match=r"a: loss blew up \(.*, the limit is 1e-09\) at step 1: there is no checkpoint"
    ):
        train(replace(SHORT, limit=1e-9), tmp_path / "a")


def test_diagnostics_that_are_not_finite_are_named() -> None:
    assert blown_up({"loss": 1.0, "velocity_squared": math.inf}, 10.0) == "velocity_squared blew up (inf)"
    assert blown_up({"loss": 1.0, "energy": -3.0}, 10.0) is None


def test_a_folder_is_not_used_twice(tmp_path: Path) -> None:
    train(SHORT, tmp_path / "a")
    with pytest.raises(ValueError, match=r"a: holds a run already: give another folder, or go on with --resume"):
        train(SHORT, tmp_path / "a")
    weights = final(tmp_path / "a")["layers.0.weight"]
    (tmp_path / "a" / "generator.safetensors").write_bytes(b"torn")
    resume(tmp_path / "a")  # of a finished run: nothing is left to do but to write the generator anew
    assert load(tmp_path / "a").sample(3).isfinite().all()
    assert torch.equal(final(tmp_path / "a")["layers.0.weight"], weights)


def test_what_cannot_be_resumed_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none: holds no run \(config.json is missing\)"):
        resume(tmp_path / "none")
    folder = begun(tmp_path / "a", SHORT)
    (folder / CHECKPOINT).write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(CheckpointError, match=r"checkpoint.pt: not a whole checkpoint"):
        resume(folder)
    for stranger in ({"a": 1}, Trainer(replace(SHORT, generator=GeneratorConfig(width=9))).state_dict()):
        save_state(folder / CHECKPOINT, stranger)
        with pytest.raises(CheckpointError, match=r"checkpoint.pt: is not of this run: put its own checkpoint") as e:
            resume(folder)
        assert "\n" not in str(e.value)
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config.json: is damaged"):
        run_config(folder)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_told() -> None:
    with pytest.raises(ValueError, match=r"device = cuda: torch finds no CUDA device; use cpu, or auto"):
        Trainer(replace(SHORT, device="cuda"))


def test_frames_are_spread_over_the_stretches() -> None:
    steps = sorted(frame_steps(SHORT))
    assert steps[0] == 0
    assert all(sum(low <= step < high for step in steps) >= 2 for low, high in [(0, 16), (16, 40), (40, 64)])
    trainer = Trainer(SHORT)
    for _ in range(SHORT.total_steps):
        trainer.step()
    assert len(trainer.frames) == len(steps) + 1
    assert torch.equal(trainer.frames[0], trainer.state.latents[:1000])


@pytest.mark.gpu
def test_a_run_on_a_gpu_ends_where_one_on_a_cpu_does() -> None:
    found = {}
    for device in ("cpu", "cuda"):
        trainer = Trainer(replace(SHORT, device=device))  # type: ignore[arg-type]
        for _ in range(SHORT.total_steps):
            trainer.step()
        found[device] = trainer.diagnostics()
    assert found["cuda"]["energy"] == pytest.approx(found["cpu"]["energy"], rel=0.05, abs=0.02)
