"""Networks."""

from .ema import Ema
from .encoder import ConvEncoder
from .generator import Generator, GeneratorConfig
from .one_step import Condition, OneStep, even_latents, latents
from .residual import ResidualConfig, ResidualGenerator
from .transformer import TransformerConfig, TransformerGenerator
from .weights import AnyGenerator, load_generator, save_generator

__all__ = [
    "AnyGenerator",
    "Condition",
    "ConvEncoder",
    "Ema",
    "Generator",
    "GeneratorConfig",
    "OneStep",
    "ResidualConfig",
    "ResidualGenerator",
    "TransformerConfig",
    "TransformerGenerator",
    "even_latents",
    "latents",
    "load_generator",
    "save_generator",
]
