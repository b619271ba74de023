"""Structures drawn for a measured curve."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.io import read
from cbldm import PairDistribution, SimulationSettings, load_profile, sample, simulate, write_gr
from cbldm.__main__ import main
from cbldm.data.clusters import build_geometry
from cbldm.presets import PRESETS
from cbldm.sample import curves_of
from cbldm.target import FitSettings, select_target
from cbldm.train import train
from papertrio_shared.checkpoint import CheckpointError, save_weights

PARTICLE = Atoms("Pt13", positions=2.8 * build_geometry("Ico", (2,)).positions)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks that have learnt nothing yet but to be loaded."""
    config = replace(PRESETS["robust-smoke"], steps=(1, 1, 1), validation=0, batch=2)
    return train(config, tmp_path_factory.mktemp("sample") / "run")


@pytest.fixture(scope="module")
def curve() -> PairDistribution:
    return simulate(PARTICLE)


def test_structures_repeat_with_their_seed_and_differ_with_another(run: Path, curve: PairDistribution) -> None:
    profile = load_profile(run)
    first, again, other = (sample(curve, profile, count=4, seed=seed) for seed in (0, 0, 1))
    assert len(first) == 4
    assert all(np.array_equal(a.positions, b.positions) for a, b in zip(first, again, strict=True))
    assert [len(a) for a in first] != [len(a) for a in other]
    assert all(np.isfinite(atoms.positions).all() and set(atoms.symbols) == {"Pt"} for atoms in first)
    assert all(residual >= 0 for residual in first.residuals)
    assert sum(first.type.values()) == pytest.approx(1, abs=1e-5)
    assert first.atom_count.sum() == pytest.approx(1, abs=1e-5)
    assert all(first.atom_count[len(atoms)] > 0 for atoms in first)


def test_weights_by_path_are_the_same_weights(run: Path, curve: PairDistribution) -> None:
    by_folder, by_file = sample(curve, run, count=2), sample(curve, run / "weights.safetensors", count=2)
    assert np.array_equal(by_folder[0].positions, by_file[0].positions)


def test_the_scale_of_a_curve_changes_little_and_its_settings_something(run: Path, curve: PairDistribution) -> None:
    profile = load_profile(run)
    plain = sample(curve, profile, count=1)
    other = sample(curve, profile, count=1, qmax=18.0, qdamp=0.07)
    assert not np.allclose(plain.atom_count, other.atom_count, rtol=1e-6)


@pytest.mark.parametrize("rstep", [0.01, 0.02, 0.033, 0.1])
def test_any_grid_of_r_gives_the_same_curve(rstep: float) -> None:
    settings = SimulationSettings(rmin=1.0, rmax=20.0, rstep=rstep, qmax=22.0)
    found = curves_of(select_target(simulate(PARTICLE, settings), FitSettings(rmin=0, rmax=30)), rstep=0.05, bins=600)
    fine = simulate(PARTICLE, SimulationSettings(rmin=0.0, rmax=30.0, rstep=0.05, qmax=22.0))
    there = found.measured[0].numpy()
    r = 0.05 * np.arange(600)
    assert (
        there == ((r >= np.ceil(1.0 / rstep - 1e-6) * rstep - 1e-6) & (r <= 20 - rstep + 1e-2 * rstep))
    ).mean() > 0.99
    error = np.abs(found.g[0].numpy() - fine.g)[there].max() / np.abs(fine.g).max()
    assert error < (0.03 if rstep == 0.1 else 2e-3)  # 22 1/Å has half a wave in 0.143 Å
    assert (found.g[0].numpy()[~there] == 0).all()
    assert float(found.rmax) == pytest.approx(20.0, abs=rstep)


def test_a_curve_longer_than_the_grid_is_cut() -> None:
    curve = simulate(PARTICLE, SimulationSettings(rmax=60.0, rstep=0.05))
    found = curves_of(select_target(curve, FitSettings(rmin=0, rmax=30)), rstep=0.05, bins=600)
    assert found.measured.all()
    assert float(found.rmax) == 30.0


