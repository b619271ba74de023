"""What training learns from: clusters in canonical order with their curves, by number of the step."""

from dataclasses import fields

import torch
from papertrio_shared.seed import generator
from torch import Tensor

from .config import CurveSource
from .data.clusters import Geometry
from .data.curves import CurveBatch, TrainingCurves
from .models.condition import Curves
from .order import canonical_positions
from .profiles import Examples, Profile
from .training_set import KEPT_SETTINGS, Origin, TrainingSet, clusters_of, kept_training_set, training_curves

_AT_ONCE = 128
"""Curves of the validation computed side by side."""


class ExampleSource:
    """Batches that depend on seed and step alone, so that a resumed run sees what an uninterrupted one does.

    Args:
        config: Which curves.
        profile: Whose grid of r they are wanted on.
        batch: Curves in a step.
        validation: Curves that no step sees.
        seed: Of all draws.
        device: Where the batches go.

    Raises:
        ValueError: If a side of the split is empty.

    Attributes:
        settings: Of the training set, which is made where it is not kept already.
    """

    def __init__(
        self, config: CurveSource, profile: Profile, *, batch: int, validation: int, seed: int, device: torch.device
    ) -> None:
        self.config, self.batch, self.validation, self.seed, self.device = config, batch, validation, seed, device
        self.settings = TrainingSet(
            **{each.name: getattr(config, each.name) for each in fields(Origin)},
            count=config.distinct,
            seed=seed,
            rstep=profile.rstep,
            rmax=round(profile.rstep * profile.bins, 6),
        )
        self._kept = kept_training_set(self.settings)
        is_known = self._kept.curves["geometry"] < clusters_of(self.settings).known
        self._kinds = [torch.from_numpy(each.nonzero()[0]) for each in (is_known, ~is_known)]
        self._r = training_curves(self.settings).r.float()

    def __call__(self, step: int) -> Examples:
        """The examples of a step, drawn from the set."""
        stream = generator(self.seed, f"batch {step}")
        rows = self._kept.curves[self._drawn(stream).numpy()]
        which = torch.from_numpy(rows["geometry"].astype("int64"))
        settings = dict(zip(KEPT_SETTINGS, torch.from_numpy(rows["settings"]).unbind(1), strict=True))
        atom_count = self._kept.atom_count[which]
        positions = self._kept.positions[which, : int(atom_count.max())] * settings["bond"][:, None, None]
        begin, end = self._ends(settings["rmax"], stream)
        curves = _cut(torch.from_numpy(rows["g"]).float(), self._r, begin, end, settings)
        return self._there(examples_of(curves, positions, atom_count, self._kept.type[which], settings["bond"]))

    def unseen(self) -> list[Examples]:
        """Curves of the trained geometries that no step sees, in batches."""
        curves = training_curves(self.settings, more=self.validation)
        found = clusters_of(self.settings)
        return self._batches(curves, found.geometries, self.config.distinct, "unseen")

    def unseen_geometries(self) -> list[Examples]:
        """Curves of the split's validation, in batches; none where nothing is held out."""
        found = clusters_of(self.settings)
        if found.watched is None or not self.validation:
            return []
        given = {"length": self.validation, "seed": self.seed + 1, "rstep": self.settings.rstep}
        curves = found.watched.curves(found.others, **given, rmax=self.settings.rmax)  # type: ignore[arg-type]
        return self._batches(curves, found.others, 0, "unseen geometries")

    def _batches(
        self, curves: TrainingCurves, geometries: tuple[Geometry, ...], start: int, name: str
    ) -> list[Examples]:
        stream = generator(self.seed, name)
        ends = range(start, start + self.validation, _AT_ONCE)
        batches = [curves.batch(range(k, min(k + _AT_ONCE, start + self.validation))) for k in ends]
        return [self._there(self._of(batch, geometries, stream)) for batch in batches]

    def _of(self, batch: CurveBatch, geometries: tuple[Geometry, ...], stream: torch.Generator) -> Examples:
        settings = {name: getattr(batch.settings, name) for name in KEPT_SETTINGS}
        positions = torch.zeros_like(batch.positions)
        for row, place, bond in zip(positions, batch.geometry.tolist(), settings["bond"], strict=True):
            ordered = torch.from_numpy(canonical_positions(geometries[place]))
            row[: len(ordered)] = bond * ordered
        begin, end = self._ends(settings["rmax"], stream)
        curves = _cut(batch.g, self._r, begin, end, settings)
        return examples_of(curves, positions, batch.atom_count, batch.type, settings["bond"])

    def _drawn(self, stream: torch.Generator) -> Tensor:
        """Rows of the set: of the known clusters as many as are asked for, evenly from either kind."""
        dice, place = torch.rand(2, self.batch, generator=stream, dtype=torch.float64)
        known, others = self._kinds
        if not len(others) or not len(known):
            return (place * self.config.distinct).long()
        return torch.where(
            dice < self.config.known, known[(place * len(known)).long()], others[(place * len(others)).long()]
        )

    def _ends(self, rmax: Tensor, stream: torch.Generator) -> tuple[Tensor, Tensor]:
        """Where each curve begins, and where it is made to end."""
        begin, cut, end = torch.rand(3, len(rmax), generator=stream)
        least = self.config.variation.rmax[0]
        earlier = least + end * (rmax - least)
        return self.config.rmin * begin, torch.where(cut < self.config.cut, earlier, rmax)

    def _there(self, found: Examples) -> Examples:
        return Examples(
            Curves(*(each.to(self.device) for each in found.curves)), *(e.to(self.device) for e in found[1:])
        )


def _cut(g: Tensor, r: Tensor, begin: Tensor, end: Tensor, settings: dict[str, Tensor]) -> Curves:
    measured = (r >= begin[:, None]) & (r < end[:, None])
    last = float(r[-1])
    return Curves(g * measured, measured, settings["qmin"], settings["qmax"], settings["qdamp"], end.clamp(max=last))


def examples_of(curves: Curves, positions: Tensor, atom_count: Tensor, kind: Tensor, bond: Tensor) -> Examples:
    """Clusters and curves as examples.

    Args:
        curves: The curves.
        positions: Coordinates in canonical order, Å.
        atom_count: Number of atoms of each.
        kind: Structure type.
        bond: Bond length, Å.

    Returns:
        Both.
    """
    present = torch.arange(positions.shape[1]) < atom_count[:, None]
    return Examples(curves, positions, present, atom_count, kind, bond)
