"""The same circuit by PennyLane: the independent oracle, noisy and measured fidelities, drawings."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pennylane as qml
import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AT_ONCE = 2**22
"""Numbers that the simulated states of one call may have."""


def statevector_pennylane(
    data: Float[Tensor, "batch qubits"], theta: Float[Tensor, "layers qubits"], ending: str
) -> Float[Tensor, "batch amplitudes"]:
    """The state of each row of data by PennyLane's simulator, the rows as a parameter broadcast."""
    qubits = data.shape[1]
    if not len(data):
        return data.new_zeros(0, 2**qubits) + theta.sum() * 0

    @qml.qnode(qml.device("default.qubit", wires=qubits), interface="torch", diff_method="backprop")
    def state() -> object:
        _circuit(data.unbind(1), theta, ending)
        return qml.state()

    return state().real.to(data.dtype).reshape(len(data), -1)


def measured_fidelity_pennylane(
    data: Float[Tensor, "batch qubits"],
    tasks: Float[Tensor, "task qubits"],
    theta: Float[Tensor, "layers qubits"],
    ending: str,
    noise: float,
    shots: int,
    device: str,
) -> Float[Tensor, "batch task"]:
    """Share of measurements that find every qubit in |0> after a sample's circuit and the inverse of a task's."""
    qubits = data.shape[1]
    name = device or ("default.mixed" if noise else "default.qubit")
    try:
        machine = qml.device(name, wires=qubits)
    except Exception as error:  # each plug-in has its own errors
        raise ValueError(
            f"gate: PennyLane has no device {name!r}; see qml.plugin_devices or install its plug-in"
        ) from error

    def overlap(sample: Sequence[Tensor], task: Sequence[Tensor]) -> object:
        _circuit(sample, theta, ending, noise)
        _circuit(task, theta, ending, noise, inverse=True)
        return qml.probs(wires=range(qubits))

    node = qml.QNode(overlap, machine, interface="torch", diff_method=None)
    node = qml.set_shots(node, shots) if shots else node
    pairs = torch.cartesian_prod(torch.arange(len(data)), torch.arange(len(tasks)))
    share = max(1, AT_ONCE // 2 ** (2 * qubits if noise else qubits))
    found = [data.new_zeros(0)]
    for first, second in (part.unbind(1) for part in pairs.split(share)):
        if len(first):
            zeros = node(data[first].unbind(1), tasks[second].unbind(1)).reshape(len(first), -1)[:, 0]
            found.append(zeros.to(data))
    return torch.cat(found).reshape(len(data), len(tasks))


def draw_pennylane(layers: int, qubits: int, ending: str) -> str:
    """The circuit as text."""
    circuit, data, theta = _drawable(layers, qubits, ending)
    return str(qml.draw(circuit, max_length=10_000)(data, theta))


def figure_pennylane(layers: int, qubits: int, ending: str) -> "Figure":
    """The circuit as a matplotlib picture."""
    from matplotlib import pyplot

    circuit, data, theta = _drawable(layers, qubits, ending)
    figure, _ = qml.draw_mpl(circuit, wire_order=range(qubits), decimals=2)(data, theta)
    pyplot.close(figure)  # PennyLane leaves it with pyplot, which would keep it
    return figure


def _drawable(layers: int, qubits: int, ending: str) -> tuple[Callable[..., object], list[str], list[list[str]]]:
    """A circuit whose angles are names."""
    data = [f"x{wire}" for wire in range(qubits)]
    theta = [[f"θ{layer},{wire}" for wire in range(qubits)] for layer in range(layers)]

    def circuit(data: Sequence[str], theta: Sequence[Sequence[str]]) -> object:
        _circuit(data, theta, ending)
        return qml.state()

    return circuit, data, theta


def _circuit(data: Sequence[object], theta: object, ending: str, noise: float = 0.0, *, inverse: bool = False) -> None:
    """Apply the circuit or its inverse, every gate followed by a depolarising channel where there is noise."""
    qubits = len(data)
    gates: list[tuple[object, tuple[int, ...]]] = []
    for weights in theta:  # type: ignore[attr-defined]
        gates += [(angle, (wire,)) for wire, angle in enumerate(data)]
        gates += [(weights[wire], (wire,)) for wire in range(qubits)]
        gates += [(None, (wire, wire + 1)) for wire in range(qubits - 1)]
    if ending == "data" or not len(theta):  # type: ignore[arg-type]
        gates += [(angle, (wire,)) for wire, angle in enumerate(data)]
    for angle, wires in reversed(gates) if inverse else gates:
        if angle is None:
            qml.CNOT(wires=wires)
        else:
            qml.RY(-angle if inverse else angle, wires=wires[0])  # type: ignore[operator]
        if noise:
            for wire in wires:
                qml.DepolarizingChannel(noise, wires=wire)
