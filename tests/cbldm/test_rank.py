"""The order of candidates."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from cbldm.data.clusters import build_geometry
from cbldm.posterior import TEMPERATURE, Distribution
from cbldm.rank import Candidate, Recovery, families, rank
from cbldm.refine import Fit, Parameters
from cbldm.target import Target

ZERO = Parameters(0.0, 0.0, 0.0, 0.0, 0.0)
R = np.linspace(2, 20, 1801)
TARGET = Target(R, np.sin(R), 0.8, 24.0, 0.04)


def candidate(
    score: float, *, bond: float = 2.8, kind: str = "Ico", parameters: tuple[int, ...] = (2,), rw: float = 0.2
) -> Candidate:
    geometry = build_geometry(kind, parameters)
    atoms = Atoms(f"Au{geometry.atom_count}", positions=bond * geometry.positions)
    fit = Fit(Parameters(), ZERO, ("scale", "dilation", "biso"), rw, rw, score, np.sin(R + score))
    return Candidate(geometry.label, atoms, bond, fit, rw, type=kind, source="library")


def recovery(candidates: list[Candidate]) -> Recovery:
    sizes = Distribution([(len(each.atoms), each.weight) for each in candidates])
    kinds = Distribution([(each.type, each.weight) for each in candidates])
    return Recovery(tuple(candidates), TARGET, "Au", 2.88, (0.92, 1.08), 331, 0, sizes, kinds, 256)


def test_the_lowest_score_comes_first() -> None:
    ranked = rank([candidate(3, kind="FCC", parameters=(2, 2, 2)), candidate(-7), candidate(1, parameters=(3,))])
    assert [each.score for each in ranked] == [-7, 1, 3]
    assert [each.parameters for each in ranked] == ["2", "3", "2 2 2"]


def test_the_same_structure_is_kept_once_whatever_its_hand_and_place() -> None:
    first, second, third = candidate(1), candidate(0), candidate(2, bond=2.802)
    second.atoms.positions = -second.atoms.positions[::-1] + 5
    assert [each.score for each in rank([first, second, third])] == [0]


def test_another_bond_or_shape_is_another_structure() -> None:
    cuboctahedron = candidate(2, kind="FCC", parameters=(1, 2, 2))
    assert len(cuboctahedron.atoms) == 13
    assert len(rank([candidate(1), candidate(3, bond=2.9), cuboctahedron])) == 3


def test_weights_fall_with_the_score_and_sum_to_one() -> None:
    ranked = rank([candidate(0), candidate(4, parameters=(3,)), candidate(40, kind="FCC", parameters=(2, 2, 2))])
    weights = [each.weight for each in ranked]
    assert sum(weights) == pytest.approx(1)
    assert weights[0] / weights[1] == pytest.approx(np.exp(4 / (2 * TEMPERATURE)))
    assert weights[2] < 0.1


def test_candidates_of_one_curve_are_a_family() -> None:
    ranked = rank(
        [
            candidate(0),
            candidate(0.02, parameters=(3,)),  # a phase of 0.02: nearly the same curve
            candidate(1, kind="FCC", parameters=(2, 2, 2)),
            candidate(1.02, kind="Dec", parameters=(2, 2, 0)),
            candidate(2, kind="BCC", parameters=(2, 2, 4)),
        ]
    )
    assert [each.family for each in ranked] == [1, 1, 2, 2, 3]
    assert families(ranked[:1]) == [1]


def test_a_recovery_is_a_sequence() -> None:
    ranked = rank([candidate(0), candidate(4, parameters=(3,)), candidate(90, kind="FCC", parameters=(2, 2, 2))])
    result = recovery(ranked)
    assert (len(result), result[0], result[-1], result[:2]) == (3, ranked[0], ranked[2], tuple(ranked[:2]))
    assert list(result) == ranked
    assert result[0].atoms.get_chemical_symbols() == ["Au"] * 13
    assert result[0].rw == 0.2
    assert result.plausible == tuple(ranked[:2])
    assert result.atom_count.most_likely == 13
    assert result.structure_type["Ico"] == pytest.approx(ranked[0].weight + ranked[1].weight)
    with pytest.raises(IndexError):
        result[3]


def test_scope_is_judged_by_the_best_fit_alone() -> None:
    assert recovery(rank([candidate(0, rw=0.499)])).in_scope
    assert not recovery(rank([candidate(0, rw=0.501)])).in_scope


@pytest.mark.parametrize(
    ("rw", "biso", "dilation", "inside"),
    [
        (0.3, 4.9, 1.0, True),
        (0.3, 5.1, 1.0, False),  # a liquid
        (0.3, 0.5, 0.921, False),  # the best is outside of what was searched
        (0.3, 0.5, 1.079, False),
        (0.3, 0.5, 1.077, True),
        (0.1, 0.5, 1.08, True),  # little is left to be explained
    ],
)
def test_scope_asks_for_a_solid_inside_the_search(rw: float, biso: float, dilation: float, inside: bool) -> None:
    best = candidate(0, rw=rw)
    fit = replace(best.fit, parameters=Parameters(biso=biso, dilation=dilation))
    assert recovery(rank([replace(best, fit=fit)])).in_scope == inside
