r"""From an affinity matrix back to coordinates.

A start without iteration (classical scaling, or eigenvectors of the graph's Laplacian), then least squares in W itself:
the error of a network is even in W and not in the distances, whose logarithm blows it up where W is small.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple, Self

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .affinity import WIDTH, centred, pair_mask, squared_distances

Start = Literal["scaling", "laplacian"]

_FLOORS = (1e-15, 1e-3, 3e-2)
"""Affinities below which a start takes all pairs for equally far: at t = 260 Å² 95, 42 and 30 Å. The more noise, the
higher the best one is."""
_TRIALS = 6
"""Steps from each start before the best goes on alone."""
_THINNEST = 1e-3
"""Least share of the longest axis in a start by eigenvectors: a flat start would stay flat."""
_AT_ONCE = 16
"""Clusters solved side by side: each needs 9 N² numbers."""
_EXACT = 4.0
"""Root mean square misfit, in roundings of the affinity that was given, at which nothing is left to find."""
_EASIEST, _HARDEST = 1e-12, 1e6
"""Limits of the damping, in units of the curvature's mean."""


class Decoded(NamedTuple):
    """Clusters found from their affinity.

    Attributes:
        positions: Cartesian coordinates about the centre, Å; zero in empty places.
        residual: Root mean square of W − exp(−d²/t) over the pairs.
    """

    positions: Float[Tensor, "*batch atoms 3"]
    residual: Float[Tensor, "*batch"]


def decode(
    w: Float[Tensor, "*batch atoms atoms"],
    *,
    mask: Bool[Tensor, "*batch atoms"] | None = None,
    width: float = WIDTH,
    start: Start = "scaling",
    steps: int = 50,
) -> Decoded:
    r"""Coordinates whose affinity is nearest to a given matrix.

    Minimises $f = \sum_{i<j} (W_{ij} - E_{ij})^2$, $E_{ij} = e^{-\lVert x_i - x_j \rVert^2 / t}$, by steps of Levenberg
    and Marquardt with $\partial f/\partial x = -\frac{4}{t} (\mathrm{diag}(S1) - S)\, x$, $S = (E - W) \circ E$. All
    clusters of a batch step together, each with its own damping, in float64.

    Without noise this is exact but for turning and mirroring. With independent noise σ on each pair of W the mean
    absolute error of a coordinate is about 2.7 σ Å for 147 atoms of a noble metal.

    Args:
        w: The affinity; its symmetric part counts, its diagonal does not.
        mask: False where a place is empty.
        width: t, Å².
        start: `"scaling"`, classical scaling of −t log W; or `"laplacian"`, generalised eigenvectors.
        steps: Most steps.

    Returns:
        Coordinates and residual, in the dtype of `w`.

    Raises:
        ValueError: If `w` is not square or not finite, the mask does not fit it, or the start is unknown.

    >>> from cbldm.affinity import affinity
    >>> square = torch.tensor([[0.0, 0, 0], [3, 0, 0], [3, 3, 0], [0, 3, 0]], dtype=torch.float64)
    >>> found = decode(affinity(square)).positions
    >>> bool((torch.pdist(found) - torch.pdist(square)).abs().max() < 1e-6)
    True
    """
    atoms = w.shape[-1]
    if w.ndim < 2 or w.shape[-2] != atoms:
        raise ValueError(f"affinity of shape {tuple(w.shape)}: give square matrices")
    if mask is not None and mask.shape != w.shape[:-1]:
        raise ValueError(f"mask of shape {tuple(mask.shape)}: give {tuple(w.shape[:-1])}, a place for each row")
    if not torch.isfinite(w).all():
        raise ValueError("affinity: it holds numbers that are not finite; give a finite one")
    batch = w.shape[:-2]
    there = torch.ones(w.shape[:-1], dtype=torch.bool, device=w.device) if mask is None else mask
    matrices = ((w + w.mT) / 2).double().reshape(-1, atoms, atoms)
    masks = there.reshape(-1, atoms)
    rounding = torch.finfo(w.dtype).eps
    parts = [
        _least_squares(some, its, width, rounding, start, steps)
        for some, its in zip(matrices.split(_AT_ONCE), masks.split(_AT_ONCE), strict=True)
    ]
    if not parts:
        return Decoded(w.new_zeros(*w.shape[:-1], 3), w.new_zeros(batch))
    positions, residual = (torch.cat(each) for each in zip(*parts, strict=True))
    return Decoded(positions.reshape(*w.shape[:-1], 3).to(w.dtype), residual.reshape(batch).to(w.dtype))


