"""Gates: how much each task's adapter counts for a sample; the circuit-induced one."""

import itertools
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from qkd_cil.ops.statevector import (
    MAX_QUBITS,
    Ending,
    StatevectorBackend,
    fidelity,
    measured_fidelity,
    one_qubit_states,
    statevector,
)

Score = Literal["fidelity", "projected"]
TaskState = Literal["embedding", "amplitude"]
Projection = Literal["first", "linear", "perceptron"]


@dataclass(frozen=True)
class QuantumGateConfig:
    """The gate of a profile; the defaults are those of `robust`.

    Args:
        qubits: Number of qubits, 1 to 16.
        layers: Number of data rotations.
        ending: `entangle`: the last layer is whole, as published; `data`: the circuit ends with the last data rotation,
            so that all weights count.
        score: `fidelity`, or `projected`: a Gaussian of the distance between the one-qubit reduced states.
        task_state: `embedding`: a task's embedding goes through the circuit as a sample does; `amplitude`: its first
            coordinates are the amplitudes of the task's state.
        projection: `first`: the first coordinates of the normalised vectors are the angles, as published; `linear`: a
            learned map of the features, another of the embeddings; `perceptron`: the former with a hidden layer.
        hidden: Width of the hidden layer of `perceptron`.
        bandwidth: Factor of the angles of a learned projection at the start.
        temperature: τ of the softmax.
        learn_temperature: Whether τ is learned from there.
        backend: Of the circuit.
        noise: Probability of a depolarising error after every gate of the circuit when nothing is trained.
        shots: Measurements of each pair of sample and task when nothing is trained; 0: the exact probability.
        device: PennyLane's name of the device that noise and shots are measured on; empty: a simulator that can.

    Raises:
        ValueError: If a number is out of range.

    >>> QuantumGateConfig().qubits
    6
    """

    qubits: int = 6
    layers: int = 2
    ending: Ending = "data"
    score: Score = "fidelity"
    task_state: TaskState = "embedding"
    projection: Projection = "perceptron"
    hidden: int = 256
    bandwidth: float = 1.0
    temperature: float = 0.1
    learn_temperature: bool = True
    backend: StatevectorBackend = "auto"
    noise: float = 0.0
    shots: int = 0
    device: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.qubits <= MAX_QUBITS:
            raise ValueError(f"gate: {self.qubits} qubits; choose 1 to {MAX_QUBITS}")
        if self.layers < (2 if self.ending == "data" else 1):
            raise ValueError(f"gate: {self.layers} layers; the ending {self.ending!r} needs more")
        if self.hidden < 1:
            raise ValueError(f"gate: hidden {self.hidden}; it must be positive")
        if not (0 < self.temperature < math.inf and 0 < self.bandwidth < math.inf):
            raise ValueError(
                f"gate: temperature {self.temperature} and bandwidth {self.bandwidth}: both must be positive"
            )
        if not 0 <= self.noise <= 0.75 or self.shots < 0:
            raise ValueError(f"gate: noise {self.noise} and shots {self.shots}; give 0 to 0.75, and 0 or more")
        if self.measured and (self.score != "fidelity" or self.task_state != "embedding"):
            raise ValueError(
                "gate: noise, shots and device need the score fidelity and the task_state embedding: only there both "
                "states come from the circuit"
            )

    @property
    def measured(self) -> bool:
        """Whether scores are measured on a device when nothing is trained."""
        return self.noise > 0 or self.shots > 0 or bool(self.device)

    def build(self, dim: int, *, generator: torch.Generator) -> "QuantumGate":
        """The gate, before its first task."""
        return QuantumGate(dim, self, generator=generator)


