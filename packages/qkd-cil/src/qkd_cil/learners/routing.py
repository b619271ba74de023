"""Teaching a gate to tell tasks apart from what is kept of the classes."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from qkd_cil.models.diagnostics import entropy
from qkd_cil.models.gate import Gate
from qkd_cil.models.gaussian import SHRINKAGE, Gaussians, sample

Sparsity = Literal["l1", "entropy", "none"]
DRAWS = 256  # in each step


def learn_routing(
    gate: Gate,
    space: Gaussians,
    task_of_class: Int64[Tensor, " class"],
    *,
    steps: int,
    learning_rate: float,
    sparsity: Sparsity,
    sparsity_weight: float,
    generator: torch.Generator,
) -> None:
    """Cross-entropy of the weights with the true task, on draws around the means of all classes; no image is needed.

    Args:
        gate: It knows all tasks of these classes; one without parameters to train stays as it is.
        space: Of the first adapter.
        task_of_class: Task of each class of it.
        steps: Steps of AdamW.
        learning_rate: At its largest, on one cycle.
        sparsity: What is added to the loss.
        sparsity_weight: How much of it.
        generator: Random numbers, on the CPU.
    """
    trained = [parameter for parameter in gate.parameters() if parameter.requires_grad]
    if not trained:
        return
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, steps)
    for _ in range(steps):
        targets = torch.randint(len(task_of_class), (DRAWS,), generator=generator).to(task_of_class)
        alpha = gate(sample(space, targets, shrinkage=SHRINKAGE, generator=generator))
        loss = F.nll_loss(alpha.clamp_min(1e-12).log(), task_of_class[targets])
        loss = loss + sparsity_weight * sparsity_penalty(alpha, sparsity)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def sparsity_penalty(alpha: Float[Tensor, "batch task"], kind: Sparsity) -> Float[Tensor, ""]:
    r"""$\Omega(\alpha)$, mean over the batch: $\lVert\alpha\rVert_1$ (one for every gate), the entropy, or zero.

    Args:
        alpha: Weights of the tasks.
        kind: Which.

    >>> sparsity_penalty(torch.tensor([[0.3, 0.7]]), "l1")
    tensor(1.)
    """
    if kind == "l1":
        return alpha.abs().sum(dim=1).mean()
    if kind == "entropy":
        return entropy(alpha).mean()
    return alpha.new_zeros(())
