"""The circuit: laws of a state, closed forms, and PennyLane as the oracle."""

import math

import pytest
import torch
from close import assert_close_by_name
from hypothesis import given
from hypothesis import strategies as st
from qkd_cil.ops.statevector import (
    Ending,
    circuit_figure,
    draw_circuit,
    fidelity,
    measured_fidelity,
    one_qubit_states,
    statevector,
)
from torch import Tensor

ENDINGS: tuple[Ending, ...] = ("entangle", "data")


def angles(batch: int, layers: int, qubits: int, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [3 * torch.randn(rows, qubits, dtype=dtype, generator=generator) for rows in (batch, layers)]


circuits = st.tuples(st.integers(1, 7), st.integers(0, 3), st.integers(0, 2**16), st.sampled_from(ENDINGS))


@given(circuits)
def test_norm_is_one(circuit: tuple[int, int, int, Ending]) -> None:
    qubits, layers, seed, ending = circuit
    states = statevector(*angles(5, layers, qubits, seed=seed), ending=ending)
    assert torch.allclose(states.norm(dim=1), torch.ones(5, dtype=torch.float64), rtol=1e-13)


@given(circuits)
def test_fidelity_is_symmetric_bounded_and_one_with_itself(circuit: tuple[int, int, int, Ending]) -> None:
    qubits, layers, seed, ending = circuit
    states = statevector(*angles(5, layers, qubits, seed=seed), ending=ending)
    found = fidelity(states, states)
    assert torch.allclose(found, found.T, atol=1e-14)
    assert torch.allclose(found.diagonal(), torch.ones(5, dtype=torch.float64), rtol=1e-13)
    assert found.min() >= 0
    assert found.max() <= 1 + 1e-13


@given(st.integers(2, 6), st.integers(1, 3), st.integers(0, 2**16))
def test_a_whole_layer_is_unitary(qubits: int, layers: int, seed: int) -> None:
    """With data of zero every layer is one fixed matrix: its columns are orthonormal, so inner products survive it."""
    data, theta = angles(4, layers, qubits, seed=seed)
    tail = torch.randn(1, qubits, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    before = statevector(data, theta, ending="data")
    after = statevector(data, torch.cat([theta, tail]), ending="entangle")
    assert torch.allclose(fidelity(after, after), fidelity(before, before), atol=1e-13)


@given(st.integers(1, 8), st.integers(0, 2**16))
def test_one_layer_has_a_closed_form(qubits: int, seed: int) -> None:
    data, theta = angles(6, 1, qubits, seed=seed)
    states = statevector(data, theta)
    difference = data[:, None] - data[None]
    expected = (difference / 2).cos().square().prod(dim=-1)
    assert torch.allclose(fidelity(states, states), expected, atol=1e-13)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_what_follows_the_last_data_rotation_cancels(layers: int) -> None:
    data, theta = angles(6, layers, 5)
    other = torch.cat([theta[:-1], theta[-1:] + torch.randn(1, 5, dtype=torch.float64)])
    before, after = statevector(data, theta), statevector(data, other)
    assert not torch.allclose(before, after, atol=1e-2)
    assert torch.allclose(fidelity(before, before), fidelity(after, after), atol=1e-13)
    before, after = (statevector(data, weights, ending="data") for weights in (theta, other))
    assert not torch.allclose(fidelity(before, before), fidelity(after, after), atol=1e-2)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(("qubits", "layers", "batch"), [(1, 1, 3), (2, 2, 1), (4, 2, 5), (7, 3, 3), (9, 2, 2)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_parity_with_pennylane(
    dtype: torch.dtype, tolerance: float, qubits: int, layers: int, batch: int, ending: Ending
) -> None:
    found: dict[str, dict[str, Tensor]] = {}
    cotangent = torch.randn(batch, 2**qubits, dtype=dtype, generator=torch.Generator().manual_seed(5))
    for backend in ("reference", "pennylane"):
        data, theta = (leaf.requires_grad_() for leaf in angles(batch, layers, qubits, dtype=dtype))
        states = statevector(data, theta, ending=ending, backend=backend)  # type: ignore[arg-type]
        (states * cotangent).sum().backward()
        assert data.grad is not None
        assert theta.grad is not None
        found[backend] = {"states": states.detach(), "data.grad": data.grad, "theta.grad": theta.grad}
    assert_close_by_name(found["reference"], found["pennylane"], rtol=tolerance)


@pytest.mark.parametrize("backend", ["reference", "pennylane"])
def test_empty_and_non_contiguous_batches(backend: str) -> None:
    data, theta = angles(6, 2, 3)
    assert statevector(data[:0], theta, backend=backend).shape == (0, 8)  # type: ignore[arg-type]
    slanted = data.T.contiguous().T[::2]
    assert not slanted.is_contiguous()
    found = statevector(slanted, theta, backend=backend)  # type: ignore[arg-type]
    assert torch.allclose(found, statevector(data, theta)[::2], atol=1e-14)


@pytest.mark.parametrize("ending", ENDINGS)
def test_gradients_of_both_orders(ending: Ending) -> None:
    leaves = [leaf.requires_grad_() for leaf in angles(2, 2, 3)]
    assert torch.autograd.gradcheck(lambda *pair: statevector(*pair, ending=ending), leaves)
    assert torch.autograd.gradgradcheck(lambda *pair: statevector(*pair, ending=ending), leaves)


def test_one_qubit_states_of_a_product_state() -> None:
    data, _ = angles(5, 1, 4)
    states = statevector(data, torch.zeros(0, 4, dtype=torch.float64), ending="data")
    assert torch.allclose(one_qubit_states(states), torch.stack([data.sin(), data.cos()], dim=-1), atol=1e-14)


@given(circuits)
def test_one_qubit_states_lie_in_the_disc(circuit: tuple[int, int, int, Ending]) -> None:
    qubits, layers, seed, ending = circuit
    states = statevector(*angles(5, layers, qubits, seed=seed), ending=ending)
    assert one_qubit_states(states).norm(dim=-1).max() <= 1 + 1e-13


def test_too_many_qubits() -> None:
    with pytest.raises(ValueError, match=r"17 qubits; choose 1 to 16"):
        statevector(*angles(1, 1, 17))


def test_shapes_that_make_no_circuit() -> None:
    with pytest.raises(ValueError, match=r"data \(2, 3\) and theta \(1, 4\) do not match"):
        statevector(torch.zeros(2, 3), torch.zeros(1, 4))


# What PennyLane measures and draws


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_exact_measurement_is_the_fidelity(ending: Ending) -> None:
    data, theta = angles(3, 2, 3)
    tasks = angles(2, 0, 3, seed=1)[0]
    expected = fidelity(*(statevector(each, theta, ending=ending) for each in (data, tasks)))
    assert torch.allclose(measured_fidelity(data, tasks, theta, ending=ending), expected, atol=1e-13)
    assert measured_fidelity(data[:0], tasks, theta).shape == (0, 2)


@pytest.mark.parametrize("noise", [0.02, 0.75])
def test_noise_shrinks_a_qubit_as_the_channel_says(noise: float) -> None:
    r"""Two rotations, each followed by a channel that shrinks the Bloch vector by 1 - 4p/3; p = 3/4 leaves nothing."""
    data, tasks = torch.tensor([[0.7]], dtype=torch.float64), torch.tensor([[0.2]], dtype=torch.float64)
    found = measured_fidelity(data, tasks, torch.zeros(0, 1, dtype=torch.float64), noise=noise)
    expected = (1 + (1 - 4 * noise / 3) ** 2 * math.cos(0.5)) / 2
    assert found.item() == pytest.approx(expected, abs=1e-12)


def test_shots_scatter_as_a_binomial() -> None:
    data, theta = angles(4, 1, 2)
    tasks = angles(3, 0, 2, seed=1)[0]
    exact = measured_fidelity(data, tasks, theta)
    found = measured_fidelity(data, tasks, theta, shots=4000)
    assert not torch.equal(found, exact)
    assert ((found - exact).abs() <= 5 * (exact * (1 - exact) / 4000).sqrt() + 1e-9).all()


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"PennyLane has no device 'none.such'; see qml.plugin_devices"):
        measured_fidelity(torch.zeros(1, 2), torch.zeros(1, 2), torch.zeros(1, 2), device="none.such")


def test_drawings_show_every_gate() -> None:
    text = draw_circuit(2, 3, ending="data")
    assert [text.count(f"RY(x{wire})") for wire in range(3)] == [3, 3, 3]
    assert all(f"RY(θ{layer},{wire})" in text for layer in range(2) for wire in range(3))
    assert text.count("╰X") == 4
    shown = [each.get_text() for each in circuit_figure(2, 3).axes[0].texts]
    assert shown.count("RY\n(x0)") == 2
    assert shown.count("RY\n(θ1,2)") == 1
