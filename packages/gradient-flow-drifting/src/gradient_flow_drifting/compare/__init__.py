"""Methods side by side on an equal budget."""

from .methods import DEFAULT, METHODS, default_methods, methods_of
from .run import Entry, compare
from .tables import write_comparison

__all__ = ["DEFAULT", "METHODS", "Entry", "compare", "default_methods", "methods_of", "write_comparison"]
