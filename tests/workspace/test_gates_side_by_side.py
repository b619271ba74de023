"""Gates on the same adapters."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import qkd_cil
from qkd_cil import Schedule
from qkd_cil.data.scenario import ScenarioConfig
from qkd_cil.learners.qkd import QKDConfig
from qkd_cil.learners.simple_cil import SimpleCILConfig
from qkd_cil.models.classical_gates import CosineGateConfig, OracleGateConfig, UniformGateConfig
from qkd_cil.models.gate import QuantumGateConfig
from qkd_cil.presets import PRESETS
from qkd_cil.train import run

from benchmarks.qkd_cil import gates

FEW = {
    gates.OURS: QuantumGateConfig(),
    gates.AGAINST: CosineGateConfig(),
    "equal weights": UniformGateConfig(),
    "the newest adapter alone": gates.AloneConfig(-1),
    gates.TRUE: OracleGateConfig(),
}
QUICK = replace(
    PRESETS["digits-b0-inc2"],
    tasks=ScenarioConfig(increment=2, first_tasks=3, train_per_class=20),
    schedule=Schedule(epochs=1, batch_size=32),
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for name, learner in (("qkd", QKDConfig(routing_steps=60)), ("simple-cil", SimpleCILConfig())):
        run(replace(QUICK, learner=learner), folder / f"digits-b0-inc2_{name}" / "1993")
    return folder


def test_a_gate_taught_anew_is_much_like_that_of_the_run(runs: Path) -> None:
    folder = runs / "digits-b0-inc2_qkd" / "1993"
    lent = gates.Lent.of(folder)
    own = lent.evaluate(lent.learner.gate)
    learner = qkd_cil.load(folder / "learner.safetensors")
    assert isinstance(learner, qkd_cil.QKD)
    anew = lent.evaluate(lent.teach(learner.qkd.gate, learner.qkd.routing_learning_rate))
    assert own.routing_accuracy is not None
    assert anew.routing_accuracy == pytest.approx(own.routing_accuracy, abs=0.15)
    assert anew.chosen is not None
    assert (own.predictions == anew.predictions).double().mean() > 0.9
    assert lent.evaluate(lent.teach(OracleGateConfig(), 1.0)).routing_accuracy == 1.0
    alone = lent.evaluate(lent.teach(gates.AloneConfig(-1), 1.0))
    assert alone.routing is not None
    assert alone.routing.tolist() == [[0.0, 0.0, 1.0]] * 3


def test_the_table_has_a_row_for_each_gate(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "GATES", FEW)
    assert gates.main([str(runs / "digits-b0-inc2_qkd" / "1993"), "--out", str(tmp_path)]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows[2:9]] == [*FEW, *gates.VARIANTS]
    assert "+0.00 (+0.00 to +0.00)" in rows[3]
    assert (tmp_path / "gates.md").read_text(encoding="utf-8").splitlines()[0] == rows[0]
    assert (tmp_path / "gates.png").stat().st_size > 1000


def test_only_a_run_with_discriminants_lends_its_adapters(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gates.main([str(runs / "digits-b0-inc2_simple-cil" / "1993")]) == 2
    assert "is no run of QKD with the profile robust" in capsys.readouterr().err


def test_learning_rates_are_not_chosen_on_test_images(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gates.main([str(runs / "digits-b0-inc2_qkd" / "1993"), "--tune"]) == 2
    assert "make a run with --tasks.validation" in capsys.readouterr().err


def test_what_is_tried_is_kept_and_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "digits-b0-inc2_qkd" / "1992"
    tasks = replace(QUICK.tasks, first_tasks=2, validation=True, test_per_class=10)
    run(replace(QUICK, tasks=tasks, learner=QKDConfig(routing_steps=20)), folder)
    monkeypatch.setattr(gates, "GATES", FEW)
    monkeypatch.setattr(gates, "CHOSEN", tmp_path / "chosen.json")
    given = {"digits-b0-inc2": {gates.OURS: dict.fromkeys(gates.RATES, 0.25)}}
    gates.CHOSEN.write_text(json.dumps(given), encoding="utf-8")
    assert gates.main([str(folder), "--tune"]) == 0
    kept = json.loads(gates.CHOSEN.read_text(encoding="utf-8"))["digits-b0-inc2"]
    assert kept[gates.OURS] == given["digits-b0-inc2"][gates.OURS]
    assert list(kept[gates.AGAINST]) == list(gates.RATES)
    assert all(0 < found <= 1 for found in kept[gates.AGAINST].values())
    assert set(kept) == {gates.OURS, gates.AGAINST}
