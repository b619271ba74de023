"""How much of a latent is noise at each step."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class CosineSchedule:
    r"""Cosine schedule of Nichol and Dhariwal (2021), Eq. 17.

    $\bar\alpha_t = \prod_{s \le t} (1 - \beta_s)$, $1 - \beta_t = f(t)/f(t-1)$ with $\beta$ at most 0.999,
    $f(t) = \cos^2\left(\frac{t/T + s}{1 + s} \frac{\pi}{2}\right)$. Step 0 is the data and step T nearly pure noise.

    Attributes:
        steps: T.
        offset: s.

    Raises:
        ValueError: If there is no step, or the offset is negative.

    >>> [round(each, 3) for each in CosineSchedule(steps=4).alpha_bar.tolist()]
    [1.0, 0.847, 0.494, 0.144, 0.0]
    """

    steps: int = 1000
    offset: float = 0.008

    def __post_init__(self) -> None:
        if self.steps < 1 or not 0 <= self.offset < math.inf:
            raise ValueError(
                f"steps = {self.steps} and offset = {self.offset:g}: give a step at least, and no offset < 0"
            )

    @cached_property
    def alpha_bar(self) -> Float[Tensor, " steps_and_one"]:
        """Share of the data's variance that is left after each step, from step 0, in float64."""
        t = torch.arange(self.steps + 1, dtype=torch.float64) / self.steps
        f = torch.cos((t + self.offset) / (1 + self.offset) * math.pi / 2).square()
        beta = (1 - f[1:] / f[:-1]).clamp(max=0.999)
        return torch.cat([torch.ones(1, dtype=torch.float64), torch.cumprod(1 - beta, 0)])

    def times(self, count: int, *, start: int | None = None, stop: int = 0) -> list[int]:
        """Steps from `start` down to `stop`, both of them there, as even as whole numbers can be.

        Args:
            count: How many intervals, at most; each step is there once.
            start: By default the last step, T.
            stop: 0 is the data.

        Returns:
            A falling sequence.

        >>> CosineSchedule(steps=1000).times(4)
        [1000, 750, 500, 250, 0]
        """
        start = self.steps if start is None else start
        count = max(1, min(count, start - stop))
        return [start - round(k * (start - stop) / count) for k in range(count + 1)]

    def noised(
        self, clean: Float[Tensor, "*latent"], t: Int[Tensor, " batch"], noise: Float[Tensor, "*latent"]
    ) -> Float[Tensor, "*latent"]:
        r"""What a latent is after t steps: $z_t = \sqrt{\bar\alpha_t}\, x_0 + \sqrt{1 - \bar\alpha_t}\, \epsilon$.

        Args:
            clean: x₀.
            t: A step for each latent.
            noise: ε, standard normal.

        Returns:
            z_t.
        """
        share = self.shares(t, clean)
        return share.sqrt() * clean + (1 - share).sqrt() * noise

    def shares(self, t: Int[Tensor, " batch"], like: Float[Tensor, "*latent"]) -> Float[Tensor, "*ones"]:
        """ᾱ_t of each latent in a shape that multiplies it."""
        share = self.alpha_bar.to(t.device)[t].to(like.dtype)
        return share.reshape(-1, *[1] * (like.ndim - 1))
