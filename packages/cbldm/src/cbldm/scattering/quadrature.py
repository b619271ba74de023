r"""An integral over Q from a uniform grid that knows nothing of its limits.

The sine integral of F(Q) wants F from qmin to qmax; the non-uniform Fourier transform gives it at $Q_k = kh$. The
integrand F(Q) sin(Qr) is band-limited: it holds no wave longer than r plus the longest distance R, so its samples
say all of it, and only the two ends of the range need care. For one end at a, in units of h, weights $w_k$ that rise
from 0 to 1 around it are wanted with

$$ \sum_k w_k e^{i\beta k} = \int_a^\infty e^{i\beta x} dx = \frac{i}{\beta} e^{i\beta a}, \qquad |\beta| \le \pi/2 $$

(both sides as limits of a falling exponential). Beyond a window of points around a the weights are 1 and sum to
$e^{i\beta K} / (1 - e^{i\beta})$; those within solve a least-squares problem. With 32 points they leave 3e-13. That is
the trapezoidal rule corrected at its ends (Alpert, SIAM J. Sci. Comput. 20, 1551, 1999), fitted to a band in the
place of polynomials. h = π/(2R) puts the integrand within the band.
"""

from functools import lru_cache

import numpy as np

REACH = 16
"""Grid points beyond a limit that take part."""


def step_weights(edge: float) -> tuple[int, np.ndarray]:
    """Weights of a sum over the integers that stands for the integral from `edge` to infinity.

    Args:
        edge: Lower limit of the integral.

    Returns:
        The first integer of the window and its 2 × `REACH` weights; they are 0 before and 1 after.

    >>> first, weights = step_weights(0.5)
    >>> first, len(weights)
    (-15, 32)
    """
    first = int(np.floor(edge)) - REACH + 1
    offset = np.arange(first, first + 2 * REACH) - edge
    beta = np.pi / 2 * np.cos(np.pi * (np.arange(96) + 0.5) / 192)
    after = first + 2 * REACH - edge
    target = 1j / beta - np.exp(1j * beta * after) / (1 - np.exp(1j * beta))
    waves = np.exp(1j * beta[:, None] * offset)
    rows = np.concatenate([waves.real, waves.imag]), np.concatenate([target.real, target.imag])
    return first, np.linalg.lstsq(*rows, rcond=1e-15)[0]


@lru_cache(maxsize=64)
def band_limited_weights(qmin: float, qmax: float, qstep: float) -> np.ndarray:
    r"""Weights with which values of an even function on $Q_k = k q_\mathrm{step}$ sum to its integral.

    $\int_{q_\min}^{q_\max} g(Q) dQ = q_\mathrm{step} \sum_k w_k g(Q_k)$ for a g with no wave longer than
    $\pi / (2 q_\mathrm{step})$, to about 1e-12 of its greatest value.

    Args:
        qmin, qmax: Limits of the integral, Å⁻¹.
        qstep: Step of the grid, Å⁻¹.

    Returns:
        w from k = 0 to some points beyond qmax.

    >>> q = 0.1 * np.arange(len(w := band_limited_weights(0.75, 25.0, 0.1)))
    >>> integral = 0.1 * np.sum(w * np.cos(10 * q))
    >>> bool(abs(integral - (np.sin(250) - np.sin(7.5)) / 10) < 1e-12)
    True
    """
    low, rise = step_weights(qmin / qstep)
    high, fall = step_weights(qmax / qstep)
    last = high + len(fall)
    signed = np.zeros(2 * last + 1)  # k from −last to last
    signed[low + last : low + last + len(rise)] += rise
    signed[low + last + len(rise) :] += 1
    signed[high + last : high + last + len(fall)] -= fall
    signed[high + last + len(fall) :] -= 1
    weights = signed[last:].copy()
    weights[1:] += signed[:last][::-1]
    weights.flags.writeable = False
    return weights[:last]
