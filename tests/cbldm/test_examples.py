"""What training learns from: the same for every step whenever it is asked for, in canonical order."""

from dataclasses import replace

import pytest
import torch
from cbldm.affinity import affinity
from cbldm.config import CurveSource
from cbldm.data.clusters import library
from cbldm.examples import ExampleSource, split_geometries
from cbldm.order import canonical_order
from cbldm.profiles import Examples, Robust

SMALL = Robust(atoms=20, width=16, heads=2, curve_depth=1, depth=1, denoiser_depth=1, tokens=2, channels=2)
DATA = CurveSource(max_atoms=20, distinct=12)


def source(data: CurveSource = DATA, validation: int = 0) -> ExampleSource:
    return ExampleSource(data, SMALL.build(), batch=4, validation=validation, seed=3, device=torch.device("cpu"))


def same(a: Examples, b: Examples) -> bool:
    return all(torch.equal(x, y) for x, y in zip((*a.curves, *a[1:]), (*b.curves, *b[1:]), strict=True))


def test_a_step_has_its_examples_whatever_came_before() -> None:
    first = source()
    seen = [first(step) for step in range(7)]
    assert same(source()(5), seen[5])
    assert same(seen[0], seen[3])  # three batches make the twelve distinct curves
    assert not same(seen[0], seen[1])


def test_examples_stand_in_canonical_order() -> None:
    examples = source()(1)
    order = canonical_order(examples.positions, examples.present)
    moved = examples.positions.gather(1, order[..., None].expand(-1, -1, 3))
    found, again = (affinity(each, mask=examples.present) for each in (examples.positions, moved))
    assert (found - again).abs().max() < 1e-6


def test_curves_begin_where_they_are_cut_and_keep_their_settings() -> None:
    examples = source(replace(DATA, rmin=1.8))(0)
    curves = examples.curves
    begins = 0.05 * curves.measured.int().argmax(1)
    assert ((begins >= 0) & (begins <= 1.85)).all()
    assert len(begins.unique()) > 1
    assert (curves.g[~curves.measured] == 0).all()
    assert (curves.qmax >= 15.9).all()
    assert torch.equal(examples.present.sum(1), examples.atom_count)


def test_what_no_step_sees() -> None:
    data = replace(DATA, held_out=0.3)
    found = source(data, validation=6)
    trained, held_out = ({each.label for each in part} for part in (found.trained, found.held_out))
    assert not trained & held_out
    assert len(trained | held_out) == len(library(max_atoms=20))
    assert len(held_out) == round(0.3 * len(library(max_atoms=20)))
    (unseen,), (others,) = found.unseen(), found.unseen_geometries()
    assert len(unseen.atom_count) == len(others.atom_count) == 6
    steps = torch.cat([found(step).curves.qmax for step in range(3)])
    assert not set(unseen.curves.qmax.tolist()) & set(steps.tolist())
    assert source(validation=6).unseen_geometries() == []


def test_all_held_out_is_told() -> None:
    with pytest.raises(ValueError, match=r"data\.held_out = 0\.999: none of \d+ geometries is left; hold out fewer"):
        split_geometries(library(max_atoms=20), 0.999, seed=0)