def test_the_same_weights_are_sampled_in_three_ways(run: Path, curve: PairDistribution) -> None:
    profile = load_profile(run)
    plain = sample(curve, profile, count=3)
    ways = {way: sample(curve, run, count=3, sampling=way) for way in ("shortcut", "diffusion", "prior")}
    for a, b in zip(plain, ways["shortcut"], strict=True):  # what the weights were trained for
        assert np.array_equal(a.positions, b.positions)
    for way, other in (("shortcut", "diffusion"), ("diffusion", "prior"), ("shortcut", "prior")):
        a, b = ways[way][0], ways[other][0]
        assert len(a) == len(b)  # the number of atoms is drawn before
        assert not np.allclose(a.positions, b.positions, atol=1e-3)


def test_a_profile_without_a_head_counts_its_draws(tmp_path: Path, curve: PairDistribution) -> None:
    config = replace(PRESETS["paper-smoke"], steps=(1, 1, 1), validation=0, batch=2)
    found = sample(curve, train(config, tmp_path / "run"), count=4)
    assert found.type == {}
    assert found.atom_count.sum() == pytest.approx(1)
    counts = [len(atoms) for atoms in found]
    assert [round(4 * float(share)) for share in found.atom_count[counts]] == [counts.count(n) for n in counts]


def test_what_cannot_be_sampled_is_told(run: Path, curve: PairDistribution, tmp_path: Path) -> None:
    profile = load_profile(run)
    with pytest.raises(ValueError, match=r"count 0: give how many structures to draw"):
        sample(curve, profile, count=0)
    with pytest.raises(ValueError, match=r"its header names no composition, so the metal is not clear"):
        sample(replace(curve, composition={}), profile)
    with pytest.raises(ValueError, match=r"qmax"):
        sample(replace(curve, qmax=None), profile)
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors: no such file"):
        sample(curve, tmp_path / "none.safetensors")
    strange = tmp_path / "strange.safetensors"
    save_weights(strange, {"a": torch.zeros(1)}, {})
    with pytest.raises(CheckpointError, match=r"strange\.safetensors: holds no weights of a profile; give those of"):
        load_profile(strange)
    save_weights(strange, {"a": torch.zeros(1)}, {"profile": {"class": "Robust"}})
    with pytest.raises(CheckpointError, match=r"strange\.safetensors: its weights do not fit its profile"):
        load_profile(strange)


def test_train_and_sample_as_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], curve: PairDistribution
) -> None:
    words = ["--steps", "1", "1", "1", "--validation", "0", "--batch", "2", "--out", str(tmp_path / "run")]
    assert main(["train", "robust-smoke", *words]) == 0
    assert "weights.safetensors" in capsys.readouterr().out
    assert main(["train", "robust-smoke", *words]) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert main(["train", "--resume", str(tmp_path / "run")]) == 0
    write_gr(tmp_path / "pt.gr", curve)
    capsys.readouterr()
    out = tmp_path / "samples"
    asked = ["sample", str(tmp_path / "pt.gr"), "--weights", str(tmp_path / "run"), "--count", "3", "--element", "Pt"]
    assert main([*asked, "--out", str(out)]) == 0
    assert capsys.readouterr().out.startswith("atoms: ")
    assert sorted(path.name for path in out.iterdir()) == [f"sample_0{k}.xyz" for k in (1, 2, 3)]
    first = (out / "sample_01.xyz").read_text()
    assert len(read(out / "sample_01.xyz")) >= 2
    assert main([*asked, "--out", str(out), "--sampling", "prior"]) == 0
    assert (out / "sample_01.xyz").read_text() != first
    assert main(["sample", str(tmp_path / "pt.gr"), "--weights", str(tmp_path / "none"), "--out", str(out)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
