"""The weights that come with the package: they load, draw, and know of curves what the model card says."""

from importlib.resources import files
from pathlib import Path

import pytest
import torch
from ase import Atoms
from cbldm import load_profile, sample, simulate
from cbldm.data.clusters import build_geometry, library
from cbldm.data.curves import TYPES
from cbldm.data.splits import TYPES_TESTED, split_library
from cbldm.models.condition import Curves
from cbldm.sample import WEIGHTS
from cbldm.train import write_half
from cbldm.training_set import TrainingSet, training_curves
from papertrio_shared.checkpoint import load_weights, save_weights

LARGEST = 16e6


@pytest.fixture(scope="module")
def seen() -> tuple[Curves, torch.Tensor, torch.Tensor]:
    """Curves of every instrument of the clusters that the split `geometry` tests with, their N and type."""
    known = library()
    settings = TrainingSet()
    side = split_library("geometry", known).test
    batch = side.curves(known, length=300, seed=12, rstep=settings.rstep, rmax=settings.rmax).batch(range(300))
    s = batch.settings
    curves = Curves(batch.g, batch.measured, s.qmin, s.qmax, s.qdamp, s.rmax.clamp(max=settings.rmax))
    return curves, batch.atom_count, batch.type


def test_they_fit_into_the_wheel() -> None:
    assert Path(str(files("cbldm") / "weights" / "robust.safetensors")).stat().st_size <= LARGEST


def test_they_know_the_type_and_nearly_the_number_of_atoms_of_clusters_they_never_saw(
    seen: tuple[Curves, torch.Tensor, torch.Tensor],
) -> None:
    curves, atom_count, kind = seen
    said = load_profile().posterior(curves)
    assert said is not None
    off = (said.atom_count.argmax(1) - atom_count).abs() / atom_count
    family = torch.tensor([TYPES.index("Dec") if name in TYPES_TESTED else k for k, name in enumerate(TYPES)])
    assert (family[said.type.argmax(1)] == family[kind]).float().mean() > 0.93
    assert off.median() < 0.12
    chance = said.atom_count.gather(1, atom_count[:, None]).mean()
    assert chance > -4.2  # −5.5 is what one who knows nothing says


def test_they_are_what_a_sample_is_drawn_from() -> None:
    particle = Atoms("Pt55", positions=2.77 * build_geometry("Ico", (3,)).positions)
    found = sample(simulate(particle), count=2, seed=3)
    spread = particle.positions.std(axis=0)
    for atoms in found:
        assert 30 < len(atoms) < 90
        assert atoms.positions.std(axis=0) == pytest.approx(spread, rel=0.3)
    assert max(found.type, key=lambda name: found.type[name]) == "Ico"


def test_half_the_bytes_are_the_same_weights(tmp_path: Path) -> None:
    tensors = {"a": torch.randn(5), "b": torch.ones(2, 2)}
    save_weights(tmp_path / WEIGHTS, tensors, {"profile": {"a": 1}})
    write_half(tmp_path, tmp_path / "new" / "half.safetensors")
    found, config = load_weights(tmp_path / "new" / "half.safetensors")
    assert config == {"profile": {"a": 1}}
    assert all(torch.equal(found[name], each.half()) for name, each in tensors.items())


def test_curves_of_the_training_are_not_of_the_tested_clusters() -> None:
    """The set that the weights were trained with, by its settings; without the extended library, which takes long."""
    trained = {each.label for each in training_curves(TrainingSet(split="geometry")).geometries}
    known = library()
    split = split_library("geometry", known)
    assert not trained & {known[int(k)].label for k in (*split.test.places, *split.validation.places)}
