"""Generators as files."""

from pathlib import Path

from papertrio_shared.checkpoint import CheckpointError, load_weights, save_weights
from papertrio_shared.run import config_to_dict, dict_to_config

from .generator import GeneratorConfig
from .one_step import OneStep
from .residual import ResidualConfig
from .transformer import TransformerConfig

AnyGenerator = GeneratorConfig | ResidualConfig | TransformerConfig


def save_generator(path: str | Path, generator: OneStep) -> None:
    """Write a generator into one safetensors file with the config that rebuilds it.

    Args:
        path: The file.
        generator: What to write.

    Raises:
        OSError: If the file cannot be written.
    """
    shape = {"dimension": generator.dimension, "geometry": generator.geometry, "classes": generator.classes}
    save_weights(path, generator.state_dict(), {"generator": config_to_dict(generator.config), **shape})


def load_generator(path: str | Path) -> OneStep:
    """Read what `save_generator` wrote.

    Args:
        path: The file.

    Returns:
        The generator, on the CPU.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file is damaged, or its weights do not match its config.
    """
    tensors, config = load_weights(path)
    try:
        network: AnyGenerator = dict_to_config(config["generator"], AnyGenerator)  # type: ignore[arg-type]
        shape = {name: config[name] for name in ("dimension", "geometry", "classes") if name in config}
        generator = network.build(**shape)
        generator.load_state_dict(tensors)
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: holds no generator of this package: write it anew by training") from error
    return generator.eval()
