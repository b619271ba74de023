"""Curves by which the weights of candidates are made right as often as they say.

`python -m benchmarks.cbldm.posterior` makes them in about six minutes of one core. Each is of a particle that no
library has quite: a third are clusters of the library, a third have vacancies, ad-atoms, a relaxed surface or strain,
a third are other shapes; their atoms are a little off, and their instrument has noise, a slow background and another
qdamp than the file says. What `recover` finds with its defaults is kept for the tests. How sure a search of less is:

    python -m benchmarks.cbldm.posterior --model none --shape held --out library.json
    python -m benchmarks.cbldm.posterior --library none --out draws.json
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from ase import Atoms
from cbldm import PairDistribution, SimulationSettings, recover, simulate
from cbldm.data.clusters import Geometry, library
from cbldm.data.defects import draw_variant, relaxed
from cbldm.data.shapes import draw_shape
from cbldm.posterior import Distribution, posterior_weights
from cbldm.recover import NO_MODEL, SHIPPED, Shape
from papertrio_shared.checkpoint import atomic_write
from papertrio_shared.progress import progress
from papertrio_shared.seed import numpy_generator

KEPT = Path(__file__).parents[2] / "tests" / "cbldm" / "posterior_curves.json"
SMALLEST, LARGEST, SEARCHED = 13, 100, 120
"""Atoms of the particles, and of the largest cluster that is searched for."""


def imperfect_particle(number: int) -> Geometry:
    """A cluster of the library, one with defects, or another shape, in turn.

    Args:
        number: Which one.

    Returns:
        It, in units of its bond.
    """
    random = numpy_generator(number, "particle")
    known = [each for each in library(max_atoms=LARGEST) if each.atom_count >= SMALLEST]
    kinds = sorted({each.type for each in known})
    while True:
        found: Geometry | None
        if number % 3 == 2:
            found = draw_shape(random, LARGEST)
        else:
            kind = kinds[random.integers(len(kinds))]
            pool = [each for each in known if each.type == kind]
            found = pool[random.integers(len(pool))]
        if found is None or found.atom_count < SMALLEST:
            continue
        if number % 3 == 1 or (number % 3 == 2 and random.random() < 0.5):
            found = draw_variant(random, found, 0, LARGEST)
        if found is not None:
            return found


def imperfect_curve(number: int) -> tuple[Geometry, PairDistribution]:
    """The particle, and what is measured of it: noise alone leaves an Rw of 2 to 10 %.

    Args:
        number: Which one.

    Returns:
        Both.
    """
    particle = imperfect_particle(number)
    random = numpy_generator(number, "curve")
    x = particle.positions
    if random.random() < 0.5:
        x = relaxed(x, float(random.uniform(0, 0.04)))
    x = 2.775 * random.uniform(0.95, 1.05) * (x + random.uniform(0, 0.015) * random.standard_normal(x.shape))
    settings = SimulationSettings(
        qmin=random.uniform(0.6, 1.2),
        qmax=random.uniform(18, 26),
        qdamp=random.uniform(0.03, 0.05),
        biso=random.uniform(0.3, 1.2),
        delta2=random.uniform(0, 4),
        scale=random.uniform(0.4, 1.2),
        seed=number,
    )
    level, off, slow = random.uniform(0.02, 0.10), random.uniform(0.85, 1.15), random.uniform(0, 0.02)
    atoms = Atoms(f"Pt{len(x)}", positions=x)
    clean = simulate(atoms, settings)
    largest, fitted = float(np.abs(clean.g).max()), (clean.r >= 2) & (clean.r <= 20)
    noise = level * float(np.sqrt(np.square(clean.g[fitted]).mean())) / largest
    made = simulate(atoms, replace(settings, noise=noise))
    wave = np.sin(made.r * random.uniform(0.3, 1.2) + random.uniform(0, 6)) * np.exp(-made.r / 15)
    g = made.g + slow * float(np.abs(made.g).max()) * wave
    return particle, PairDistribution(made.r, g, qmin=made.qmin, qmax=made.qmax, qdamp=off * settings.qdamp)


def found_for(number: int, **options: Any) -> dict[str, Any]:
    """What `recover` says of a curve, with its defaults but for the moves of atoms, which change no score.

    Args:
        number: Which curve.
        **options: Of `recover`, where not its defaults are asked for.

    Returns:
        The truth, and score, type and size of each candidate.
    """
    truth, curve = imperfect_curve(number)
    result = recover(curve, element="Pt", max_atoms=SEARCHED, positions="held", **options)
    return {
        "number": number,
        "type": truth.type,
        "atoms": truth.atom_count,
        "rw": round(result[0].rw, 4),
        "scores": [round(each.score, 2) for each in result],
        "types": [each.type for each in result],
        "sizes": [len(each.atoms) for each in result],
    }


def write_found(rows: Sequence[dict[str, Any]], path: Path = KEPT) -> None:
    """Keep what was found, a line for each curve.

    Args:
        rows: Of `found_for`.
        path: The file.
    """
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in sorted(rows, key=lambda row: row["number"]))
    with atomic_write(path) as temporary:
        temporary.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def sureness(rows: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """How sure the likeliest number of atoms is, and how often it is right.

    Args:
        rows: Of `found_for`.

    Returns:
        Its mean probability, and the share of curves of which it is the true one.
    """
    said = [
        Distribution(list(zip(row["sizes"], posterior_weights(np.array(row["scores"])), strict=True))) for row in rows
    ]
    right = [each.most_likely == row["atoms"] for each, row in zip(said, rows, strict=True)]
    return float(np.mean([each[each.most_likely] for each in said])), float(np.mean(right))


def main() -> int:
    """Make those that are not kept yet; a run that was cut off goes on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=48, help="curves")
    parser.add_argument("--out", type=Path, default=KEPT, help="where they are kept")
    parser.add_argument("--library", choices=("deepstruc", "none"), default="deepstruc")
    parser.add_argument("--model", choices=(SHIPPED, NO_MODEL), default=SHIPPED)
    parser.add_argument("--shape", choices=get_args(Shape), default="search")
    asked = parser.parse_args()
    if asked.out == KEPT and (asked.library, asked.model, asked.shape) != ("deepstruc", SHIPPED, "search"):
        parser.error("what a search of less finds is not for the tests: give an --out")
    library = None if asked.library == "none" else asked.library
    rows = json.loads(asked.out.read_text(encoding="utf-8")) if asked.out.exists() else []
    known = {row["number"] for row in rows}
    waiting = [number for number in range(asked.count) if number not in known]
    for number in progress(waiting, "curves"):
        rows.append(found_for(number, library=library, model=asked.model, shape=asked.shape))
        write_found(rows, asked.out)
    probability, right = sureness(rows)
    print(f"likeliest number of atoms: mean probability {probability:.0%}, right in {right:.0%}")
    print(f"{len(rows)} curves: {asked.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
