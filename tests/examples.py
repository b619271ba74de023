"""Runs the examples in the docstrings of a package."""

import doctest
import importlib
import pkgutil


def module_names(package: str) -> list[str]:
    """Every module of an installed package that is not a program or bound to one device."""
    root = importlib.import_module(package)
    names = [each.name for each in pkgutil.walk_packages(root.__path__, f"{package}.")]
    return [package, *(name for name in names if not name.endswith(("__main__", "_triton")))]


def run_examples(module: str) -> None:
    """Run a module's docstring examples; a failure shows what was expected and what came.

    Args:
        module: Its import name.
    """
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for test in doctest.DocTestFinder().find(importlib.import_module(module)):
        runner.run(test, out=report.append)
    assert runner.failures == 0, "".join(report)
