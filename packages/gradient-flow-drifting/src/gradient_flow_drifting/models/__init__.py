"""Networks."""

from .ema import Ema
from .generator import Generator, GeneratorConfig, even_latents, latents, load_generator, save_generator

__all__ = ["Ema", "Generator", "GeneratorConfig", "even_latents", "latents", "load_generator", "save_generator"]
