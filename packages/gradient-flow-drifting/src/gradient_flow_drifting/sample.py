"""Samples from a trained generator."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float
from papertrio_shared.checkpoint import CheckpointError, atomic_write, load_weights
from papertrio_shared.run import read_config
from torch import Tensor

from .baselines.ot_cfm import FlowGenerator, FlowShape, Solver, check_evaluations, flow_from_weights
from .models import OneStep, load_generator

GENERATOR = "generator.safetensors"


def load(run: str | Path) -> OneStep:
    """The generator of a run: the averaged weights of its last checkpoint.

    Args:
        run: The run's folder, or a file of weights.

    Returns:
        The generator, on the CPU; `generator.sample(10_000, seed=0)` draws from it. Of a run with the objective
        `OtCfm` it is a flow, whose `sample` takes a number of `evaluations` as well.

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
        return _read(run)
    if not (run / GENERATOR).is_file():
        read_config(run)
        raise FileNotFoundError(f"{run}: has no weights yet: go on with --resume {run}")
    return _read(run / GENERATOR)


def _read(path: Path) -> OneStep:
    """A one-step generator, or a flow: the file says by the class of its shape which."""
    tensors, config = load_weights(path)
    shape = config.get("generator")
    if not (isinstance(shape, dict) and shape.get("class") == FlowShape.__name__):
        return load_generator(path)
    try:
        return flow_from_weights(tensors, config)
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: holds no generator of this package: write it anew by training") from error


def drawer(
    generator: OneStep,
    *,
    evaluations: int | None = None,
    solver: Solver | None = None,
    label: int | None = None,
    guidance: float | None = None,
) -> Callable[[int, int], Float[Tensor, "n d"]]:
    """How to draw from a generator with a number of evaluations of its network.

    Args:
        generator: One-step, or a flow.
        evaluations: Of the network for a sample; where None, one, or those that a flow takes by itself.
        solver: Of a flow; Heun's where None, or Euler's for an odd number.
        label: Class of all samples; each class as likely where None.
        guidance: Strength of guidance.

    Returns:
        What takes a count and a seed to samples.

    Raises:
        ValueError: If a one-step generator is to take more than one, or the number does not suit the solver.

    Example:
        >>> from gradient_flow_drifting.models import Generator, GeneratorConfig
        >>> drawer(Generator(GeneratorConfig(width=4), dimension=2))(3, 0).shape
        torch.Size([3, 2])
    """
    if isinstance(generator, FlowGenerator):
        if label is not None or guidance is not None:
            raise ValueError("label and guidance: this generator was trained without: leave them out")
        count = 20 if evaluations is None else evaluations
        chosen: Solver = solver or ("euler" if count % 2 else "heun")
        check_evaluations(count, chosen)
        return lambda n, seed: generator.sample(n, seed=seed, evaluations=count, solver=chosen)
    if evaluations not in (None, 1) or solver is not None:
        raise ValueError("evaluations and solver are for flows: this generator takes one evaluation, leave them out")
    return lambda n, seed: generator.sample(n, seed=seed, labels=label, guidance=guidance)


def write_samples(
    generator: OneStep,
    count: int,
    path: Path,
    *,
    seed: int = 0,
    evaluations: int | None = None,
    solver: Solver | None = None,
    label: int | None = None,
    guidance: float | None = None,
) -> None:
    """Draw samples and write them as a `.npy` array of float32, [count, d].

    Args:
        generator: What to draw from.
        count: How many.
        path: The file, ending in `.npy`.
        seed: The same seed gives the same samples.
        evaluations, solver, label, guidance: See `drawer`.

    Raises:
        ValueError: If `count` is below one, the file has another ending, or as `drawer` does.
        OSError: If the file cannot be written.
    """
    if path.suffix != ".npy":
        raise ValueError(f"{path}: samples are written as .npy: give such a name")
    draw = drawer(generator, evaluations=evaluations, solver=solver, label=label, guidance=guidance)
    write_array(draw(count, seed), path)


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
