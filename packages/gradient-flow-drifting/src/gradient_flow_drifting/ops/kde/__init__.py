r"""Score and log density of a Gaussian kernel density estimate.

Of a sample $y_1 \dots y_m$ with weights $u_j$ the estimate at $x$ is

$$p_h(x) = \frac{1}{\sum_j u_j} \sum_j u_j\, (2\pi h^2)^{-d/2} e^{-\|x - y_j\|^2 / 2h^2},$$

and, differentiated,

$$\nabla \log p_h(x) = \frac{m(x) - x}{h^2}, \qquad
m(x) = \sum_j \operatorname{softmax}_j\Bigl(\log u_j - \frac{\|x - y_j\|^2}{2h^2}\Bigr)\, y_j,$$

the mean shift of Fukunaga and Hostetler (1975). The softmax is attention with queries $x/h$, keys $y/h$, a bias
$-\|y\|^2/2h^2$ and values y; its log normaliser is the log density but for constants. Where x is a part of the sample
(row i of x is row i of y), the term j = i may be left out, of the sum and of its normaliser. Leading axes of x and y
are problems of their own.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from papertrio_shared.backend import resolve_backend
from torch import Tensor

from ._attention import is_supported, score_attention
from ._matmul import score_matmul
from ._precision import score_within_rounding
from .checks import check_cloud, check_weights, log_of_weights, positive_numbers
from .reference import score_reference

KdeBackend = Literal["auto", "reference", "attention", "matmul", "triton"]
SelfTerms = Literal["keep", "leave_one_out"]
TRITON_DIMENSIONS = 256
MANY_DIMENSIONS, FEW_QUERIES, CACHED_EXPONENTS = 128, 256, 2**20


class KdeScore(NamedTuple):
    """Score and log density of an estimate at each point, for each bandwidth where several were given."""

    score: Float[Tensor, "*bandwidths_and_batch n d"]
    log_density: Float[Tensor, "*bandwidths_and_batch n"]


def kde_score(
    x: Float[Tensor, "*batch n d"],
    y: Float[Tensor, "*batch m d"],
    *,
    bandwidth: float | Sequence[float],
    weights: Float[Tensor, "*batch m"] | None = None,
    self_terms: SelfTerms = "keep",
    backend: KdeBackend = "auto",
) -> KdeScore:
    r"""Score $\nabla \log p_h$ and log density $\log p_h$ of the Gaussian kernel density estimate of y at x.

    The log density is that of a probability density: $-\log\sum_j u_j - \frac d2 \log 2\pi h^2$ is in it.

    Args:
        x: Where the estimate is wanted; leading axes are problems of their own.
        y: Sample, of each problem.
        bandwidth: h, in the units of the points; of a sequence all are done in one pass.
        weights: Weight u ≥ 0 of each point of y; equal ones where None.
        self_terms: `"leave_one_out"` if row i of x is row i of y and its own term is to be left out.
        backend: `"attention"` is the fused operator of a CPU; `"matmul"` forms the matrix products, for many
            coordinates, any device; `"triton"` is a GPU's, in float32 and up to 256 coordinates; `"auto"` goes by
            device and shape.

    Returns:
        Score (inverse units of the points) and log density, with a leading axis of bandwidths if a sequence was given.

    Raises:
        ValueError: If a cloud is not finite, of another dimension, precision or leading axes, y is empty, a bandwidth
            is not positive or its square beyond the precision's range, the weights do not match, `"leave_one_out"` has
            fewer than two points or fewer than x has, or the backend is unknown or cannot serve these tensors.

    Example:
        >>> import torch
        >>> score, log_density = kde_score(torch.zeros(1, 2), torch.tensor([[0.3, 0.0]]), bandwidth=0.5)
        >>> [round(value, 4) for value in score[0].tolist()]  # (0.3 - 0) / 0.25
        [1.2, 0.0]
        >>> kde_score(torch.zeros(4, 2), torch.ones(5, 2), bandwidth=[0.1, 0.2, 0.4]).score.shape
        torch.Size([3, 4, 2])
        >>> kde_score(torch.zeros(7, 4, 2), torch.ones(7, 5, 2), bandwidth=[0.1, 0.2, 0.4]).score.shape
        torch.Size([3, 7, 4, 2])
    """
    check_cloud("x", x, may_be_empty=True, batched=True)
    check_cloud("y", y, like=x, batched=True)
    bandwidths = positive_numbers("bandwidth", bandwidth)
    _check_range(bandwidths, x.dtype)
    (*batch, n, d), m, b = x.shape, y.shape[-2], len(bandwidths)
    leave_one_out = _leaves_out(self_terms, n, m)
    check_weights("weights", weights, "y", m, least=2 if leave_one_out else 1, batch=tuple(batch))
    log_weights = None if weights is None else log_of_weights(weights.to(x))

    arguments = (x, y, log_weights, bandwidths, leave_one_out)
    gpu = "triton" if d <= TRITON_DIMENSIONS and x.dtype != torch.float64 else "matmul"
    chosen = resolve_backend(backend, x, y, gpu=gpu, cpu=_on_cpu(x, y, b))
    if x.numel() == 0 and chosen in ("attention", "matmul"):  # the fused operator divides by the number of queries
        chosen = "reference"
    match chosen:
        case "triton":
            if d > TRITON_DIMENSIONS:
                raise ValueError(
                    f'backend: "triton" serves up to {TRITON_DIMENSIONS} coordinates, found {d}; '
                    'take "auto" or "matmul"'
                )
            from ._triton import score_triton  # lazy: the package imports where Triton is missing

            score, log_sum = score_triton(*arguments)
        case "attention":
            if not is_supported(x):
                raise ValueError(
                    f'backend: "attention" is for float32 and float64 on a CPU with torch\'s fused operator, '
                    f"found {x.dtype} on {x.device.type} with torch {torch.__version__}"
                )
            score, log_sum = score_within_rounding(score_attention, *arguments)
        case "matmul":
            score, log_sum = score_within_rounding(score_matmul, *arguments)
        case "reference":
            score, log_sum = score_reference(*arguments)
        case _:
            raise ValueError(
                f'backend: "auto", "reference", "attention", "matmul" or "triton" is needed, found "{backend}"'
            )

    log_volume = [0.5 * d * math.log(2 * math.pi * h**2) for h in bandwidths]
    if weights is None:
        log_volume = [each + math.log(m - leave_one_out) for each in log_volume]
    else:
        log_sum = log_sum - _log_total(weights, n, leave_one_out).to(x.dtype)
    log_density = log_sum - x.new_tensor(log_volume).reshape(b, *[1] * (x.ndim - 1))
    if isinstance(bandwidth, Sequence) or getattr(bandwidth, "ndim", 0) > 0:
        return KdeScore(score, log_density)
    return KdeScore(score[0], log_density[0])


def _on_cpu(x: Tensor, y: Tensor, bandwidths: int) -> str:
    """The faster of the two ways on a CPU.

    The fused one repeats the first product for each bandwidth and works many coordinates in small blocks; the other
    passes several times over the exponents, which is cheap where a cache holds them.
    """
    n, d = x.shape[-2:]
    is_cached = n * y.shape[-2] <= CACHED_EXPONENTS and (n <= FEW_QUERIES or bandwidths > 1)
    return "matmul" if not is_supported(x) or (d >= MANY_DIMENSIONS and is_cached) else "attention"


def _check_range(bandwidths: tuple[float, ...], dtype: torch.dtype) -> None:
    """Hold h² to where the exponents of usual clouds neither overflow nor vanish."""
    limits = torch.finfo(dtype)
    least, largest = math.sqrt(limits.tiny / limits.eps), math.sqrt(limits.max * limits.eps)
    for h in bandwidths:
        if not least <= h <= largest:
            raise ValueError(f"bandwidth: between {least:.0e} and {largest:.0e} are possible in {dtype}, found {h}")


def _leaves_out(self_terms: str, n: int, m: int) -> bool:
    if self_terms == "keep":
        return False
    if self_terms != "leave_one_out":
        raise ValueError(f'self_terms: "keep" or "leave_one_out" is needed, found "{self_terms}"')
    if m < 2:
        raise ValueError(f"y: leaving one out needs at least two points, found {m}")
    if m < n:
        raise ValueError(f"y: leaving one out needs row i of x as row i of y, found {m} rows for {n} of x")
    return True


def _log_total(weights: Tensor, n: int, leave_one_out: bool) -> Tensor:
    """The logarithm of the sum of the weights, of the others' where one is left out, in float64."""
    weights = weights.double()
    if not leave_one_out:
        return torch.log(weights.sum(dim=-1, keepdim=True))
    before = torch.nn.functional.pad(weights[..., :-1], (1, 0)).cumsum(-1)  # not total − weight, which may cancel
    after = torch.nn.functional.pad(weights[..., 1:], (0, 1)).flip(-1).cumsum(-1).flip(-1)
    return torch.log((before + after)[..., :n])
