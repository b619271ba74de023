r"""The state that a data re-uploading circuit prepares, and how far two such states agree.

A layer encodes the data again, turns by weights and entangles. On $q$ qubits, from $|0\rangle$,

$$|\psi(x)\rangle = \big[ R(x) \big]_{\text{ending = data}} \; \prod_{l=L}^{1} C \, R(\theta_l) \, R(x) \; |0\rangle,
\qquad R(x) = \bigotimes_k R_Y(x_k), \qquad
R_Y(a) = \begin{pmatrix} \cos\frac a2 & -\sin\frac a2 \\ \sin\frac a2 & \cos\frac a2 \end{pmatrix},$$

with $C$ the chain of controlled nots from qubit $k$ to $k+1$, $k$ ascending (Li et al. 2026, arXiv 2604.11112).
Qubit 0 is the most significant bit of an amplitude's index.

Every gate is real, so the state is a real vector. Two rotations about one axis add, so $R(\theta_l) R(x) =
R(x + \theta_l)$. The first layer acts on a product state and gives the Kronecker product of
$(\cos\frac a2, \sin\frac a2)$. The chain maps $|x\rangle$ to $|y\rangle$ with $y_k = x_0 \oplus \dots \oplus x_k$; its
inverse is $x_k = y_k \oplus y_{k-1}$, so the new amplitude at index $y$ is the old one at the Gray code
$y \oplus \lfloor y/2 \rfloor$: one gather.

After the last $R(x)$ no gate depends on the data, and gates that both states share drop out of
$|\langle\psi(x)|\psi(s)\rangle|^2$. With the ending `entangle` the last $\theta$ is therefore without effect on a
fidelity, and with one layer the fidelity is $\prod_k \cos^2\frac{x_k - s_k}{2}$.
"""

from typing import Literal

from jaxtyping import Float
from papertrio_shared.backend import resolve_backend
from torch import Tensor

from .reference import fidelity, one_qubit_states, statevector_reference

StatevectorBackend = Literal["auto", "reference", "pennylane"]
Ending = Literal["entangle", "data"]

MAX_QUBITS = 16


def statevector(
    data: Float[Tensor, "batch qubits"],
    theta: Float[Tensor, "layers qubits"],
    *,
    ending: Ending = "entangle",
    backend: StatevectorBackend = "auto",
) -> Float[Tensor, "batch amplitudes"]:
    r"""State prepared for each row of data, a real vector of $2^q$ amplitudes.

    Args:
        data: Angles of the data, rad.
        theta: Angles of the weights, rad; one row for each layer.
        ending: `entangle`: the last layer is whole; `data`: one more rotation by the data follows it.
        backend: `reference`, `pennylane`, or `auto`, which is the reference on every device.

    Returns:
        Amplitudes, each state of norm one.

    Raises:
        ValueError: If the shapes do not match, there is no qubit or there are more than 16.

    >>> import torch
    >>> statevector(torch.tensor([[torch.pi, 0.0]]), torch.zeros(1, 2)).round().abs()
    tensor([[0., 0., 0., 1.]])
    """
    check_circuit(data, theta)
    match resolve_backend(backend, data, theta, gpu="reference", cpu="reference"):
        case "pennylane":
            from ._pennylane import statevector_pennylane  # lazy: PennyLane takes seconds to import

            return statevector_pennylane(data, theta, ending)
        case _:
            return statevector_reference(data, theta, ending)


def check_circuit(data: Tensor, theta: Tensor) -> None:
    """Refuse shapes that make no circuit.

    Args:
        data: Angles of the data.
        theta: Angles of the weights.

    Raises:
        ValueError: If the shapes do not match, there is no qubit or there are more than 16.

    >>> import torch
    >>> check_circuit(torch.zeros(5, 3), torch.zeros(2, 3))
    """
    if data.ndim != 2 or theta.ndim != 2 or data.shape[1] != theta.shape[1]:
        raise ValueError(
            f"circuit: data {tuple(data.shape)} and theta {tuple(theta.shape)} do not match; "
            "give (batch, qubits) and (layers, qubits)"
        )
    if not 1 <= data.shape[1] <= MAX_QUBITS:
        raise ValueError(f"circuit: {data.shape[1]} qubits; choose 1 to {MAX_QUBITS}")
