"""Where candidates come from: one's own structures beside the library, and further sources."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from cbldm import Proposal, Search, SimulationSettings, recover, simulate
from cbldm.data.clusters import build_geometry, library
from cbldm.data.extended import save_library
from cbldm.proposals import FromStructures, read_library
from cbldm.refine import Parameters
from cbldm.target import Target, select_target

X = 2.8 * build_geometry("Ico", (2,)).positions
SETTINGS = SimulationSettings(qmin=0.9, qmax=22.0, noise=0.01)


def odd_cluster() -> Atoms:
    """One that no library has."""
    rng = np.random.default_rng(4)
    return Atoms("Pt12", positions=(X + 0.25 * rng.normal(size=X.shape))[1:])


def test_ones_own_structure_wins_where_it_is_right(tmp_path: Path) -> None:
    true = odd_cluster()
    write(tmp_path / "odd.xyz", true, format="xyz")
    write(tmp_path / "wrong.xyz", Atoms("Pt13", positions=X), format="xyz")
    (tmp_path / "notes.txt").write_text("no structure")
    larger = true.copy()
    larger.positions *= 1.031
    result = recover(
        simulate(larger, SETTINGS),
        element="Pt",
        candidates=4,
        library=tmp_path,
        max_atoms=14,
        positions="held",
        model="none",
    )
    assert (result[0].label, result[0].type, result[0].source) == ("odd.xyz", "own", "own")
    assert result[0].parameters == "odd.xyz"
    assert result[0].fit.parameters.dilation == pytest.approx(1.031, abs=1e-3)
    assert result.structure_type.most_likely == "own"
    assert {each.source for each in result} == {"own", "library"}


def test_elements_of_ones_own_are_kept() -> None:
    alloy = odd_cluster()
    alloy.symbols[:5] = "Ni"
    target = select_target(simulate(alloy, SETTINGS))
    wrong = alloy.copy()
    wrong.symbols[:] = "Pt"
    found = FromStructures([("wrong", wrong), ("right", alloy)]).propose(target, Search("Pt", 2.78, 5))
    assert [each.label for each in found] == ["right", "wrong"]
    assert found[0].atoms.get_chemical_symbols()[:6] == ["Ni"] * 5 + ["Pt"]
    assert len(FromStructures([("wrong", wrong), ("right", alloy)]).propose(target, Search("Pt", 2.78, 1))) == 1


@dataclass
class Drawn:
    """A source that knows the answer, as a model may."""

    atoms: Atoms
    searched: int = 7

    def propose(self, target: Target, search: Search) -> Sequence[Proposal]:
        assert (search.seed, target.qmax) == (3, 22.0)
        return [Proposal("drawn 1", "drawn", "model", self.atoms, Parameters(dilation=1.0), 0.0)]


def test_a_further_source_competes_with_the_library() -> None:
    true = odd_cluster()
    result = recover(
        simulate(true, SETTINGS),
        element="Pt",
        candidates=3,
        seed=3,
        proposers=[Drawn(true)],
        max_atoms=13,
        model="none",
    )
    assert (result[0].label, result[0].source, result[0].parameters) == ("drawn 1", "model", "1")
    assert result[0].rw < 0.1
    assert result[0].relaxed is not None
    assert result.searched == 7 + len(library(max_atoms=13))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xyz", "2\n\nPt 0 0 0\nPt 0 0 0\n", r"a.xyz, lines 3 and 4: two atoms 0 Å apart; remove one"),
        ("a.xyz", "2\n\nPt 0 0 0\nQq 0 0 3\n", r"a.xyz, line 4: unknown element 'Qq'"),
        ("a.xyz", "1\n\nPt 0 0 0\n", r"a.xyz: number of atoms 1, so there is no distance"),
        ("a.txt", "2\n\nPt 0 0 0\nPt 0 0 3\n", r"it holds no structure \(.xyz, .*\); give another --library"),
        ("a.xyz", "2001\n\n" + "".join(f"Pt 0 0 {3 * k}\n" for k in range(2001)), "2001 atoms; a search takes up to"),
    ],
)
def test_what_is_no_library(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_library(tmp_path)


def test_a_file_of_geometries_is_searched_in_the_place_of_the_library(tmp_path: Path) -> None:
    path = tmp_path / "few.h5"
    save_library(path, library(max_atoms=20), {})
    result = recover(
        simulate(Atoms("Pt13", positions=X), SETTINGS),
        element="Pt",
        library=path,
        max_atoms=15,
        positions="held",
        model="none",
    )
    assert (result[0].label, result[0].source) == ("Ico 2", "library")
    assert result.searched == len(library(max_atoms=15))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"few\.h5: no library of clusters \(.*\); make it anew with cbldm library"):
        recover(simulate(odd_cluster(), SETTINGS), element="Pt", library=path)
    with pytest.raises(FileNotFoundError, match=r"none\.h5: no such library; make it with cbldm library extended -o"):
        recover(simulate(odd_cluster(), SETTINGS), element="Pt", library=str(tmp_path / "none.h5"))


def test_a_library_that_is_not_there(tmp_path: Path) -> None:
    curve = simulate(odd_cluster(), SETTINGS)
    with pytest.raises(
        FileNotFoundError, match=r"mine: no such library; name one \(.*extended\), an .h5 file or a folder"
    ):
        recover(curve, element="Pt", library=tmp_path / "mine")
    far = Atoms("Pt2", positions=[[0, 0, 0], [0, 0, 1e6]])
    with pytest.raises(ValueError, match="too much for a cluster"):
        FromStructures([("far.xyz", far)]).propose(select_target(curve), Search("Pt", 2.78, 5))
