"""What scatters: a batch of clusters, checked and in the form the Debye sum takes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..ops.debye_sum import DebyeBackend, debye_sum
from .form_factors import Radiation, amplitudes

Elements = str | Sequence[str] | Sequence[Sequence[str]]

SAME_PLACE = 1e-4
"""Atoms nearer than this are taken for one, Å."""


@dataclass(frozen=True)
class Scatterers:
    """Clusters of a batch, flattened to one dimension, with how their atoms move."""

    positions: Float[Tensor, "clusters atoms 3"]
    species: Int[Tensor, "clusters atoms"]
    symbols: tuple[str, ...]
    u: Float[Tensor, " clusters"] | Float[Tensor, "clusters atoms"]
    delta1: Float[Tensor, " clusters"]
    delta2: Float[Tensor, " clusters"]
    qbroad: Float[Tensor, " clusters"]
    radiation: Radiation
    dtype: torch.dtype

    @classmethod
    def of(
        cls,
        positions: Float[Tensor, "*batch atoms 3"],
        elements: Elements,
        *,
        mask: Bool[Tensor, "*batch atoms"] | None,
        biso: float | Tensor | None,
        uiso: float | Tensor | None,
        delta1: float | Tensor,
        delta2: float | Tensor,
        qbroad: float | Tensor,
        radiation: Radiation,
        dtype: torch.dtype | None,
    ) -> "Scatterers":
        """Check the arguments of `pair_distribution`, which describes them, and bring them to one shape.

        Raises:
            ValueError: If any of them makes no sense.
        """
        if positions.ndim < 2 or positions.shape[-1] != 3:
            raise ValueError(f"positions have the shape {tuple(positions.shape)}; (..., atoms, 3) is wanted")
        if not positions.is_floating_point():
            raise ValueError(f"positions are {positions.dtype}; coordinates in Å of a floating type are wanted")
        *batch, atoms, _ = positions.shape
        clusters = math.prod(batch)
        if clusters == 0:
            raise ValueError(f"positions have the shape {tuple(positions.shape)}: no cluster; give at least one")
        if mask is None:
            mask = torch.ones(positions.shape[:-1], dtype=torch.bool, device=positions.device)
        elif mask.shape != positions.shape[:-1]:
            raise ValueError(
                f"the mask has the shape {tuple(mask.shape)}; that of the atoms is {tuple(positions.shape[:-1])}"
            )
        x, present = positions.reshape(clusters, atoms, 3), mask.reshape(clusters, atoms)
        if not present.any(-1).all():
            raise ValueError(f"cluster {int((~present.any(-1)).nonzero()[0])} has no atom")
        _check_places(x.detach(), present)
        symbols, species = _species(elements, present)

        def per_cluster(name: str, value: float | Tensor) -> Tensor:
            tensor = torch.as_tensor(value, dtype=torch.float64, device=x.device)
            if tensor.shape not in ((), tuple(batch)):
                raise ValueError(
                    f"{name} has the shape {tuple(tensor.shape)}; one or one for each cluster {tuple(batch)} is wanted"
                )
            if not torch.isfinite(tensor).all():
                raise ValueError(f"{name} is not finite")
            return tensor.expand(batch).reshape(clusters)

        return cls(
            x,
            species,
            symbols,
            _displacement(biso, uiso, batch, atoms, x.device),
            per_cluster("delta1", delta1),
            per_cluster("delta2", delta2),
            per_cluster("qbroad", qbroad),
            radiation,
            dtype or x.dtype,
        )

    def __getitem__(self, index: Tensor) -> "Scatterers":
        tensors = ("positions", "species", "u", "delta1", "delta2", "qbroad")
        return replace(self, **{name: getattr(self, name)[index] for name in tensors})

    @property
    def diameter(self) -> float:
        """No two atoms of a cluster are further apart than this, Å."""
        present = (self.species >= 0)[..., None]
        x = torch.where(present, self.positions.detach(), 0).double()
        centred = torch.where(present, x - x.sum(1, keepdim=True) / present.sum(1, keepdim=True), 0)
        return 2 * float(centred.norm(dim=-1).max())

    @property
    def umax(self) -> Float[Tensor, " clusters"]:
        """Greatest mean square displacement in each cluster, Å²."""
        u = self.u.detach()
        return u if u.ndim == 1 else torch.where(self.species >= 0, u, 0).amax(1)

    def structure_function(
        self, qstep: float, nq: int, backend: DebyeBackend, *, dmin: float = 0.0, dmax: float = math.inf
    ) -> Float[Tensor, "clusters nq"]:
        """F(Q) = V(Q) / (N ⟨f⟩²), and 0 where the mean amplitude ⟨f⟩ vanishes."""
        f = _kept_amplitudes(self.symbols, qstep, nq, self.radiation, self.positions.device)
        v = debye_sum(
            self.positions,
            self.species,
            f,
            self.u,
            qstep=qstep,
            delta1=self.delta1,
            delta2=self.delta2,
            qbroad=self.qbroad,
            dmin=dmin,
            dmax=dmax,
            dtype=self.dtype,
            backend=backend,
        )
        count = torch.stack([(self.species == s).sum(1) for s in range(len(self.symbols))], dim=1).double()
        norm = (count @ f).square_().div_(count.sum(1, keepdim=True)).to(v.dtype)
        return torch.where(norm > 0, v / norm.clamp(min=torch.finfo(v.dtype).tiny), 0)


@lru_cache(maxsize=16)
def _kept_amplitudes(
    symbols: tuple[str, ...], qstep: float, nq: int, radiation: Radiation, device: torch.device
) -> Float[Tensor, "species nq"]:
    return amplitudes(symbols, qstep * torch.arange(nq, dtype=torch.float64, device=device), radiation)


def _check_places(x: Float[Tensor, "clusters atoms 3"], present: Bool[Tensor, "clusters atoms"]) -> None:
    finite = torch.isfinite(x).all(-1) | ~present
    if not finite.all():
        cluster, atom = (~finite).nonzero()[0].tolist()
        raise ValueError(
            f"atom {atom}{_of(cluster, x)} has a coordinate that is not finite: {x[cluster, atom].tolist()}"
        )
    # Atoms at one place have one projection on any line: sorting finds the few clusters worth a closer look.
    line = torch.tensor([0.5257, -0.3141, 0.7906], dtype=torch.float64, device=x.device)
    along = torch.where(present, torch.where(present[..., None], x, 0).double() @ line, math.inf)
    sorted_along = along.sort(dim=-1).values
    near = (sorted_along.diff(dim=-1) < SAME_PLACE) & torch.isfinite(sorted_along[:, 1:])
    for cluster in near.any(-1).nonzero()[:, 0].tolist():
        atoms = present[cluster].nonzero()[:, 0]
        order = atoms[along[cluster, atoms].argsort()]
        place = x[cluster, order].double()
        # Among the neighbours in that order only those within reach along the line can coincide.
        for gap in range(1, len(order)):
            close = along[cluster, order[gap:]] - along[cluster, order[:-gap]] < SAME_PLACE
            if not close.any():
                break
            same = close & ((place[gap:] - place[:-gap]).norm(dim=-1) < SAME_PLACE)
            if same.any():
                k = int(same.nonzero()[0])
                i, j = sorted((int(order[k]), int(order[k + gap])))
                raise ValueError(f"atoms {i} and {j}{_of(cluster, x)} stand at one place; remove one of them")


def _of(cluster: int, x: Tensor) -> str:
    return f" of cluster {cluster}" if len(x) > 1 else ""


def _displacement(
    biso: float | Tensor | None, uiso: float | Tensor | None, batch: list[int], atoms: int, device: torch.device
) -> Tensor:
    """U of each cluster or, where so given, of each atom."""
    if (biso is None) == (uiso is None):
        raise ValueError("give the displacement as either biso or uiso, Å²")
    name, given = ("biso", biso) if uiso is None else ("uiso", uiso)
    u = torch.as_tensor(given, dtype=torch.float64, device=device)
    if not (torch.isfinite(u).all() and (u >= 0).all()):
        raise ValueError(f"{name} = {float(u.min()):.6g} Å²; a displacement is finite and not negative")
    u = u / (8 * math.pi**2) if uiso is None else u
    if u.shape in ((), tuple(batch)):
        return u.expand(batch).reshape(math.prod(batch))
    if u.shape == (*batch, atoms):
        return u.reshape(math.prod(batch), atoms)
    raise ValueError(f"{name} has the shape {tuple(u.shape)}; one, {tuple(batch)} or {(*batch, atoms)} is wanted")


def _species(
    elements: Elements, present: Bool[Tensor, "clusters atoms"]
) -> tuple[tuple[str, ...], Int[Tensor, "clusters atoms"]]:
    """The symbols that occur, and the place of each atom's among them (−1 where there is no atom)."""
    clusters, atoms = present.shape
    if isinstance(elements, str):
        return (elements,), torch.where(present, 0, -1)
    one_for_all = not elements or isinstance(elements[0], str)
    rows: list[list[str]] = [[str(e) for e in elements]] if one_for_all else [[str(e) for e in row] for row in elements]
    if len(rows) not in (1, clusters):
        raise ValueError(f"elements are given for {len(rows)} clusters, positions for {clusters}")
    index = torch.full((len(rows), atoms), -1)
    symbols: dict[str, int] = {}
    for row, given in enumerate(rows):
        if len(given) > atoms or (
            len(given) < atoms and bool(present[row if len(rows) > 1 else slice(None), ..., len(given) :].any())
        ):
            raise ValueError(
                f"{len(given)} elements are given for {atoms} atoms; one for each, or one for all, is wanted"
            )
        used = present[row] if len(rows) > 1 else present.any(0)
        for atom, symbol in enumerate(given):
            if used[atom]:
                index[row, atom] = symbols.setdefault(symbol, len(symbols))
    return tuple(symbols), torch.where(present, index.to(present.device), -1)
