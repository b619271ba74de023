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

from typing import TYPE_CHECKING, Literal

from jaxtyping import Float
from papertrio_shared.backend import resolve_backend
from torch import Tensor

from .reference import fidelity, one_qubit_states, statevector_reference

if TYPE_CHECKING:
    from matplotlib.figure import Figure

StatevectorBackend = Literal["auto", "reference", "triton", "pennylane"]
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
        backend: `reference`, `triton` (no second derivative), `pennylane`, or `auto`: Triton on a GPU, else the
            reference.

    Returns:
        Amplitudes, each state of norm one.

    Raises:
        ValueError: If the shapes do not match, there is no qubit or there are more than 16.

    >>> import torch
    >>> statevector(torch.tensor([[torch.pi, 0.0]]), torch.zeros(1, 2)).round().abs()
    tensor([[0., 0., 0., 1.]])
    """
    check_circuit(data, theta)
    match resolve_backend(backend, data, theta, gpu="triton", cpu="reference"):
        case "triton":
            from ._triton import statevector_triton  # lazy: the package imports where Triton is missing

            return statevector_triton(data, theta, ending)
        case "pennylane":
            from ._pennylane import statevector_pennylane  # lazy: PennyLane takes seconds to import

            return statevector_pennylane(data, theta, ending)
        case _:
            return statevector_reference(data, theta, ending)


def measured_fidelity(
    data: Float[Tensor, "batch qubits"],
    tasks: Float[Tensor, "task qubits"],
    theta: Float[Tensor, "layers qubits"],
    *,
    ending: Ending = "entangle",
    noise: float = 0.0,
    shots: int = 0,
    device: str = "",
) -> Float[Tensor, "batch task"]:
    r"""Fidelity of every sample's state with every task's as a machine finds it, by PennyLane.

    $|\langle\psi(x)|\psi(s)\rangle|^2$ is the probability that the circuit of $x$ and then the inverse of that of $s$
    end in $|0\rangle$. There is no gradient.

    Args:
        data: Angles of the samples, rad.
        tasks: Angles of the tasks, rad.
        theta: Angles of the weights, rad.
        ending: As `statevector` takes it.
        noise: Probability of a depolarising error after every gate, on each of its qubits.
        shots: Measurements of each pair, drawn from NumPy's global generator; 0: the exact probability.
        device: PennyLane's name of a simulator or a machine; empty: its own simulator, of mixed states under noise.

    Returns:
        Values in [0, 1].

    Raises:
        ValueError: If the shapes do not match, or PennyLane has no such device.

    >>> import torch
    >>> angles = torch.tensor([[0.3, 0.1]])
    >>> measured_fidelity(angles, angles, torch.zeros(1, 2)).round(decimals=6)
    tensor([[1.]])
    """
    check_circuit(data, theta)
    check_circuit(tasks, theta)
    from ._pennylane import measured_fidelity_pennylane

    found = measured_fidelity_pennylane(
        data.detach().cpu(), tasks.detach().cpu(), theta.detach().cpu(), ending, noise, shots, device
    )
    return found.to(data)


def draw_circuit(layers: int, qubits: int, *, ending: Ending = "entangle") -> str:
    """The circuit as text, the angles by name: `x0` for data, `θ0,0` for weights.

    Args:
        layers: Rows of weights.
        qubits: Number of qubits.
        ending: As `statevector` takes it.

    >>> print(draw_circuit(1, 2))
    0: ──RY(x0)──RY(θ0,0)─╭●─┤  State
    1: ──RY(x1)──RY(θ0,1)─╰X─┤  State
    """
    from ._pennylane import draw_pennylane

    return draw_pennylane(layers, qubits, ending)


def circuit_figure(layers: int, qubits: int, *, ending: Ending = "entangle") -> "Figure":
    """The circuit as a matplotlib picture.

    Args:
        layers: Rows of weights.
        qubits: Number of qubits.
        ending: As `statevector` takes it.

    >>> len(circuit_figure(1, 2).axes)
    1
    """
    from ._pennylane import figure_pennylane

    return figure_pennylane(layers, qubits, ending)


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
