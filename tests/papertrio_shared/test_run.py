"""Run folders and configs."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from papertrio_shared.run import (
    Run,
    config_to_dict,
    dict_to_config,
    environment,
    read_config,
    read_metrics,
)


@dataclass(frozen=True)
class Adam:
    rate: float = 1e-3


@dataclass(frozen=True)
class Sgd:
    rate: float = 1e-1
    momentum: float = 0.9


@dataclass(frozen=True)
class Config:
    optimizer: Adam | Sgd = Adam()
    mode: Literal["fast", "slow"] = "fast"
    out: Path | None = None
    widths: tuple[int, ...] = (3, 4)
    window: tuple[float, float] = (0.0, 1.0)
    weights: dict[str, float] = field(default_factory=dict)
    verbose: bool = False


EXAMPLES = [
    Config(),
    Config(Sgd(momentum=0.5), "slow", Path("a/b"), (), (-1.0, 2.5), {"kl": 1.0}, True),
    Config(weights={"a": 0.5}, widths=(7,)),
]


@pytest.mark.parametrize("config", EXAMPLES)
def test_a_config_comes_back_from_json(config: Config) -> None:
    assert dict_to_config(json.loads(json.dumps(config_to_dict(config))), Config) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "medium"}, r"config\.mode is 'medium'"),
        ({"widths": [1, "x"]}, r"config\.widths\[1\] is 'x'"),
        ({"window": [1.0]}, r"config\.window has 1 entries and not 2"),
        ({"verbose": 1}, r"config\.verbose is 1"),
        ({"widths": [True]}, r"config\.widths\[0\] is True"),
        ({"depth": 3}, r"config\.depth is unknown to Config"),
        ({"class": "Other"}, r"config is a 'Other' and not a Config"),
        ({"optimizer": {"class": "Lion"}}, r"config\.optimizer is 'Lion', which is none of Adam, Sgd"),
        ({"optimizer": {"class": "Sgd", "rate": "high"}}, r"config\.optimizer\.rate is 'high'"),
        ({"widths": 3}, r"config\.widths is 3 and no list"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dict_to_config(config_to_dict(Config()) | change, Config)


def test_a_config_of_foreign_objects_is_refused() -> None:
    with pytest.raises(TypeError, match="a config cannot hold"):
        config_to_dict({"x": object()})


def test_a_run_keeps_config_environment_and_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Run.create(tmp_path / "a", Config()) as run:
        run.log(1, loss=2.0)
        run.log(2, loss=1.0, accuracy=0.5)
        run.info("half way")
    assert dict_to_config(read_config(tmp_path / "a"), Config) == Config()
    assert read_metrics(tmp_path / "a") == [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0, "accuracy": 0.5}]
    assert "half way" in capsys.readouterr().out
    assert "half way" in (tmp_path / "a" / "log.txt").read_text()
    assert json.loads((tmp_path / "a" / "environment.json").read_text()).keys() == environment().keys()
    assert list((tmp_path / "a").glob("events.out.tfevents.*"))


def test_a_second_run_in_the_folder_is_refused(tmp_path: Path) -> None:
    Run.create(tmp_path / "a", {}).close()
    with pytest.raises(ValueError, match="holds a run already: give another folder, or go on with --resume"):
        Run.create(tmp_path / "a", {})


def test_resuming_supersedes_later_rows_and_removes_none(tmp_path: Path) -> None:
    with Run.create(tmp_path, {"a": 1}) as run:
        for step in range(1, 6):
            run.log(step, loss=step)
    before = (tmp_path / "metrics.jsonl").read_text()
    with Run.resume(tmp_path, step=3) as run:
        assert run.config == {"a": 1}
        run.log(4, loss=40.0)
    assert (tmp_path / "metrics.jsonl").read_text().startswith(before)
    assert [row["loss"] for row in read_metrics(tmp_path)] == [1, 2, 3, 40]


def test_a_torn_line_is_passed_over(tmp_path: Path) -> None:
    with Run.create(tmp_path, {}) as run:
        run.log(1, loss=1.0)
        run.log(2, loss=2.0)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')
    with Run.resume(tmp_path, step=2) as run:
        run.log(3, loss=3.0)
    assert [row["loss"] for row in read_metrics(tmp_path)] == [1, 2, 3]


def test_missing_and_damaged_runs_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no run \(config\.json is missing\)"):
        Run.resume(tmp_path, step=0)
    with pytest.raises(FileNotFoundError, match=r"holds no metrics\.jsonl"):
        read_metrics(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json: is damaged"):
        read_config(tmp_path)
