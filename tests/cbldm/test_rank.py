"""The order of candidates."""

import numpy as np
import pytest
from ase import Atoms
from cbldm.data.clusters import build_geometry
from cbldm.rank import Candidate, Recovery, rank
from cbldm.refine import Fit, Parameters
from cbldm.target import Target

ZERO = Parameters(0.0, 0.0, 0.0, 0.0)
R = np.linspace(2, 20, 1801)
TARGET = Target(R, np.sin(R), 0.8, 24.0, 0.04)


def candidate(score: float, *, bond: float = 2.8, kind: str = "Ico", parameters: tuple[int, ...] = (2,)) -> Candidate:
    geometry = build_geometry(kind, parameters)
    atoms = Atoms(f"Au{geometry.atom_count}", positions=bond * geometry.positions)
    fit = Fit(Parameters(), ZERO, ("scale", "dilation", "biso"), 0.2, score, np.zeros(1801))
    return Candidate(geometry.label, atoms, bond, fit, 0.2, geometry)


def test_the_lowest_score_comes_first() -> None:
    ranked = rank([candidate(3, kind="FCC", parameters=(2, 2, 2)), candidate(-7), candidate(1, parameters=(3,))])
    assert [each.score for each in ranked] == [-7, 1, 3]


def test_the_same_structure_is_kept_once_whatever_its_hand_and_place() -> None:
    first, second, third = candidate(1), candidate(0), candidate(2, bond=2.802)
    second.atoms.positions = -second.atoms.positions[::-1] + 5
    assert [each.score for each in rank([first, second, third])] == [0]


def test_another_bond_or_shape_is_another_structure() -> None:
    cuboctahedron = candidate(2, kind="FCC", parameters=(1, 2, 2))
    assert len(cuboctahedron.atoms) == 13
    assert len(rank([candidate(1), candidate(3, bond=2.9), cuboctahedron])) == 3


def test_a_recovery_is_a_sequence() -> None:
    ranked = tuple(rank([candidate(0), candidate(9, parameters=(3,)), candidate(11, kind="FCC", parameters=(2, 2, 2))]))
    result = Recovery(ranked, TARGET, "Au", 2.88, (0.92, 1.08), 331, 0)
    assert (len(result), result[0], result[-1], result[:2]) == (3, ranked[0], ranked[2], ranked[:2])
    assert list(result) == list(ranked)
    assert result[0].atoms.get_chemical_symbols() == ["Au"] * 13
    assert result[0].rw == 0.2
    assert result.plausible == ranked[:2]
    with pytest.raises(IndexError):
        result[3]
