"""What a gate tells about itself."""

import warnings

import torch
from jaxtyping import Float
from torch import Tensor

from qkd_cil.models.gate import Gate, QuantumGate

LEAST_ROUTING = 0.15  # what a temperature of one can reach at most with ten tasks, of the way from equal weights to one


class GateWarning(RuntimeWarning):
    """The gate does not route."""


def entropy(alpha: Float[Tensor, "batch task"]) -> Float[Tensor, " batch"]:
    """Entropy of each gate, nats.

    Args:
        alpha: Weights of the tasks.

    >>> entropy(torch.tensor([[1.0, 0.0]]))
    tensor([0.])
    """
    return torch.special.entr(alpha).sum(dim=1)


def gate_diagnostics(gate: Gate, features: Float[Tensor, "n dim"]) -> dict[str, float]:
    """How much the gate routes; warns where it cannot.

    Args:
        gate: With at least one task.
        features: Features of the first adapter, of some images.

    Returns:
        `fidelity_spread` (`score_spread` without a circuit): mean over images of the standard deviation of the scores
        over the tasks; `gate_entropy`: mean entropy of α over that of uniform weights; `largest_weight`: mean of the
        largest α; `uniform_weight`: 1/T; `theta_gradient`, of a circuit: norm of the gradient of log α of the first
        choice with respect to θ.
    """
    tasks = gate.task_count
    with torch.enable_grad():
        scores = gate.scores(features)
        alpha = (scores / gate.temperature).softmax(dim=1)
        largest = alpha.max(dim=1).values
        gradient = None
        if isinstance(gate, QuantumGate):
            (gradient,) = torch.autograd.grad(largest.log().mean(), [gate.theta], allow_unused=True)
    spread = "fidelity_spread" if isinstance(gate, QuantumGate) else "score_spread"
    found = {
        spread: scores.detach().std(dim=1, correction=0).mean().item(),
        "gate_entropy": (entropy(alpha.detach()).mean() / torch.tensor(float(max(tasks, 2))).log()).item(),
        "largest_weight": largest.detach().mean().item(),
        "uniform_weight": 1 / tasks,
    }
    if isinstance(gate, QuantumGate):
        found["theta_gradient"] = 0.0 if gradient is None else gradient.norm().item()
    way = (found["largest_weight"] - found["uniform_weight"]) / (1 - found["uniform_weight"]) if tasks > 1 else 1.0
    if way < LEAST_ROUTING:
        warnings.warn(
            f"the gate does not route: its largest weight is {found['largest_weight']:.3f} on average where equal "
            f"weights are {found['uniform_weight']:.3f} (spread of the scores {found[spread]:.2g}, "
            f"temperature {gate.temperature.item():.2g}); lower the temperature or learn the projection",
            GateWarning,
            stacklevel=2,
        )
    if isinstance(gate, QuantumGate) and tasks > 1 and gate.theta.numel() and found["theta_gradient"] < 1e-6:
        warnings.warn(
            f"the circuit's weights do not matter: the gradient of theta is {found['theta_gradient']:.1g}; "
            "have two layers or more and the ending 'data'",
            GateWarning,
            stacklevel=2,
        )
    return found
