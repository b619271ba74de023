"""The extended library: named shapes, shapes drawn at random, and both of them with defects.

It is made in parts (see `parts`), the same to the byte for the same settings, and kept as one compact HDF5 file.
"""

import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

import h5py  # type: ignore[import-untyped]
import numpy as np
from papertrio_shared.checkpoint import atomic_write
from papertrio_shared.seed import numpy_generator
from scipy.spatial.distance import pdist

from .clusters import MAX_ATOMS, MIN_ATOMS, Geometry, StructureType
from .defects import draw_variant
from .parts import Part, make_parts, remove_parts
from .shapes import draw_shape, named_shapes

VERSION = 1
"""Of what is drawn; it changes whenever the same settings give another library."""
DRAWS = 250
"""Draws in a part."""
EVEN = 0.3
"""Part of the clusters with defects whose type is drawn first, each as often, and then the shape."""
SAME = 1e-6
"""Sorted distances that differ by no more, in units of the shortest, are one shape."""
_FORMAT = "cbldm library"


@dataclass(frozen=True)
class ExtendedLibrary:
    """What an extended library is made of.

    Attributes:
        seed: Seed of all draws.
        shapes: How many shapes are drawn; of those alike the first is kept.
        variants: How many clusters with defects are drawn.
        max_atoms: Largest number of atoms.
    """

    seed: int = 0
    shapes: int = 16_000
    variants: int = 24_000
    max_atoms: int = MAX_ATOMS


EXTENDED = ExtendedLibrary()


