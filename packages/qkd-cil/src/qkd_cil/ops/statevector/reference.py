"""The circuit as linear algebra on real vectors, in plain torch."""

import torch
from jaxtyping import Float
from torch import Tensor

GROUP = (
    4  # qubits turned by one matrix product: a 16 by 16 matrix is still cheap to build and fills a processor's lanes
)


def statevector_reference(
    data: Float[Tensor, "batch qubits"], theta: Float[Tensor, "layers qubits"], ending: str
) -> Float[Tensor, "batch amplitudes"]:
    """The state of each row of data: a Kronecker product, then for each layer one gather and a few matrix products."""
    index = torch.arange(2 ** data.shape[1], device=data.device)
    gray = index ^ (index >> 1)
    if not len(theta):
        return _product_state(data)
    state = _product_state(data + theta[0])[:, gray]
    for weights in theta[1:]:
        state = _rotate(state, data + weights)[:, gray]
    return _rotate(state, data) if ending == "data" else state


def fidelity(
    states: Float[Tensor, "batch amplitudes"], tasks: Float[Tensor, "task amplitudes"]
) -> Float[Tensor, "batch task"]:
    r"""Fidelity $|\langle\psi|\phi_i\rangle|^2$ of every state with every task's state.

    Args:
        states: Real states of norm one.
        tasks: Real states of norm one.

    Returns:
        Values in [0, 1].

    >>> fidelity(torch.eye(2), torch.eye(2))
    tensor([[1., 0.],
            [0., 1.]])
    """
    return (states @ tasks.T).square()


def one_qubit_states(states: Float[Tensor, "batch amplitudes"]) -> Float[Tensor, "batch qubits 2"]:
    r"""Bloch vectors $(\langle X_k\rangle, \langle Z_k\rangle)$ of each qubit alone; $\langle Y_k\rangle$ is zero.

    Args:
        states: Real states of norm one.

    Returns:
        Two coordinates for each qubit, in the unit disc.

    >>> one_qubit_states(torch.tensor([[1.0, 0.0]]))
    tensor([[[0., 1.]]])
    """
    bloch = []
    for qubit in range(states.shape[1].bit_length() - 1):
        zero, one = states.reshape(len(states), 2**qubit, 2, -1).unbind(2)
        bloch.append(torch.stack([2 * (zero * one).sum((1, 2)), (zero.square() - one.square()).sum((1, 2))], dim=1))
    return torch.stack(bloch, dim=1)


def _product_state(angles: Tensor) -> Tensor:
    """Kronecker product of (cos a/2, sin a/2) over the qubits."""
    amplitudes = torch.stack([(angles / 2).cos(), (angles / 2).sin()], dim=-1)
    state = amplitudes[:, 0]
    for qubit in range(1, angles.shape[1]):
        state = (state[:, :, None] * amplitudes[:, qubit, None, :]).flatten(1)
    return state


def _rotate(state: Tensor, angles: Tensor) -> Tensor:
    """Turn every qubit by its angle: the leading qubits by one matrix, which then move to the end of the index."""
    cos, sin = (angles / 2).cos(), (angles / 2).sin()
    turns = torch.stack([cos, -sin, sin, cos], dim=-1).unflatten(-1, (2, 2))
    groups = -(-angles.shape[1] // GROUP)
    for part in turns.tensor_split(groups, dim=1):
        matrix = part[:, 0]
        for turn in part.unbind(1)[1:]:
            matrix = (matrix[:, :, None, :, None] * turn[:, None, :, None, :]).flatten(3, 4).flatten(1, 2)
        leading = state.reshape(len(state), matrix.shape[1], state.shape[1] // matrix.shape[1])
        state = (leading.transpose(1, 2) @ matrix.transpose(1, 2)).flatten(1)
    return state
