"""What training learns from: the same for every step whenever it is asked for, in canonical order."""

from dataclasses import replace

import torch
from cbldm.config import CurveSource
from cbldm.data.clusters import library
from cbldm.data.splits import split_library
from cbldm.examples import ExampleSource
from cbldm.order import canonical_positions
from cbldm.presets import PRESETS
from cbldm.profiles import Examples
from cbldm.training_set import clusters_of
from papertrio_shared.seed import generator

SMALL = replace(PRESETS["robust-smoke"].profile, atoms=20)
DATA = CurveSource(max_atoms=20, distinct=12)


def source(data: CurveSource = DATA, validation: int = 0) -> ExampleSource:
    return ExampleSource(data, SMALL.build(), batch=4, validation=validation, seed=3, device=torch.device("cpu"))


def same(a: Examples, b: Examples) -> bool:
    return all(torch.equal(x, y) for x, y in zip((*a.curves, *a[1:]), (*b.curves, *b[1:]), strict=True))


def test_a_step_has_its_examples_whatever_came_before() -> None:
    first = source()
    seen = [first(step) for step in range(7)]
    assert same(source()(5), seen[5])
    assert not same(seen[0], seen[1])


def test_examples_stand_in_canonical_order() -> None:
    examples = source()(1)
    for x, count, bond in zip(examples.positions, examples.atom_count.tolist(), examples.bond, strict=True):
        ordered = [torch.from_numpy(canonical_positions(each)) for each in library(max_atoms=20)]
        assert any(
            len(each) == count and torch.allclose(each, x[:count].double() / bond, atol=1e-5) for each in ordered
        )
        assert not x[count:].any()


def test_curves_begin_and_end_where_they_are_cut_and_keep_their_settings() -> None:
    curves = source(replace(DATA, rmin=1.8, cut=1.0)).unseen()  # none without validation
    assert curves == []
    examples = source(replace(DATA, rmin=1.8, cut=1.0))(0)
    curves = examples.curves
    begins = 0.05 * curves.measured.int().argmax(1)
    assert ((begins >= 0) & (begins <= 1.85)).all()
    assert len(begins.unique()) > 1
    ends = 0.05 * (600 - curves.measured.flip(1).int().argmax(1))
    assert ((ends - curves.rmax).abs() < 0.11).all()
    assert (ends >= 14.9).all()
    assert (curves.g[~curves.measured] == 0).all()
    assert (curves.qmax >= 15.9).all()
    assert torch.equal(examples.present.sum(1), examples.atom_count)


def test_what_no_step_sees() -> None:
    data = replace(DATA, split="geometry", max_atoms=60)
    found = ExampleSource(
        data, PRESETS["robust-smoke"].profile.build(), batch=4, validation=6, seed=3, device=torch.device("cpu")
    )
    trained = {each.label for each in clusters_of(found.settings).geometries}
    known = library(max_atoms=60)
    held = {known[int(k)].label for k in split_library("geometry", known).validation.places}
    assert not trained & held
    (unseen,), (others,) = found.unseen(), found.unseen_geometries()
    assert len(unseen.atom_count) == len(others.atom_count) == 6
    steps = torch.cat([found(step).curves.qmax for step in range(3)])
    assert not set(unseen.curves.qmax.tolist()) & set(steps.tolist())
    assert source(validation=6).unseen_geometries() == []


def test_known_clusters_are_drawn_as_often_as_asked() -> None:
    found = source(replace(DATA, distinct=40))
    found.config = replace(found.config, known=0.25)
    found._kinds = [torch.arange(10), torch.arange(10, 40)]
    drawn = torch.cat([found._drawn(generator(0, str(k))) for k in range(500)])
    assert abs(float((drawn < 10).float().mean()) - 0.25) < 0.04
    assert set(drawn.tolist()) == set(range(40))
    found._kinds = [torch.arange(40), torch.arange(0)]
    assert len(set(torch.cat([found._drawn(generator(0, str(k))) for k in range(200)]).tolist())) == 40
