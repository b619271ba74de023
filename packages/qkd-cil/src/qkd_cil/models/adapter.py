"""Adapters beside the MLP of a transformer block, one for each task."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class AdapterConfig:
    """Shape of the adapters.

    Args:
        bottleneck: Width of the hidden layer.
        scale: Factor of the adapter's output.
        dropout: Share of the hidden layer that is left out in training; LAMDA-PILOT has 0.1.
        reads: What an adapter sees: the output of the block's second norm (`normed`), as its MLP does and as Chen et
            al. 2022 have it, or what goes into that norm (`residual`), as in LAMDA-PILOT.

    Raises:
        ValueError: If the bottleneck is not positive, or the dropout no share.

    >>> AdapterConfig().bottleneck
    64
    """

    bottleneck: int = 64
    scale: float = 0.1
    dropout: float = 0.0
    reads: Literal["normed", "residual"] = "normed"

    def __post_init__(self) -> None:
        if self.bottleneck < 1:
            raise ValueError(f"adapter: bottleneck {self.bottleneck}; it must be positive")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"adapter: dropout {self.dropout}; give a share from 0 to below 1")


class Adapter(nn.Module):
    r"""Bottleneck that learns a correction to a frozen layer.

    $A(x) = s \, (W_\uparrow \, \mathrm{ReLU}(W_\downarrow x + b_\downarrow) + b_\uparrow)$ with $W_\uparrow = 0$ and
    $b = 0$ at the start, so that a new adapter changes nothing (Chen et al. 2022, AdaptFormer, Eq. 3).

    Args:
        dim: Width of the tokens.
        config: Bottleneck and scale.
        generator: Random numbers of the initial weights, on the CPU.

    >>> adapter = Adapter(8, AdapterConfig(bottleneck=2), generator=torch.Generator().manual_seed(0))
    >>> adapter(torch.ones(3, 8)).abs().max().item()
    0.0
    """

    def __init__(self, dim: int, config: AdapterConfig, *, generator: torch.Generator) -> None:
        super().__init__()
        self.scale, self.dropout = config.scale, config.dropout
        self.down = nn.Linear(dim, config.bottleneck)
        self.up = nn.Linear(config.bottleneck, dim)
        with torch.no_grad():
            bound = 1 / math.sqrt(dim)
            self.down.weight.uniform_(-bound, bound, generator=generator)
            for zero in (self.down.bias, self.up.weight, self.up.bias):
                zero.zero_()

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """The correction for the tokens `x`."""
        hidden = torch.relu(self.down(x))
        if self.dropout and self.training and torch.is_grad_enabled():
            hidden = nn.functional.dropout(hidden, self.dropout)
        return self.scale * self.up(hidden)


def apply_adapters(
    adapters: Sequence[Adapter], x: Float[Tensor, "batch tokens dim"]
) -> Float[Tensor, "batch tokens dim"]:
    """Corrections of several adapters, the k-th equal part of the batch going through the k-th adapter.

    Args:
        adapters: Adapters of one shape, as many as the batch has parts.
        x: Tokens; the batch is the parts one after another.

    Returns:
        Each part's corrections, in the same order.

    >>> adapters = [Adapter(8, AdapterConfig(2), generator=torch.Generator().manual_seed(k)) for k in range(2)]
    >>> apply_adapters(adapters, torch.ones(6, 5, 8)).shape
    torch.Size([6, 5, 8])
    """
    if len(adapters) == 1:
        return adapters[0](x)
    down = torch.stack([adapter.down.weight for adapter in adapters]).transpose(1, 2)
    up = torch.stack([adapter.up.weight for adapter in adapters]).transpose(1, 2)
    down_bias = torch.stack([adapter.down.bias for adapter in adapters]).unsqueeze(1)
    up_bias = torch.stack([adapter.up.bias for adapter in adapters]).unsqueeze(1)
    parts = x.reshape(len(adapters), -1, x.shape[-1])
    hidden = torch.relu(torch.baddbmm(down_bias, parts, down))
    return (adapters[0].scale * torch.baddbmm(up_bias, hidden, up)).reshape(x.shape)


def mix_adapters(
    adapters: Sequence[Adapter], x: Float[Tensor, "batch tokens dim"], weights: Float[Tensor, "batch adapter"]
) -> Float[Tensor, "batch tokens dim"]:
    r"""Corrections $\sum_i \alpha_i A_i(x)$ of several adapters, mixed for each element of the batch.

    Args:
        adapters: Adapters of one shape.
        x: Tokens.
        weights: $\alpha$.

    Returns:
        The mixed corrections: two products for all adapters together.

    >>> adapters = [Adapter(8, AdapterConfig(2), generator=torch.Generator().manual_seed(k)) for k in range(2)]
    >>> mix_adapters(adapters, torch.ones(6, 5, 8), torch.ones(6, 2)).shape
    torch.Size([6, 5, 8])
    """
    down = torch.cat([adapter.down.weight for adapter in adapters])
    up = torch.cat([adapter.up.weight for adapter in adapters], dim=1)
    hidden = torch.relu(nn.functional.linear(x, down, torch.cat([adapter.down.bias for adapter in adapters])))
    share = weights.repeat_interleave(len(down) // len(adapters), dim=1).unsqueeze(1)
    bias = (weights @ torch.stack([adapter.up.bias for adapter in adapters])).unsqueeze(1)
    return adapters[0].scale * (nn.functional.linear(hidden * share, up) + bias)


class ParallelAdapters(nn.Module):
    r"""A frozen MLP with one adapter for each task beside it: $x \mapsto \mathrm{MLP}(x) + A_t(x)$.

    It stands in the place of a timm block's `mlp`. `active` names the adapters that run: none gives the frozen MLP,
    several split the batch into as many equal parts, one for each adapter, or are mixed if there is a `mixture`.

    Args:
        mlp: The block's own MLP.
        dim: Width of the tokens.
        config: Shape of the adapters.

    >>> parallel = ParallelAdapters(nn.Identity(), 8, AdapterConfig(bottleneck=2))
    >>> parallel.add(torch.Generator().manual_seed(0))
    >>> len(parallel.adapters)
    1
    """

    def __init__(self, mlp: nn.Module, dim: int, config: AdapterConfig) -> None:
        super().__init__()
        self.mlp = mlp
        self.dim = dim
        self.config = config
        self.adapters = nn.ModuleList()
        self.active: tuple[int, ...] = ()
        self.mixture: Tensor | None = None
        self.residual: Tensor | None = None
        self.register_load_state_dict_pre_hook(_make_room)

    def add(self, generator: torch.Generator) -> None:
        """Append the adapter of a new task; the earlier ones stop learning."""
        self.adapters.requires_grad_(False)
        self.adapters.eval()
        weight = next(self.mlp.parameters(), torch.empty(0))
        self.adapters.append(Adapter(self.dim, self.config, generator=generator).to(weight.device))

    def see(self, norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:  # noqa: ARG002
        """Take note of what goes into the block's norm, before `forward` gets what comes out of it."""
        (self.residual,) = inputs

    def forward(self, x: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        """Output of the MLP and of the active adapters."""
        seen, self.residual = x if self.residual is None else self.residual, None
        if not self.active:
            return self.mlp(x)
        chosen = [adapter for index in self.active if isinstance(adapter := self.adapters[index], Adapter)]
        if self.mixture is not None:
            return self.mlp(x) + mix_adapters(chosen, seen, self.mixture)
        return self.mlp(x) + apply_adapters(chosen, seen)


def _make_room(parallel: ParallelAdapters, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Before a state dictionary is loaded, have as many adapters as it holds."""
    start = f"{prefix}adapters."
    count = 1 + max((int(key[len(start) :].split(".")[0]) for key in state if key.startswith(start)), default=-1)
    while len(parallel.adapters) < count:
        parallel.add(torch.Generator().manual_seed(0))
    del parallel.adapters[count:]
