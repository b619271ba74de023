"""The Debye sum, from positions to G(r)."""

import numpy as np
import torch
from cbldm import pair_distribution
from torch import Tensor

from benchmarks.registry import Rows, benchmark
from benchmarks.timing import compare

SETTING = {"rmin": 0.0, "rmax": 30.0, "rstep": 0.01, "qmin": 0.7, "qmax": 25.0, "qdamp": 0.04, "biso": 0.3}
SINGLE = (55, 147, 309, 561, 1415)
LARGEST_REFERENCE = 147


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


@benchmark(package="cbldm", name="debye_sum")
def one_cluster() -> Rows:
    """One cluster on one thread, milliseconds from positions to G(r) of 3,000 points."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    rows: Rows = []
    try:
        for atoms in SINGLE:
            x = random_cluster(atoms, generator)
            leaf = x.clone().requires_grad_()

            def g(x: Tensor = x, **options: object) -> Tensor:
                return pair_distribution(x, "Au", **SETTING, **options)  # type: ignore[arg-type]

            ways = {
                "diffpy": lambda g=g: g(compat="diffpy"),
                "diffpy, float32": lambda g=g: g(compat="diffpy", dtype=torch.float32),
                "exact": g,
                "exact, forward and backward": lambda g=g, leaf=leaf: g(leaf).square().sum().backward(),
                "exact, delta2": lambda g=g: g(delta2=3.0),
                "exact, delta2, forward and backward": lambda g=g, leaf=leaf: (
                    g(leaf, delta2=3.0).square().sum().backward()
                ),
            }
            if atoms <= LARGEST_REFERENCE:
                ways["diffpy, reference"] = lambda g=g: g(compat="diffpy", backend="reference")
            times = compare(ways, repeats=7)
            rows.append({"atoms": atoms, **{name: 1e3 * time.median for name, time in times.items()}})
    finally:
        torch.set_num_threads(threads)
    return rows


@benchmark(package="cbldm", name="debye_sum_batch")
def many_clusters() -> Rows:
    """Clusters of 5 to 195 atoms (50 on average) as one padded batch, structures a second."""
    generator = np.random.default_rng(0)
    sizes = (5 + 190 * generator.beta(0.8, 2.6, 1000)).astype(int)
    positions = torch.zeros(len(sizes), sizes.max(), 3, dtype=torch.float64)
    mask = torch.arange(sizes.max()) < torch.from_numpy(sizes)[:, None]
    for cluster, atoms in enumerate(sizes):
        positions[cluster, :atoms] = random_cluster(int(atoms), generator)
    leaf = positions.clone().requires_grad_()

    def g(x: Tensor = positions, **options: object) -> Tensor:
        return pair_distribution(x, "Au", **SETTING, mask=mask, **options)  # type: ignore[arg-type]

    ways = {
        "diffpy": lambda: g(compat="diffpy"),
        "diffpy, float32": lambda: g(compat="diffpy", dtype=torch.float32),
        "exact": g,
        "exact, forward and backward": lambda: g(leaf).square().sum().backward(),
    }
    rows: Rows = []
    threads = torch.get_num_threads()
    try:
        for count in dict.fromkeys((1, threads)):
            torch.set_num_threads(count)
            times = compare(ways, repeats=5)
            rows.append({"threads": count, **{name: len(sizes) / time.median for name, time in times.items()}})
    finally:
        torch.set_num_threads(threads)
    return rows
