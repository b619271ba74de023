"""OT-CFM: what it learns, the solvers' order, its runs, and what it refuses."""

import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from gradient_flow_drifting import Drifting, FlowGenerator, OtCfm, ParticleFlow, Regression, Sphere, TrainConfig, load
from gradient_flow_drifting.__main__ import main
from gradient_flow_drifting.baselines.ot_cfm import FlowShape
from gradient_flow_drifting.data import SphereMixture, Toy
from gradient_flow_drifting.models import GeneratorConfig, save_generator
from gradient_flow_drifting.train import CHECKPOINT, Trainer, resume, train
from papertrio_shared.checkpoint import CheckpointError, load_state
from papertrio_shared.run import config_to_dict, dict_to_config, read_metrics
from torch import Tensor

NOTHING_BEFORE = {"flow": ParticleFlow(steps=0), "regression": Regression(steps=0)}
SHORT = TrainConfig(
    data=Toy("8gaussians"),
    generator=GeneratorConfig(width=32, depth=2),
    objective=OtCfm(steps=20, batch=64),
    checkpoint_every=5,
    log_every=10,
    frames=4,
    **NOTHING_BEFORE,  # type: ignore[arg-type]
)


class Turning(FlowGenerator):
    """The velocity of a rotation by one radian, whose flow is known."""

    def forward(self, points: Tensor, time: Tensor | None = None) -> Tensor:
        return self.carry(points) if time is None else torch.stack([-points[:, 1], points[:, 0]], 1)


def test_the_solvers_have_their_order() -> None:
    flow, x = Turning(FlowShape(width=4), dimension=2), torch.randn(50, 2, dtype=torch.float64)
    turn = torch.tensor([[0.5403023, -0.8414710], [0.8414710, 0.5403023]], dtype=torch.float64)

    def error(evaluations: int, solver: str) -> float:
        return float((flow.carry(x, evaluations=evaluations, solver=solver) - x @ turn.T).norm())  # type: ignore[arg-type]

    assert 1.8 < error(20, "euler") / error(40, "euler") < 2.2
    assert 3.7 < error(20, "heun") / error(40, "heun") < 4.3
    assert torch.allclose(flow(x), flow.carry(x, evaluations=20, solver="heun"))


@pytest.mark.parametrize("data", [Toy("moons"), SphereMixture()])
def test_it_learns_the_data(data: Toy | SphereMixture) -> None:
    pytest.importorskip("torchcfm", reason="OT-CFM needs the extra ot-cfm")
    trainer = Trainer(
        replace(SHORT, data=data, generator=GeneratorConfig(width=64), objective=OtCfm(steps=300, batch=128), frames=1)
    )
    losses = [trainer.step() for _ in range(300)]
    assert sum(losses[-20:]) < 0.75 * sum(losses[:20])
    flow = trainer.state.ema.model
    assert isinstance(flow, FlowGenerator)
    samples, real = flow.sample(1000), data.sample(1000, torch.Generator().manual_seed(1))
    if isinstance(data, SphereMixture):
        assert Sphere().check_point_on_manifold(samples)
        apart = (samples @ data.modes.centres.T).max(dim=1).values
        assert float((apart > 0.8).float().mean()) > 0.75
    latents = trainer.state.generator.latents(1000, torch.Generator().manual_seed(2))

    def distance(one: Tensor, other: Tensor) -> float:
        between = torch.cdist(one, other).mean() - torch.cdist(one, one).mean() / 2
        return float(between - torch.cdist(other, other).mean() / 2)

    assert distance(samples, real) < 0.25 * distance(latents, real) + 0.01


@pytest.mark.parametrize("data", [Toy("8gaussians"), SphereMixture()])
def test_a_resumed_run_has_the_same_bits(tmp_path: Path, data: Toy | SphereMixture) -> None:
    pytest.importorskip("torchcfm", reason="OT-CFM needs the extra ot-cfm")
    config = replace(SHORT, data=data)
    whole = train(config, tmp_path / "whole")
    cut = tmp_path / "cut"
    original, calls = Trainer.step, iter(range(100))

    def killed(self: Trainer) -> float:
        if next(calls) == 13:
            raise KeyboardInterrupt
        return original(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "step", killed)
        with pytest.raises(KeyboardInterrupt):
            train(config, cut)
    assert load_state(cut / CHECKPOINT)["steps_done"] == 10
    torch.rand(7)  # the state of the global generators is the checkpoint's, not the process's
    resume(cut)
    for name, value in load_state(whole / CHECKPOINT)["generator"].items():
        assert torch.equal(value, load_state(cut / CHECKPOINT)["generator"][name]), name
    assert read_metrics(whole) == read_metrics(cut)
    for options in ({"evaluations": 1, "solver": "euler"}, {"evaluations": 10}):
        assert torch.equal(load(whole).sample(20, **options), load(cut).sample(20, **options))


