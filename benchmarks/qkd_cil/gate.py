"""The gate's circuit against PennyLane's broadcasting, and its kernel against its reference."""

from collections.abc import Callable

import torch
from qkd_cil.ops.statevector import StatevectorBackend, fidelity, statevector

from benchmarks.registry import Rows, benchmark
from benchmarks.timing import compare

CASES = ((6, 32, 10), (7, 32, 10), (8, 32, 10), (10, 32, 10), (12, 32, 10), (12, 128, 20))  # qubits, samples, tasks
LAYERS = 2


@benchmark(package="qkd-cil", name="gate", device="cpu")
def gate_against_pennylane() -> Rows:
    """Fidelities of all samples with all tasks, forward and backward, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [_row(*case) for case in CASES]
    finally:
        torch.set_num_threads(threads)


@benchmark(package="qkd-cil", name="gate", device="gpu")
def gate_on_a_gpu() -> Rows:
    """The same by the Triton kernels and by the reference, both on the device."""
    rows = []
    for qubits, samples, tasks in (*CASES, (16, 32, 10)):
        kinds: tuple[StatevectorBackend, ...] = ("triton", "reference")
        steps = {kind: _step(qubits, samples, tasks, kind, device="cuda") for kind in kinds}
        times = compare(steps)
        row = {"qubits": qubits, "samples": samples, "tasks": tasks}
        rows.append(row | {f"{kind}, ms": round(1e3 * times[kind].median, 2) for kind in kinds})
    return rows


def _row(qubits: int, samples: int, tasks: int) -> dict[str, object]:
    times = compare(
        {
            "ours": _step(qubits, samples, tasks, "reference"),
            "pennylane": _step(qubits, samples, tasks, "pennylane"),
        }
    )
    return {
        "qubits": qubits,
        "samples": samples,
        "tasks": tasks,
        "ours, ms": round(1e3 * times["ours"].median, 2),
        "PennyLane, ms": round(1e3 * times["pennylane"].median, 1),
        "ratio": round(times["pennylane"].median / times["ours"].median, 1),
    }


def _step(
    qubits: int, samples: int, tasks: int, backend: StatevectorBackend, *, device: str = "cpu"
) -> Callable[[], None]:
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(samples + tasks, qubits, generator=generator).to(device).requires_grad_()
    theta = torch.randn(LAYERS, qubits, generator=generator).to(device).requires_grad_()

    def step() -> None:
        states = statevector(data, theta, ending="data", backend=backend)
        scores = fidelity(states[:samples], states[samples:])
        scores.softmax(dim=1)[:, 0].sum().backward()
        if device == "cuda":
            torch.cuda.synchronize()

    return step
