"""Gates without a circuit, to hold the circuit-induced one against: cosine, MLP, attention, uniform, oracle."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from qkd_cil.models.gate import Gate, QuantumGateConfig, perceptron


@dataclass(frozen=True)
class CosineGateConfig:
    """The cosine between a sample and a task.

    Args:
        projection: `none`: of feature and embedding as they are, as published; `linear`: of a learned map of each;
            `perceptron`: the sample's map has a hidden layer, as in the circuit's `robust` gate.
        width: Coordinates of the learned maps.
        hidden: Width of the hidden layer of `perceptron`.
        temperature: τ of the softmax.
        learn_temperature: Whether τ is learned from there.

    Raises:
        ValueError: If a number is not positive.

    >>> CosineGateConfig().width
    64
    """

    projection: Literal["none", "linear", "perceptron"] = "perceptron"
    width: int = 64
    hidden: int = 256
    temperature: float = 0.1
    learn_temperature: bool = True

    def __post_init__(self) -> None:
        _check_positive(self.width, self.hidden, self.temperature)

    def build(self, dim: int, *, generator: torch.Generator) -> "CosineGate":
        """The gate, before its first task."""
        return CosineGate(dim, self, generator=generator)


@dataclass(frozen=True)
class MLPGateConfig:
    """A perceptron that sees a sample and a task together.

    Args:
        hidden: Width of its hidden layer.
        temperature: τ of the softmax.
        learn_temperature: Whether τ is learned from there.

    Raises:
        ValueError: If a number is not positive.

    >>> MLPGateConfig().hidden
    256
    """

    hidden: int = 256
    temperature: float = 1.0
    learn_temperature: bool = True

    def __post_init__(self) -> None:
        _check_positive(self.hidden, self.hidden, self.temperature)

    def build(self, dim: int, *, generator: torch.Generator) -> "MLPGate":
        """The gate, before its first task."""
        return MLPGate(dim, self, generator=generator)


@dataclass(frozen=True)
class AttentionGateConfig:
    """Scaled dot-product attention: the sample asks, the tasks are the keys.

    Args:
        width: Coordinates of query and keys.
        temperature: τ of the softmax, beside the square root of the width.
        learn_temperature: Whether τ is learned from there.

    Raises:
        ValueError: If a number is not positive.

    >>> AttentionGateConfig().width
    64
    """

    width: int = 64
    temperature: float = 1.0
    learn_temperature: bool = True

    def __post_init__(self) -> None:
        _check_positive(self.width, self.width, self.temperature)

    def build(self, dim: int, *, generator: torch.Generator) -> "AttentionGate":
        """The gate, before its first task."""
        return AttentionGate(dim, self, generator=generator)


@dataclass(frozen=True)
class UniformGateConfig:
    """Every task counts alike: what a gate must be better than.

    >>> UniformGateConfig()
    UniformGateConfig()
    """

    def build(self, dim: int, *, generator: torch.Generator) -> "UniformGate":  # noqa: ARG002
        """The gate, before its first task."""
        return UniformGate(dim)


@dataclass(frozen=True)
class OracleGateConfig:
    """The true task counts alone: what routing can reach at best. It answers only where the true task is told.

    >>> OracleGateConfig()
    OracleGateConfig()
    """

    def build(self, dim: int, *, generator: torch.Generator) -> "OracleGate":  # noqa: ARG002
        """The gate, before its first task."""
        return OracleGate(dim)


GateConfig = (
    QuantumGateConfig | CosineGateConfig | MLPGateConfig | AttentionGateConfig | UniformGateConfig | OracleGateConfig
)


class CosineGate(Gate):
    r"""$p_i = \cos(P h, Q s_i)$, in $[-1, 1]$.

    Args:
        dim: Width of a feature and of a task's embedding.
        config: The maps $P$ and $Q$.
        generator: Random numbers of the initial weights, on the CPU.

    >>> gate = CosineGate(4, CosineGateConfig(projection="none"), generator=torch.Generator())
    >>> gate.add_task(torch.tensor([0.0, 2.0, 0.0, 0.0]))
    >>> gate.scores(torch.tensor([[0.0, 3.0, 0.0, 4.0]]))
    tensor([[0.6000]])
    """

    def __init__(self, dim: int, config: CosineGateConfig, *, generator: torch.Generator) -> None:
        super().__init__(dim, temperature=config.temperature, learn_temperature=config.learn_temperature)
        self.of_sample: nn.Module = nn.Identity()
        self.of_task: nn.Module = nn.Identity()
        if config.projection != "none":
            hidden = [config.hidden] if config.projection == "perceptron" else []
            self.of_sample = perceptron([dim, *hidden, config.width], generator)
            self.of_task = perceptron([dim, config.width], generator)

    def scores(self, features: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch task"]:
        """The cosines."""
        samples, tasks = self.of_sample(_whitened(features)), self.of_task(_whitened(self.embeddings))
        return F.normalize(samples, dim=1) @ F.normalize(tasks, dim=1).T


class MLPGate(Gate):
    r"""$p_i = v \cdot \mathrm{ReLU}(W [h; s_i] + b)$, one perceptron for every pair of sample and task.

    Args:
        dim: Width of a feature and of a task's embedding.
        config: Its shape.
        generator: Random numbers of the initial weights, on the CPU.

    >>> gate = MLPGate(4, MLPGateConfig(), generator=torch.Generator())
    >>> gate.add_task(torch.ones(4))
    >>> gate(torch.ones(3, 4)).tolist()
    [[1.0], [1.0], [1.0]]
    """

    def __init__(self, dim: int, config: MLPGateConfig, *, generator: torch.Generator) -> None:
        super().__init__(dim, temperature=config.temperature, learn_temperature=config.learn_temperature)
        self.of_sample = perceptron([dim, config.hidden], generator)
        self.of_task = perceptron([dim, config.hidden], generator)
        self.out = perceptron([config.hidden, 1], generator)

    def scores(self, features: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch task"]:
        """The perceptron's answers; the two halves of its first layer are computed once for each row."""
        first = self.of_sample(_whitened(features))[:, None] + self.of_task(_whitened(self.embeddings))
        return self.out(torch.relu(first))[..., 0]