def test_a_flow_is_loaded_as_a_flow(tmp_path: Path) -> None:
    flow = FlowGenerator(FlowShape(width=8, depth=2), dimension=2, location=torch.ones(2), scale=3.0)
    save_generator(tmp_path / "w.safetensors", flow)
    again = load(tmp_path / "w.safetensors")
    assert isinstance(again, FlowGenerator)
    assert torch.equal(again.sample(9, evaluations=4), flow.sample(9, evaluations=4))
    other = FlowGenerator(FlowShape(width=9), dimension=2)
    other.config = flow.config
    save_generator(tmp_path / "torn.safetensors", other)
    with pytest.raises(CheckpointError, match="holds no generator of this package"):
        load(tmp_path / "torn.safetensors")


def test_velocities_of_a_manifold_are_tangent() -> None:
    x = Sphere().projx(torch.randn(20, 3))
    flow = FlowGenerator(FlowShape(width=8), dimension=3, geometry="sphere")
    assert (flow(x, torch.full((20,), 0.3)) * x).sum(1).abs().max() < 1e-6


def test_on_the_torus_samples_stay_angles_and_the_field_has_no_seam() -> None:
    flow = FlowGenerator(FlowShape(width=8), dimension=2, geometry="torus")
    samples = flow.sample(50, evaluations=4)
    assert float(samples.abs().max()) <= math.pi + 1e-6
    seam = torch.tensor([[math.pi, 0.5], [-math.pi, 0.5]])
    velocity = flow(seam, torch.full((2,), 0.4))
    assert torch.allclose(velocity[0], velocity[1], atol=1e-5)


def test_what_cannot_be_is_one_line() -> None:
    flow = FlowGenerator(FlowShape(width=4), dimension=2)
    cases = [
        (lambda: flow.sample(3, evaluations=0, solver="euler"), "evaluations = 0: give at least 1"),
        (lambda: flow.sample(3, evaluations=5), "evaluations = 5: Heun's method takes two for a step"),
        (lambda: flow.sample(3, solver="rk4"), 'solver: "euler" or "heun" is needed, found "rk4"'),  # type: ignore[arg-type]
        (lambda: OtCfm(sigma=-1.0), "objective.sigma = -1.0: give zero or more"),
        (lambda: OtCfm(batch=0), "objective.batch = 0: give a positive number"),
        (lambda: TrainConfig(objective=OtCfm()), "set flow.steps and regression.steps to 0"),
        (
            lambda: Trainer(replace(SHORT, data=SphereMixture(), objective=OtCfm(sigma=0.1))),
            "objective.sigma = 0.1: noise is for Euclidean data",
        ),
    ]
    for make, message in cases:
        with pytest.raises(ValueError, match=message):
            make()


def test_without_torchcfm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*(each for each in sys.modules if each.startswith("torchcfm.")), "torchcfm"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "torchcfm.conditional_flow_matching", None)
    with pytest.raises(ImportError, match=r"install the extra, gradient-flow-drifting\[ot-cfm\]"):
        Trainer(SHORT)


def test_the_config_survives_a_run_folder() -> None:
    assert dict_to_config(config_to_dict(SHORT), TrainConfig) == SHORT
    assert SHORT.network == FlowShape(width=32, depth=2)
    assert replace(SHORT, objective=Drifting()).network == SHORT.generator


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torchcfm", reason="OT-CFM needs the extra ot-cfm")
    out = str(tmp_path / "a")
    words = ["objective:ot-cfm", "--objective.steps", "4", "--flow.steps", "0", "--regression.steps", "0"]
    assert main(["train", "moons", "--out", out, "--draws", "1", "--frames", "2", *words]) == 0
    assert main(["sample", out, "-n", "5", "-o", str(tmp_path / "s.npy"), "--evaluations", "3"]) == 0
    assert main(["evaluate", out, "--draws", "1", "--evaluations", "1"]) == 0
    capsys.readouterr()
    assert main(["sample", out, "-o", str(tmp_path / "s.npy"), "--evaluations", "3", "--solver", "heun"]) == 2
    assert "Heun's method takes two for a step" in capsys.readouterr().err
    assert main(["train", "moons", "--out", out + "b", "objective:ot-cfm"]) == 2
    assert "set flow.steps and regression.steps to 0" in capsys.readouterr().err


def test_a_one_step_generator_takes_no_evaluations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_generator(tmp_path / "w.safetensors", GeneratorConfig(width=4).build(dimension=2))
    argv = ["sample", str(tmp_path / "w.safetensors"), "-o", str(tmp_path / "s.npy")]
    assert main([*argv, "--evaluations", "10"]) == 2
    assert "this generator takes one evaluation" in capsys.readouterr().err
    assert main([*argv, "--evaluations", "1", "-n", "4"]) == 0
