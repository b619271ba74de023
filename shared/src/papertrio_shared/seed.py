"""Seeds and random states, so that a run can be repeated and resumed to the same bits."""

import hashlib
import random
from typing import Any

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch (every device).

    Args:
        seed: Any integer from 0 to 2³² − 1.

    Raises:
        ValueError: If the seed is out of range.

    Example:
        >>> seed_everything(0); a = torch.rand(2); seed_everything(0); bool((a == torch.rand(2)).all())
        True
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed {seed} is out of range: give an integer from 0 to {2**32 - 1}")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _stream(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()) >> 1


def generator(seed: int, name: str, device: str | torch.device = "cpu") -> torch.Generator:
    """A torch generator whose stream depends on the seed and on what it is for.

    Two names give independent streams, so drawing more of one thing does not shift another.

    Args:
        seed: The run's seed.
        name: What is drawn, for example `"data"`.
        device: Where the numbers are drawn.

    Returns:
        A freshly seeded generator.

    Example:
        >>> a, b = generator(0, "data"), generator(0, "model")
        >>> bool(torch.rand(1, generator=a) == torch.rand(1, generator=b))
        False
    """
    return torch.Generator(device).manual_seed(_stream(seed, name))


def numpy_generator(seed: int, name: str) -> np.random.Generator:
    """The NumPy counterpart of `generator`.

    Args:
        seed: The run's seed.
        name: What is drawn.

    Returns:
        A freshly seeded generator.

    Example:
        >>> bool(numpy_generator(0, "noise").random() == numpy_generator(0, "noise").random())
        True
    """
    return np.random.default_rng(_stream(seed, name))


def rng_state(**generators: torch.Generator) -> dict[str, Any]:
    """State of the global generators and of the named ones, of plain types and tensors only.

    Args:
        generators: Further torch generators, by the name under which `restore_rng_state` will find them.

    Returns:
        What `restore_rng_state` takes; it passes `torch.load(weights_only=True)`.

    Example:
        >>> state = rng_state(); a = torch.rand(2); restore_rng_state(state); bool((a == torch.rand(2)).all())
        True
    """
    version, internal, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": [version, list(internal), gauss],
        "numpy": [kind, torch.from_numpy(np.asarray(keys, dtype=np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "generators": {name: each.get_state() for name, each in generators.items()},
    }


def restore_rng_state(state: dict[str, Any], **generators: torch.Generator) -> None:
    """Put all generators back into a state taken by `rng_state`.

    Args:
        state: What `rng_state` returned.
        generators: The generators to restore, by the names they were saved under.

    Raises:
        ValueError: If the state has no generator of one of the names.

    Example:
        >>> g = generator(0, "data"); state = rng_state(data=g); a = torch.rand(1, generator=g)
        >>> restore_rng_state(state, data=g); bool(a == torch.rand(1, generator=g))
        True
    """
    missing = sorted(set(generators) - set(state["generators"]))
    if missing:
        raise ValueError(f"the saved random state has no generator {missing[0]!r}: it was saved by another version")
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    for name, each in generators.items():
        each.set_state(state["generators"][name])