class AttentionGate(Gate):
    r"""$p_i = (W_Q h) \cdot (W_K s_i) / \sqrt{w}$ (Vaswani et al. 2017, Eq. 1) over $w$ coordinates.

    Args:
        dim: Width of a feature and of a task's embedding.
        config: Its shape.
        generator: Random numbers of the initial weights, on the CPU.

    >>> gate = AttentionGate(4, AttentionGateConfig(), generator=torch.Generator())
    >>> gate.add_task(torch.ones(4)), gate.add_task(-torch.ones(4))
    (None, None)
    >>> gate(torch.ones(3, 4)).shape
    torch.Size([3, 2])
    """

    def __init__(self, dim: int, config: AttentionGateConfig, *, generator: torch.Generator) -> None:
        super().__init__(dim, temperature=config.temperature, learn_temperature=config.learn_temperature)
        self.query = perceptron([dim, config.width], generator)
        self.key = perceptron([dim, config.width], generator)

    def scores(self, features: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch task"]:
        """The scaled inner products."""
        query, key = self.query(_whitened(features)), self.key(_whitened(self.embeddings))
        return query @ key.T / math.sqrt(key.shape[1])


class UniformGate(Gate):
    r"""$\alpha_i = 1/T$.

    Args:
        dim: Width of a task's embedding.

    >>> gate = UniformGate(2)
    >>> gate.add_task(torch.ones(2)), gate.add_task(torch.ones(2))
    (None, None)
    >>> gate(torch.ones(1, 2))
    tensor([[0.5000, 0.5000]])
    """

    routes = False

    def __init__(self, dim: int) -> None:
        super().__init__(dim, temperature=1.0, learn_temperature=False)

    def scores(self, features: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch task"]:
        """All alike."""
        return features.new_zeros(len(features), self.task_count)


class OracleGate(Gate):
    r"""$\alpha_i = 1$ for the true task; over teachers, none of which is the true one, $1/T$.

    Args:
        dim: Width of a task's embedding.

    >>> gate = OracleGate(2)
    >>> gate.add_task(torch.ones(2)), gate.add_task(torch.ones(2))
    (None, None)
    >>> gate(torch.ones(1, 2), task=1)
    tensor([[0., 1.]])
    """

    routes = False

    def __init__(self, dim: int) -> None:
        super().__init__(dim, temperature=1.0, learn_temperature=False)

    def scores(self, features: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch task"]:
        """All alike, as long as the true task is not told."""
        return features.new_zeros(len(features), self.task_count)

    def weights(self, features: Float[Tensor, "batch dim"], task: int | None) -> Float[Tensor, "batch task"]:
        """One for the true task.

        Raises:
            ValueError: If it is not told.
        """
        if task is None:
            raise ValueError(
                "the oracle gate must be told the true task, which only an evaluation knows; predict with another gate"
            )
        return F.one_hot(torch.full((len(features),), task, device=features.device), self.task_count).to(features)

    def over_teachers(self, features: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch task"]:
        """All teachers alike."""
        return self.scores(features).softmax(dim=1)


def _whitened(rows: Tensor) -> Tensor:
    """Rows of length √d, so that a coordinate is of order one."""
    return math.sqrt(rows.shape[1]) * F.normalize(rows, dim=1)


def _check_positive(width: int, hidden: int, temperature: float) -> None:
    if min(width, hidden) < 1 or not 0 < temperature < math.inf:
        raise ValueError(
            f"gate: width {width}, hidden {hidden}, temperature {temperature}: all must be positive and finite"
        )
