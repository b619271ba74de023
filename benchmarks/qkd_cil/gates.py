"""Gates side by side on the same adapters: `python -m benchmarks.qkd_cil.gates results/qkd-cil/cifar100-small_qkd/*`.

Finished runs of QKD `robust` lend their adapters, discriminants and what they keep of the classes. Each gate is taught
from that anew, task by task as in a run, and answers for the same test images, so that nothing but the gate differs.
(In a run of its own a gate also weighs the teachers while the adapters train; that is left out here. The covariance
that the gate's lessons are drawn with is the one after the last task.) `--tune` tries each gate's learning rate on a
run that was judged on held-out training images, and keeps the one that sends most of them to their task, for the
preset that the run's folder is named after.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import qkd_cil
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from papertrio_shared.checkpoint import atomic_write
from papertrio_shared.metrics import bootstrap_interval
from papertrio_shared.progress import progress
from papertrio_shared.seed import generator
from qkd_cil.data.scenario import Scenario
from qkd_cil.evaluate import Evaluation, KeptFeatures
from qkd_cil.learners.qkd import PAPER, QKD
from qkd_cil.learners.routing import learn_routing
from qkd_cil.models.classical_gates import (
    AttentionGateConfig,
    CosineGateConfig,
    GateConfig,
    MLPGateConfig,
    OracleGateConfig,
    UniformGate,
    UniformGateConfig,
)
from qkd_cil.models.gate import Gate, QuantumGateConfig
from qkd_cil.models.gaussian import Gaussians
from qkd_cil.plots import save
from qkd_cil.train import read_run_config
from torch import Tensor

from benchmarks.qkd_cil.paper import best
from benchmarks.tables import cell, origins

CHOSEN = Path(__file__).parents[1] / "results" / "qkd-cil" / "gate-tuning.json"
RATES = ("0.001", "0.003", "0.01", "0.03", "0.1")


@dataclass(frozen=True)
class AloneConfig:
    """One adapter answers alone.

    Args:
        which: Its place, from the end if negative.
    """

    which: int

    def build(self, dim: int, *, generator: torch.Generator) -> "AloneGate":  # noqa: ARG002
        """The gate, before its first task."""
        return AloneGate(dim, self.which)


class AloneGate(UniformGate):
    """All weight on one adapter."""

    def __init__(self, dim: int, which: int) -> None:
        super().__init__(dim)
        self.which = which

    def weights(self, features: Tensor, task: int | None) -> Tensor:
        """One for this adapter."""
        alike = super().weights(features, task)
        return F.one_hot(torch.tensor(range(self.task_count)[self.which]), self.task_count).to(alike).expand_as(alike)


GATES: dict[str, GateConfig | AloneConfig] = {
    "quantum, 3 qubits": QuantumGateConfig(qubits=3),
    "quantum, 4 qubits": QuantumGateConfig(qubits=4),
    "quantum, 6 qubits": QuantumGateConfig(),
    "quantum, 8 qubits": QuantumGateConfig(qubits=8),
    "quantum, 6 qubits, projected": QuantumGateConfig(score="projected"),
    "quantum, 6 qubits, as published": PAPER.gate,
    "cosine": CosineGateConfig(),
    "cosine, as published": CosineGateConfig(projection="none"),
    "MLP": MLPGateConfig(),
    "attention": AttentionGateConfig(),
    "equal weights": UniformGateConfig(),
    "the first adapter alone": AloneConfig(0),
    "the newest adapter alone": AloneConfig(-1),
    "the true task": OracleGateConfig(),
}
OURS, AGAINST, TRUE = "quantum, 6 qubits", "cosine", "the true task"
VARIANTS = {
    f"{OURS}; the adapter it weighs most": {"fusion": "top1"},
    f"{OURS}; linear discriminants": {"own_spread": 0.0},
}
"""What else of the profile the answers rest on, with our gate as it was taught."""

Tried = dict[str, dict[str, float]]
Row = dict[str, object]


@dataclass(frozen=True)
class Lent:
    """A finished run whose adapters all gates share.

    Attributes:
        learner: After its last task.
        scenario: What it learned.
        kept: Features of the images it is judged on.
    """

    learner: QKD
    scenario: Scenario
    kept: KeptFeatures

    @classmethod
    def of(cls, folder: Path) -> "Lent":
        """Read a run's folder, and pass its test images through all adapters.

        Raises:
            ValueError: If it is no run of QKD whose adapters have discriminants and whose gate is taught.
        """
        learner = qkd_cil.load(folder / "learner.safetensors")
        taught = isinstance(learner, QKD) and learner.qkd.alignment == "gaussian"
        if not isinstance(learner, QKD) or not taught or learner.qkd.gate_gradient != "routing":
            raise ValueError(f"{folder}: is no run of QKD with the profile robust; give the folder of such a seed")
        config = read_run_config(folder)
        lent = cls(learner, Scenario(config.data.load(), config.tasks), KeptFeatures())
        lent.evaluate(learner.gate)
        return lent

    def evaluate(self, gate: Gate) -> Evaluation:
        """The answers with another gate."""
        self.learner.gate = gate
        return qkd_cil.evaluate(self.learner, self.scenario.test_seen(self.scenario.train_tasks[-1]), kept=self.kept)

    def teach(self, config: GateConfig | AloneConfig, rate: float) -> Gate:
        """A gate that learns the tasks one after another, as in a run."""
        learner, settings = self.learner, self.learner.qkd
        gate = config.build(learner.backbone.dim, generator=generator(learner.seed, "gate of task -1"))
        embeddings, known = learner.gate.embeddings, learner.task_of_class
        for task, embedding in enumerate(embeddings):
            gate.add_task(embedding)
            so_far = known <= task
            if task:
                learn_routing(
                    gate,
                    Gaussians(
                        learner.means[0][so_far],
                        learner.scatter[0],
                        learner.totals[0],
                        learner.directions[0][so_far],
                    ),
                    known[so_far],
                    steps=settings.routing_steps,
                    learning_rate=rate,
                    sparsity=settings.sparsity,
                    sparsity_weight=settings.sparsity_weight,
                    generator=generator(learner.seed, f"routing of task {task}"),
                )
        return gate.eval()


def has_choice(config: GateConfig | AloneConfig) -> bool:
    """Whether there is anything to teach."""
    return any(parameter.requires_grad for parameter in config.build(16, generator=torch.Generator()).parameters())


def tune(folder: Path, tried: Tried) -> Iterator[str]:
    """Find the routing accuracy of each gate at each learning rate, gate by gate.

    Args:
        folder: Of a run that was judged on held-out training images.
        tried: Gets it; what it holds already is not tried again.
    """
    lent = Lent.of(folder)
    if not lent.scenario.config.validation:
        raise ValueError(f"{folder}: was judged on test images; make a run with --tasks.validation to choose by")
    for name in progress([name for name, config in GATES.items() if has_choice(config)], "gates"):
        rates = tried.setdefault(name, {})
        for rate in RATES:
            if rate not in rates:
                rates[rate] = lent.evaluate(lent.teach(GATES[name], float(rate))).routing_accuracy or 0.0
        yield name


def side_by_side(folders: Sequence[Path], tried: Tried) -> dict[str, list[Evaluation]]:
    """What each gate answers in each run, at the learning rate that did best."""
    found: dict[str, list[Evaluation]] = {name: [] for name in (*GATES, *VARIANTS)}
    for folder in folders:
        lent = Lent.of(folder)
        settings = lent.learner.qkd
        taught = {}
        for name, config in progress(list(GATES.items()), folder.name):
            rate = best(tried.get(name, {})) or settings.routing_learning_rate
            taught[name] = lent.teach(config, float(rate))
            found[name].append(lent.evaluate(taught[name]))
        for name, change in VARIANTS.items():
            lent.learner.qkd = replace(settings, **change)  # type: ignore[arg-type]
            lent.learner.align()
            found[name].append(lent.evaluate(taught[OURS]))
    return found


def table(found: dict[str, list[Evaluation]], tried: Tried) -> str:
    """Markdown: a row for each gate, over all runs."""
    against = np.concatenate([_right(each) for each in found[AGAINST]])
    rows: list[Row] = []
    for name, each in found.items():
        gain = bootstrap_interval(np.concatenate([_right(one) for one in each]) - against, resamples=999)
        entropies, errors = [one.gate_entropy for one in each], [one.gate_calibration_error for one in each]
        rows.append(
            {
                "gate": name,
                "learning rate": best(tried.get(name, {})) or "–",
                "routing": cell([100 * (one.routing_accuracy or 0) for one in each]) if _routes(name) else "–",
                "last accuracy": cell([100 * one.accuracy for one in each]),
                f"more than {AGAINST}": f"{100 * gain.value:+.2f} ({100 * gain.low:+.2f} to {100 * gain.high:+.2f})",
                "entropy": f"{np.mean([each or 0.0 for each in entropies]):.2f}",
                "calibration error": f"{np.mean([each or 0.0 for each in errors]):.2f}",
            }
        )
    names = list(rows[0])
    lines = [names, ["---"] + ["---:"] * (len(names) - 1), *([str(row[name]) for name in names] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def picture(found: dict[str, list[Evaluation]]) -> Figure:
    """Share of images that each gate sends to their task, and of those told right: a point for each run."""
    figure = Figure(figsize=(9, 0.36 * len(found) + 1.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for place, (name, each) in enumerate(found.items()):
        colour = "C0" if name.startswith("quantum") else "C1" if _routes(name) else "C7"
        if _routes(name) and name != TRUE:
            left.plot([100 * (one.routing_accuracy or 0) for one in each], [place] * len(each), "o", color=colour)
        right.plot([100 * one.accuracy for one in each], [place] * len(each), "o", color=colour)
    left.set_yticks(range(len(found)), list(found))
    left.invert_yaxis()
    left.set_xlabel("images sent to their task, %")
    right.set_xlabel("images told right, %")
    for axes in (left, right):
        axes.grid(axis="both", alpha=0.3)
    return figure


def _routes(name: str) -> bool:
    """Whether the gate is meant to tell tasks apart."""
    return not isinstance(GATES.get(name), UniformGateConfig | AloneConfig)


def _right(evaluation: Evaluation) -> np.ndarray:
    return (evaluation.predictions == evaluation.labels).double().numpy()


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and hold the gates side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of seeds of finished runs of QKD")
    parser.add_argument("--tune", action="store_true", help="choose the learning rates on the one run that is given")
    parser.add_argument("--out", type=Path, help="gets gates.md and gates.png; without it the table is printed alone")
    asked = parser.parse_args(argv)
    preset = asked.runs[0].resolve().parent.name.split("_")[0]
    try:
        chosen: dict[str, Tried] = json.loads(CHOSEN.read_text(encoding="utf-8")) if CHOSEN.is_file() else {}
        if asked.tune:
            for _ in tune(asked.runs[0], chosen.setdefault(preset, {})):
                with atomic_write(CHOSEN) as temporary:
                    temporary.write_text(json.dumps(chosen, indent=1) + "\n", encoding="utf-8")
            return 0
        tried = chosen.get(preset, {})
        found = side_by_side(asked.runs, tried)
        text = table(found, tried) + "\n" + "\n".join(origins([folder / "result.json" for folder in asked.runs])) + "\n"
        print(text)
        if asked.out:
            asked.out.mkdir(parents=True, exist_ok=True)
            with atomic_write(asked.out / "gates.md") as temporary:
                temporary.write_text(text, encoding="utf-8")
            save(picture(found), asked.out / "gates.png")
    except (OSError, RuntimeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
