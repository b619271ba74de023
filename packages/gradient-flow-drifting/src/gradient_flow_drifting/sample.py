"""Samples from a trained generator."""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from papertrio_shared.checkpoint import atomic_write
from papertrio_shared.run import read_config
from torch import Tensor

from .models import OneStep, load_generator

GENERATOR = "generator.safetensors"


def load(run: str | Path) -> OneStep:
    """The generator of a run: the averaged weights of its last checkpoint.

    Args:
        run: The run's folder, or a file of weights.

    Returns:
        The generator, on the CPU; `generator.sample(10_000, seed=0)` draws from it.

    Raises:
        FileNotFoundError: If there is no run or no weights yet.
        CheckpointError: If the weights are damaged or do not match.

    Example:
        >>> import tempfile
        >>> from gradient_flow_drifting.models import Generator, GeneratorConfig, save_generator
        >>> file = Path(tempfile.mkdtemp()) / "generator.safetensors"
        >>> save_generator(file, Generator(GeneratorConfig(width=4), dimension=2))
        >>> load(file).sample(3, seed=0).shape
        torch.Size([3, 2])
    """
    run = Path(run)
    if run.is_file():
        return load_generator(run)
    if not (run / GENERATOR).is_file():
        read_config(run)
        raise FileNotFoundError(f"{run}: has no weights yet: go on with --resume {run}")
    return load_generator(run / GENERATOR)


def write_samples(generator: OneStep, count: int, path: Path, *, seed: int = 0) -> None:
    """Draw samples and write them as a `.npy` array of float32, [count, d].

    Args:
        generator: What to draw from.
        count: How many.
        path: The file, ending in `.npy`.
        seed: The same seed gives the same samples.

    Raises:
        ValueError: If `count` is below one, or the file has another ending.
        OSError: If the file cannot be written.
    """
    if path.suffix != ".npy":
        raise ValueError(f"{path}: samples are written as .npy: give such a name")
    write_array(generator.sample(count, seed=seed), path)


def write_array(points: Float[Tensor, "n d"], path: Path) -> None:
    """Write points as a `.npy` array.

    Args:
        points: The points.
        path: The file, ending in `.npy`.

    Raises:
        OSError: If the file cannot be written.
    """
    with atomic_write(path) as temporary:
        np.save(temporary, points.numpy())
