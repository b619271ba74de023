r"""Two clusters laid over each other, whichever atom is which, turned and mirrored as it takes.

Which atom lies on which is a linear assignment, how the cluster is turned an orthogonal Procrustes problem
(`cbldm.superposition`). Each is solved exactly when the other is known, so from a frame that is nearly right a few
turns end at the best; between clusters that are unlike, what is found is an upper bound, nearly always the least.
Frames come from the principal axes, with all signs and orders; from a grid of rotations; and, for clusters whose
symmetry leaves their axes open, from pairs of atoms: whatever pair of one lies as far from the centre and from each
other as a chosen pair of the other.

Where the clusters differ in size, the smaller is laid on a part of the larger. That is partial optimal transport of
the whole of the smaller, each atom of mass one: its extreme solutions are assignments, and the best is found exactly.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from ..superposition import bases, superposed

EXACT = 0.02
"""Mean absolute error at which the search for a better frame ends, Å."""
_ANCHOR_PAIRS = 3
"""Pairs of atoms of the truth that frames are made from."""
_TOLERANCE = 0.4
"""By how much the distances of a pair may differ from those of another that it is to lie on, Å."""
_FRAMES = 240
"""Frames made from one pair of atoms at most."""
_STARTS = 24
"""Frames that are followed to their end, the most promising ones."""
_PATIENCE = 12
"""Of these, how many in turn may be no better than the best, before the search ends."""
_TURNS = 30


class Alignment(NamedTuple):
    """One cluster over another.

    Attributes:
        rmsd: Root mean square distance of the atoms that were paired, Å.
        mae: Mean absolute difference of a coordinate over these atoms, Å.
        partners: Atoms that lie on each other, the found one and the true one; all of the smaller cluster have one.
        missing: How many atoms of the truth have no atom of the other within half of the truth's shortest distance.
        extra: How many atoms of the other have none of the truth so near.
        positions: The other cluster as it was laid over the truth, Å.
    """

    rmsd: float
    mae: float
    partners: Int[np.ndarray, "pairs 2"]
    missing: int
    extra: int
    positions: Float[np.ndarray, "atoms 3"]


def align(
    found: Float[np.ndarray, "found 3"], truth: Float[np.ndarray, "true 3"], *, exact: float = EXACT
) -> Alignment:
    r"""Lay one cluster over another by rotation, reflection and translation, and pair their atoms.

    The squared distances of the pairs are made small; $\mathrm{MAE} = \frac{1}{3n} \sum_i \sum_k |x_{ik} - y_{ik}|$ is
    that of the coordinates, in the frame of the truth.

    Args:
        found: Coordinates of the cluster that is judged, Å.
        truth: Coordinates of the one it should be, Å.
        exact: Mean absolute error at which the search for a better frame ends, Å.

    Returns:
        The best alignment.

    Raises:
        ValueError: If a cluster has no atom, or a coordinate that is not finite.

    >>> truth = np.array([[0.0, 0, 0], [2.8, 0, 0], [0, 2.9, 0], [0, 0, 3.2]])
    >>> mirrored = truth[[2, 0, 3, 1]] * [-1, 1, 1] + 5
    >>> laid = align(mirrored, truth)
    >>> round(laid.mae, 6), laid.missing, laid.extra
    (0.0, 0, 0)
    >>> align(mirrored[1:], truth).missing
    1
    """
    for name, each in (("found", found), ("true", truth)):
        if each.ndim != 2 or each.shape[1] != 3 or not len(each) or not np.isfinite(each).all():
            raise ValueError(
                f"the {name} cluster has coordinates of shape {each.shape}; give finite ones of some atoms"
            )
    middle = truth.mean(axis=0)
    y = np.asarray(truth, float) - middle
    x = np.asarray(found, float) - np.mean(found, axis=0)
    best: tuple[float, np.ndarray, np.ndarray] | None = None
    waited = 0
    for laid in _promising(x, y):
        cost, moved, pairs = _followed(x, y, laid)
        if best is not None and cost > best[0] - 1e-6 * (1 + best[0]):
            waited += 1
            if waited >= _PATIENCE:
                break
            continue
        best, waited = (cost, moved, pairs), 0
        if np.abs(moved[pairs[:, 0]] - y[pairs[:, 1]]).mean() < exact:
            break
    assert best is not None
    return _told(*best[1:], y, middle)


def _told(x: np.ndarray, pairs: np.ndarray, y: np.ndarray, middle: np.ndarray) -> Alignment:
    difference = x[pairs[:, 0]] - y[pairs[:, 1]]
    distances = np.linalg.norm(difference, axis=1)
    near = int((distances < _shortest(y) / 2).sum())
    return Alignment(
        float(np.sqrt(np.square(distances).mean())),
        float(np.abs(difference).mean()),
        pairs,
        len(y) - near,
        len(x) - near,
        x + middle,
    )


def _shortest(y: np.ndarray) -> float:
    return float(cKDTree(y).query(y, 2)[0][:, 1].min()) if len(y) > 1 else np.inf


def _followed(x: np.ndarray, y: np.ndarray, laid: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Assign and turn until the assignment stays."""
    before: np.ndarray | None = None
    for _ in range(_TURNS):
        pairs = np.stack(linear_sum_assignment(cdist(laid, y, "sqeuclidean")), axis=1)
        if before is not None and np.array_equal(pairs, before):
            break
        before = pairs
        laid = superposed(x, x[pairs[:, 0]], y[pairs[:, 1]])
    cost = float(np.square(laid[pairs[:, 0]] - y[pairs[:, 1]]).sum(axis=1).mean())
    return cost, laid, pairs


