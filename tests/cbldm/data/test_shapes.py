"""Shapes that have a name, and shapes that are drawn."""

from itertools import pairwise

import numpy as np
import pytest
from cbldm.data.clusters import library
from cbldm.data.defects import connected
from cbldm.data.extended import first_of_each
from cbldm.data.shapes import draw_shape, letters_of, named_shapes, stacking_type
from hypothesis import given
from hypothesis import strategies as st
from papertrio_shared.seed import numpy_generator
from scipy.spatial.distance import pdist


def test_named_shapes_have_every_type_and_all_of_deepstruc() -> None:
    named = list(named_shapes())
    assert {each.type for each in named} == {
        *("SC", "FCC", "BCC", "HCP", "Ico", "Dec", "Oct", "TOct", "Cuboct", "Marks", "Ino")
    }
    distinct = first_of_each(named)
    assert len(first_of_each([*distinct, *library("deepstruc")])) == len(distinct)
    assert [each.atom_count for each in named if each.type == "Cuboct"] == [13, 55, 147]
    assert [each.atom_count for each in named if each.type == "TOct"][:2] == [38, 79]


def test_drawn_shapes_are_clusters() -> None:
    drawn = [draw_shape(numpy_generator(0, f"shape {k}"), 120) for k in range(60)]
    found = [each for each in drawn if each is not None]
    assert len(found) > 50
    for geometry in found:
        assert 5 <= geometry.atom_count <= 120
        assert geometry.parameters == (geometry.atom_count,)
        assert pdist(geometry.positions).min() == pytest.approx(1, abs=1e-6)
        assert np.abs(geometry.positions.mean(axis=0)).max() < 1e-9
        assert connected(geometry.positions), geometry.label
        assert geometry.variant
    assert {each.type for each in found} > {"FCC", "BCC", "HCP", "Ico", "Dec"}


@given(st.text("hc", min_size=3, max_size=25))
def test_a_sequence_has_the_surroundings_it_was_made_from(pattern: str) -> None:
    letters = letters_of(pattern)
    assert len(letters) == len(pattern)
    assert all(a != b for a, b in pairwise(letters))
    around = "".join("h" if a == c else "c" for a, c in zip(letters, letters[2:], strict=False))
    assert around == pattern[1:-1]


@given(st.text("hc", min_size=3, max_size=12), st.permutations("ABC"))
def test_the_type_of_a_stacking_does_not_depend_on_names_and_direction(pattern: str, names: list[str]) -> None:
    letters = letters_of(pattern)
    renamed = letters.translate(str.maketrans("ABC", "".join(names)))
    assert stacking_type(letters) == stacking_type(renamed) == stacking_type(letters[::-1])
