"""Drawn structures laid on the sites of crystals."""

import numpy as np
import pytest
from cbldm.data.clusters import StructureType, build_geometry
from cbldm.data.crystals import CUT_FROM
from cbldm.snap import snap
from scipy.spatial.distance import pdist
from scipy.spatial.transform import Rotation

CLUSTERS: list[tuple[StructureType, tuple[int, ...]]] = [
    ("SC", (2, 3, 4)),
    ("FCC", (2, 3, 3)),
    ("BCC", (4, 4, 4)),
    ("HCP", (3, 3, 11)),
    ("HCP", (1, 5, 7)),
    ("Ico", (3,)),
    ("Dec", (3, 3, 1)),
    ("Dec", (4, 3, 0)),
    ("Oct", (5,)),
]


def drawn(positions: np.ndarray, noise: float, seed: int) -> np.ndarray:
    """The cluster with every coordinate a little off, turned, moved, mirrored and in any order."""
    random = np.random.default_rng(seed)
    off = positions + random.normal(0, noise, positions.shape)
    turned = random.permutation(off) @ Rotation.random(random_state=random).as_matrix().T
    return turned * random.choice([-1.0, 1.0]) + random.uniform(-5, 5, 3)


@pytest.mark.parametrize(("kind", "parameters"), CLUSTERS, ids=lambda each: str(each))
@pytest.mark.parametrize("seed", [0, 1])
def test_a_cluster_that_is_a_little_off_is_made_exact(
    kind: StructureType, parameters: tuple[int, ...], seed: int
) -> None:
    """Each coordinate by 0.03 bonds, some 0.1 Å."""
    truth = build_geometry(kind, parameters).positions
    found = snap(CUT_FROM.get(kind, kind), drawn(truth, 0.03, seed))
    assert found is not None
    assert np.sort(pdist(found.positions)) == pytest.approx(np.sort(pdist(truth)), abs=1e-3)
    assert np.abs(found.positions.mean(axis=0)).max() < 1e-9


@pytest.mark.parametrize("kind", ["SC", "FCC", "BCC", "HCP", "Ico", "Dec", "Twin"])
def test_what_is_far_from_all_sites_is_left(kind: StructureType) -> None:
    """As a rough draw is: it would become a crystal full of holes."""
    random = np.random.default_rng(3)
    assert snap(kind, random.uniform(-2, 2, (60, 3))) is None
    truth = build_geometry("Ico", (3,)).positions
    assert snap(kind, truth + random.normal(0, 0.3, truth.shape)) is None


def test_each_atom_has_a_site_of_its_own() -> None:
    truth = build_geometry("FCC", (2, 3, 3)).positions
    crowded = truth + np.random.default_rng(4).normal(0, 0.02, truth.shape)
    crowded[0] = crowded[1] + 0.3 * (crowded[0] - crowded[1])
    found = snap("FCC", crowded)
    assert found is not None
    assert found.atom_count == len(truth)
    assert pdist(found.positions).min() > 0.99


def test_a_chain_has_no_frame() -> None:
    assert snap("FCC", np.arange(6)[:, None] * np.array([1.0, 0, 0])) is None
    assert snap("FCC", np.zeros((1, 3))) is None
    assert snap("FCC", 50.0 * np.eye(3)) is None