def classical_scaling(
    squares: Float[Tensor, "*batch atoms atoms"], mask: Bool[Tensor, "*batch atoms"]
) -> Float[Tensor, "*batch atoms 3"]:
    r"""Points of given squared distances: the three leading eigenvectors of $-\frac{1}{2} J D^2 J$.

    Torgerson, Psychometrika 17, 401 (1952); exact where the distances are those of points in space.

    Args:
        squares: Squared distances, Å².
        mask: False where a place is empty.

    Returns:
        Coordinates about the centre, Å.

    >>> found = classical_scaling(torch.tensor([[0.0, 4.0], [4.0, 0.0]]), torch.tensor([True, True]))
    >>> found.abs()[:, 0].round(decimals=4)
    tensor([1., 1.])
    """
    pairs = pair_mask(mask).to(squares)
    count = mask.sum(-1).clamp(min=1)[..., None, None].to(squares)
    d = squares * pairs
    rows = d.sum(-1, keepdim=True) / count
    b = -(d - rows - rows.mT + d.sum((-2, -1), keepdim=True) / count**2) * pairs / 2
    return _leading(b, 3)


def laplacian_embedding(
    w: Float[Tensor, "*batch atoms atoms"], mask: Bool[Tensor, "*batch atoms"]
) -> Float[Tensor, "*batch atoms 3"]:
    r"""Generalised eigenvectors 2 to 4 of $L v = \lambda\, \mathrm{diag}(W1)\, v$, $L = \mathrm{diag}(W1) - W$.

    Belkin and Niyogi, Neural Computation 15, 1373 (2003). They give the cluster's shape up to the scale of each axis.

    Args:
        w: Affinity, positive.
        mask: False where a place is empty.

    Returns:
        The three vectors as columns, of no unit; zero in empty places.

    >>> line = torch.tensor([[1.0, 0.5, 0.1], [0.5, 1.0, 0.5], [0.1, 0.5, 1.0]])
    >>> ends = laplacian_embedding(line, torch.tensor([True] * 3))[[0, 2], 0]
    >>> bool((ends.sum().abs() < 1e-6) & (ends[0].abs() > 0.1))
    True
    """
    w = w * pair_mask(mask).to(w)
    root = w.sum(-1).clamp(min=torch.finfo(w.dtype).tiny).rsqrt() * mask
    vectors = torch.linalg.eigh(root[..., :, None] * w * root[..., None, :]).eigenvectors
    # L v = λ D v is (1 − λ) u of D^-1/2 W D^-1/2 with u = D^1/2 v: the largest there is the constant vector.
    found = root[..., None] * vectors.flip(-1)[..., 1:4] * mask[..., None]
    return torch.nn.functional.pad(found, (0, 3 - found.shape[-1]))


def _starts(w: Tensor, mask: Tensor, width: float, start: Start) -> Iterator[Tensor]:
    apart = _apart(mask)
    for floor in _FLOORS:
        inside = w.clamp(floor, 1.0)
        squares = -width * inside.log() * apart
        match start:
            case "scaling":
                yield classical_scaling(squares, mask)
            case "laplacian":
                yield _scaled(laplacian_embedding(inside, mask), squares, mask)
            case _:
                raise ValueError(f"start {start!r}: no such choice; take scaling or laplacian")


def _scaled(vectors: Tensor, squares: Tensor, mask: Tensor) -> Tensor:
    r"""Scales $s_k \ge 0$ for which $\sum_k s_k (v_{ik} - v_{jk})^2$ is nearest to the squared distances."""
    vectors = vectors / vectors.norm(dim=-2, keepdim=True).clamp(min=1e-30)
    pairs = pair_mask(mask)
    terms = (vectors[..., :, None, :] - vectors[..., None, :, :]).square() * pairs[..., None]
    flat, goal = terms.flatten(-3, -2), (squares * pairs).flatten(-2)
    gram = flat.mT @ flat
    ridge = 1e-9 * gram.diagonal(dim1=-2, dim2=-1).sum(-1).clamp(min=1e-30)
    gram = gram + ridge[..., None, None] * torch.eye(3, dtype=gram.dtype, device=gram.device)
    scales = torch.linalg.solve(gram, (flat.mT @ goal[..., None])[..., 0])
    scales = scales.clamp(min=_THINNEST**2 * scales.amax(-1, keepdim=True).clamp(min=0))
    return vectors * scales.sqrt()[..., None, :]


def _leading(b: Tensor, count: int) -> Tensor:
    values, vectors = torch.linalg.eigh(b)
    found = vectors.flip(-1)[..., :count] * values.flip(-1)[..., None, :count].clamp(min=0).sqrt()
    return torch.nn.functional.pad(found, (0, count - found.shape[-1]))


