r"""The Debye sum of clusters of atoms, on a uniform grid of momentum transfers.

Atoms at fixed places scatter into every direction; averaged over all orientations of the cluster the
interference of two of them depends on their distance d alone, $\langle e^{i Q \cdot d} \rangle = \sin(Qd)/(Qd)$
(Debye 1915). Thermal motion along the line between them, of variance $\sigma^2$, damps it by $e^{-\sigma^2 Q^2/2}$.
Multiplied by Q, and with the scattering amplitudes $f_i(Q)$, that is

$$ V(Q) = \sum_{i<j} 2 f_i(Q) f_j(Q) \, e^{-\sigma_{ij}^2 Q^2 / 2} \, \frac{\sin(Q d_{ij})}{d_{ij}} \tag{1} $$

and F(Q) = V(Q) / (N ⟨f⟩²) is the reduced structure function Q(S(Q) − 1) (Farrow and Billinge 2009, Eq. 7). The
variance is that of two independent atoms, sharpened where near neighbours move together and broadened by the
instrument (Jeong et al. 2003; Farrow et al. 2007):

$$ \sigma_{ij}^2 = (U_i + U_j)
   \max\left(0,\; 1 - \frac{\delta_1}{d} - \frac{\delta_2}{d^2} + (q_\mathrm{broad} d)^2 \right) \tag{2} $$

Directly, (1) costs pairs × Q points: so does `reference.py`, and so, on a GPU, does `_triton.py`. On the grid
$Q_k = k q_\mathrm{step}$ it is for one pair of elements and one variance the imaginary part of a type-1 non-uniform
Fourier transform of the distances with weights 1/d, and its derivative by a distance a type-2 transform: pairs + grid.
`_nufft.py` takes FINUFFT for it; `_moments.py` sums what the pairs in a bin of distances have in common and needs
fewer operations for a pair. Several variances are brought to that form by the Chebyshev series of the damping between
the least and the greatest of them, $\sigma^2 = m + h\tau$, |τ| ≤ 1:

$$ e^{-\sigma^2 z} = e^{-m z} \sum_{n \ge 0} (2 - \delta_{n0}) (-1)^n I_n(h z) \, T_n(\tau), \qquad z = Q^2/2 \tag{3} $$

(Abramowitz and Stegun 9.6.34), whose terms fall faster than exponentially beyond n ≈ h z: a handful of
transforms over the same distances, the weights of term n being $T_n(\tau)/d$.
"""

from functools import cache
from importlib.util import find_spec
from typing import Literal

import torch
from jaxtyping import Float, Int
from papertrio_shared.backend import resolve_backend
from torch import Tensor

from .reference import debye_sum_reference

DebyeBackend = Literal["auto", "reference", "nufft", "moments", "triton"]


def debye_sum(
    positions: Float[Tensor, "*batch atoms 3"],
    species: Int[Tensor, "*batch atoms"],
    amplitudes: Float[Tensor, "species nq"],
    u: Float[Tensor, "*batch"] | Float[Tensor, "*batch atoms"],
    *,
    qstep: float,
    delta1: float | Float[Tensor, "*batch"] = 0.0,
    delta2: float | Float[Tensor, "*batch"] = 0.0,
    qbroad: float | Float[Tensor, "*batch"] = 0.0,
    dmin: float = 0.0,
    dmax: float = float("inf"),
    dtype: torch.dtype | None = None,
    backend: DebyeBackend = "auto",
) -> Float[Tensor, "*batch nq"]:
    r"""Sum over all pairs of atoms of each cluster, Eqs. (1) and (2) above.

    No two atoms of a cluster may stand at one place: that is the caller's to see to.

    Args:
        positions: Cartesian coordinates, Å.
        species: Row of `amplitudes` of each atom; −1 where a cluster has no atom (padding).
        amplitudes: Scattering amplitude of each species at $Q_k = k q_\mathrm{step}$.
        u: Mean square displacement of each cluster's atoms, or of each atom, Å². One for a cluster is faster.
        qstep: Step of the grid, Å⁻¹.
        delta1, delta2, qbroad: Widths of Eq. (2), Å, Å², Å⁻¹.
        dmin, dmax: Pairs nearer or further apart than this are left out, Å.
        dtype: Of the result and of the arithmetic, by default that of the positions. Distances and the phase Q·d are
            always computed and reduced in float64: in float32 they would leave three digits.
        backend: `"reference"` is the plain sum, on any device, twice differentiable; the others once.
            `"moments"`: binned moments of the distances on a CPU, to a relative 1e-11 (1e-8 for float32), one u for a
            cluster. `"nufft"`: FINUFFT on a CPU, as precise, any u. Both run on as many threads as torch has.
            `"triton"`: the plain sum on a CUDA device, in the precision of the result.
            `"auto"` takes the last on a GPU, on a CPU the second, or for a u for each atom the third where FINUFFT is
            installed (it has no wheel for Linux on arm64), else the first.

    Returns:
        V(Q), in the square of the amplitudes' unit times Å⁻¹.

    Raises:
        ValueError: If the backend is unknown or does not take these tensors.
        ImportError: If `"nufft"` is asked for where FINUFFT is not installed.
    """
    batch = positions.shape[:-2]
    clusters = batch.numel()
    widths = [torch.as_tensor(w, dtype=torch.float64, device=positions.device) for w in (delta1, delta2, qbroad)]
    arguments = (
        positions.reshape(clusters, *positions.shape[-2:]),
        species.reshape(clusters, positions.shape[-2]),
        amplitudes,
        u.reshape(clusters, *u.shape[len(batch) :]),
        torch.stack([w.expand(batch).reshape(clusters) for w in widths]),
        qstep,
        (dmin, dmax),
        dtype or positions.dtype,
    )
    on_cpu = "moments" if u.ndim == len(batch) else "nufft" if _installed("finufft") else "reference"
    on_gpu = "triton" if _installed("triton") else "reference"
    match resolve_backend(backend, positions, gpu=on_gpu, cpu=on_cpu):
        case "moments":
            from ._moments import debye_sum_moments

            total = debye_sum_moments(*arguments)
        case "triton":
            from ._triton import debye_sum_triton

            total = debye_sum_triton(*arguments)
        case "nufft":
            from ._nufft import debye_sum_nufft

            total = debye_sum_nufft(*arguments)
        case "reference":
            total = debye_sum_reference(*arguments)
        case unknown:
            raise ValueError(f"backend is {unknown!r}: give 'auto', 'reference', 'moments', 'nufft' or 'triton'")
    return total.reshape(*batch, amplitudes.shape[1])


@cache
def _installed(name: str) -> bool:
    return find_spec(name) is not None
