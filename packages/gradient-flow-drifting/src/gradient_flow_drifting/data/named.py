"""Data sets by name."""

from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import get_args

from .angles import TorusCsv
from .array import ArrayFile
from .digits import Digits
from .distribution import Geometry
from .generated import GeneratedLatents
from .images import ImageFolder
from .places import SphereCsv
from .sphere import SphereMixture
from .toy import Toy, ToyName

Source = Toy | SphereMixture | Digits | ArrayFile | SphereCsv | TorusCsv | ImageFolder | GeneratedLatents
_FILES: dict[str, ArrayFile | SphereCsv | TorusCsv | ImageFolder] = {
    "earthquakes-sphere": SphereCsv(Path("earthquakes.csv")),
    "floods-sphere": SphereCsv(Path("floods.csv")),
    "fires-sphere": SphereCsv(Path("fires.csv")),
    "volcanoes-sphere": SphereCsv(Path("volcanoes.csv")),
    "protein-torus": TorusCsv(Path("angles.csv")),
    "images": ImageFolder(),
    "array": ArrayFile(),
}
FROM_FILES = tuple(_FILES)
NAMES = (*get_args(ToyName), "sphere", "digits", *FROM_FILES)


def named(name: str, path: Path | None = None, *, geometry: Geometry | None = None) -> Source:
    """The data set of a name, or the array in a file.

    Args:
        name: One of `NAMES`, or the path of a `.npy`, `.npz` or `.pt` file.
        path: The user's file or folder, of those sets that are read from one.
        geometry: The space that the rows of an array lie in; Euclidean where None.

    Returns:
        The data set.

    Raises:
        ValueError: If there is none of that name, in which case the nearest is suggested, if it is read from no
            file and a path is given, or if it is no array and a geometry is given.

    Example:
        >>> named("moons")
        Toy(name='moons')
        >>> named("floods-sphere", Path("f.csv")).path.name
        'f.csv'
        >>> named("mons")
        Traceback (most recent call last):
        ValueError: no data set is called 'mons': did you mean 'moons'? There are 8gaussians, ...
    """
    is_file = name not in NAMES and Path(name).suffix in (".npy", ".npz", ".pt")
    if geometry is not None:
        if not is_file and name != "array":
            raise ValueError(f"{name} knows its geometry: leave {geometry} out; only an array is told of one")
        array = named(name, path)
        assert isinstance(array, ArrayFile)
        return replace(array, geometry=geometry)
    if name in _FILES:
        return _FILES[name] if path is None else replace(_FILES[name], path=path)
    if path is not None:
        raise ValueError(f"{name} is read from no file: leave the path {path} out; {', '.join(_FILES)} take one")
    if name == "sphere":
        return SphereMixture()
    if name == "digits":
        return Digits()
    if is_file:
        return ArrayFile(Path(name))
    if name not in NAMES:
        near = get_close_matches(name, NAMES, n=1, cutoff=0.0)[0]
        listed = ", ".join(NAMES)
        raise ValueError(f"no data set is called {name!r}: did you mean {near!r}? There are {listed}, and .npy files")
    return Toy(name)  # type: ignore[arg-type]
