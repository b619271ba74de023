"""Networks."""

from .ema import Ema
from .generator import Generator, GeneratorConfig, load_generator, save_generator

__all__ = ["Ema", "Generator", "GeneratorConfig", "load_generator", "save_generator"]
