"""One set of points turned onto another."""

import numpy as np
from jaxtyping import Float


def superposed(
    x: Float[np.ndarray, "atoms 3"], here: Float[np.ndarray, "pairs 3"], there: Float[np.ndarray, "pairs 3"]
) -> Float[np.ndarray, "atoms 3"]:
    """Points turned, mirrored and moved as brings some of them nearest to where they are to lie.

    The squares of what is left between the pairs are least (Kabsch, Acta Cryst. A32, 922, 1976; a mirror image has the
    same G, so a reflection is no fault).

    Args:
        x: The points that are moved, Å or bonds.
        here: Some of them.
        there: Where these are to lie.

    Returns:
        The points, moved.

    >>> x = np.array([[0.0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]])
    >>> bool(np.allclose(superposed(x, x, 5 - x[:, [1, 0, 2]]), 5 - x[:, [1, 0, 2]]))
    True
    """
    middle, onto = here.mean(axis=0), there.mean(axis=0)
    u, _, vt = np.linalg.svd((here - middle).T @ (there - onto))
    return (x - middle) @ (u @ vt) + onto


def bases(a: Float[np.ndarray, "pairs 3"], b: Float[np.ndarray, "pairs 3"]) -> Float[np.ndarray, "pairs 3 3"]:
    """Orthonormal bases, as columns: along a, across it towards b, and across both.

    Args:
        a, b: Two vectors for each basis, not along one line.

    Returns:
        The bases.

    >>> bases(np.array([[0.0, 2, 0]]), np.array([[3.0, 1, 0]]))[0].tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]]
    """
    first = a / np.linalg.norm(a, axis=1, keepdims=True)
    second = b - (b * first).sum(axis=1, keepdims=True) * first
    second = second / np.maximum(np.linalg.norm(second, axis=1, keepdims=True), 1e-12)
    return np.stack([first, second, np.cross(first, second)], axis=2)
