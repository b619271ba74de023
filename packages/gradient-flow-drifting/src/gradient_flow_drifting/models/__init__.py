"""Networks."""

from .ema import Ema
from .generator import Generator, GeneratorConfig, latents, load_generator, save_generator

__all__ = ["Ema", "Generator", "GeneratorConfig", "latents", "load_generator", "save_generator"]