def _promising(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The first cluster in the frames in which most of its atoms come near atoms of the other, the best first.

    Atoms of the smaller cluster are asked for their neighbours in the larger: those of the larger may have none.
    """
    turns, shifts = zip(*_frames(x, y), strict=True)
    laid = x @ np.concatenate(turns) + np.concatenate(shifts)[:, None]
    if len(x) <= len(y):
        distances = cKDTree(y).query(laid.reshape(-1, 3))[0].reshape(len(laid), -1)
    else:
        distances = np.stack([cKDTree(each).query(y)[0] for each in laid])
    return laid[np.argsort(np.square(distances).mean(axis=1), kind="stable")[:_STARTS]]


def _frames(x: np.ndarray, y: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Orthogonal matrices and shifts that may bring the first cluster onto the other."""
    axes = [np.linalg.eigh(each.T @ each)[1] for each in (x, y)]
    turns = np.concatenate([axes[0] @ _signed_permutations() @ axes[1].T, _grid()])
    found = [(turns, np.zeros((len(turns), 3)))]
    origins = [(np.zeros(3), np.zeros(3))]
    if len(x) != len(y):  # the centres may lie anywhere then: atoms near them take their part
        innermost = y[np.argmin(np.linalg.norm(y, axis=1))]
        origins += [(x[k], innermost) for k in np.argsort(np.linalg.norm(x, axis=1))[:8]]
    for here, there in origins:
        turns = _turns_of_pairs(x - here, y - there)
        found.append((turns, there - here @ turns))
    return found


def _turns_of_pairs(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Turns, with a reflection or without, that bring a pair of atoms of the first onto a chosen pair of the other.

    Chosen are the pairs of the other that fewest pairs of the first could lie on.
    """
    far_x, far_y = np.linalg.norm(x, axis=1), np.linalg.norm(y, axis=1)
    seen = np.abs(far_x[:, None] - far_y) < _TOLERANCE  # which atoms of x could be which of y
    between_x, found = cdist(x, x), []
    for a, b in _anchors(y, far_y, seen.sum(axis=0)):
        fits = seen[:, a, None] & seen[:, b] & (np.abs(between_x - np.linalg.norm(y[a] - y[b])) < _TOLERANCE)
        c, d = np.nonzero(fits)
        if len(c) > _FRAMES:
            error = np.abs(far_x[c] - far_y[a]) + np.abs(far_x[d] - far_y[b])
            keep = np.argsort(error + np.abs(between_x[c, d] - np.linalg.norm(y[a] - y[b])), kind="stable")[:_FRAMES]
            c, d = c[keep], d[keep]
        if len(c):
            one, other = bases(x[c], x[d]), bases(y[a][None], y[b][None])
            mirrored = one * np.array([1.0, 1.0, -1.0])
            found += [one @ other.mT, mirrored @ other.mT]
    return np.concatenate(found) if found else np.zeros((0, 3, 3))


def _anchors(y: np.ndarray, far: np.ndarray, alike: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of atoms off one line with the centre, of few that are alike, and far out, where angles are told best."""
    outer = np.flatnonzero(far > 0.4 * far.max())
    order = outer[np.lexsort((-far[outer], alike[outer]))]
    pairs: list[tuple[int, int]] = []
    for a in order:
        cosine = np.abs(y[order] @ y[a]) / (far[order] * far[a])
        across = order[cosine < 0.9]
        if len(across) and not any(a in pair for pair in pairs):
            pairs.append((int(a), int(across[0])))
        if len(pairs) == _ANCHOR_PAIRS:
            break
    return pairs


@lru_cache(maxsize=1)
def _signed_permutations() -> np.ndarray:
    """The 48 matrices that exchange and reverse axes."""
    signs = np.array(np.meshgrid(*[[1.0, -1.0]] * 3)).reshape(3, -1).T
    orders = np.eye(3)[[[0, 1, 2], [1, 2, 0], [2, 0, 1], [1, 0, 2], [0, 2, 1], [2, 1, 0]]]
    return (orders[:, None] * signs[:, None, :]).reshape(-1, 3, 3)


@lru_cache(maxsize=1)
def _grid() -> np.ndarray:
    """The 60 rotations of an icosahedron, each with its reflection: spread evenly over all there are."""
    turns = Rotation.create_group("I").as_matrix()
    return np.concatenate([turns, -turns])
