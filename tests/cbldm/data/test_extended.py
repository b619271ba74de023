"""The extended library: types, sizes, no shape twice, the same bytes however it was made."""

import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from cbldm.__main__ import main
from cbldm.data.clusters import Geometry, build_geometry, library
from cbldm.data.extended import (
    ExtendedLibrary,
    cache_folder,
    first_of_each,
    kept_library,
    load_library,
    make_library,
    save_library,
)
from scipy.spatial.distance import pdist
from scipy.spatial.transform import Rotation

SETTINGS = ExtendedLibrary(shapes=500, variants=500, max_atoms=60)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("library") / "library.h5"
    make_library(path, SETTINGS, jobs=1)
    return path


def test_what_is_in_it(made: Path) -> None:
    geometries = load_library(made)
    assert len(geometries) > 700
    assert {each.type for each in geometries} == {
        *("SC", "FCC", "BCC", "HCP", "Ico", "Dec", "Oct", "TOct", "Cuboct", "Marks", "Ino", "Stack", "Twin")
    }
    assert all(5 <= each.atom_count <= 60 for each in geometries)
    assert all(0.9 < pdist(each.positions).min() < 1.1 for each in geometries)
    children = [(k, each.parent) for k, each in enumerate(geometries) if each.parent is not None]
    assert len(children) > 200
    assert all(parent < k and geometries[parent].parent is None for k, parent in children)
    assert not made.with_name("library.h5.parts").exists()


def test_no_shape_is_there_twice_and_all_of_deepstruc_are(made: Path) -> None:
    geometries = load_library(made)
    shapes: dict[int, list[np.ndarray]] = {}
    for geometry in geometries:
        for other in shapes.setdefault(geometry.atom_count, []):
            assert not np.allclose(geometry.shape, other, rtol=0, atol=1e-6), geometry.label
        shapes[geometry.atom_count].append(geometry.shape)
    for geometry in library(max_atoms=60):
        assert any(np.allclose(geometry.shape, other, rtol=0, atol=1e-5) for other in shapes[geometry.atom_count])


def test_turned_mirrored_and_scaled_clusters_are_one_shape() -> None:
    geometry = build_geometry("Dec", (2, 2, 1))
    turn = Rotation.from_euler("xyz", [0.3, 1.0, 2.0]).as_matrix()
    order = np.random.default_rng(0).permutation(geometry.atom_count)
    others = [geometry.positions @ turn, -geometry.positions, 2.8 * geometry.positions, geometry.positions[order]]
    moved = geometry.positions.copy()
    moved[0] += 0.01
    clusters = [geometry, *(Geometry("Dec", (), each) for each in [*others, moved])]
    assert first_of_each(clusters) == [clusters[0], clusters[-1]]


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(
    "kills", [1, pytest.param(8, marks=pytest.mark.slow)], ids=["killed once", "killed eight times"]
)
def test_killed_and_resumed_it_is_the_same_to_the_byte(made: Path, tmp_path: Path, kills: int) -> None:
    path = tmp_path / "killed.h5"
    words = ["library", "extended", "-o", str(path), "--shapes", "500", "--variants", "500", "--max-atoms", "60"]
    command = [sys.executable, "-m", "cbldm", *words, "--jobs", "2"]
    parts, chance = path.with_name("killed.h5.parts"), random.Random(0)
    for kill in range(kills):
        run = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 200
        while len(list(parts.rglob("0*.npz"))) < 1 + kill % 4 and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 0.3) if kill else 0)
        run.send_signal(signal.SIGKILL)
        run.wait()
    assert kills > 1 or not path.exists()
    assert main([*words, "--jobs", "1"]) == 0
    assert path.read_bytes() == made.read_bytes()


def test_another_seed_gives_another_library(made: Path, tmp_path: Path) -> None:
    other = ExtendedLibrary(seed=1, shapes=250, variants=0, max_atoms=30)
    make_library(tmp_path / "other.h5", other, jobs=1)
    labels = {each.label for each in load_library(tmp_path / "other.h5")}
    assert not labels <= {each.label for each in load_library(made)}


def test_a_library_is_saved_and_loaded(tmp_path: Path) -> None:
    geometries = [*library(max_atoms=20), Geometry("FCC", (13,), library()[0].positions, "2 vacancies", 0)]
    save_library(tmp_path / "own.h5", geometries, {})
    for a, b in zip(geometries, load_library(tmp_path / "own.h5"), strict=True):
        assert (a.type, a.parameters, a.variant, a.parent) == (b.type, b.parameters, b.variant, b.parent)
        assert np.allclose(a.positions, b.positions, atol=1e-6)


def test_it_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("CBLDM_CACHE", str(tmp_path))
    settings = ExtendedLibrary(shapes=10, variants=10, max_atoms=20)
    first = kept_library(settings)
    file = next(cache_folder().glob("extended-*.h5"))
    before = file.stat().st_mtime_ns
    assert capsys.readouterr().err.splitlines() == [f"the extended library is made once, in a minute or two: {file}"]
    assert kept_library(settings) is first
    assert file.stat().st_mtime_ns == before
    assert not capsys.readouterr().err
    file.write_bytes(b"half")
    assert len(kept_library(settings)) == len(first)
    monkeypatch.delenv("CBLDM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    assert cache_folder() == tmp_path / "user" / "cbldm"


def test_who_needs_it_while_it_is_made_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CBLDM_CACHE", str(tmp_path))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(kept_library, [ExtendedLibrary(shapes=20, variants=20, max_atoms=20)] * 4))
    assert [len(each) for each in found] == [len(found[0])] * 4
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FileNotFoundError, match="no such library; make it with cbldm library extended"):
        load_library(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("no library")
    with pytest.raises(ValueError, match=r"text\.h5: no library of clusters"):
        load_library(tmp_path / "text.h5")
    save_library(tmp_path / "cut.h5", library(max_atoms=20), {})
    whole = (tmp_path / "cut.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut\.h5: no library of clusters"):
        load_library(tmp_path / "cut.h5")
    with pytest.raises(ValueError, match="5 to 256 atoms"):
        make_library(tmp_path / "large.h5", ExtendedLibrary(max_atoms=300))
    with pytest.raises(ValueError, match="it is a folder; name a file in it"):
        make_library(tmp_path)
    assert main(["library", "extended", "-o", str(tmp_path / "a.h5"), "--shapes", "-1"]) == 2
    assert capsys.readouterr().err.startswith("error: library of -1 shapes")