class Gate(nn.Module, ABC):
    r"""Weights of the tasks for a sample, $\alpha = \mathrm{softmax}(p / \tau)$, from features and task embeddings.

    Args:
        dim: Width of a feature and of a task's embedding.
        temperature: τ at the start.
        learn_temperature: Whether it is learned from there.

    Attributes:
        routes: Whether it is meant to tell tasks apart by the features, so that diagnostics have something to say.
    """

    routes = True
    embeddings: Float[Tensor, "task dim"]

    def __init__(self, dim: int, *, temperature: float, learn_temperature: bool) -> None:
        super().__init__()
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)), requires_grad=learn_temperature)
        self.register_buffer("embeddings", torch.empty(0, dim))
        self.register_load_state_dict_pre_hook(_make_room)

    @property
    def task_count(self) -> int:
        """Number of tasks that have an embedding."""
        return len(self.embeddings)

    @property
    def temperature(self) -> Float[Tensor, ""]:
        """τ of the softmax."""
        return self.log_temperature.exp()

    def add_task(self, embedding: Float[Tensor, " dim"]) -> None:
        """Append a task's embedding, normalised, as a buffer."""
        self.embeddings = torch.cat([self.embeddings, F.normalize(embedding.to(self.embeddings), dim=0)[None]])

    def forward(self, features: Float[Tensor, "batch dim"], *, task: int | None = None) -> Float[Tensor, "batch task"]:
        """Weights α of the tasks for each sample, rows summing to one.

        Args:
            features: Features of the first adapter.
            task: The true task; only a gate that stands for the upper bound looks at it.

        Raises:
            ValueError: If no task has been added.
        """
        self._check_tasks()
        return self.weights(features, task)

    def over_teachers(self, features: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch task"]:
        """Weights of the earlier tasks for samples of a new one."""
        return self(features)

    def weights(self, features: Float[Tensor, "batch dim"], task: int | None) -> Float[Tensor, "batch task"]:  # noqa: ARG002
        """What `forward` gives once there is a task."""
        return (self.scores(features) / self.temperature).softmax(dim=1)

    @abstractmethod
    def scores(self, features: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch task"]:
        """How well each sample agrees with each task."""

    def _check_tasks(self) -> None:
        if not self.task_count:
            raise ValueError("the gate has no task yet: call add_task first")


class QuantumGate(Gate):
    r"""Weights of the tasks, $\alpha = \mathrm{softmax}(p / \tau)$, from the states of a sample and of the tasks.

    `fidelity`: $p_i = |\langle\psi(h)|\phi_i\rangle|^2$ (Li et al. 2026, arXiv 2604.11112). `projected`:
    $p_i = \exp(-\frac1q \sum_k \lVert r_k(h) - r_k(i) \rVert^2)$ with $r_k$ the Bloch vector of qubit $k$ alone.

    Args:
        dim: Width of a feature and of a task's embedding.
        config: The circuit and what goes into it.
        generator: Random numbers of the initial weights, on the CPU.

    Raises:
        ValueError: If the first coordinates are to be angles and there are too few.

    >>> gate = QuantumGate(12, QuantumGateConfig(qubits=3), generator=torch.Generator().manual_seed(0))
    >>> gate.add_task(torch.ones(12)), gate.add_task(torch.arange(12.0))
    (None, None)
    >>> gate(torch.randn(5, 12)).shape
    torch.Size([5, 2])
    """

    def __init__(self, dim: int, config: QuantumGateConfig, *, generator: torch.Generator) -> None:
        super().__init__(dim, temperature=config.temperature, learn_temperature=config.learn_temperature)
        if config.projection == "first" and dim < config.qubits:
            raise ValueError(
                f"gate: {config.qubits} qubits want as many features, the backbone has {dim}; "
                "take fewer qubits or a learned projection"
            )
        self.config = config
        rows = config.layers if config.ending == "entangle" else config.layers - 1
        self.theta = nn.Parameter(math.pi * (2 * torch.rand(rows, config.qubits, generator=generator) - 1))
        if config.projection != "first":
            widths = [dim, config.hidden, config.qubits] if config.projection == "perceptron" else [dim, config.qubits]
            self.sample_projection = perceptron(widths, generator)
            self.task_projection = perceptron([dim, config.qubits], generator)
            self.bandwidth = nn.Parameter(torch.tensor(config.bandwidth))

    def scores(self, features: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch task"]:
        """How well each sample's state agrees with each task's, in [0, 1]: all of them in one batch of circuits.

        Args:
            features: Features of the first adapter.

        Raises:
            ValueError: If no task has been added.
        """
        self._check_tasks()
        count = len(features)
        angles = self.angles(features)
        if self.config.measured and not self.training and not torch.is_grad_enabled():
            return self._measured(angles, self.task_angles(), shots=self.config.shots)
        if self.config.task_state == "amplitude":
            states = self._states(angles)
            tasks = self._amplitudes()
        else:
            both = self._states(torch.cat([angles, self.task_angles()]))
            states, tasks = both[:count], both[count:]
        if self.config.score == "fidelity":
            return fidelity(states, tasks)
        distance = one_qubit_states(states)[:, None] - one_qubit_states(tasks)[None]
        return (-distance.square().sum((2, 3)) / self.config.qubits).exp()

    def angles(self, features: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch qubits"]:
        """Angles that encode samples, rad."""
        normed = F.normalize(features, dim=1)
        if self.config.projection == "first":
            return normed[:, : self.config.qubits]
        return self.bandwidth * self.sample_projection(math.sqrt(features.shape[1]) * normed)

    def task_angles(self) -> Float[Tensor, "task qubits"]:
        """Angles that encode the tasks, rad."""
        if self.config.projection == "first":
            return self.embeddings[:, : self.config.qubits]
        return self.bandwidth * self.task_projection(math.sqrt(self.embeddings.shape[1]) * self.embeddings)

    @torch.no_grad()
    def check(self) -> None:
        """Run the circuit once.

        Raises:
            ValueError: If its back end, or the device it is measured on, cannot be had here.
            ImportError: If PennyLane is missing.
        """
        angles = self.theta.new_zeros(1, self.config.qubits)
        self._states(angles)
        if self.config.measured:
            self._measured(angles, angles, shots=0)

    def _measured(self, angles: Tensor, tasks: Tensor, *, shots: int) -> Float[Tensor, "batch task"]:
        return measured_fidelity(
            angles,
            tasks,
            self.theta,
            ending=self.config.ending,
            noise=self.config.noise,
            shots=shots,
            device=self.config.device,
        )

    def _states(self, angles: Float[Tensor, "batch qubits"]) -> Float[Tensor, "batch amplitudes"]:
        return statevector(angles, self.theta, ending=self.config.ending, backend=self.config.backend)

    def _amplitudes(self) -> Float[Tensor, "task amplitudes"]:
        size = 2**self.config.qubits
        chosen = self.embeddings[:, :size]
        return F.normalize(F.pad(chosen, (0, size - chosen.shape[1])), dim=1)


def task_embedding(matrices: list[Float[Tensor, "dim columns"]], *, rank: int) -> Float[Tensor, " dim"]:
    r"""One vector for a task from its adapter: $s = S^{(r)} \mathbf{1}$, normalised.

    $S \in \mathbb{R}^{d \times K}$ has the adapter's matrices side by side, $S^{(r)}$ is its best approximation of rank
    $r$. The sum over the columns does not depend on the signs of the singular vectors.

    Args:
        matrices: Weights of the adapter, each with the width $d$ of the network first.
        rank: $r$.

    Returns:
        A vector of length one.

    >>> task_embedding([torch.eye(3)[:, :1]], rank=1)
    tensor([1., 0., 0.])
    """
    u, s, vh = torch.linalg.svd(torch.cat(matrices, dim=1).double(), full_matrices=False)
    vector = (u[:, :rank] * s[:rank]) @ vh[:rank].sum(dim=1)
    return F.normalize(vector, dim=0).to(matrices[0].dtype)


def perceptron(widths: list[int], generator: torch.Generator) -> nn.Sequential:
    """Linear layers with rectifiers between them; unit variance in gives about unit variance out.

    Args:
        widths: Of the input, the hidden layers and the output.
        generator: Random numbers of the weights, on the CPU.

    >>> perceptron([4, 8, 2], torch.Generator())(torch.zeros(3, 4)).shape
    torch.Size([3, 2])
    """
    layers: list[nn.Module] = []
    for width, following in itertools.pairwise(widths):
        linear = nn.Linear(width, following)
        gain = 1.0 if not layers else math.sqrt(2)
        with torch.no_grad():
            linear.weight.normal_(0, gain / math.sqrt(width), generator=generator)
            linear.bias.zero_()
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _make_room(gate: Gate, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Before a state dictionary is loaded, have as many embeddings as it holds."""
    found = state.get(f"{prefix}embeddings")
    if found is not None:
        gate.embeddings = gate.embeddings.new_zeros(found.shape)
