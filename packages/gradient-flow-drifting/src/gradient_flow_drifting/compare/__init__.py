"""Methods side by side on an equal budget."""

from .methods import DEFAULT, FLOW, METHODS, default_methods, methods_of, presets_of
from .run import Entry, compare
from .tables import write_comparison

__all__ = [
    "DEFAULT",
    "FLOW",
    "METHODS",
    "Entry",
    "compare",
    "default_methods",
    "methods_of",
    "presets_of",
    "write_comparison",
]
