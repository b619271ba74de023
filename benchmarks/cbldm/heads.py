"""What a model's heads say of clusters it has not seen: the figures of the model card.

`python -m benchmarks.cbldm.heads [weights or run]`, by default the weights that come with the package; two minutes.
"""

import sys
from pathlib import Path

import torch
from cbldm import library, load_profile
from cbldm.data.curves import TYPES, TrainingCurves, Variation
from cbldm.data.splits import split_library
from cbldm.models.condition import Curves

from benchmarks.registry import Rows, benchmark
from benchmarks.run import markdown
from benchmarks.timing import machine

CLEAN = Variation(
    qmin=(0.7, 0.7),
    qmax=(25.0, 25.0),
    qdamp=(0.04, 0.04),
    biso=(0.3, 0.3),
    delta2=(0.0, 0.0),
    rmax=(30.0, 30.0),
    noise=(0.0, 0.0),
    background=(0.0, 0.0),
    scale=(1.0, 1.0),
    bond=(2.3, 3.24),
)
CASES = {"clean curves": (CLEAN, 300), "every instrument": (Variation(), 600)}
FAMILY = torch.tensor([TYPES.index("Dec") if name in ("Dec", "Marks", "Ino") else k for k, name in enumerate(TYPES)])
PROBABILITIES = (0.5, 0.8, 0.95)


@benchmark(package="cbldm", name="heads", device="cpu")
def heads_of_the_shipped_weights() -> Rows:
    """What the shipped model's heads say of the clusters that the split geometry holds out."""
    return rows_of(None)


def rows_of(weights: Path | None) -> Rows:
    """A row for each kind of curves.

    Args:
        weights: A file, or the folder of a run; None: those that come with the package.
    """
    profile = load_profile() if weights is None else load_profile(weights)
    known = library("deepstruc")
    places = split_library("geometry", known).test.places
    rows = []
    for name, (variation, count) in CASES.items():
        batch = TrainingCurves(known, length=count, variation=variation, seed=11, places=places, rstep=0.05).batch(
            range(count)
        )
        instrument = batch.settings
        curves = Curves(
            batch.g, batch.measured, instrument.qmin, instrument.qmax, instrument.qdamp, instrument.rmax.clamp(max=30)
        )
        said = profile.posterior(curves)
        assert said is not None
        off = (said.atom_count.argmax(1) - batch.atom_count).abs().double()
        chances, order = said.atom_count.exp().sort(1, descending=True)
        before = chances.cumsum(1) - chances
        place = (order == batch.atom_count[:, None]).double().argmax(1)
        held = before[torch.arange(count), place]
        rows.append(
            {
                "curves": f"{count} {name}",
                "type right, decahedra by any name": _percent(FAMILY[said.type.argmax(1)] == FAMILY[batch.type]),
                "N right": _percent(off == 0),
                "N within 10 %": _percent(off <= 0.1 * batch.atom_count),
                "median error of N": float(off.median()),
                "mean log-probability of N": round(
                    float(said.atom_count[torch.arange(count), batch.atom_count].mean()), 2
                ),
            }
            | {f"N in the {100 * p:g} % set": _percent(held < p) for p in PROBABILITIES}
        )
    return rows


def _percent(right: torch.Tensor) -> str:
    return f"{100 * float(right.double().mean()):.0f} %"


if __name__ == "__main__":
    print(markdown("Heads of the model", rows_of(Path(sys.argv[1]) if len(sys.argv) > 1 else None), machine()))
