"""A search of the extended library, each geometry by the scan beside the screening of all at once."""

import time
from collections.abc import Sequence

from ase import Atoms
from cbldm import SimulationSettings, library, simulate
from cbldm.baselines.retrieval import Match, retrieve
from cbldm.data.clusters import Geometry
from cbldm.target import Target, select_target

from benchmarks.registry import Rows, benchmark

BOND = 2.77
WANTED = 60
EVERY = 11
"""Geometries of the library one is scanned: all of them take minutes for a curve."""
TRUTHS = (330, 5000, 12000, 16000, 20000)
"""Places in the library of the clusters that are looked for."""


def search(target: Target, geometries: Sequence[Geometry], count: int | None) -> tuple[list[Match], float]:
    """The matches, and the seconds they took."""
    start = time.perf_counter()
    matches = retrieve(target, geometries, element="Pt", bond=BOND, count=count)
    return matches, time.perf_counter() - start


@benchmark(package="cbldm", name="search")
def screened_and_scanned() -> Rows:
    """Seconds of a search of every eleventh geometry of the extended library for the best 60, and of all of it."""
    everything = library("extended")
    search(select_target(simulate(Atoms("Pt2", positions=[[0, 0, 0], [0, 0, 2.8]]))), everything[:3000], WANTED)
    rows: Rows = []
    for place in TRUTHS:
        truth = everything[place]
        some = (*everything[place % EVERY :: EVERY],)
        particle = Atoms(f"Pt{truth.atom_count}", positions=1.013 * BOND * truth.positions)
        target = select_target(simulate(particle, SimulationSettings(noise=0.02, delta2=2.0, seed=place)))
        scanned, scan_seconds = search(target, some, None)
        screened, screen_seconds = search(target, some, WANTED)
        _, first = search(target, everything, WANTED)
        _, again = search(target, everything, WANTED)
        best = {id(match.geometry) for match in scanned[:WANTED]}
        rows.append(
            {
                "looked for": truth.label,
                "geometries": len(some),
                "each by the scan": scan_seconds,
                "screened": screen_seconds,
                f"of the best {WANTED} found": len(best & {id(match.geometry) for match in screened}),
                f"all {len(everything)}, screened": first,
                "the next curve of a series": again,
            }
        )
    return rows
