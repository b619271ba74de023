"""Structures for a measured curve, drawn from trained weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import overload

import numpy as np
import torch
from ase import Atoms
from ase.io import write
from jaxtyping import Float
from papertrio_shared.checkpoint import CheckpointError, load_weights
from papertrio_shared.run import dict_to_config
from papertrio_shared.seed import generator
from scipy.interpolate import CubicSpline

from .data.elements import require_element, single_metal
from .data.gr import PairDistribution
from .decode import decode
from .models.condition import Curves
from .profiles import Generated, Profile, ProfileConfig, Sampling
from .target import FitSettings, Target, select_target

WEIGHTS = "weights.safetensors"
"""In the folder of a run."""
SHIPPED_WEIGHTS = Path(str(files("cbldm") / "weights" / "robust.safetensors"))
"""Those that come with the package."""
SAMPLE_FILES = ("sample_*.xyz",)
"""Names of what `write_samples` writes."""


@dataclass(frozen=True, eq=False, repr=False)
class Samples(Sequence[Atoms]):
    """What a model says of a curve.

    Attributes:
        structures: Drawn structures, in no order, Å.
        residuals: How far each one's affinity was from that of points in space, root mean square.
        atom_count: Probability of each number of atoms, from 0; where a profile has no head for it, the share among
            the draws.
        type: Probability of each structure type; empty where a profile does not tell them apart.
        seed: Seed of the draws.
    """

    structures: tuple[Atoms, ...]
    residuals: tuple[float, ...]
    atom_count: Float[np.ndarray, " counts"]
    type: dict[str, float]
    seed: int

    def __repr__(self) -> str:
        """How many there are, and what the model says of the curve."""
        return f"<{len(self)} structures drawn; likeliest {sample_table(self, rows=3)}>".replace("\n", "; ")

    @overload
    def __getitem__(self, index: int) -> Atoms: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Atoms, ...]: ...

    def __getitem__(self, index: int | slice) -> Atoms | tuple[Atoms, ...]:
        return self.structures[index]

    def __len__(self) -> int:
        return len(self.structures)


def weights_file(path: Path) -> Path:
    """The file of weights that is meant by a path.

    Args:
        path: The file, or the folder of a run.

    Returns:
        The file.

    >>> weights_file(Path("robust.safetensors")).name
    'robust.safetensors'
    """
    return path / WEIGHTS if path.is_dir() else path


def load_profile(path: Path | None = None) -> Profile:
    """Networks with the weights of a run.

    Args:
        path: File of weights, or the folder of a run; by default the weights that come with the package, those of the
            profile `robust` trained without the clusters that the split `geometry` holds out.

    Returns:
        The profile, ready to sample.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds no weights of a profile.

    >>> load_profile(Path("none.safetensors"))
    Traceback (most recent call last):
    FileNotFoundError: none.safetensors: no such file...
    """
    path = weights_file(path or SHIPPED_WEIGHTS)
    tensors, config = load_weights(path)
    if "profile" not in config:
        raise CheckpointError(f"{path}: holds no weights of a profile; give those of cbldm train")
    shape: ProfileConfig = dict_to_config(config["profile"], ProfileConfig)  # type: ignore[arg-type]
    profile = shape.build()
    try:
        profile.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: its weights do not fit its profile; train it anew") from error
    return profile.eval().requires_grad_(False)


def sample(
    gr: PairDistribution,
    weights: Path | Profile | None = None,
    *,
    count: int = 20,
    element: str | None = None,
    seed: int = 0,
    qmin: float | None = None,
    qmax: float | None = None,
    qdamp: float | None = None,
    sampling: Sampling | None = None,
) -> Samples:
    """Draw structures for a measured curve.

    What is drawn is not fitted to the curve: `recover` and `fit` refine and rank structures.

    Args:
        gr: Measured curve.
        weights: File of weights or folder of a run, or what `load_profile` gave; by default the package's own.
        count: How many.
        element: Symbol of the atoms, which G does not see; by default the only metal of the curve's composition.
        seed: The same seed gives the same structures.
        qmin: Lower limit of the transform, 1/Å; by default the file's.
        qmax: Upper limit, 1/Å; by default the file's.
        qdamp: Damping by the instrument, 1/Å; by default the file's, or else 0.04.
        sampling: Another way to sample the same weights than the one they were trained for.

    Returns:
        Structures, and the distributions over number of atoms and structure type.

    Raises:
        FileNotFoundError: If there is no such file of weights.
        ValueError: If the weights cannot be used or not sampled so, the element is not clear, `count` is not positive,
            qmin or qmax is missing, or the curve is too short.

    >>> import tempfile
    >>> from cbldm import simulate
    >>> from cbldm.presets import PRESETS
    >>> from cbldm.train import train
    >>> run = train(PRESETS["robust-smoke"], Path(tempfile.mkdtemp()) / "run")
    >>> dimer = Atoms("Pt2", positions=[[0, 0, 0], [2.8, 0, 0]])
    >>> found = sample(simulate(dimer), run, count=3)
    >>> len(found), found[0].symbols[0], round(float(found.atom_count.sum()), 4)
    (3, 'Pt', 1.0)
    """
    if count < 1:
        raise ValueError(f"count {count}: give how many structures to draw, 1 or more")
    symbol = single_metal(gr.composition) if element is None else element
    if symbol is None:
        named = " ".join(gr.composition) or "no composition"
        raise ValueError(f"{gr.name}: its header names {named}, so the metal is not clear; give --element")
    require_element(symbol)
    profile = weights if isinstance(weights, Profile) else load_profile(weights)
    profile = profile if sampling is None else profile.with_sampling(sampling)
    end = profile.rstep * profile.bins
    target = select_target(gr, FitSettings(rmin=0.0, rmax=end, qmin=qmin, qmax=qmax, qdamp=qdamp))
    curves = curves_of(target, rstep=profile.rstep, bins=profile.bins)
    found = profile.generate(curves, count, generator(seed, "sample"))
    decoded = decode(found.affinity, mask=found.present)
    structures = tuple(
        Atoms([symbol] * int(there.sum()), positions=scale * x[there].numpy())
        for x, there, scale in zip(decoded.positions, found.present, found.scale.tolist(), strict=True)
    )
    return Samples(
        structures,
        tuple(decoded.residual.tolist()),
        *_chances(profile, curves, found),
        seed,
    )


def _chances(profile: Profile, curves: Curves, found: Generated) -> tuple[np.ndarray, dict[str, float]]:
    """Distributions over number of atoms and type; without a head, the share of the draws, and no types."""
    said = profile.posterior(curves)
    if said is None:
        counts = found.present.sum(1).bincount(minlength=found.present.shape[1] + 1)
        return (counts / counts.sum()).numpy(), {}
    types = dict(zip(profile.types, said.type[0].exp().tolist(), strict=True))
    return said.atom_count[0].exp().numpy(), types


def curves_of(target: Target, *, rstep: float, bins: int) -> Curves:
    """A measured curve on a network's grid of r, by a cubic spline.

    Args:
        target: Measured points and the instrument.
        rstep: Step of the grid, Å.
        bins: Its points, from 0.

    Returns:
        A batch of one.

    >>> points = Target(np.arange(2.0, 6.0, 0.1), np.ones(40), qmin=0.5, qmax=20.0, qdamp=0.04)
    >>> found = curves_of(points, rstep=0.5, bins=20)
    >>> int(found.measured.sum()), float(found.rmax)
    (8, 6.0)
    """
    r = rstep * np.arange(bins)
    # A grid's last point may lie a rounding beyond the file's.
    measured = (r >= target.r[0] - 1e-6) & (r <= target.r[-1] + 1e-6)
    g = np.where(measured, CubicSpline(target.r, target.g)(np.clip(r, target.r[0], target.r[-1])), 0.0)
    numbers = (target.qmin, target.qmax, target.qdamp, float(target.r[-1]) + float(np.diff(target.r).mean()))
    return Curves(
        torch.from_numpy(g).float()[None],
        torch.from_numpy(measured)[None],
        *(torch.tensor([min(each, rstep * bins) if k == 3 else each]) for k, each in enumerate(numbers)),
    )


def write_samples(folder: Path, found: Samples) -> None:
    """Write each structure as an .xyz file.

    Args:
        folder: Where to write.
        found: The structures.
    """
    digits = max(2, len(str(len(found))))
    for number, (atoms, residual) in enumerate(zip(found.structures, found.residuals, strict=True), 1):
        comment = f"residual={residual:.4f} seed={found.seed}"
        write(folder / f"sample_{number:0{digits}d}.xyz", atoms, format="xyz", comment=comment)


def sample_table(found: Samples, rows: int = 5) -> str:
    """The likeliest numbers of atoms and structure types.

    Args:
        found: What a model said.
        rows: How many of each.

    Returns:
        Lines of text.

    >>> said = Samples((), (), np.array([0.0, 0.25, 0.75]), {"FCC": 0.9, "BCC": 0.1}, 0)
    >>> print(sample_table(said, rows=1))
    atoms: 2 (75 %)
    type:  FCC (90 %)
    >>> said
    <0 structures drawn; likeliest atoms: 2 (75 %), 1 (25 %), 0 (0 %); type:  FCC (90 %), BCC (10 %)>
    """
    counts = np.argsort(-found.atom_count, kind="stable")[:rows]
    types = sorted(found.type, key=lambda name: -found.type[name])[:rows]
    lines = ["atoms: " + ", ".join(f"{n} ({100 * found.atom_count[n]:.0f} %)" for n in counts)]
    if types:
        lines.append("type:  " + ", ".join(f"{name} ({100 * found.type[name]:.0f} %)" for name in types))
    return "\n".join(lines)
