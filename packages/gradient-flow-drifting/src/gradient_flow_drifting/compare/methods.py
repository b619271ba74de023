"""The methods that are compared: a preset's data and network, each with a way of its own to train it."""

from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

from ..baselines import BiSoftmax, SinkhornDrift, SlicedWasserstein
from ..baselines.ot_cfm import OtCfm
from ..config import TrainConfig
from ..data import Geometry, named
from ..data.named import FROM_FILES
from ..divergences import DIVERGENCES
from ..fields import KernelField, divergence_of
from ..presets import PRESETS
from ..stretches import Drifting, FeatureDrifting, ParticleFlow, Regression

OURS = "preset"
FLOW = "ot_cfm"
EVALUATIONS = {FLOW: (1, 10, 100)}
SETS = ("8gaussians", "25grid", "moons", "checkerboard", "swissroll", "pinwheel", "two_spirals", "ring", "sphere")
LONGEST_STEP = 0.3  # of weights that grow without bound; with 0.8 `mixed` collapsed on 25grid
BANDWIDTHS = (0.05, 0.1, 0.2, 0.4, 0.8)  # from the start a coarse scale is needed: up to 0.4 some sets collapse
NOT_ON_THE_TORUS = ("bi_softmax", "bi_softmax_floor", "sliced")
DEFAULT = (OURS, "kl_qp", "mixed", "mmd2", "bi_softmax", "sinkhorn", "sliced", FLOW)


def _drifting(objective: Drifting | OtCfm) -> Callable[[TrainConfig], TrainConfig]:
    """From the start, without a particle flow before it."""
    return lambda preset: replace(
        preset, flow=ParticleFlow(steps=0), regression=Regression(steps=0), objective=objective
    )


def _kernel(divergence: str) -> Callable[[TrainConfig], TrainConfig]:
    weights = (("kl_pq", 1.0), ("chi2_qp", 0.5)) if divergence == "mixed" else ((divergence, 1.0),)
    divergence_of(weights)
    bounded = None if divergence in ("kl_qp", "mmd2") else LONGEST_STEP
    return _drifting(Drifting(field=KernelField(bandwidths=BANDWIDTHS, divergence=weights, max_step=bounded)))


METHODS: dict[str, Callable[[TrainConfig], TrainConfig]] = {
    OURS: lambda preset: preset,
    **{name: _kernel(name) for name in DIVERGENCES},
    "bi_softmax": _drifting(Drifting(field=BiSoftmax(affinity_floor=None), negatives="same")),
    "bi_softmax_floor": _drifting(Drifting(field=BiSoftmax(), negatives="same")),
    "sinkhorn": _drifting(Drifting(field=SinkhornDrift(), negatives="same")),
    "sliced": _drifting(Drifting(field=SlicedWasserstein(), negatives="same")),
    FLOW: _drifting(OtCfm()),
}


def default_methods(geometry: Geometry = "euclidean") -> tuple[str, ...]:
    """One method of each kind that exists in a space; OT-CFM only where torchcfm is installed.

    Args:
        geometry: The space.

    Returns:
        The names.

    Example:
        >>> default_methods()[:3]
        ('preset', 'kl_qp', 'mixed')
    """
    installed = find_spec("torchcfm") is not None
    absent = {FLOW: not installed, **dict.fromkeys(NOT_ON_THE_TORUS, geometry == "torus")}
    return tuple(name for name in DEFAULT if not absent.get(name))


def methods_of(text: str) -> tuple[str, ...]:
    """The methods of a list of names, the package's own preset first.

    Args:
        text: Names with commas between them.

    Returns:
        The names, each once.

    Raises:
        ValueError: If one is unknown; the nearest is suggested.

    Example:
        >>> methods_of("mixed,ot_cfm")
        ('preset', 'mixed', 'ot_cfm')
        >>> methods_of("mixt")
        Traceback (most recent call last):
        ValueError: methods: "mixt" is unknown; did you mean "mixed"? There are preset, ...
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in METHODS:
            near = get_close_matches(name, METHODS, n=1, cutoff=0.0)[0]
            raise ValueError(f'methods: "{name}" is unknown; did you mean "{near}"? There are {", ".join(METHODS)}')
    return tuple(dict.fromkeys([OURS, *names]))


def presets_of(data: str, path: Path | None = None, geometry: Geometry | None = None) -> dict[str, TrainConfig]:
    """The presets of a data set's name, of all of them, or of a file of points.

    Args:
        data: One of `SETS`, `all`, a set that is read from a user's file, or the path of a `.npy`, `.npz` or
            `.pt` file.
        path: The user's file, of a set that is read from one.
        geometry: The space that the rows of an array lie in; Euclidean where None.

    Returns:
        Presets by the name of their set.

    Raises:
        ValueError: If the set is unknown, in which case the nearest is suggested, or holds images; or as `named` does.

    Example:
        >>> list(presets_of("25grid"))
        ['25grid']
    """
    if data == "all":
        if path is not None or geometry is not None:
            raise ValueError("all: these sets are read from no file: leave path and geometry out")
        return {name: PRESETS[name] for name in SETS}
    if (data in PRESETS and isinstance(PRESETS[data].objective, FeatureDrifting)) or data == "images":
        raise ValueError(f"{data}: compare trains perceptrons, which are for points and not for images: use train")
    if data not in PRESETS and Path(data).suffix not in (".npy", ".npz", ".pt"):
        names = (*SETS, *(name for name in FROM_FILES if name in PRESETS), "all")
        near = get_close_matches(data, names, n=1, cutoff=0.0)[0]
        listed = ", ".join(names)
        raise ValueError(f"no data set is called {data!r}: did you mean {near!r}? There are {listed}, and .npy files")
    name, preset = (data, PRESETS[data]) if data in PRESETS else (Path(data).stem, PRESETS["array"])
    if path is None and geometry is None and data in PRESETS:
        return {name: preset}
    return {name: replace(preset, data=named(data, path, geometry=geometry))}
