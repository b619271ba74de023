"""Tables that put runs side by side."""

import re
from pathlib import Path
from typing import Any

import pytest
from papertrio_shared.run import config_to_dict
from qkd_cil import APERConfig, LearnerConfig, QKDConfig
from qkd_cil.comparison import write_comparison
from qkd_cil.learners.qkd import PAPER
from qkd_cil.models.classical_gates import CosineGateConfig
from qkd_cil.models.gate import QuantumGateConfig
from qkd_cil.names import method_name
from qkd_cil.plots import accuracy_over_tasks
from qkd_cil.tables import ComparedRun, latex_table, markdown_table, paired_table


def run(name: str, **averages: float) -> ComparedRun:
    """A run with the given average accuracy for each seed, `s1=0.5`."""
    results: list[dict[str, Any]] = []
    for seed, average in averages.items():
        summary = {
            "average_accuracy": average,
            "last_accuracy": average - 0.1,
            "forgetting": 0.05,
            "last_routing_accuracy": None,
        }
        config = {
            "seed": int(seed[1:]),
            "learner": config_to_dict(APERConfig()),
            "tasks": {"class_order_seed": int(seed[1:])},
            "backbone": {"name": "vit", "img_size": 8},
            "schedule": {"epochs": 1},
        }
        results.append(
            {
                "summary": summary,
                "seconds": 10.0,
                "peak_memory_bytes": 2**30,
                "config": config,
                "accuracy": [average, average - 0.1],
                "dataset": "small",
                "task_classes": [[0], [1]],
            }
        )
    return ComparedRun(name, tuple(results))


def test_mean_and_deviation_over_seeds() -> None:
    runs = [run("a", s1=0.5, s2=0.6, s3=0.7), run("b_1", s1=0.5)]
    rows = markdown_table(runs).splitlines()[2:]
    assert rows[0].startswith(
        "| a | APER adapter | 3 | 60.00 ± 10.00 | 50.00 ± 10.00 | 5.00 ± 0.00 | – | 10 ± 0 | 1024 ±"
    )
    assert rows[1] == "| b_1 | APER adapter | 1 | 50.00 | 40.00 | 5.00 | – | 10 | 1024 |"
    latex = latex_table(runs)
    assert r"a & APER adapter & 3 & 60.00 $\pm$ 10.00 & 50.00 $\pm$ 10.00" in latex
    assert r"b\_1 & APER adapter & 1 & 50.00 & 40.00 & 5.00 & -- & 10 & 1024 \\" in latex


def test_differences_are_paired_by_seed() -> None:
    """Differences 1, 2 and 3 per cent: 2 ± 4.303 / √3 (Student's t of two degrees of freedom at 97.5 %)."""
    runs = [run("a", s1=0.5, s2=0.6, s3=0.7), run("b", s3=0.73, s1=0.51, s2=0.62, s9=0.1), run("c", s1=0.9)]
    (row,) = paired_table(runs).splitlines()[2:]
    found = re.fullmatch(r"\| b \| 3 \| \+2.00 \(([-+.\d]+) to ([-+.\d]+)\) \| .* \|", row)
    assert found
    assert [float(each) for each in found.groups()] == pytest.approx([2 - 2.484, 2 + 2.484], abs=0.006)
    assert paired_table(runs[::2]) == ""


def test_a_comparison_has_its_files(tmp_path: Path) -> None:
    paths = write_comparison(tmp_path, [run("a", s1=0.5, s2=0.6), run("b", s1=0.6, s2=0.8)])
    assert [path.name for path in paths] == [f"comparison.{kind}" for kind in ("md", "tex", "png", "html")]
    assert "against a" in paths[0].read_text()
    assert "against a" in paths[3].read_text()


def test_many_curves_have_their_legend_beside_the_picture() -> None:
    axes = accuracy_over_tasks({f"run{number}": [[0.5, 0.4]] for number in range(17)}).axes[0]
    legend = axes.get_legend()
    assert legend is not None
    assert len(legend.get_texts()) == 17
    styles = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in axes.get_lines()}
    assert len(styles) == 17  # no two look alike


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (QKDConfig(), "QKD robust"),
        (PAPER, "QKD paper"),
        (QKDConfig(gate=CosineGateConfig()), "QKD robust cosine"),
        (QKDConfig(gate=QuantumGateConfig(qubits=4)), "QKD robust qubits 4"),
        (QKDConfig(fusion="block"), "QKD robust block"),
        (QKDConfig(rank=3), "QKD"),
        (APERConfig(tuning="vpt-deep"), "APER vpt-deep"),
    ],
)
def test_methods_are_named_apart(config: LearnerConfig, name: str) -> None:
    assert method_name(config_to_dict(config)) == name


def test_a_config_of_another_version_keeps_its_name() -> None:
    assert method_name({"class": "QKDConfig", "odd": 1}) == "QKD"
