"""What can be measured, by package, name and device."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Rows = list[dict[str, object]]


@dataclass(frozen=True)
class Benchmark:
    """One measurement: a function that returns the rows of a table."""

    package: str
    name: str
    device: Literal["cpu", "gpu"]
    function: Callable[[], Rows]


REGISTRY: list[Benchmark] = []


def benchmark(
    package: str, name: str, device: Literal["cpu", "gpu"] = "cpu"
) -> Callable[[Callable[[], Rows]], Callable[[], Rows]]:
    """Register a function as a benchmark; its docstring's first line becomes the title of the table.

    Args:
        package: Distribution it belongs to.
        name: What is measured; the results are `benchmarks/results/<package>/<name>-<device>.md`.
        device: Where it runs.

    Returns:
        A decorator that leaves the function as it is.
    """

    def register(function: Callable[[], Rows]) -> Callable[[], Rows]:
        REGISTRY.append(Benchmark(package, name, device, function))
        return function

    return register
