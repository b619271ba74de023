"""Methods side by side: budgets, runs that go on, tables, and what is refused."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gradient_flow_drifting.__main__ import main
from gradient_flow_drifting.compare import DEFAULT, METHODS, compare, default_methods, methods, run, write_comparison
from gradient_flow_drifting.compare.budget import budget_of, measured_seconds, with_steps
from gradient_flow_drifting.compare.methods import SETS, presets_of
from gradient_flow_drifting.compare.tables import table, winners
from gradient_flow_drifting.config import TrainConfig
from gradient_flow_drifting.data import ArrayFile
from gradient_flow_drifting.diagnostics import DivergedError
from gradient_flow_drifting.presets import PRESETS, SMOKE
from gradient_flow_drifting.sample import load
from gradient_flow_drifting.stretches import Drifting


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Few enough rows that measuring takes no time."""
    file = tmp_path_factory.mktemp("points") / "points.npy"
    np.save(file, np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32))
    return file


@pytest.fixture(autouse=True)
def _short_rounds_and_few_particles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "array", replace(SMOKE, data=PRESETS["array"].data))
    monkeypatch.setattr("gradient_flow_drifting.compare.budget.ROUND_SECONDS", 0.01)


def times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.suffix in (".safetensors", ".json")}


def test_from_the_command_to_the_table_and_again(
    tmp_path: Path, points: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["compare", str(points), "--methods", "kl_qp,sliced", "--seconds", "0.3", "--draws", "1"]
    argv += ["--out", str(tmp_path)]
    assert main([*argv, "--seeds", "2"]) == 0
    printed = capsys.readouterr().out
    assert "| kl_qp | 2 |" in printed
    assert "| preset | 2 |" in printed
    assert {"comparison.md", "comparison.json", "comparison.html", "comparison-points.png"} <= {
        path.name for path in tmp_path.iterdir()
    }
    data = json.loads((tmp_path / "comparison.json").read_text())
    assert [row["label"] for row in data["rows"]] == ["preset", "kl_qp", "sliced"]
    assert all(row["seeds"] == [0, 1] for row in data["rows"])
    assert set(data["budgets"]["points/preset"]["steps"]) == {"flow", "regression", "drifting"}
    page = (tmp_path / "comparison.html").read_text()
    assert page.count("data:image/") == 1
    assert 'src="http' not in page

    runs = {path: at for path, at in times(tmp_path).items() if path.parent != tmp_path}
    lost = tmp_path / "points" / "kl_qp" / "1" / "evaluation-1.json"
    lost.unlink()
    assert main([*argv, "--seeds", "2"]) == 0
    again = {path: at for path, at in times(tmp_path).items() if path.parent != tmp_path}
    assert lost in again
    changed = {path.parent.relative_to(tmp_path) for path, at in again.items() if runs.get(path) != at}
    assert changed == {Path("points/kl_qp/1")}

    capsys.readouterr()
    assert main([*argv[:4], *argv[6:], "--seconds", "9", "--seeds", "1"]) == 2
    assert "was run for 0.3 s, not 9: give another --out" in capsys.readouterr().err


@pytest.mark.slow
def test_runs_in_several_processes_have_the_same_bits(tmp_path: Path, points: Path) -> None:
    for jobs in (1, 2):
        folder = tmp_path / str(jobs)
        if jobs == 2:  # the same numbers of steps, which are measured once
            budget = folder / "points" / "sliced" / "budget.json"
            budget.parent.mkdir(parents=True)
            budget.write_text((tmp_path / "1" / "points" / "sliced" / "budget.json").read_text())
        compare(str(points), ("sliced",), folder, seeds=2, seconds=0.2, draws=1, jobs=jobs)
    one, two = (load(tmp_path / each / "points" / "sliced" / "1").sample(50) for each in ("1", "2"))
    assert torch.equal(one, two)


def test_a_run_that_diverges_is_told_and_the_others_go_on(
    tmp_path: Path, points: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(config: TrainConfig, folder: Path) -> Path:  # noqa: ARG001 - the signature of what it stands for
        folder.mkdir(parents=True)
        raise DivergedError(f"{folder}: loss blew up")

    monkeypatch.setattr(run, "train", train)
    entries = compare(str(points), ("sliced",), tmp_path, seeds=1, seconds=0.1, draws=1, jobs=1)
    assert "| sliced | 0 (1 diverged) |" in write_comparison(entries, tmp_path, seconds=0.1)


def test_a_budget_fills_its_seconds_and_keeps_the_shares(tmp_path: Path) -> None:
    config = replace(SMOKE, threads=1)
    budget = budget_of(config, 5.0, tmp_path / "budget.json")
    spent = [budget.seconds_per_step[each.label] * each.steps for each in budget.config.stretches]
    assert sum(spent) + budget.seconds_once == pytest.approx(5.0, rel=0.1)
    ratios = [new.steps / old.steps for new, old in zip(budget.config.stretches, config.stretches, strict=True)]
    assert max(ratios) / min(ratios) < 1.3
    assert budget_of(config, 5.0, tmp_path / "budget.json") == budget
    with pytest.raises(ValueError, match="was run with another config, the preset has changed since"):
        budget_of(replace(config, ema_decay=0.9), 5.0, tmp_path / "budget.json")
    (tmp_path / "budget.json").write_text("{}")
    with pytest.raises(ValueError, match="is damaged or of another version"):
        budget_of(config, 5.0, tmp_path / "budget.json")


def test_a_dearer_step_is_measured_as_dearer() -> None:
    cheap, once = measured_seconds(replace(with_steps(SMOKE, 1), objective=Drifting(batch=16, positives=16)))
    dear, _ = measured_seconds(replace(with_steps(SMOKE, 1), objective=Drifting(batch=2048, positives=4096)))
    assert dear["drifting"] > 5 * cheap["drifting"]
    assert once > cheap["regression"]  # the transport


def test_the_best_of_each_column_is_marked() -> None:
    def row(label: str, evaluations: int, w2: list[float], off: list[float]) -> dict[str, object]:
        figures = {"w2_over_floor": w2, "off_support": off, "seconds": [1.0]}
        return {"set": "a", "method": label, "label": label, "evaluations": evaluations, "figures": figures} | {
            "seeds": list(range(len(w2))),
            "diverged": [],
        }

    rows = [row("preset", 1, [1.0, 1.2], [0.2, 0.2]), row("b", 1, [2.0, 2.0], [0.1, 0.1]), row("c", 9, [0.5], [0.3])]
    head, cells = table(rows)
    assert head == ["method", "seeds", "W₂/floor", "off-support", "CPU s"]
    assert cells[0] == ["preset", "2", "1.10 ± 0.14 †", "0.200 ± 0.000", "1"]
    assert cells[1][3] == "**0.100 ± 0.000**"
    assert cells[2][2] == "**0.50**"
    assert winners(rows)[1] == [["a", "**preset**", "–", "b", "–", "–"]]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("data", ["25grid", "sphere"])
def test_every_method_has_a_run_on_every_kind_of_set(data: str, name: str) -> None:
    config = METHODS[name](PRESETS[data])
    assert config.data == PRESETS[data].data
    assert config.generator == PRESETS[data].generator
    assert config.total_steps > 0
    assert len(config.stretches) == 1 or name == "preset"


def test_all_sets() -> None:
    assert tuple(presets_of("all")) == SETS
    assert set(SETS) <= set(PRESETS)


def test_a_set_from_a_file_keeps_its_preset_and_is_told_its_space(tmp_path: Path) -> None:
    torus = presets_of("protein-torus", tmp_path / "a.csv")["protein-torus"]
    assert torus == replace(
        PRESETS["protein-torus"], data=replace(PRESETS["protein-torus"].data, path=tmp_path / "a.csv")
    )
    assert presets_of("a.npy", geometry="sphere")["a"].data.geometry == "sphere"
    assert presets_of("array", Path("b.npy"), "torus")["array"].data == ArrayFile(Path("b.npy"), "torus")
    assert {"sliced", "bi_softmax"} == set(default_methods()) - set(default_methods("torus"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["25gird"], "no data set is called '25gird': did you mean '25grid'?"),
        (["moons", "--methods", "sinkhron"], 'methods: "sinkhron" is unknown; did you mean "sinkhorn"?'),
        (["moons", "--seeds", "0"], "seeds = 0: give a positive number"),
        (["moons", "--seconds", "-1"], "seconds = -1.0: give a positive number"),
        (["moons", "--draws", "0"], "draws = 0: give a positive number"),
        (["moons", "--jobs", "0"], "jobs = 0: give a positive number"),
        (["none.npy"], "none.npy: no such file"),
        (["fires-sphere", "--data.path", "none.csv"], "none.csv: no such file"),
        (["moons", "--data.geometry", "torus"], "moons knows its geometry: leave torus out"),
        (["digits"], "digits: compare trains perceptrons, which are for points and not for images: use train"),
        (["all", "--data.geometry", "torus"], "all: these sets are read from no file"),
    ],
)
def test_what_is_refused_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["compare", *words, "--out", str(tmp_path / "a")]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert not (tmp_path / "a").exists()


def test_without_torchcfm_nothing_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torchcfm.conditional_flow_matching", None)
    monkeypatch.setitem(sys.modules, "torchcfm", None)
    assert main(["compare", "moons", "--methods", "ot_cfm", "--out", str(tmp_path / "a")]) == 2
    assert "gradient-flow-drifting[ot-cfm]" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


def test_ot_cfm_is_among_the_default_only_where_torchcfm_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for there in (True, False):
        monkeypatch.setattr(methods, "find_spec", lambda _, there=there: there or None)
        assert ("ot_cfm" in default_methods()) == there
        assert set(default_methods()) <= set(DEFAULT)
