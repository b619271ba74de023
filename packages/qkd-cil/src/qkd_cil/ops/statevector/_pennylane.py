"""The same circuit by PennyLane: the independent oracle."""

import pennylane as qml
from jaxtyping import Float
from torch import Tensor


def statevector_pennylane(
    data: Float[Tensor, "batch qubits"], theta: Float[Tensor, "layers qubits"], ending: str
) -> Float[Tensor, "batch amplitudes"]:
    """The state of each row of data by PennyLane's simulator, the rows as a parameter broadcast."""
    qubits = data.shape[1]
    if not len(data):
        return data.new_zeros(0, 2**qubits) + theta.sum() * 0

    @qml.qnode(qml.device("default.qubit", wires=qubits), interface="torch", diff_method="backprop")
    def state() -> object:
        for weights in theta:
            _encode(data)
            for wire in range(qubits):
                qml.RY(weights[wire], wires=wire)
            for wire in range(qubits - 1):
                qml.CNOT(wires=[wire, wire + 1])
        if ending == "data" or not len(theta):
            _encode(data)
        return qml.state()

    return state().real.to(data.dtype).reshape(len(data), -1)


def _encode(data: Tensor) -> None:
    for wire in range(data.shape[1]):
        qml.RY(data[:, wire], wires=wire)