def make_library(path: Path, settings: ExtendedLibrary = EXTENDED, *, jobs: int | None = None) -> int:
    """Make an extended library and write it; run again after an interruption it goes on where it was.

    Args:
        path: The HDF5 file; a file there is replaced once the new one is whole. The parts lie in a folder of its name
            with `.parts` until then.
        settings: What it is made of.
        jobs: Number of processes; by default one for each core.

    Returns:
        Number of geometries.

    Raises:
        ValueError: If a setting makes no sense, or there are parts of other settings in the way.
    """
    if not MIN_ATOMS <= settings.max_atoms <= MAX_ATOMS or settings.shapes < 0 or settings.variants < 0:
        raise ValueError(
            f"library of {settings.shapes} shapes and {settings.variants} variants up to {settings.max_atoms} atoms: "
            f"give numbers that are not negative and {MIN_ATOMS} to {MAX_ATOMS} atoms"
        )
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path}: it is a folder; name a file in it")
    folder = path.with_name(f"{path.name}.parts")
    common = {"version": VERSION, **asdict(settings)}
    seen = _Seen()
    drawn = make_parts(
        folder / "shapes", shapes_part, common, -(-settings.shapes // DRAWS), jobs=jobs, description="shapes"
    )
    named = (each for each in named_shapes() if each.atom_count <= settings.max_atoms)
    shapes = [each for each in named if seen.is_new(each)]
    shapes += [each for part in drawn for each in _unpack(part) if seen.is_new(each)]
    perfect = folder / "perfect.npz"
    if not perfect.is_file():
        with atomic_write(perfect) as temporary:
            np.savez(temporary, **_pack(shapes))  # type: ignore[arg-type]
    more = make_parts(
        folder / "variants",
        variants_part,
        {**common, "perfect": str(perfect.resolve())},
        -(-settings.variants // DRAWS),
        jobs=jobs,
        description="variants",
    )
    geometries = shapes + [each for part in more for each in _unpack(part) if seen.is_new(each)]
    save_library(path, geometries, common)
    remove_parts(folder)
    return len(geometries)


def shapes_part(settings: dict[str, Any], k: int) -> Part:
    """Shapes drawn for part k."""
    indices = range(k * DRAWS, min((k + 1) * DRAWS, settings["shapes"]))
    drawn = [draw_shape(numpy_generator(settings["seed"], f"shape {i}"), settings["max_atoms"]) for i in indices]
    return _pack([each for each in drawn if each is not None])


def variants_part(settings: dict[str, Any], k: int) -> Part:
    """Clusters with defects drawn for part k."""
    parents = _perfect(settings["perfect"])
    alike: dict[str, list[int]] = {}
    for place, each in enumerate(parents):
        alike.setdefault(each.type, []).append(place)
    found = []
    for i in range(k * DRAWS, min((k + 1) * DRAWS, settings["variants"])):
        random = numpy_generator(settings["seed"], f"variant {i}")
        place = int(random.integers(len(parents)))
        if random.random() < EVEN:  # types of few shapes have more children of each
            same = alike[list(alike)[int(random.integers(len(alike)))]]
            place = same[int(random.integers(len(same)))]
        found.append(draw_variant(random, parents[place], place, settings["max_atoms"]))
    return _pack([each for each in found if each is not None])


@lru_cache(maxsize=1)
def _perfect(path: str) -> list[Geometry]:
    with np.load(path) as file:
        return _unpack(dict(file))


class _Seen:
    """Which shapes there have been: by number of atoms and mean distance, then by all distances."""

    def __init__(self) -> None:
        self._alike: dict[tuple[int, int], list[Geometry]] = {}

    def is_new(self, geometry: Geometry) -> bool:
        distances = pdist(geometry.positions)
        # Means of distances that agree within SAME do so too, so what is alike lies in this cell or the next ones.
        cell = int(distances.mean() / distances.min() / (4 * SAME))
        cells = [(geometry.atom_count, cell + k) for k in (-1, 0, 1)]
        candidates = [other for each in cells for other in self._alike.get(each, [])]
        if candidates:
            shape = geometry.shape
            if any(np.allclose(shape, other.shape, rtol=0, atol=SAME) for other in candidates):
                return False
        self._alike.setdefault(cells[1], []).append(geometry)
        return True


def _pack(geometries: Sequence[Geometry]) -> Part:
    types = get_args(StructureType)
    words = json.dumps([[each.parameters, each.variant] for each in geometries])
    return {
        "positions": np.concatenate([np.zeros((0, 3)), *(each.positions for each in geometries)]),
        "atoms": np.array([each.atom_count for each in geometries], dtype=np.int16),
        "type": np.array([types.index(each.type) for each in geometries], dtype=np.uint8),
        "parent": np.array([-1 if each.parent is None else each.parent for each in geometries], dtype=np.int32),
        "words": np.frombuffer(words.encode(), dtype=np.uint8),
    }


def _unpack(part: Part) -> list[Geometry]:
    types = get_args(StructureType)
    places = np.split(part["positions"].astype(np.float64), np.cumsum(part["atoms"], dtype=np.int64)[:-1])
    words = json.loads(part["words"].tobytes())
    return [
        Geometry(types[kind], tuple(parameters), place, variant, None if parent < 0 else int(parent))
        for kind, (parameters, variant), place, parent in zip(part["type"], words, places, part["parent"], strict=True)
    ]


def save_library(path: Path, geometries: Sequence[Geometry], settings: dict[str, Any]) -> None:
    """Write geometries to a compact HDF5 file, coordinates in float32.

    Args:
        path: The file.
        geometries: What to write.
        settings: What they were made with, kept as an attribute.
    """
    with atomic_write(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["format"] = _FORMAT
        file.attrs["types"] = json.dumps(get_args(StructureType))
        file.attrs["settings"] = json.dumps(settings, sort_keys=True)
        for name, values in _pack(geometries).items():
            stored = values.astype(np.float32) if name == "positions" else values
            file.create_dataset(name, data=stored, compression="gzip", shuffle=True, track_times=False)


def load_library(path: str | Path) -> tuple[Geometry, ...]:
    """Read a library that `cbldm library` wrote.

    Args:
        path: The HDF5 file.

    Returns:
        Its geometries.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such library, or of another version of the package.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such library; make it with cbldm library extended -o {path}")
    made = path.stat()
    return _read(path, made.st_mtime_ns, made.st_size)


@lru_cache(maxsize=2)
def _read(path: Path, *_stamp: int) -> tuple[Geometry, ...]:
    try:
        with h5py.File(path) as file:
            if file.attrs.get("format") != _FORMAT or file.attrs["types"] != json.dumps(get_args(StructureType)):
                raise ValueError("of another format or version")
            return tuple(_unpack({name: file[name][()] for name in ("positions", "atoms", "type", "parent", "words")}))
    except (OSError, KeyError, ValueError) as error:
        reason = (str(error).splitlines() or ["unreadable"])[0][:100]
        raise ValueError(f"{path}: no library of clusters ({reason}); make it anew with cbldm library") from error


def kept_library(settings: ExtendedLibrary = EXTENDED) -> tuple[Geometry, ...]:
    """The library of these settings, made at the first call and kept in the user's cache (or `$CBLDM_CACHE`).

    Args:
        settings: What it is made of.

    Returns:
        Its geometries.
    """
    told = json.dumps({"version": VERSION, **asdict(settings)}, sort_keys=True)
    path = cache_folder() / f"extended-{hashlib.blake2b(told.encode(), digest_size=6).hexdigest()}.h5"
    found = _whole(path)
    if found is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # who comes meanwhile waits for it
            found = _whole(path)
            if found is None:
                print(f"the extended library is made once, in a minute or two: {path}", file=sys.stderr, flush=True)
                make_library(path, settings)
                found = load_library(path)
    return found


def _whole(path: Path) -> tuple[Geometry, ...] | None:
    try:
        return load_library(path)
    except (FileNotFoundError, ValueError):  # not there, or damaged
        return None


def cache_folder() -> Path:
    """Where what is made once is kept: `$CBLDM_CACHE`, or the folder `cbldm` of the user's cache."""
    if told := os.environ.get("CBLDM_CACHE"):
        return Path(told)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cbldm"


def first_of_each(geometries: Iterable[Geometry]) -> list[Geometry]:
    """The geometries without those whose sorted distances an earlier one has.

    Args:
        geometries: In the order of preference.

    Returns:
        Those that are left.

    >>> from cbldm.data.clusters import build_geometry
    >>> [each.label for each in first_of_each([build_geometry("Ico", (2,)), build_geometry("Ico", (2,))])]
    ['Ico 2']
    """
    seen = _Seen()
    return [each for each in geometries if seen.is_new(each)]
