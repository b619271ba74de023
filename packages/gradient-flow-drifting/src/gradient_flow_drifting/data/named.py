"""Data sets by name."""

from difflib import get_close_matches
from pathlib import Path
from typing import get_args

from .array import ArrayFile
from .digits import Digits
from .sphere import SphereMixture
from .toy import Toy, ToyName

NAMES = (*get_args(ToyName), "sphere", "digits")


def named(name: str) -> Toy | SphereMixture | Digits | ArrayFile:
    """The data set of a name, or the array in a file.

    Args:
        name: One of `NAMES`, or the path of a `.npy`, `.npz` or `.pt` file.

    Returns:
        The data set.

    Raises:
        ValueError: If there is none of that name; the nearest is suggested.

    Example:
        >>> named("moons")
        Toy(name='moons')
        >>> named("mons")
        Traceback (most recent call last):
        ValueError: no data set is called 'mons': did you mean 'moons'? There are 8gaussians, ...
    """
    if name == "sphere":
        return SphereMixture()
    if name == "digits":
        return Digits()
    if Path(name).suffix in (".npy", ".npz", ".pt"):
        return ArrayFile(Path(name))
    if name not in NAMES:
        near = get_close_matches(name, NAMES, n=1, cutoff=0.0)[0]
        listed = ", ".join(NAMES)
        raise ValueError(f"no data set is called {name!r}: did you mean {near!r}? There are {listed}, and .npy files")
    return Toy(name)  # type: ignore[arg-type]
