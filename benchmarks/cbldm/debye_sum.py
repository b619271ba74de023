"""The Debye sum, from positions to G(r), beside DebyeCalculator and diffpy.srreal where they are installed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import numpy as np
import torch
from cbldm import pair_distribution
from torch import Tensor

from benchmarks.registry import Rows, benchmark
from benchmarks.timing import compare

SETTING = {"rmin": 0.0, "rmax": 30.0, "rstep": 0.01, "qmin": 0.7, "qmax": 25.0, "qdamp": 0.04, "biso": 0.3}
SINGLE = (55, 147, 309, 561, 1415)
LARGEST_REFERENCE = 147
CLUSTERS = 3000
CLUSTERS_ON_GPU = 100_000
PRECISIONS = {"float64": torch.float64, "float32": torch.float32}
Ways = dict[str, Callable[[], object]]


def random_cluster(atoms: int, generator: np.random.Generator) -> Tensor:
    """Points in a ball at a metal's density, none nearer than 2.3 Å: no two distances are equal."""
    radius = 1.75 * atoms ** (1 / 3)
    points: list[np.ndarray] = []
    while len(points) < atoms:
        point = generator.uniform(-radius, radius, 3)
        if point @ point <= radius**2 and all(((point - other) ** 2).sum() >= 2.3**2 for other in points[-1500:]):
            points.append(point)
        radius *= 1.00002  # a ball that is full gives way
    return torch.from_numpy(np.array(points))


@contextmanager
def threads(count: int) -> Iterator[None]:
    """So many of torch's threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def peers(clusters: list[Tensor], *, srreal: bool) -> Ways:
    """G of each gold cluster in turn by the packages that are installed.

    DebyeCalculator has its own grid of Q, whose results differ by up to several percent; it is timed with the same
    limits and the same points of r. diffpy.srreal has one calculator for one cluster.
    """
    ways: Ways = {}
    if find_spec("debyecalculator"):
        from debyecalculator import DebyeCalculator

        for name, dtype in PRECISIONS.items():
            calculator = DebyeCalculator(device="cpu", dtype=dtype, num_threads=torch.get_num_threads(), **SETTING)
            each = [(["Au"] * len(x), x.to(dtype)) for x in clusters]
            ways[f"DebyeCalculator, {name}"] = lambda c=calculator, each=each: [c.gr(one) for one in each]
    if srreal and find_spec("diffpy") and find_spec("diffpy.srreal"):
        options = {**SETTING, "compat": "diffpy", "backend": "srreal"}
        ways["diffpy.srreal"] = lambda: [pair_distribution(x, "Au", **options) for x in clusters]
    return ways


@benchmark(package="cbldm", name="debye_sum")
def one_cluster() -> Rows:
    """One cluster on one thread, milliseconds from positions to G(r) of 3,000 points."""
    generator = np.random.default_rng(0)
    rows: Rows = []
    with threads(1):
        for atoms in SINGLE:
            x = random_cluster(atoms, generator)
            leaf = x.clone().requires_grad_()

            def g(x: Tensor = x, **options: object) -> Tensor:
                return pair_distribution(x, "Au", **SETTING, **options)  # type: ignore[arg-type]

            ways: Ways = {
                "diffpy": lambda g=g: g(compat="diffpy"),
                "diffpy, float32": lambda g=g: g(compat="diffpy", dtype=torch.float32),
                "diffpy, forward and backward": lambda g=g, leaf=leaf: (
                    g(leaf, compat="diffpy").square().sum().backward()
                ),
                "diffpy, by FINUFFT": lambda g=g: g(compat="diffpy", backend="nufft"),
                "exact": g,
                "exact, forward and backward": lambda g=g, leaf=leaf: g(leaf).square().sum().backward(),
                "exact, delta2": lambda g=g: g(delta2=3.0),
                "exact, delta2, forward and backward": lambda g=g, leaf=leaf: (
                    g(leaf, delta2=3.0).square().sum().backward()
                ),
                **peers([x], srreal=True),
            }
            if atoms <= LARGEST_REFERENCE:
                ways["diffpy, plain sum"] = lambda g=g: g(compat="diffpy", backend="reference")
            times = compare(ways, repeats=7)
            rows.append({"atoms": atoms, **{name: 1e3 * time.median for name, time in times.items()}})
    return rows


def many(count: int, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Clusters of 5 to 195 atoms, 50 on average, as a padded batch with its mask."""
    sizes = (5 + 190 * generator.beta(0.8, 2.6, count)).astype(int)
    positions = torch.zeros(len(sizes), sizes.max(), 3, dtype=torch.float64)
    for cluster, atoms in enumerate(sizes):
        positions[cluster, :atoms] = random_cluster(int(atoms), generator)
    return positions, torch.arange(sizes.max()) < torch.from_numpy(sizes)[:, None]


@benchmark(package="cbldm", name="debye_sum_batch")
def many_clusters() -> Rows:
    """3,000 clusters of 5 to 195 atoms (50 on average) as one padded batch, structures a second."""
    positions, mask = many(CLUSTERS, np.random.default_rng(0))
    leaf = positions.clone().requires_grad_()
    clusters = [x[here] for x, here in zip(positions, mask, strict=True)]

    def g(x: Tensor = positions, **options: object) -> Tensor:
        return pair_distribution(x, "Au", **SETTING, mask=mask, **options)  # type: ignore[arg-type]

    rows: Rows = []
    for count in dict.fromkeys((1, torch.get_num_threads())):
        with threads(count):
            ways: Ways = {
                "diffpy": lambda: g(compat="diffpy"),
                "diffpy, float32": lambda: g(compat="diffpy", dtype=torch.float32),
                "exact": g,
                "exact, forward and backward": lambda: g(leaf).square().sum().backward(),
                **peers(clusters, srreal=count == 1),
            }
            times = compare(ways, repeats=3)
            rows.append({"threads": count, **{name: len(positions) / time.median for name, time in times.items()}})
    return rows


@benchmark(package="cbldm", name="debye_sum_batch", device="gpu")
def many_clusters_on_a_gpu() -> Rows:
    """Clusters of 5 to 195 atoms (50 on average) in batches of 1,000, structures a second."""
    positions, mask = (each.cuda() for each in many(1000, np.random.default_rng(0)))
    rows: Rows = []
    for name, dtype in PRECISIONS.items():

        def g(dtype: torch.dtype = dtype) -> None:
            for _ in range(CLUSTERS_ON_GPU // 1000):
                pair_distribution(positions, "Au", **SETTING, mask=mask, compat="diffpy", dtype=dtype)

        def both(dtype: torch.dtype = dtype) -> None:
            leaf = positions.clone().requires_grad_()
            for _ in range(CLUSTERS_ON_GPU // 1000):
                g = pair_distribution(leaf, "Au", **SETTING, mask=mask, compat="diffpy", dtype=dtype)
                g.square().sum().backward()

        times = compare({"forward": g, "forward and backward": both}, repeats=3)
        rows.append({"precision": name, **{way: CLUSTERS_ON_GPU / time.median for way, time in times.items()}})
    return rows
