"""What befalls a perfect cluster: atoms missing or added at its surface, bonds that shorten there, strain."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree

from .clusters import MAX_ATOMS, MIN_ATOMS, Geometry
from .cuts import Points

NEIGHBOURS = 1.2
"""Atoms nearer than this are bonded, in bonds."""
LARGEST_PART = 0.06
"""Of the atoms, missing or added."""
CONTRACTIONS = (-0.02, -0.01, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06)
"""By how much a bond of an atom with no other neighbour is shorter than in the bulk; below zero it is longer."""
STRAIN = (0.005, 0.03)
"""Largest of the principal strains, whose sum is zero as a dilation is no strain of the shape."""
_ROOM = 0.97
_TETHER = 0.02
_STEPS = 60


def draw_variant(
    random: np.random.Generator, parent: Geometry, place: int, max_atoms: int = MAX_ATOMS
) -> Geometry | None:
    """A cluster with one or more defects.

    Args:
        random: Where the draws come from.
        parent: The perfect cluster.
        place: Where it stands in its library.
        max_atoms: Largest number of atoms.

    Returns:
        The geometry, which knows its parent, or None where what was drawn makes no cluster.

    >>> from papertrio_shared.seed import numpy_generator
    >>> from cbldm.data.clusters import build_geometry
    >>> draw_variant(numpy_generator(0, "variant 0"), build_geometry("Ico", (3,)), 7).label
    'Ico 3, 1 vacancy, bonds 4.0 % shorter at the surface'
    """
    kind = str(random.choice(["vacancies", "ad-atoms", "both", "relaxed", "strained"], p=[0.35, 0.25, 0.1, 0.2, 0.1]))
    positions, words = parent.positions, []
    most = max(1, int(LARGEST_PART * len(positions)))
    if kind in ("vacancies", "both"):
        count = int(random.integers(1, most + 1))
        positions = without_atoms(random, positions, count)
        words.append(f"{count} vacanc{'y' if count == 1 else 'ies'}")
    if kind in ("ad-atoms", "both"):
        before = len(positions)
        positions = with_atoms(random, positions, int(random.integers(1, most + 1)))
        words.append(f"{len(positions) - before} ad-atom{'s' * (len(positions) - before > 1)}")
    if kind == "relaxed" or (kind != "strained" and random.random() < 0.5):
        contraction = float(random.choice(CONTRACTIONS))
        positions = relaxed(positions, contraction)
        words.append(
            f"bonds {100 * abs(contraction):.1f} % {'shorter' if contraction > 0 else 'longer'} at the surface"
        )
    if kind == "strained" or random.random() < 0.15:
        size = round(float(random.uniform(*STRAIN)), 3)
        positions = strained(random, positions, size)
        words.append(f"strained by {100 * size:.1f} %")
    if not MIN_ATOMS <= len(positions) <= max_atoms or not connected(positions):
        return None
    variant = ", ".join([parent.variant, *words] if parent.variant else words)
    return replace(parent, positions=positions - positions.mean(axis=0), variant=variant, parent=place)


def bonds_of(positions: Points) -> Int[np.ndarray, "bonds 2"]:
    """Pairs of atoms that are bonded."""
    return cKDTree(positions).query_pairs(NEIGHBOURS, output_type="ndarray")


def coordination(positions: Points) -> Int[np.ndarray, " atoms"]:
    """Number of neighbours of each atom."""
    return np.bincount(bonds_of(positions).ravel(), minlength=len(positions))


def connected(positions: Points) -> bool:
    """Whether bonds join all atoms."""
    bonds, group = bonds_of(positions), np.arange(len(positions))
    while True:
        lower = group.copy()
        np.minimum.at(lower, bonds[:, 0], group[bonds[:, 1]])
        np.minimum.at(lower, bonds[:, 1], group[bonds[:, 0]])
        if np.array_equal(lower, group):
            return not group.any()
        group = lower[lower]


def without_atoms(random: np.random.Generator, positions: Points, count: int) -> Points:
    """Take atoms away one by one, those with few neighbours rather.

    Args:
        random: Where the draws come from.
        positions: The atoms.
        count: How many to take.

    Returns:
        The others.
    """
    for _ in range(count):
        neighbours = coordination(positions)
        odds = np.exp(-0.8 * (neighbours - neighbours.min()))
        positions = np.delete(positions, random.choice(len(positions), p=odds / odds.sum()), axis=0)
    return positions


def with_atoms(random: np.random.Generator, positions: Points, count: int) -> Points:
    """Add atoms one by one where the lattice goes on or three atoms of the surface make a hollow.

    Args:
        random: Where the draws come from.
        positions: The atoms.
        count: How many to add at most.

    Returns:
        The old and the new atoms.
    """
    for _ in range(count):
        sites = _sites(positions)
        if not len(sites):
            break
        touched = np.array([len(each) for each in cKDTree(positions).query_ball_point(sites, NEIGHBOURS)])
        odds = np.exp(touched - touched.max())
        positions = np.vstack([positions, sites[random.choice(len(sites), p=odds / odds.sum())]])
    return positions


def _sites(positions: Points) -> Float[np.ndarray, "sites 3"]:
    bonds = bonds_of(positions)
    i, j = np.vstack([bonds, bonds[:, ::-1]]).T
    beyond = 2 * positions[j] - positions[i]
    near: list[set[int]] = [set() for _ in positions]
    for a, b in bonds.tolist():
        near[a].add(b)
    corners = np.array([(a, b, c) for a, b in bonds.tolist() for c in near[a] & near[b]], dtype=int).reshape(-1, 3)
    a, b, c = positions[corners].transpose(1, 0, 2)
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    middle, height = (a + b + c) / 3, np.sqrt(2 / 3)
    sites = np.vstack([beyond, middle + height * normal, middle - height * normal])
    gap, _ = cKDTree(positions).query(sites)
    sites = np.round(sites[(gap > _ROOM) & (gap < NEIGHBOURS)], 6)
    return np.unique(sites, axis=0)


def relaxed(positions: Points, contraction: float) -> Points:
    r"""Let each bond take a length that falls with the coordination of its two atoms.

    A bond wants to be $1 - c (1 - \sqrt{z_i z_j} / z_{bulk})$ of its length, as bonds of atoms with few neighbours are
    shorter (Goldschmidt 1926; Pauling 1947). Springs along the bonds, with weak ones that hold each atom where it was,
    are brought to rest.

    Args:
        positions: The atoms.
        contraction: c.

    Returns:
        Where they come to rest.

    >>> pair = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    >>> chain = relaxed(np.vstack([pair, [[2.0, 0.0, 0.0]]]), 0.05)
    >>> bool(chain[1, 0] - chain[0, 0] < 1)
    True
    """
    bonds = bonds_of(positions)
    i, j = bonds.T
    neighbours = np.bincount(bonds.ravel(), minlength=len(positions))
    vector = positions[j] - positions[i]
    length = np.linalg.norm(vector, axis=1)
    unit = vector / length[:, None]
    pull = contraction * length * (1 - np.sqrt(neighbours[i] * neighbours[j]) / neighbours.max())
    rows = np.repeat(np.arange(len(bonds)), 6)
    columns = np.hstack([3 * i[:, None] + np.arange(3), 3 * j[:, None] + np.arange(3)]).ravel()
    stretch = csr_matrix((np.hstack([-unit, unit]).ravel(), (rows, columns)), shape=(len(bonds), positions.size))
    hessian = stretch.T @ stretch
    # Conjugate gradients: the tether keeps the condition number at a few hundred.
    move, rest = np.zeros(positions.size), -(stretch.T @ pull)
    step, square = rest.copy(), rest @ rest
    for _ in range(_STEPS):
        if square < 1e-14:
            break
        pushed = hessian @ step + _TETHER * step
        size = square / (step @ pushed)
        move += size * step
        rest -= size * pushed
        square, before = rest @ rest, square
        step = rest + square / before * step
    return positions + move.reshape(-1, 3)


def strained(random: np.random.Generator, positions: Points, size: float) -> Points:
    """Stretch along random axes, the volume kept.

    Args:
        random: Where the draws come from.
        positions: The atoms.
        size: Largest principal strain.

    Returns:
        The atoms, strained.
    """
    axes, _ = np.linalg.qr(random.standard_normal((3, 3)))
    principal = random.standard_normal(3)
    principal -= principal.mean()
    principal *= size / np.abs(principal).max()
    return positions + positions @ (axes * principal) @ axes.T
