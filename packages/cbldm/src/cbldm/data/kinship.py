r"""Which clusters are one but for a single atom, and the families that they make.

The pair distances of a cluster of N atoms are those of what is left without one of them, and N − 1 more. So two
clusters that differ by an atom, taken away, added or moved, have histograms of distances, in units of the bond, whose
difference sums to no more than the distances of that atom on either side. This is asked for; where it holds the
clusters are called kin. Some that differ by more than an atom are called so too, whose curves are as much alike.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist, pdist

from .clusters import Geometry

STEP = 0.1
"""Of the histogram, bonds; a distance between two points of it counts for both, in parts."""
LONGEST = 28.0
SLACK = 0.003
"""Part of all distances that may fall elsewhere, as bonds are a little longer or shorter."""
_NEIGHBOURS = 1.12


def distance_histogram(geometry: Geometry) -> Float[np.ndarray, " bins"]:
    """How many pairs have which distance, in units of the median bond, which one atom more or less leaves as it is.

    Args:
        geometry: The cluster.

    Returns:
        Numbers at the multiples of `STEP` up to `LONGEST`.

    >>> from cbldm.data.clusters import build_geometry
    >>> round(float(distance_histogram(build_geometry("Ico", (2,))).sum()))
    78
    """
    distances = pdist(geometry.positions)
    bond = np.median(distances[distances < _NEIGHBOURS * distances.min()])
    place = np.minimum(distances / (bond * STEP), LONGEST / STEP - 1)
    lower = place.astype(int)
    part, size = place - lower, round(LONGEST / STEP) + 1
    return np.bincount(lower, 1 - part, size) + np.bincount(lower + 1, part, size)


class Histograms:
    """The histograms of a library, by number of atoms.

    Args:
        geometries: The library.
    """

    def __init__(self, geometries: Sequence[Geometry]) -> None:
        atoms = np.array([each.atom_count for each in geometries], dtype=int)
        values = np.array([distance_histogram(each) for each in geometries], dtype=np.float32)
        self._places = {int(n): np.flatnonzero(atoms == n) for n in np.unique(atoms)}
        self._values = {n: values[places] for n, places in self._places.items()}
        self.count = len(geometries)

    def kin(self, other: "Histograms") -> Iterator[tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]]:
        """Pairs of kin, one cluster of this library and one of the other.

        Args:
            other: The other library.

        Yields:
            Places in this library and in the other, a few pairs at once.
        """
        for n, places in self._places.items():
            for m in (n - 1, n, n + 1):
                if m not in other._places:
                    continue
                pairs = max(n * (n - 1), m * (m - 1)) / 2
                # An atom taken away or added has its distances on one side, a moved one on both.
                most = (2 * (n - 1) if n == m else min(n, m)) + SLACK * pairs
                first, second = np.nonzero(cdist(self._values[n], other._values[m], "cityblock") <= most)
                yield places[first], other._places[m][second]


def families(geometries: Sequence[Geometry]) -> Int[np.ndarray, " geometries"]:
    """Families of clusters: parent and children, and kin, and the kin of those, and so on.

    Args:
        geometries: A library, whose children come after their parents.

    Returns:
        The number of each cluster's family.

    >>> from cbldm.data.clusters import library
    >>> len(set(families(library(max_atoms=40)).tolist())) < len(library(max_atoms=40))
    True
    """
    children = np.array([k for k, each in enumerate(geometries) if each.parent is not None], dtype=int)
    parents = np.array([each.parent for each in geometries if each.parent is not None], dtype=int)
    histograms = Histograms(geometries)
    links = [(parents, children), *histograms.kin(histograms)]
    first, second = (np.concatenate(side) for side in zip(*links, strict=True))
    graph = coo_matrix((np.ones(len(first), dtype=bool), (first, second)), shape=(len(geometries),) * 2)
    return connected_components(graph, directed=False)[1]


def kin_of(geometries: Sequence[Geometry], tested: Sequence[Geometry]) -> Bool[np.ndarray, " geometries"]:
    """Which clusters are one of those tested, or its kin: what must not be searched when these are to be found.

    Args:
        geometries: Any library.
        tested: The clusters to be found.

    Returns:
        True for those.

    >>> from cbldm.data.clusters import library
    >>> small = library(max_atoms=40)
    >>> bool(kin_of(small, small[3:4])[3])
    True
    """
    found = np.zeros(len(geometries), dtype=bool)
    if len(tested):
        for places, _ in Histograms(geometries).kin(Histograms(tested)):
            found[places] = True
    return found