class _Solve:
    """Levenberg-Marquardt, the clusters of a batch side by side; a step that does not help is not taken."""

    def __init__(self, w: Tensor, mask: Tensor, x: Tensor, width: float, rounding: float) -> None:
        self.w, self.mask, self.width = w, mask, width
        self.apart = _apart(mask)
        self.pairs = self.apart.sum((-2, -1)).clamp(min=1)
        self.exact = (_EXACT * rounding) ** 2 * self.pairs / 2
        self.x = centred(x, mask)
        self.misfit, self.e = _misfit(self.x, w, self.apart, width)
        self.damping = torch.full_like(self.misfit, 1e-3)
        self.going = self.misfit > self.exact

    def run(self, steps: int) -> Self:
        """Take so many steps, or as many as help."""
        for _ in range(steps):
            some = self.going.nonzero()[:, 0]
            if not len(some):
                break
            self._step(some)
        return self

    @classmethod
    def best_of(cls, tried: "list[_Solve]") -> "_Solve":
        """For each cluster the try of the least misfit."""
        first = tried[0]
        best = torch.stack([each.misfit for each in tried]).argmin(0)
        rows = torch.arange(len(best), device=best.device)
        for name in ("x", "misfit", "e", "damping", "going"):
            setattr(first, name, torch.stack([getattr(each, name) for each in tried])[best, rows])
        return first

    def _step(self, some: Tensor) -> None:
        misfit, damping = self.misfit[some], self.damping[some]
        moved = self.x[some] + _step(self.x[some], self.w[some], self.e[some], damping, self.width)
        new, e = _misfit(moved, self.w[some], self.apart[some], self.width)
        better = new < misfit
        exact = torch.minimum(new, misfit) <= self.exact[some]
        worth = torch.where(better, misfit - new > 1e-10 * misfit, damping < _HARDEST)
        self.going[some] = worth & ~exact
        self.damping[some] = torch.where(better, damping / 10, damping * 10).clamp(_EASIEST, _HARDEST)
        taken = some[better]
        self.x[taken], self.misfit[taken], self.e[taken] = moved[better], new[better], e[better]


def _least_squares(
    w: Tensor, mask: Tensor, width: float, rounding: float, start: Start, steps: int
) -> tuple[Tensor, Tensor]:
    tried: list[_Solve] = []
    for x in _starts(w, mask, width, start):
        tried.append(_Solve(w, mask, x, width, rounding).run(min(_TRIALS, steps)))
        if bool((tried[-1].misfit <= tried[-1].exact).all()):
            break
    found = _Solve.best_of(tried).run(max(0, steps - _TRIALS))
    return centred(found.x, mask), (2 * found.misfit / found.pairs).sqrt()


def _apart(mask: Tensor) -> Tensor:
    """Pairs of two different atoms."""
    return pair_mask(mask) & ~torch.eye(mask.shape[-1], dtype=torch.bool, device=mask.device)


def _misfit(x: Tensor, w: Tensor, apart: Tensor, width: float) -> tuple[Tensor, Tensor]:
    """f of each cluster, and E, zero where no pair is."""
    e = torch.exp(-squared_distances(x) / width) * apart
    return ((e - w * apart).square().sum((-2, -1)) / 2), e


def _step(x: Tensor, w: Tensor, e: Tensor, damping: Tensor, width: float) -> Tensor:
    batch, atoms, _ = x.shape
    s = (e - w) * e
    gradient = -4 / width * (s.sum(-1, keepdim=True) * x - s @ x)
    apart = x[:, :, None, :] - x[:, None, :, :]
    blocks = (8 / width**2 * e.square())[..., None, None] * apart[..., :, None] * apart[..., None, :]
    curvature = -blocks
    index = torch.arange(atoms, device=x.device)
    curvature[:, index, index] = blocks.sum(2)
    curvature = curvature.transpose(2, 3).reshape(batch, 3 * atoms, 3 * atoms)
    mean = curvature.diagonal(dim1=-2, dim2=-1).mean(-1).clamp(min=1e-30)
    # Turning and moving the whole cost nothing, so that only the damping makes the matrix regular.
    curvature.diagonal(dim1=-2, dim2=-1).add_((mean * damping.clamp(min=1e-9))[:, None])
    factor, _ = torch.linalg.cholesky_ex(curvature)
    found = torch.cholesky_solve(-gradient.reshape(batch, -1, 1), factor)
    return found.nan_to_num(0, 0, 0).reshape(x.shape)
