"""What training learns from: clusters in canonical order with their curves, by number of the step."""

import torch
from papertrio_shared.seed import generator, numpy_generator

from .config import CurveSource
from .data.clusters import Geometry, library
from .data.curves import CurveBatch, TrainingCurves
from .models.condition import Curves
from .order import canonical_order
from .profiles import Examples, Profile

_AT_ONCE = 64
"""Curves of the validation computed side by side."""


class ExampleSource:
    """Batches that depend on seed and step alone, so that a resumed run sees what an uninterrupted one does.

    Args:
        config: Which curves.
        profile: Whose grid of r they are wanted on.
        batch: Curves in a step.
        validation: Curves that no step sees.
        seed: Of all draws.
        device: Where to compute.

    Raises:
        ValueError: If no geometry is left to train on.

    Attributes:
        trained: Geometries that are trained on.
        held_out: The others.
    """

    def __init__(
        self, config: CurveSource, profile: Profile, *, batch: int, validation: int, seed: int, device: torch.device
    ) -> None:
        self.config, self.batch, self.validation, self.seed, self.device = config, batch, validation, seed, device
        geometries = library(config.library, max_atoms=config.max_atoms)
        self.trained, self.held_out = split_geometries(geometries, config.held_out, seed=seed)
        self.batches = max(1, config.distinct // batch)
        self._kept: dict[int, Examples] = {}
        grid = {"variation": config.variation, "seed": seed, "rstep": profile.rstep}
        grid["rmax"] = profile.rstep * profile.bins
        self._curves = TrainingCurves(self.trained, length=self.batches * batch + validation, **grid)  # type: ignore[arg-type]
        self._others = None
        if self.held_out and validation:
            self._others = TrainingCurves(self.held_out, length=validation, **grid)  # type: ignore[arg-type]

    def __call__(self, step: int) -> Examples:
        """The examples of a step; once computed they are kept, where they come again."""
        number = step % self.batches
        if number not in self._kept:
            start = number * self.batch
            found = self._examples(self._curves, range(start, start + self.batch), f"begin {number}")
            self._kept[number] = Examples(Curves(*(each.cpu() for each in found.curves)), *(e.cpu() for e in found[1:]))
        kept = self._kept[number] if self.config.distinct <= _KEPT else self._kept.pop(number)
        return Examples(Curves(*(each.to(self.device) for each in kept.curves)), *(e.to(self.device) for e in kept[1:]))

    def unseen(self) -> list[Examples]:
        """Curves of the trained geometries that no step sees, in batches."""
        return self._batches(self._curves, self.batches * self.batch, "unseen")

    def unseen_geometries(self) -> list[Examples]:
        """Curves of the geometries that are held out, in batches; none where none is."""
        return [] if self._others is None else self._batches(self._others, 0, "unseen geometries")

    def _batches(self, curves: TrainingCurves, start: int, name: str) -> list[Examples]:
        ends = range(0, self.validation, _AT_ONCE)
        return [
            self._examples(curves, range(start + k, start + min(k + _AT_ONCE, self.validation)), f"{name} {k}")
            for k in ends
        ]

    def _examples(self, curves: TrainingCurves, indices: range, name: str) -> Examples:
        batch = curves.batch(indices, device=self.device)
        begin = self.config.rmin * torch.rand(len(indices), generator=generator(self.seed, name)).to(self.device)
        return examples_of(batch, curves.r.to(self.device), begin)


_KEPT = 2**16
"""Distinct curves up to which they stay in memory."""


def split_geometries(
    geometries: tuple[Geometry, ...], share: float, *, seed: int
) -> tuple[tuple[Geometry, ...], tuple[Geometry, ...]]:
    """Geometries to train on, and a share that is held out.

    Args:
        geometries: The library.
        share: How much of it is held out.
        seed: Of the draw.

    Returns:
        Both, in the library's order.

    Raises:
        ValueError: If none is left to train on.
    """
    out = set(numpy_generator(seed, "held out").permutation(len(geometries))[: round(share * len(geometries))].tolist())
    if len(out) == len(geometries):
        raise ValueError(f"data.held_out = {share:g}: none of {len(geometries)} geometries is left; hold out fewer")
    return (
        tuple(each for k, each in enumerate(geometries) if k not in out),
        tuple(each for k, each in enumerate(geometries) if k in out),
    )


def examples_of(batch: CurveBatch, r: torch.Tensor, begin: torch.Tensor) -> Examples:
    """Clusters of a batch in canonical order, their curves cut where they begin.

    Args:
        batch: Clusters and curves.
        r: The curves' grid, Å.
        begin: First r of each curve, Å.

    Returns:
        The same as examples.
    """
    order = canonical_order(batch.positions, batch.present)
    positions = batch.positions.gather(1, order[..., None].expand(-1, -1, 3))
    measured = batch.measured & (r >= begin[:, None])
    settings = batch.settings
    curves = Curves(
        batch.g * measured,
        measured,
        settings.qmin,
        settings.qmax,
        settings.qdamp,
        settings.rmax.clamp(max=float(r[-1])),
    )
    return Examples(curves, positions, batch.present, batch.atom_count, batch.type)
