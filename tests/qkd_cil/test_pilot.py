"""LAMDA-PILOT's settings as ours; the switches its adapters need."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cil_small import QUICK, TINY, small_scenario
from qkd_cil import (
    AdapterConfig,
    APERConfig,
    CODAPromptConfig,
    DualPromptConfig,
    EASEConfig,
    Finetune,
    L2PConfig,
    LearnerConfig,
    MOSConfig,
    RanPACConfig,
    SLCAConfig,
    TUNAConfig,
    load,
)
from qkd_cil.__main__ import main
from qkd_cil.data.datasets import Cifar100Config
from qkd_cil.models.backbone import Backbone
from qkd_cil.pilot import METHODS, from_pilot, read_pilot

EASE: dict[str, Any] = {
    "prefix": "reproduce", "dataset": "cifar224", "memory_size": 0, "memory_per_class": 0, "fixed_memory": False,
    "shuffle": True, "init_cls": 10, "increment": 10, "model_name": "ease",
    "backbone_type": "vit_base_patch16_224_ease", "device": ["0"], "seed": [1993, 1994],
    "init_epochs": 20, "init_lr": 0.025, "later_epochs": 20, "later_lr": 0.025,
    "batch_size": 48, "weight_decay": 0.0005, "min_lr": 0, "optimizer": "sgd", "scheduler": "cosine",
    "pretrained": True, "vpt_type": "Deep", "prompt_token_num": 5, "ffn_num": 64, "use_diagonal": False,
    "recalc_sim": True, "alpha": 0.2, "use_init_ptm": False, "beta": 0, "use_old_data": False, "use_reweight": True,
    "moni_adam": False, "adapter_num": -1,
}  # fmt: skip


def test_a_file_of_ease() -> None:
    found = from_pilot(EASE)
    assert [each.seed for each in found.configs] == [1993, 1994]
    assert [each.tasks.class_order_seed for each in found.configs] == [1993, 1994]
    config = found.configs[0]
    assert config.data == Cifar100Config()
    assert config.learner == EASEConfig(alpha=0.2)
    assert (config.tasks.base_classes, config.tasks.increment) == (0, 10)
    assert config.backbone.name == "vit_base_patch16_224.augreg_in21k_ft_in1k"  # timm 0.6.12's weights of the bare name
    assert config.backbone.inputs == "raw"
    assert config.backbone.adapter == AdapterConfig(bottleneck=64, dropout=0.1, reads="residual")
    assert (config.schedule.epochs, config.schedule.batch_size, config.schedule.learning_rate) == (20, 48, 0.025)
    assert config.schedule.decay == "cosine-by-epoch"
    assert len(found.notes) == 1  # the cuts of training images


def test_what_differs_is_noted() -> None:
    changes = {"later_lr": 0.01, "beta": 1, "swanlab": True, "scheduler": "steplr", "optimizer": "adamw"}
    notes = " ".join(from_pilot({**EASE, **changes}).notes)
    for part in ("later_lr = 0.01", "beta = 1 has no counterpart", "swanlab = True", "'steplr'", "'adamw'"):
        assert part in notes


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"model_name": "aper_ssf", "tuned_epoch": 20}, APERConfig(tuning="ssf")),
        ({"model_name": "aper_vpt", "vpt_type": "Shallow", "prompt_token_num": 10}, APERConfig("vpt-shallow", 10)),
        ({"model_name": "l2p", "size": 12, "batchwise_prompt": True}, L2PConfig(pool=12, selection="batch")),
        ({"model_name": "dualprompt", "e_prompt_layer_idx": [2, 3]}, DualPromptConfig(expert_layers=(2, 3))),
        ({"model_name": "coda_prompt", "prompt_param": [100, 8, 0.0]}, CODAPromptConfig(10, 8, orthogonality=0.0)),
        ({"model_name": "ranpac", "M": 2000, "backbone_type": "vit_b16_224_in21k"}, RanPACConfig(2000, tuning="none")),
        ({"model_name": "mos", "ffn_num": 16, "reg": 0.2}, MOSConfig(contrast=0.2)),
        ({"model_name": "tuna", "decay": True, "use_orth": True}, TUNAConfig(mean_decay="wrong-sign")),
        ({"model_name": "slca", "lrate": 0.01, "ca_with_logit_norm": 0.2}, SLCAConfig(logit_norm=0.2)),
    ],
)
def test_methods(settings: dict[str, Any], expected: LearnerConfig) -> None:
    base = {key: EASE[key] for key in ("dataset", "backbone_type", "init_cls", "increment", "seed")}
    assert from_pilot({**base, **settings}).configs[0].learner == expected


@pytest.mark.parametrize("method", METHODS)
def test_every_method_builds(method: str) -> None:
    config = from_pilot({**EASE, "model_name": method, "init_cls": 50, "memory_size": 2000}).configs[0]
    assert config.tasks.base_classes == 50
    tiny = replace(TINY, depth=5, inputs="raw", adapter=replace(config.backbone.adapter, bottleneck=4))
    assert config.learner.build(tiny, config.schedule, seed=1, device="cpu").task_count == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_name": "memo"}, "model_name 'memo' is not here; there are simplecil, finetune"),
        ({"dataset": "core50"}, "dataset 'core50' is not here; there are cifar224, imagenetr"),
        ({"backbone_type": "resnet32"}, "backbone_type 'resnet32' is no vision transformer"),
        ({"init_cls": "ten"}, "of another form than LAMDA-PILOT's .invalid literal"),
        ({"seed": None}, "a setting is of another form"),
    ],
)
def test_what_is_not_here_is_told(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps({**EASE, **changes}))
    with pytest.raises(ValueError, match=message) as error:
        read_pilot(file)
    assert str(error.value).startswith(f"{file}: ")
    file.write_text(json.dumps({key: value for key, value in EASE.items() if key != "increment"}))
    with pytest.raises(ValueError, match="settings have no 'increment'"):
        read_pilot(file)
    file.write_text("{")
    with pytest.raises(ValueError, match="not a JSON file"):
        read_pilot(file)


def test_the_command_writes_runs_that_start(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "ease.json"
    file.write_text(json.dumps({**EASE, "init_cls": 5, "increment": 5}))
    assert main(["import-pilot", str(file), "--out", str(tmp_path / "a")]) == 0
    out = capsys.readouterr().out
    assert "EASE, seeds 1993, 1994" in out
    assert f"start with: qkd-cil run --resume {tmp_path / 'a'}" in out
    assert set(json.loads((tmp_path / "a" / "plan.json").read_text())) == {"1993", "1994"}
    assert main(["import-pilot", str(file), "--out", str(tmp_path / "a")]) == 2
    assert "holds runs already" in capsys.readouterr().err


# The adapters of the public code


def test_an_adapter_before_the_norm_sees_what_the_norm_sees() -> None:
    config = replace(TINY, adapter=AdapterConfig(4, reads="residual"))
    backbone, plain = Backbone(config), Backbone(TINY)
    plain.vit.load_state_dict(backbone.vit.state_dict(), strict=False)
    images = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(backbone(images), plain(images))
    backbone.add_adapter(torch.Generator().manual_seed(0))
    seen: list[torch.Tensor] = []
    block = backbone.vit.blocks[0]
    block.mlp.adapters[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    before: list[torch.Tensor] = []
    block.norm2.register_forward_pre_hook(lambda _, inputs: before.append(inputs[0]))
    torch.testing.assert_close(backbone.adapted(images, tasks=[0])[0], plain(images))  # a new adapter changes nothing
    assert torch.equal(seen[0], before[0])
    assert block.mlp.residual is None


def test_dropout_is_for_the_training_of_the_newest_adapter_alone() -> None:
    backbone = Backbone(replace(TINY, adapter=AdapterConfig(4, scale=5.0, dropout=0.5)))
    for seed in range(2):
        backbone.add_adapter(torch.Generator().manual_seed(seed))
    for parameter in backbone.adapter_parameters(0) + backbone.adapter_parameters(1):
        torch.nn.init.normal_(parameter)
    images = torch.rand(2, 3, 16, 16)
    backbone.train()
    old = [backbone.adapted(images, tasks=[0]) for _ in range(2)]
    assert torch.equal(old[0], old[1])
    new = [backbone.adapted(images, tasks=[1]) for _ in range(2)]
    assert not torch.equal(new[0], new[1])
    backbone.eval()
    judged = [backbone.adapted(images, tasks=[1]) for _ in range(2)]
    assert torch.equal(judged[0], judged[1])


def test_a_learner_with_such_adapters_goes_round(tmp_path: Path) -> None:
    config = replace(TINY, adapter=AdapterConfig(4, dropout=0.1, reads="residual"))
    learner = Finetune(backbone=config, schedule=replace(QUICK, decay="cosine-by-epoch"))
    task = small_scenario().train_tasks[0]
    rates: list[float] = []
    learner.fit_task(task, on_step=lambda _: rates.append(learner.loop.optimizer.param_groups[0]["lr"]))  # type: ignore[union-attr]
    assert rates == pytest.approx([0.05] * 2 + [0.025] * 3 + [0.0], abs=1e-9)  # changed after each of two epochs
    learner.save(tmp_path / "a.safetensors")
    again = load(tmp_path / "a.safetensors")
    assert torch.equal(again.outputs(task.train.images).logits, learner.outputs(task.train.images).logits)


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_a_dropout_out_of_range(dropout: float) -> None:
    with pytest.raises(ValueError, match="give a share from 0 to below 1"):
        AdapterConfig(dropout=dropout)
